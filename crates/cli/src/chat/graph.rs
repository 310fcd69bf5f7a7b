//! The epochs of a group in the side panel.

use std::collections::BTreeMap;

use dmls::{Credential, EpochRef, Group, Level};
use ratatui::text::{Line, Span};

use super::text::clean;
use super::theme::Theme;
use crate::term::{Ink, hex};

/// Epochs that are listed, at most: the newest.
const MAX_EPOCHS: usize = 200;

/// Where the group forked, in words, and its epochs: the newest first.
pub fn lines(group: &Group, theme: Theme) -> Vec<Line<'static>> {
    let mut epochs: Vec<_> = group.epochs().collect();
    epochs.sort_by(|one, other| {
        let key = |epoch: &EpochRef<'_>| (epoch.number(), epoch.is_on_way());
        key(other).cmp(&key(one)).then_with(|| one.id().cmp(other.id()))
    });
    let mut lines = forks(&epochs, theme);
    lines.extend(epochs.iter().take(MAX_EPOCHS).map(|epoch| line(epoch, theme)));
    if let Some(more) = epochs.len().checked_sub(MAX_EPOCHS).filter(|more| *more > 0) {
        lines.push(Line::styled(format!("and {more} older ones"), theme.style(Ink::Faint)));
    }
    lines
}

/// A sentence for each fork.
fn forks(epochs: &[EpochRef<'_>], theme: Theme) -> Vec<Line<'static>> {
    let mut children: BTreeMap<_, Vec<&EpochRef<'_>>> = BTreeMap::new();
    for epoch in epochs {
        if let Some(parent) = epoch.parent() {
            children.entry((std::cmp::Reverse(epoch.number()), parent)).or_default().push(epoch);
        }
    }
    let mut lines = Vec::new();
    for ((number, _), siblings) in children.iter().filter(|(_, siblings)| siblings.len() > 1) {
        let lost: Vec<_> =
            siblings.iter().filter(|epoch| !epoch.is_on_way()).map(|epoch| committer(epoch)).collect();
        let text = match siblings.iter().find(|epoch| epoch.is_on_way()) {
            Some(won) => format!(
                "fork at {}: the commit of {} goes on, lost: {}",
                number.0,
                committer(won),
                lost.join(", ")
            ),
            None => format!("fork at {}, on a lost branch: {}", number.0, lost.join(", ")),
        };
        lines.push(Line::styled(text, theme.style(Ink::Note)));
    }
    lines
}

fn line(epoch: &EpochRef<'_>, theme: Theme) -> Line<'static> {
    let (sign, ink) = match (epoch.is_head(), epoch.is_on_way()) {
        (true, _) => ("◉", Ink::Good),
        (false, true) => ("●", Ink::Plain),
        (false, false) => ("×", Ink::Bad),
    };
    let state = match (epoch.is_head(), epoch.is_on_way()) {
        (true, _) => " head",
        (false, true) => "",
        (false, false) => " lost",
    };
    let left = match epoch.level() {
        Level::Full => "",
        Level::Readable => " reads late ones",
        Level::Known => " erased",
    };
    let mut id = hex(epoch.id().as_bytes());
    id.truncate(6);
    Line::from(vec![
        Span::styled(format!("{sign} {} {id}{state}", epoch.number()), theme.style(ink)),
        Span::raw(format!(" {}", deed(epoch))),
        Span::styled(left, theme.style(Ink::Faint)),
    ])
}

/// Who committed.
fn committer(epoch: &EpochRef<'_>) -> String {
    let credential = epoch.commit().and_then(|commit| commit.credential.as_ref());
    credential.map_or_else(|| "somebody".to_owned(), name)
}

/// Who committed, and what.
fn deed(epoch: &EpochRef<'_>) -> String {
    let Some(commit) = epoch.commit() else { return "the beginning here".to_owned() };
    let names =
        |members: &mut dyn Iterator<Item = &Credential>| members.map(name).collect::<Vec<_>>().join(", ");
    let added = names(&mut commit.added.iter().map(|added| &added.member.credential));
    let removed = names(&mut commit.removed.iter().map(|member| &member.credential));
    let mut deeds = Vec::new();
    if !added.is_empty() {
        deeds.push(format!("added {added}"));
    }
    if !removed.is_empty() {
        deeds.push(format!("removed {removed}"));
    }
    if commit.extensions_changed {
        deeds.push("changed the group".to_owned());
    }
    if deeds.is_empty() {
        deeds.push("new keys".to_owned());
    }
    format!("{}: {}", committer(epoch), deeds.join(", "))
}

/// The name in a credential, as it is shown.
pub fn name(credential: &Credential) -> String {
    let name = credential.identity().and_then(|identity| std::str::from_utf8(identity).ok());
    clean(name.unwrap_or("?"))
}
