//! Draws what there is.

use ratatui::Frame;
use ratatui::layout::{Position, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::{Block, Borders, Clear, Paragraph};

use super::app::{App, GroupRow, PROMPT};
use super::page::Page;
use super::text::{clean, cut, width, wrap};
use crate::term::Ink;

/// What keys do, in short: as many of them as there is room for.
const KEYS: [&str; 7] =
    ["F1 help", "/ command", "Enter send", "Tab next group", "PgUp/PgDn", "F2 epochs", "Ctrl-C quit"];

/// Draws everything.
pub fn draw(frame: &mut Frame<'_>, app: &App) {
    let areas = app.areas();
    put(frame, areas.title, vec![title(app, areas.title)]);
    if let Some(area) = areas.groups {
        let inner = bordered(frame, app, area, Borders::RIGHT);
        put(frame, inner, groups(app, inner));
    }
    put(frame, areas.log, messages(app, areas.log));
    if let Some(area) = areas.panel {
        let inner = bordered(frame, app, area, Borders::LEFT);
        put(frame, inner, epochs(app, inner));
    }
    put(frame, areas.status, app.status_lines());
    if let Some(area) = areas.keys {
        put(frame, area, vec![keys(app, area)]);
    }
    if let Some(page) = &app.page {
        draw_page(frame, app, page, areas.body);
    }
    draw_input(frame, app, areas.input);
}

fn put(frame: &mut Frame<'_>, area: Rect, lines: Vec<Line<'static>>) {
    frame.render_widget(Paragraph::new(Text::from(lines)), area.intersection(frame.area()));
}

/// A border on one side; what is inside of it.
fn bordered(frame: &mut Frame<'_>, app: &App, area: Rect, borders: Borders) -> Rect {
    let block = Block::new().borders(borders).border_style(app.theme.style(Ink::Faint));
    let inner = block.inner(area);
    frame.render_widget(block, area.intersection(frame.area()));
    inner
}

fn title(app: &App, area: Rect) -> Line<'static> {
    let faint = app.theme.style(Ink::Faint);
    let me = format!("you are {}", cut(&clean(&app.me), 20));
    let mut left = match app.group() {
        Some(group) => vec![
            Span::styled(group.title(), app.theme.style(Ink::Title)),
            Span::raw(format!(", {}", members(group))),
        ],
        None => vec![Span::styled("dmls chat", app.theme.style(Ink::Title))],
    };
    let state = app.group().and_then(state);
    left.extend(state.map(|state| Span::styled(format!(", {state}"), app.theme.style(Ink::Bad))));
    let elsewhere = app.groups.iter().filter(|group| Some(&group.id) != app.current.as_ref());
    let unread: usize = elsewhere.map(|group| group.unread).sum();
    if unread > 0 && app.areas().groups.is_none() {
        left.push(Span::styled(format!(", {unread} unread elsewhere"), app.theme.style(Ink::Note)));
    }
    let left_width: usize = left.iter().map(Span::width).sum();
    let gap = usize::from(area.width).saturating_sub(left_width + width(&me));
    if gap > 0 {
        left.push(Span::raw(" ".repeat(gap)));
        left.push(Span::styled(me, faint));
    }
    Line::from(left)
}

fn members(group: &GroupRow) -> String {
    match group.members.len() {
        1 => "1 member".to_owned(),
        count => format!("{count} members"),
    }
}

/// What keeps us from talking in a group.
fn state(group: &GroupRow) -> Option<&'static str> {
    if group.damaged {
        Some("its records are damaged: /rejoin, or restore a backup")
    } else if group.excluded {
        Some("you are not a member any more")
    } else if group.stranded {
        Some("you can't follow the others: /rejoin")
    } else if group.leaving {
        Some("you are leaving")
    } else {
        None
    }
}

/// All groups, scrolled so that the chosen one is there.
fn groups(app: &App, area: Rect) -> Vec<Line<'static>> {
    let columns = usize::from(area.width);
    let line = |group: &GroupRow| {
        let unread = if group.unread > 0 { format!(" {}", group.unread) } else { String::new() };
        let title = cut(&group.title(), columns.saturating_sub(width(&unread)));
        let gap = " ".repeat(columns.saturating_sub(width(&title) + width(&unread)));
        let style = match (group.unread > 0, group.excluded) {
            (_, true) => app.theme.style(Ink::Faint),
            (true, false) => app.theme.style(Ink::Title),
            (false, false) => Style::new(),
        };
        let chosen = if Some(&group.id) == app.current.as_ref() { app.theme.chosen() } else { Style::new() };
        let unread = Span::styled(unread, app.theme.style(Ink::Note));
        Line::from(vec![Span::styled(title, style), Span::raw(gap), unread]).style(chosen)
    };
    let chosen = app.groups.iter().position(|group| Some(&group.id) == app.current.as_ref()).unwrap_or(0);
    let above = (chosen + 1).saturating_sub(usize::from(area.height));
    app.groups.iter().skip(above).take(usize::from(area.height)).map(line).collect()
}

fn messages(app: &App, area: Rect) -> Vec<Line<'static>> {
    if app.groups.is_empty() {
        return first_steps(app, area);
    }
    app.log.lines(usize::from(area.height), &app.sight())
}

/// What to do when there is nothing yet.
fn first_steps(app: &App, area: Rect) -> Vec<Line<'static>> {
    let paragraphs = [
        format!("Hello {}. You are in no group yet.", clean(&app.me)),
        String::new(),
        "/create NAME makes a group; /people shows who can be invited; /invite NAME invites them.".to_owned(),
        "Or wait: whoever finds your name in the same network can invite you, and the group appears here."
            .to_owned(),
        String::new(),
        "Your fingerprint, for others to compare:".to_owned(),
        app.fingerprint.clone(),
        String::new(),
        "F1 shows what else there is.".to_owned(),
    ];
    let lines = paragraphs.into_iter().flat_map(|text| wrap(&[Span::raw(text)], usize::from(area.width), 0));
    lines.take(usize::from(area.height)).collect()
}

fn epochs(app: &App, area: Rect) -> Vec<Line<'static>> {
    let heading = Line::styled("Epochs: time runs down", app.theme.style(Ink::Title));
    let room = usize::from(area.height).saturating_sub(1);
    let newest = app.epochs.iter().skip(app.epochs.len().saturating_sub(room)).cloned();
    std::iter::once(heading).chain(newest).take(usize::from(area.height)).collect()
}

fn keys(app: &App, area: Rect) -> Line<'static> {
    let mut text = String::new();
    for key in KEYS {
        let longer = if text.is_empty() { key.to_owned() } else { format!("{text}  {key}") };
        if width(&longer) > usize::from(area.width) {
            break;
        }
        text = longer;
    }
    Line::styled(text, app.theme.style(Ink::Faint))
}

fn draw_page(frame: &mut Frame<'_>, app: &App, page: &Page, area: Rect) {
    let rows = page.rows(usize::from(area.width));
    let height = usize::from(area.height.saturating_sub(2));
    let more = if rows.len() > page.above + height { ", more below" } else { "" };
    let title =
        cut(&format!(" {} (Esc: back{more}) ", page.title), usize::from(area.width.saturating_sub(2)));
    let block = Block::bordered().title(title).border_style(app.theme.style(Ink::Faint));
    let inner = block.inner(area);
    frame.render_widget(Clear, area);
    frame.render_widget(block, area);
    put(frame, inner, rows.into_iter().skip(page.above).take(height).collect());
}

/// What is typed, scrolled so that the cursor is there.
fn draw_input(frame: &mut Frame<'_>, app: &App, area: Rect) {
    let (rows, (column, row)) = app.input.rows(usize::from(app.size.width.saturating_sub(PROMPT)));
    let above = (row + 1).saturating_sub(usize::from(area.height));
    let prompt = app.theme.style(Ink::Title);
    let line = |(n, row): (usize, String)| {
        Line::from(vec![Span::styled(if n == 0 { "> " } else { "  " }, prompt), Span::raw(row)])
    };
    let lines = rows.into_iter().enumerate().skip(above).take(usize::from(area.height)).map(line).collect();
    put(frame, area, lines);
    let x = area.x.saturating_add(PROMPT).saturating_add(u16::try_from(column).unwrap_or(u16::MAX));
    let y = area.y + u16::try_from(row.saturating_sub(above)).unwrap_or(0);
    let last = area.right().saturating_sub(1);
    frame.set_cursor_position(Position::new(x.min(last), y));
}
