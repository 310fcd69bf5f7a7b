//! What is typed behind a slash.

use dmls_client::Fingerprint;
use ratatui::crossterm::event::{Event, KeyCode, KeyModifiers};

use super::Desk;
use super::common::{Person, START, group, settle};
use crate::chat::command::{COMMANDS, Command, Wanted, Whom, parse, unfinished};
use crate::chat::session::Next;

fn whom(names: &[&str], key: Option<Fingerprint>) -> Whom {
    Whom { names: names.iter().map(|name| (*name).to_owned()).collect(), key }
}

#[test]
fn names_may_have_spaces() {
    let key = Fingerprint([0xab; 16]);
    assert_eq!(parse("/create Ärzte ohne Grenzen"), Ok(Command::Create("Ärzte ohne Grenzen".to_owned())));
    assert_eq!(parse("/create \"two words\""), Ok(Command::Create("two words".to_owned())));
    assert_eq!(parse("/invite \"Ann Lee\" Bob"), Ok(Command::Invite(whom(&["Ann Lee", "Bob"], None))));
    assert_eq!(parse("/remove \"a \\\"b\\\\\""), Ok(Command::Remove(whom(&["a \"b\\"], None))));
    assert_eq!(parse(&format!("/invite Bob {key}")), Ok(Command::Invite(whom(&["Bob"], Some(key)))));
    assert_eq!(parse(&format!("/verify Bob {key}")), Ok(Command::Verify("Bob".to_owned(), key)));
}

#[test]
fn what_is_wrong_is_told() {
    assert_eq!(parse("/invite"), Err("it goes like this: /invite NAME..".to_owned()));
    assert_eq!(parse("/leave now"), Err("it goes like this: /leave".to_owned()));
    assert!(parse("/verify Bob").is_err());
    assert!(parse("/tmp/x").unwrap_err().starts_with("there is no command /tmp/x"));
    for (name, usage, _) in COMMANDS {
        let argument = if name == "verify" { "x 00000000000000000000000000000000" } else { "x" };
        let line = if usage.is_empty() { format!("/{name}") } else { format!("/{name} {argument}") };
        assert!(parse(&line).is_ok(), "{line}");
    }
}

#[test]
fn it_is_known_what_can_come_next() {
    assert_eq!(unfinished("/in"), (Wanted::Command, 0, "/in".to_owned()));
    assert_eq!(unfinished("/invite Bo"), (Wanted::Person, 8, "Bo".to_owned()));
    assert_eq!(unfinished("/invite Bob "), (Wanted::Person, 12, String::new()));
    assert_eq!(unfinished("/remove Bob \"Ann L"), (Wanted::Member, 12, "Ann L".to_owned()));
    assert_eq!(unfinished("/remove \"Ann "), (Wanted::Member, 8, "Ann ".to_owned()));
    assert_eq!(unfinished("/create x"), (Wanted::Anything, 8, "x".to_owned()));
}

#[test]
fn tab_completes_commands_and_names() {
    let mut now = START;
    let (mut people, network) = group(&["Alice", "Bob", "Bert Brecht"], 20, &mut now);
    let mut dora = Person::new("Dora", 98);
    dora.sync(&network, now);
    let mut desk = Desk::new(&mut people[0], now);
    desk.sync(&network);
    let typed = |desk: &Desk<'_>| desk.session.app.input.text().to_owned();
    desk.write("/inv");
    desk.press(KeyCode::Tab);
    assert_eq!(typed(&desk), "/invite ");
    desk.write("do");
    desk.press(KeyCode::Tab);
    assert_eq!(typed(&desk), "/invite Dora ");
    desk.ctrl('u');
    desk.write("/remove B");
    desk.press(KeyCode::Tab);
    desk.sees("\"Bert Brecht\" Bob");
    desk.write("e");
    desk.press(KeyCode::Tab);
    assert_eq!(typed(&desk), "/remove \"Bert Brecht\" ");
    desk.write("x");
    desk.press(KeyCode::Tab);
    desk.sees("nothing here begins like this");
    desk.press(KeyCode::Backspace);
    desk.press(KeyCode::Enter);
    desk.sees("* Alice removed Bert Brecht");
    desk.write("/re");
    desk.press(KeyCode::Tab);
    desk.sees("/rejoin /remove /rename");
}

#[test]
fn people_come_and_go() {
    let mut now = START;
    let (mut people, network) = group(&["Alice", "Bob", "Carol"], 21, &mut now);
    let mut desk = Desk::new(&mut people[0], now);
    desk.enter("/rename the family");
    desk.sees("* Alice named the group the family");
    desk.sees("the family, 3 members");
    desk.enter("/update");
    desk.sees("you have new keys");
    desk.enter("/remove Alice");
    desk.sees("you can't remove yourself: leave the group");
    desk.ctrl('u');
    desk.enter("/join");
    desk.sees("no invitation waits");
    desk.ctrl('u');
    desk.enter("/leave");
    desk.sees("* Alice leaves: the next who commits carries it out");
    desk.sees("you are leaving");
    desk.sync(&network);
    settle(&mut people.iter_mut().collect::<Vec<_>>(), &network, &mut now);
    let mut desk = Desk::new(&mut people[0], now);
    desk.sees("you are not a member any more");
    desk.enter("is somebody there?");
    desk.sees("you are not a member of the group any more");
    assert_eq!(desk.session.app.input.text(), "is somebody there?");
    let mut desk = Desk::new(&mut people[1], now);
    desk.sees("the family, 2 members");
}

#[test]
fn a_message_may_begin_with_a_slash_or_have_several_lines() {
    let mut alice = Person::new("Alice", 22);
    alice.create("notes", START);
    let mut desk = Desk::new(&mut alice, START);
    desk.enter("/usr/bin is a folder");
    desk.sees("there is no command /usr/bin");
    desk.key(KeyCode::Home, KeyModifiers::NONE);
    desk.enter("/");
    desk.sees("Alice: /usr/bin is a folder");
    desk.event(Event::Paste("first\nsecond\n  third\n".to_owned()));
    desk.press(KeyCode::Enter);
    desk.write("a");
    desk.key(KeyCode::Enter, KeyModifiers::ALT);
    desk.write("b");
    desk.press(KeyCode::Enter);
    desk.enter("   ");
    drop(desk);
    let texts: Vec<_> = alice.messages("notes").into_iter().map(|message| message.text).collect();
    assert_eq!(texts, ["/usr/bin is a folder", "first\nsecond\n  third", "a\nb"]);
}

#[test]
fn each_group_keeps_what_was_typed_in_it() {
    let mut alice = Person::new("Alice", 23);
    alice.create("one", START);
    alice.create("two", START);
    {
        let mut desk = Desk::new(&mut alice, START);
        desk.write("for one");
        desk.ctrl('n');
        desk.sees("two, 1 member");
        assert_eq!(desk.session.app.input.text(), "");
        desk.write("for two");
        desk.ctrl('p');
        assert_eq!(desk.session.app.input.text(), "for one");
        desk.ctrl('u');
        desk.enter("/go two");
        assert_eq!(desk.session.app.input.text(), "for two", "what is there is not lost by a command");
        desk.enter(" and more");
        assert_eq!(desk.session.app.input.text(), "");
        desk.write("unsent");
        assert_eq!(desk.ctrl('c'), Next::Quit);
        desk.session.keep_drafts();
    }
    let mut alice = alice.restart();
    let mut desk = Desk::new(&mut alice, START);
    assert_eq!(desk.session.app.input.text(), "");
    desk.enter("/go two");
    desk.sees("Alice: for two and more");
    assert_eq!(desk.session.app.input.text(), "unsent");
}

#[test]
fn help_is_read_on_any_screen() {
    let mut alice = Person::new("Alice", 24);
    let mut desk = Desk::new(&mut alice, START);
    desk.press(KeyCode::F(1));
    desk.sees("/create NAME");
    for size in [(80, 24), (40, 10)] {
        desk.resize(size.0, size.1);
        for _ in 0..100 {
            desk.press(KeyCode::PageDown);
        }
        desk.sees("in UTC.");
    }
    desk.press(KeyCode::F(1));
    desk.misses("UTC");
}
