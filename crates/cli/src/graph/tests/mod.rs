//! Groups with forks, as they are drawn.

mod hostile;
mod large;
mod people;
mod picture;
mod told;

use dmls::{EpochId, Level, Network};

use people::{Do, People, epoch, won_by};

use super::{Detail, Drawing, GraphView, Side, dot, json, lines, svg};
use crate::term::Look;

const BRIEF: Drawing = Drawing {
    look: Look { color: false, unicode: true },
    width: None,
    all: false,
    detail: Detail::Brief,
    reasons: false,
};

fn drawn(view: &GraphView, drawing: &Drawing) -> Vec<String> {
    lines(view, drawing).iter().map(|line| line.paint(drawing.look)).collect()
}

/// The drawing is this one, but for blanks behind lines.
#[track_caller]
fn assert_drawn(view: &GraphView, drawing: &Drawing, expected: &str) {
    let expected: Vec<&str> = expected.trim_matches('\n').lines().map(|line| line.trim_end()).collect();
    assert_eq!(drawn(view, drawing), expected, "\n{}", drawn(view, drawing).join("\n"));
}

/// Alice and Bob commit at the same time: Alice adds Dave, Bob removes Carol and goes on.
fn crossed(seed: u64) -> (People, EpochId, EpochId) {
    let mut people = People::new(&["Alice", "Bob", "Carol"], seed);
    people.later(60);
    let (bobs, first) = people.commit(1, &Do::Remove(2));
    let (_, second) = people.commit(1, &Do::Renew);
    people.later(300);
    let (alices, message) = people.commit(0, &Do::Add("Dave"));
    people.receive(0, &first);
    people.receive(0, &second);
    people.receive(1, &message);
    people.later(7200);
    (people, alices, bobs)
}

#[test]
fn a_line() {
    let mut people = People::new(&["Alice", "Bob"], 1);
    people.commit(0, &Do::Renew);
    let expected = "
●  0  the group was created
●  1  Alice added Bob
◉  2  Alice renewed keys     ← you are here
";
    assert_drawn(&people.view(0), &BRIEF, expected);
}

#[test]
fn a_fork() {
    let people = won_by(0, crossed);
    let expected = "
●  0  the group was created
●  1  Alice added Bob and Carol
│  Two commits crossed here: Alice's won, Bob's lost.
├─○  2  Bob removed Carol        ✗ lost
│ ○  3  Bob renewed keys
◉  2  Alice added Dave           ← you are here
";
    assert_drawn(&people.view(0), &BRIEF, expected);
    let ascii = Drawing { look: Look { color: false, unicode: false }, ..BRIEF };
    let expected = "
*  0  the group was created
*  1  Alice added Bob and Carol
|  Two commits crossed here: Alice's won, Bob's lost.
|-o  2  Bob removed Carol        x lost
| o  3  Bob renewed keys
@  2  Alice added Dave           <- you are here
";
    assert_drawn(&people.view(0), &ascii, expected);
}

/// Bob was on his own branch until Alice's commit came: his head has turned.
#[test]
fn a_fork_after_which_the_head_turned() {
    let people = won_by(0, crossed);
    let lost = people.view(1).epochs().iter().rfind(|epoch| epoch.side == Side::Lost).unwrap().id.clone();
    let view = people.view(1).with_messages(|id| (*id == lost).then_some(3));
    let drawing = Drawing { detail: Detail::Usual, width: Some(78), ..BRIEF };
    let told = drawn(&view, &drawing).join("\n");
    for part in [
        "this device joined",
        "Two commits crossed here: Alice's won, Bob's lost.",
        "Undone by this: Bob removed Carol; 3 messages were sent there.",
        "First here was Bob's, Alice's came 5 min later.",
        "← you are here  2 hours ago",
    ] {
        assert!(told.replace("\n│  ", " ").contains(part), "{part}:\n{told}");
    }
}

/// One member, who commits where it should not any more: a branch parts from a branch that lost.
#[test]
fn forks_in_forks() {
    let nested = (0..99).find_map(|seed| {
        let mut people = People::new(&["Alice"], seed);
        let start = people.groups[0].head().id().clone();
        let first = people.commit_at(0, &start);
        let second = people.commit_at(0, &first);
        people.commit_at(0, &first);
        people.commit_at(0, &second);
        let winner = people.commit_at(0, &start);
        people.groups[0].epoch(&winner).unwrap().is_on_way().then_some(people)
    });
    let expected = "
●  0  the group was created
│  Two commits crossed here: Alice's won, another one lost.
├─○  1  Alice renewed keys    ✗ lost
│ │  Two commits crossed here, too: all of them Alice's; the whole branch lost.
│ ├─○  2  Alice renewed keys
│ ○  2  Alice renewed keys
│ ○  3  Alice renewed keys
◉  1  Alice renewed keys      ← you are here
";
    assert_drawn(&nested.unwrap().view(0), &BRIEF, expected);
}

/// More than two, a branch in the middle of which another begins, and what follows the end of the way.
#[test]
fn many_at_one_place_and_nobody_who_won() {
    let mut epochs = vec![epoch(0, None, 0, Side::Way), epoch(1, Some(0), 1, Side::Way)];
    epochs.extend((2..5).map(|name| epoch(name, Some(1), 2, Side::Lost)));
    epochs.push(epoch(5, Some(3), 3, Side::Lost));
    epochs[1].is_head = true;
    for (place, by) in [(2, "Ben"), (3, "Cleo"), (4, "Dan")] {
        epochs[place].by = Some(by.into());
    }
    let expected = "
•  0  Ann renewed keys
◉  1  Ann renewed keys     ← you are here
│  3 commits crossed here, and all of them lost: Cleo's, Dan's and Ben's.
├─○  2  Cleo renewed keys  ✗ lost
│ ○  3  Ann renewed keys
├─○  2  Dan renewed keys   ✗ lost
╰─○  2  Ben renewed keys   ✗ lost
";
    assert_drawn(&GraphView::new(epochs), &BRIEF, expected);
}

/// What was before is not known, and the way goes on where nobody can follow.
#[test]
fn the_ends_of_what_is_known() {
    let mut epochs: Vec<_> =
        (7..10).map(|name| epoch(name, Some(name - 1), name.into(), Side::Way)).collect();
    epochs.push(epoch(20, Some(19), 8, Side::Lost));
    epochs[1].is_head = true;
    epochs[1].level = Some(Level::Full);
    let view = GraphView::new(epochs);
    let expected = "
┊ … what was before is not known here any more
•  7  Ann renewed keys
◉  8  Ann renewed keys                          ← you are here
•  9  Ann renewed keys
┊ … what was before is not known here any more
○  8  Ann renewed keys
";
    assert_drawn(&view, &BRIEF, expected);
    assert!(view.is_stranded());
    assert!(svg(&view, false).contains("has to join again"));
}

#[test]
fn lines_are_as_wide_as_they_may_be() {
    let people = won_by(0, crossed);
    let view = people.view(0).with_messages(|_| Some(12));
    for detail in [Detail::Brief, Detail::Usual, Detail::Technical] {
        for width in 1..100 {
            let drawing = Drawing { detail, width: Some(width), reasons: true, ..BRIEF };
            for line in lines(&view, &drawing) {
                // Lanes, a sign and a character are drawn however narrow it is.
                assert!(super::text::width(&line.text()) <= width.max(6), "{width}: {}", line.text());
            }
        }
    }
    let drawing = Drawing { width: Some(24), ..BRIEF };
    let told = drawn(&view, &drawing);
    assert_eq!(told[1], "●  1  Alice added Bob a…");
    assert_eq!(told.last().unwrap(), "◉  2  Alice added Dave");
}

#[test]
fn reasons_ages_and_messages() {
    let people = won_by(0, crossed);
    let head = people.groups[0].head().id().clone();
    let view = people.view(0).with_messages(|id| Some(u64::from(*id == head)));
    let view = view.with_notes(|epoch| if epoch.number == 1 { "Bob is here".into() } else { String::new() });
    let drawing = Drawing { detail: Detail::Usual, reasons: true, ..BRIEF };
    let told = drawn(&view, &drawing);
    for part in [
        "1 message  2 hours ago",
        "Bob is here",
        "kept until the delivery service lets it go",
        "kept in use: ",
    ] {
        assert!(told.iter().any(|line| line.contains(part)), "{part}:\n{}", told.join("\n"));
    }
    let technical = drawn(&view, &Drawing { detail: Detail::Technical, ..drawing }).join("\n");
    assert!(technical.contains(" ★ wins  head, full") && technical.contains(" ✗ loses  full"), "{technical}");
}

#[test]
fn as_data() {
    let people = won_by(0, crossed);
    let (view, group) = (people.view(0), &people.groups[0]);
    let data = json(&view);
    assert_eq!(data["epochs"].as_array().unwrap().len(), group.epochs().count());
    for (told, epoch) in data["epochs"].as_array().unwrap().iter().zip(group.epochs()) {
        assert_eq!(told["id"], crate::term::hex(epoch.id().as_bytes()));
        assert_eq!((&told["head"], &told["number"]), (&epoch.is_head().into(), &epoch.number().into()));
        assert_eq!(told["side"], if epoch.is_on_way() { "way" } else { "lost" });
        assert_eq!(told["made"], epoch.made().0);
    }
    let fork = &data["forks"][0];
    assert_eq!((&fork["number"], &fork["won"]), (&1.into(), &data["head"]));
    assert_eq!((&fork["lost"][0]["epochs"], fork["lost"].as_array().unwrap().len()), (&2.into(), 1));
    assert!(
        fork["text"].as_str().unwrap().starts_with("Two commits crossed here: Alice's won, Bob's lost. ")
    );
}

#[test]
fn pictures_have_each_epoch_once() {
    let people = won_by(0, crossed);
    let view = people.view(0);
    let picture = svg(&view, false);
    let document = roxmltree::Document::parse(&picture).unwrap();
    let titles = document
        .descendants()
        .filter(|node| node.has_tag_name("title") && node.parent_element().unwrap().has_tag_name("g"));
    let titles: Vec<_> = titles.map(|title| title.text().unwrap()).collect();
    let graph = dot(&view, false);
    for epoch in view.epochs() {
        assert_eq!(titles.iter().filter(|title| title.contains(&epoch.hex())).count(), 1);
        assert_eq!(graph.matches(&epoch.hex()).count(), 1);
    }
    assert!(!picture.contains("<script") && !picture.contains("href") && !picture.contains("url("));
    assert_eq!(graph.matches(" -> e").count(), 4);
}
