//! What people see.

use dmls_client::Entry;
use ratatui::crossterm::event::KeyCode;
use ratatui::style::Color;

use super::Desk;
use super::common::{Network, Person, START, group, settle};

#[test]
fn whoever_comes_first_is_told_what_to_do() {
    let mut alice = Person::new("Alice", 1);
    let fingerprint = alice.client.fingerprint().to_string();
    let mut desk = Desk::new(&mut alice, START);
    desk.sees("Hello Alice. You are in no group yet.");
    desk.sees("/create NAME makes a group");
    desk.sees(&fingerprint);
    desk.enter("hello?");
    desk.sees("there is no group to write to yet: /create NAME makes one");
    desk.ctrl('u');
    desk.enter("/create friends");
    desk.sees("friends, 1 member");
    desk.sees("* you created the group friends");
    desk.sees("Friday, 15 January 2027 (UTC)");
    desk.misses("no group yet");
}

#[test]
fn a_message_is_followed_until_all_have_it() {
    let mut now = START;
    let (mut people, network) = group(&["Alice", "Bob", "Carol"], 2, &mut now);
    let mut desk = Desk::new(&mut people[0], now);
    desk.enter("hello you");
    desk.sees("Alice: hello you (waits in the outbox)");
    desk.sync(&network);
    desk.sees("Alice: hello you (published)");
    people[1].sync(&network, now);
    people[1].say("friends", "hi Alice", now);
    people[1].sync(&network, now);
    let mut desk = Desk::new(&mut people[0], now);
    desk.sync(&network);
    desk.sees("Alice: hello you (1 of 2 have it)");
    desk.sees("Bob: hi Alice");
    people[2].sync(&network, now);
    people[2].say("friends", "me too", now);
    people[2].sync(&network, now);
    let mut desk = Desk::new(&mut people[0], now);
    desk.sync(&network);
    desk.sees("Alice: hello you (all have it)");
}

#[test]
fn what_is_unread_is_counted_until_it_is_shown() {
    let mut now = START;
    let (mut people, network) = group(&["Alice", "Bob"], 3, &mut now);
    people[0].create("zoo", now);
    people[0].invite("zoo", &["Bob"], now);
    settle(&mut people.iter_mut().collect::<Vec<_>>(), &network, &mut now);
    {
        // Bob sees both groups, and stays in the first.
        let mut desk = Desk::new(&mut people[1], now);
        desk.press(KeyCode::Tab);
        desk.sees("zoo, 2 members");
        desk.press(KeyCode::Tab);
        desk.sees("friends, 2 members");
    }
    for text in ["one", "two", "three"] {
        people[0].say("zoo", text, now);
    }
    people[0].sync(&network, now);
    {
        let mut desk = Desk::new(&mut people[1], now);
        desk.sync(&network);
        let screen = desk.screen();
        assert!(screen.lines().any(|line| line.starts_with("zoo           3")), "{screen}");
        desk.resize(40, 10);
        desk.sees("3 unread elsewhere");
    }
    // Another process counts the same.
    let mut desk = Desk::new(&mut people[1], now);
    desk.sees("zoo 3");
    desk.enter("/go zoo");
    desk.sees("Alice: three");
    desk.sees("── new ──");
    desk.misses("zoo           3");
    drop(desk);
    let mut desk = Desk::new(&mut people[1], now);
    desk.misses("zoo           3");
    desk.enter("/go zoo");
    desk.misses("── new ──");
}

/// Two sides that don't hear each other; then their networks are one, and nobody has looked yet.
fn split(seed: u64, now: &mut dmls::Time) -> (Vec<Person>, Network) {
    let names = ["Alice", "Bob", "Carol", "Dave"];
    let (mut people, network) = group(&names, seed, now);
    let other = network.copy();
    for (n, person) in people.iter_mut().enumerate() {
        let here = if n < 2 { &network } else { &other };
        person.sync(here, *now);
        person.update("friends", *now);
        person.say("friends", &format!("this is {}", names[n]), *now);
        person.sync(here, *now);
        now.0 += 600;
    }
    network.merge(&other);
    (people, network)
}

#[test]
fn a_message_that_only_a_lost_branch_saw_is_told_apart_until_it_comes_again() {
    let mut now = START;
    let (mut people, network) = split(4, &mut now);
    // One of each side looks, before anybody has sent anything again.
    let before: Vec<_> = people.iter().map(|person| person.head("friends")).collect();
    let copies = [network.copy(), network.copy()];
    people[1].sync(&copies[0], now);
    people[3].sync(&copies[1], now);
    copies.iter().for_each(|copy| network.merge(copy));
    let winner = if people[1].head("friends") == before[1] { 1 } else { 3 };
    let lost = if winner == 1 { "Carol" } else { "Alice" };
    let mut desk = Desk::new(&mut people[winner], now);
    desk.sees(&format!("~ {lost}: this is {lost}"));
    desk.sees("only a lost branch saw it");
    desk.press(KeyCode::F(2));
    desk.sees("crossed");
    desk.sees("lost");
    drop(desk);
    settle(&mut people.iter_mut().collect::<Vec<_>>(), &network, &mut now);
    let mut desk = Desk::new(&mut people[winner], now);
    desk.misses("~ ");
    desk.sees(&format!("{lost}: this is {lost}"));
    desk.sees("sent again");
}

#[test]
fn a_fork_that_healed_is_told_in_words_and_in_the_panel() {
    // What all have acknowledged in time is not sent again: in one of these worlds something is.
    let heal = |seed| {
        let mut now = START;
        let (mut people, network) = split(seed, &mut now);
        settle(&mut people.iter_mut().collect::<Vec<_>>(), &network, &mut now);
        let went_again =
            |person: &Person| person.notes("friends").iter().any(|note| note.contains("went out again"));
        people.iter().position(went_again).map(|loser| (people, loser, now))
    };
    let (mut people, loser, now) = (5..15).find_map(heal).unwrap();
    let mut desk = Desk::with(&mut people[loser], now, (120, 40), true);
    desk.sees("* the group went on along another branch");
    desk.sees("went to a branch that lost, and went out again");
    desk.misses("Epochs: time runs down");
    desk.ctrl('g');
    desk.sees("Epochs: time runs down");
    desk.sees("crossed");
    let screen = desk.screen();
    assert_eq!(screen.matches('◉').count(), 1, "{screen}");
    assert!(screen.contains("✗ lost"), "{screen}");
    desk.ctrl('g');
    desk.misses("Epochs: time runs down");
}

#[test]
fn what_was_written_long_ago_says_when() {
    let mut now = START;
    let (mut people, network) = group(&["Alice", "Bob"], 6, &mut now);
    people[0].say("friends", "an old one", now);
    people[0].sync(&network, now);
    now.0 += 7200;
    let mut desk = Desk::new(&mut people[1], now);
    desk.sync(&network);
    desk.sees("Alice: an old one (written 08:");
}

#[test]
fn the_whole_log_is_scrolled_through() {
    let mut alice = Person::new("Alice", 7);
    alice.create("notes", START);
    for n in 0..150 {
        // Each takes up to three lines.
        alice.say("notes", &format!("message {n:03} {}", "word ".repeat(n % 30)), START);
    }
    let mut desk = Desk::new(&mut alice, START);
    let numbers = |screen: &str| -> Vec<usize> {
        screen.split("message ").skip(1).map(|rest| rest[..3].parse().unwrap()).collect()
    };
    let newest = numbers(&desk.screen());
    assert_eq!(newest.last(), Some(&149));
    let mut seen = newest.clone();
    for _ in 0..60 {
        desk.press(KeyCode::PageUp);
        let page = numbers(&desk.screen());
        assert!(page.windows(2).all(|pair| pair[1] == pair[0] + 1), "{page:?}");
        assert!(page.last().unwrap() + 1 >= seen[0], "nothing is passed over: {page:?} before {}", seen[0]);
        seen = page;
    }
    assert_eq!(seen[0], 0);
    desk.sees("you created the group notes");
    let top = desk.screen();
    desk.press(KeyCode::Up);
    assert_eq!(desk.screen(), top, "there is nothing above");
    // Down line by line is the same way.
    for _ in 0..600 {
        desk.press(KeyCode::Down);
    }
    assert_eq!(numbers(&desk.screen()), newest);
    assert!(desk.session.app.log.is_at_end());
    desk.key(KeyCode::Home, ratatui::crossterm::event::KeyModifiers::CONTROL);
    assert_eq!(desk.screen(), top);
    desk.key(KeyCode::End, ratatui::crossterm::event::KeyModifiers::CONTROL);
    assert_eq!(numbers(&desk.screen()), newest);
}

#[test]
fn whoever_reads_old_messages_stays_there_when_new_ones_come() {
    let mut now = START;
    let (mut people, network) = group(&["Alice", "Bob"], 8, &mut now);
    for n in 0..40 {
        people[0].say("friends", &format!("old {n}"), now);
    }
    settle(&mut people.iter_mut().collect::<Vec<_>>(), &network, &mut now);
    people[1].say("friends", "a new one", now);
    people[1].sync(&network, now);
    let mut desk = Desk::new(&mut people[0], now);
    desk.press(KeyCode::PageUp);
    desk.sees("older messages");
    let before = desk.screen();
    desk.sync(&network);
    desk.misses("a new one");
    desk.sees("1 new below (Ctrl-End)");
    // How far they have come is news, too.
    let texts = |screen: &str| -> Vec<String> {
        let column = |line: &str| line.chars().skip(16).take_while(|c| *c != '(').collect();
        screen.lines().take(20).map(column).collect()
    };
    assert_eq!(texts(&desk.screen()), texts(&before));
    desk.press(KeyCode::Esc);
    desk.sees("a new one");
}

#[test]
fn no_colour_is_no_colour() {
    let mut now = START;
    let (mut people, _network) = split(9, &mut now);
    for color in [true, false] {
        let mut desk = Desk::with(&mut people[0], now, (120, 30), color);
        desk.press(KeyCode::F(2));
        desk.enter("/nonsense");
        desk.screen();
        let cells = &desk.terminal.backend().buffer().content;
        let colored = cells.iter().any(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset);
        assert_eq!(colored, color);
    }
}

#[test]
fn members_and_people_come_with_fingerprints() {
    let mut now = START;
    let (mut people, network) = group(&["Alice", "Bob"], 10, &mut now);
    let mut carol = Person::new("Carol", 99);
    carol.sync(&network, now);
    let bob = people[1].client.fingerprint();
    let mut desk = Desk::new(&mut people[0], now);
    desk.sync(&network);
    desk.enter("/members");
    desk.sees(&format!("Bob {bob} as first seen"));
    desk.enter(&format!("/verify Bob {bob}"));
    desk.sees("Bob is verified");
    desk.enter("/members");
    desk.sees(&format!("Bob {bob} verified"));
    desk.misses("Carol");
    desk.enter("/people");
    desk.sees(&format!("Carol {}", carol.client.fingerprint()));
    desk.press(KeyCode::Esc);
    desk.misses(&carol.client.fingerprint().to_string());
    desk.enter("/invite Caroline");
    desk.sees("nobody named \"Caroline\" has published a key package here");
    assert_eq!(desk.session.app.input.text(), "/invite Caroline", "to be corrected");
    desk.ctrl('u');
    desk.enter("/invite Carol");
    desk.sees("invited Carol: in as soon as they synchronize");
    desk.sees("friends, 3 members");
    drop(desk);
    let entries = people[0].log("friends");
    assert!(entries.iter().any(|shown| matches!(&shown.entry, Entry::Note(note) if note.whom == ["Carol"])));
}
