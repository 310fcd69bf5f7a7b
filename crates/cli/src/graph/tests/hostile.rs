//! Names are other people's: nothing in them is more than text.

use super::super::text;
use super::*;

const NAMES: [&str; 6] = [
    "\x1b]0;owned\x07\x1b[2J<script>alert(1)</script>",
    "\"];e0 [URL=\"javascript:x\"];\\",
    "\u{202e}gnp.exe\u{9b}31m&lt;\u{0}",
    "]]>--><!ENTITY x \"&x;\">'\u{fffe}\r\nBcc: all",
    "Zalgo\u{0316}\u{0317}\u{0318}\u{0319}\u{031c}",
    "",
];

fn view() -> GraphView {
    let mut people = People::new(&NAMES, 3);
    for who in 0..NAMES.len() {
        people.commit(who, &Do::Remove((who + 1) % NAMES.len()));
    }
    let start = people.groups[0].epochs().nth(1).unwrap().id().clone();
    people.commit_at(0, &start);
    people.view(0).with_title(NAMES[0]).with_notes(|_| NAMES[1].into())
}

/// What can't be in a line, however it is drawn.
fn is_bad(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[test]
fn on_a_terminal() {
    for unicode in [true, false] {
        let drawing = Drawing {
            look: Look { color: false, unicode },
            detail: Detail::Technical,
            reasons: true,
            ..BRIEF
        };
        for line in drawn(&view(), &drawing) {
            assert!(!line.chars().any(is_bad), "{line:?}");
            assert!(unicode || line.is_ascii(), "{line:?}");
        }
    }
    // Of colours only ours: after each escape one of the codes that we write.
    let drawing = Drawing { look: Look { color: true, unicode: true }, ..BRIEF };
    for line in drawn(&view(), &drawing) {
        for code in line.split('\x1b').skip(1) {
            let code = code.strip_prefix('[').and_then(|code| code.split_once('m')).unwrap().0;
            assert!(["0", "1", "2", "31", "32", "33"].contains(&code), "{line:?}");
        }
    }
}

#[test]
fn in_a_picture() {
    let (view, picture) = (view(), svg(&view(), true));
    let document = roxmltree::Document::parse(&picture).unwrap();
    let known = ["svg", "title", "desc", "style", "rect", "circle", "path", "text", "tspan", "g"];
    for element in document.descendants().filter(|node| node.is_element()) {
        assert!(known.contains(&element.tag_name().name()), "{}", element.tag_name().name());
        assert!(element.attributes().all(|attribute| !attribute.name().starts_with("on")));
    }
    assert!(document.root_element().children().any(|node| node.text() == Some(view.title())));
    assert!(!picture.chars().any(|c| c != '\n' && is_bad(c)));
}

/// Outside of quotes there is only what we write.
#[test]
fn in_the_language_of_graphviz() {
    let graph = dot(&view(), true);
    let (mut outside, mut is_quoted, mut is_escaped) = (String::new(), false, false);
    for c in graph.chars() {
        match (is_quoted, is_escaped, c) {
            (true, false, '\\') => is_escaped = true,
            (_, false, '"') => is_quoted = !is_quoted,
            (false, _, c) => outside.push(c),
            (true, ..) => is_escaped = false,
        }
    }
    assert!(!is_quoted);
    assert!(!outside.contains("URL") && !outside.contains("script") && !outside.contains('\\'), "{outside}");
    assert!(!graph.chars().any(|c| c != '\n' && is_bad(c)));
}

#[test]
fn in_data() {
    let data = json(&view()).to_string();
    let data: serde_json::Value = serde_json::from_str(&data).unwrap();
    let by: Vec<_> =
        data["epochs"].as_array().unwrap().iter().filter_map(|epoch| epoch["committer"].as_str()).collect();
    assert!(!by.is_empty() && by.iter().all(|by| !by.chars().any(is_bad) && text::width(by) <= 32), "{by:?}");
}

/// Not a test: see `picture.rs`.
#[test]
#[ignore = "it draws, for people to look at it"]
fn to_look_at() {
    let folder = std::path::PathBuf::from(std::env::var("DMLS_GRAPH").expect("DMLS_GRAPH is a folder"));
    std::fs::write(folder.join("hostile.svg"), svg(&view(), true)).unwrap();
    std::fs::write(folder.join("hostile.dot"), dot(&view(), true)).unwrap();
}
