//! Long histories: folded, and in linear time.

use super::super::layout::{What, rows};
use super::*;

#[test]
fn a_long_run_is_folded() {
    let mut people = People::new(&["Alice", "Bob"], 2);
    for _ in 0..1000 {
        people.later(60);
        people.commit(0, &Do::Renew);
    }
    let start = people.groups[0].epochs().nth(501).unwrap();
    let (id, is_known) = (start.id().clone(), start.level() == Level::Known);
    let expected = "
●    0  the group was created
┊ … 998 epochs, 1 to 998       by Alice; members came or went in 1 of them
●  999  Alice renewed keys
● 1000  Alice renewed keys
◉ 1001  Alice renewed keys     ← you are here
";
    let told = drawn(&people.view(0), &BRIEF).join("\n").replace('•', "●");
    assert_eq!(told, expected.trim_matches('\n'));
    assert_eq!(drawn(&people.view(0), &Drawing { all: true, ..BRIEF }).len(), 1002);
    assert!(is_known, "{id:?}");
}

#[test]
fn what_is_of_interest_is_not_folded() {
    let mut epochs: Vec<_> =
        (0..60).map(|name| epoch(name, name.checked_sub(1), name.into(), Side::Way)).collect();
    epochs.extend((60..80).map(|name| {
        epoch(name, Some(if name == 60 { 30 } else { name - 1 }), u64::from(name) - 29, Side::Lost)
    }));
    epochs[59].is_head = true;
    epochs[45].note = "Bob is here".into();
    let expected = "
•  0  Ann renewed keys
┊ … 27 epochs, 1 to 27     by Ann
• 28  Ann renewed keys
• 29  Ann renewed keys
• 30  Ann renewed keys
│  Two commits crossed here: Ann's won, another one lost.
├─○ 31  Ann renewed keys   ✗ lost
│ ┊ … 16 epochs, 32 to 47  by Ann
│ ○ 48  Ann renewed keys
│ ○ 49  Ann renewed keys
│ ○ 50  Ann renewed keys
• 31  Ann renewed keys
┊ … 11 epochs, 32 to 42    by Ann
• 43  Ann renewed keys
• 44  Ann renewed keys
• 45  Ann renewed keys     Bob is here
┊ … 11 epochs, 46 to 56    by Ann
• 57  Ann renewed keys
• 58  Ann renewed keys
◉ 59  Ann renewed keys     ← you are here
";
    assert_drawn(&GraphView::new(epochs), &BRIEF, expected);
}

/// 10,000 epochs in a line, each with a branch, each branch with branches of its own: nothing calls itself, and the drawing does not get
/// wider than the logarithm.
#[test]
fn a_deep_graph_is_drawn_in_linear_time() {
    const COUNT: u32 = 10_000;
    let line = |name: u32| epoch(name, name.checked_sub(1), name.into(), Side::Way);
    let lost = |name: u32| {
        epoch(name, name.checked_sub(1), name.into(), if name == 0 { Side::Way } else { Side::Lost })
    };
    // A branch that lost, from each epoch of which another one parts.
    let comb = |name: u32| match name % 2 {
        0 => epoch(name, name.checked_sub(2), u64::from(name / 2), Side::Lost),
        _ => epoch(name, Some(name - 1), u64::from(name / 2) + 1, Side::Lost),
    };
    let tree =
        |name: u32| epoch(name, (name > 0).then(|| (name - 1) / 2), (name + 1).ilog2().into(), Side::Lost);
    let started = std::time::Instant::now();
    for graph in [&line as &dyn Fn(u32) -> _, &lost, &comb, &tree] {
        let view = GraphView::new((0..COUNT).map(graph).collect());
        let rows = rows(&view, true);
        let count = rows.iter().filter(|row| matches!(row.what, What::Epoch(_))).count();
        assert_eq!(count, COUNT as usize);
        assert!(rows.iter().all(|row| row.bars.len() <= 14));
        assert!(drawn(&view, &Drawing { all: true, detail: Detail::Usual, ..BRIEF }).len() >= count);
        roxmltree::Document::parse(&svg(&view, true)).unwrap();
        assert!(dot(&view, true).matches(" -> e").count() >= count - 1);
        assert_eq!(json(&view)["epochs"].as_array().unwrap().len(), count);
    }
    // Some tenths of a second; a quadratic way takes minutes.
    assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
}
