//! What nobody should do to a screen.

use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use ratatui::crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};

use super::Desk;
use super::common::{Person, START, group, settle};

const HOSTILE: &str = "\u{1b}[2J\u{1b}]0;title\u{7}\u{9b}31m\u{202e}back\u{2066}wards\u{200b}\u{feff}\r\u{8}\0\u{7f}日本\u{301}\u{e0041}";

#[track_caller]
fn is_harmless(screen: &str) {
    let bad = screen.chars().find(|c| {
        (c.is_control() && *c != '\n')
            || matches!(c, '\u{200b}' | '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' | '\u{e0041}')
    });
    assert_eq!(bad, None, "{screen}");
}

#[test]
fn hostile_texts_and_names_stay_texts() {
    let mut now = START;
    let (mut people, network) = group(&["Alice", "Bob"], 30, &mut now);
    people[1].say("friends", &format!("look: {HOSTILE}"), now);
    people[1].say("friends", &"\n".repeat(5000), now);
    people[1].say("friends", &format!("a{}", "\u{301}".repeat(20_000)), now);
    people[1].say("friends", &"👩\u{200d}".repeat(5000), now);
    people[1].say("friends", &"https://example.org/".repeat(3000), now);
    settle(&mut people.iter_mut().collect::<Vec<_>>(), &network, &mut now);
    let mut desk = Desk::new(&mut people[0], now);
    for _ in 0..40 {
        is_harmless(&desk.screen());
        desk.press(KeyCode::PageUp);
    }
    desk.key(KeyCode::Home, KeyModifiers::CONTROL);
    desk.sees("look: ␛[2J␛]0;title␇�31m�back�wards");
    is_harmless(&desk.screen());
    // The engine lets no such name in; if it did, the screen would not.
    desk.session.app.me = HOSTILE.to_owned();
    desk.session.app.complain(HOSTILE);
    let screen = draw_with_names(&mut desk);
    is_harmless(&screen);
    assert!(screen.contains("␛"), "{screen}");
    desk.session.app.warn(HOSTILE.to_owned());
    is_harmless(&draw_with_names(&mut desk));
    desk.event(Event::Paste(HOSTILE.to_owned()));
    is_harmless(&draw_with_names(&mut desk));
}

/// The groups have hostile names, which the next refresh would take away.
fn draw_with_names(desk: &mut Desk<'_>) -> String {
    for group in &mut desk.session.app.groups {
        group.name = HOSTILE.to_owned();
    }
    let app = &desk.session.app;
    desk.terminal.draw(|frame| crate::chat::ui::draw(frame, app)).unwrap();
    desk.terminal.backend().to_string()
}

#[test]
fn no_screen_is_too_small() {
    let mut now = START;
    let (mut people, network) = group(&["Alice", "Bob"], 31, &mut now);
    people[1].say("friends", "日本語日本語 and a longer text, so that it is wrapped\nand more", now);
    settle(&mut people.iter_mut().collect::<Vec<_>>(), &network, &mut now);
    let mut desk = Desk::new(&mut people[0], now);
    desk.event(Event::Paste("several\nlines\nof 日本語\n\n".to_owned()));
    desk.session
        .app
        .warn("a warning that is longer than most screens are wide, so that it has several lines".to_owned());
    for key in [KeyCode::F(2), KeyCode::F(1), KeyCode::F(2), KeyCode::Esc, KeyCode::Esc] {
        for width in (0..45).chain([63, 64, 75, 76, 200]) {
            for height in (0..13).chain([24, 100]) {
                desk.resize(width, height);
                desk.screen();
            }
        }
        desk.press(key);
    }
    desk.ctrl('u');
    desk.resize(40, 10);
    for _ in 0..6 {
        desk.press(KeyCode::Backspace);
    }
    desk.sees("friends, 2 members");
    desk.sees("日本語日本語 and a longer");
}

#[test]
fn random_keys_do_no_harm() {
    for seed in 0..4 {
        let mut now = START;
        let (mut people, network) = group(&["Alice", "Bob Bobson"], 40 + seed, &mut now);
        people[1].say("friends", "hello 日本語 👩‍👩‍👧\nand more", now);
        people[1].create("other", now);
        people[1].invite("other", &["Alice"], now);
        settle(&mut people.iter_mut().collect::<Vec<_>>(), &network, &mut now);
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let mut desk = Desk::new(&mut people[0], now);
        for n in 0..700 {
            let event = random_event(&mut rng);
            if let Event::Resize(width, height) = event {
                desk.resize(width, height);
            } else {
                desk.event(event);
            }
            if n % 3 == 0 {
                is_harmless(&desk.screen());
            }
            if n % 100 == 0 {
                desk.sync(&network);
            }
            desk.now.0 += 13;
        }
    }
}

fn random_event(rng: &mut ChaCha20Rng) -> Event {
    const CODES: [KeyCode; 16] = [
        KeyCode::Enter,
        KeyCode::Tab,
        KeyCode::BackTab,
        KeyCode::Backspace,
        KeyCode::Delete,
        KeyCode::Left,
        KeyCode::Right,
        KeyCode::Up,
        KeyCode::Down,
        KeyCode::Home,
        KeyCode::End,
        KeyCode::PageUp,
        KeyCode::PageDown,
        KeyCode::Esc,
        KeyCode::F(1),
        KeyCode::F(2),
    ];
    const TEXTS: [&str; 12] = [
        "/create x",
        "/invite \"Bob Bo",
        "/remove Bob",
        "/go other",
        "/leave",
        "/update",
        "/people",
        "/members",
        "// a\nb",
        "日本語 ",
        "\"",
        "e\u{301}\u{301}",
    ];
    let roll = rng.next_u32();
    let choice = (roll >> 8) as usize;
    let modifiers = match (roll >> 4) % 8 {
        0 => KeyModifiers::CONTROL,
        1 => KeyModifiers::ALT,
        2 => KeyModifiers::SHIFT,
        _ => KeyModifiers::NONE,
    };
    match roll % 16 {
        0 => Event::Resize((choice % 130) as u16, (choice / 130 % 50) as u16),
        1..3 => Event::Paste(TEXTS[choice % TEXTS.len()].to_owned()),
        3..7 => Event::Key(KeyEvent::new(KeyCode::Char((b' ' + (choice % 95) as u8).into()), modifiers)),
        _ => Event::Key(KeyEvent::new(CODES[choice % CODES.len()], modifiers)),
    }
}

#[test]
fn warnings_stay_until_they_are_read() {
    let mut alice = Person::new("Alice", 50);
    alice.create("notes", START);
    let mut desk = Desk::new(&mut alice, START);
    desk.session.app.warn("first".to_owned());
    desk.session.app.warn("second".to_owned());
    desk.enter("hello");
    desk.sees("! first (Esc: seen)");
    desk.press(KeyCode::Esc);
    desk.sees("! second (Esc: seen)");
    desk.press(KeyCode::Esc);
    desk.misses("Esc: seen");
}
