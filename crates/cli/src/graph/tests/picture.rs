//! A history with all that can be in one, for people to look at.

use std::path::PathBuf;

use super::*;

/// Not a test: `DMLS_GRAPH=folder cargo test -p dmls-cli to_look_at -- --ignored` draws it as a picture, for Graphviz, and for a terminal.
#[test]
#[ignore = "it draws, for people to look at it"]
fn to_look_at() {
    let folder = PathBuf::from(std::env::var("DMLS_GRAPH").expect("DMLS_GRAPH is a folder"));
    let view = (0..99).find_map(everything).unwrap().view(0).with_title("Rowing club");
    let view = view.with_messages(|id| Some(u64::from(id.as_bytes()[0] % 5)));
    std::fs::write(folder.join("graph.svg"), svg(&view, false)).unwrap();
    std::fs::write(folder.join("graph.dot"), dot(&view, false)).unwrap();
    let look = Look { color: true, unicode: true };
    let drawing = Drawing { look, detail: Detail::Usual, width: Some(96), ..BRIEF };
    std::fs::write(folder.join("graph.txt"), drawn(&view, &drawing).join("\n") + "\n").unwrap();
}

/// A long quiet time; a split whose losing side lost each other once more; another crossing that is harmless. Where it comes out so.
fn everything(seed: u64) -> Option<People> {
    let mut people = People::new(&["Alice", "Bob", "Carol", "Dora", "李小龍"], seed);
    for _ in 0..40 {
        people.later(3600);
        let (_, message) = people.commit(0, &Do::Renew);
        (1..5).for_each(|who| drop(people.receive(who, &message)));
    }
    people.network(Network::Whole);
    let (_, message) = people.commit(1, &Do::Renew);
    [0, 2, 3, 4].iter().for_each(|who| drop(people.receive(*who, &message)));
    people.network(Network::Split);

    let (bobs, first) = people.commit(1, &Do::Remove(2));
    people.later(400);
    people.receive(3, &first);
    let (_, second) = people.commit(1, &Do::Add("Emil"));
    people.later(60);
    let (_, third) = people.commit(3, &Do::Renew);
    let (_, fourth) = people.commit(3, &Do::Add("Frida"));
    people.later(900);
    let (_, fifth) = people.commit(0, &Do::Add("Gustav with the quite long name"));
    people.later(60);
    [first, second, third, fourth].iter().for_each(|message| drop(people.receive(0, message)));
    if people.groups[0].epoch(&bobs)?.is_on_way() {
        return None;
    }

    people.receive(4, &fifth);
    people.later(6000);
    people.commit(0, &Do::Renew);
    people.later(60);
    let (last, other) = people.commit(4, &Do::Renew);
    people.receive(0, &other);
    people.commit(0, &Do::Remove(2));
    people.later(50);
    (!people.groups[0].epoch(&last)?.is_on_way()).then_some(people)
}
