//! The graph in the language of Graphviz: `dot -Tpdf`.

use std::fmt::Write;

use super::layout::{Folded, What, rows};
use super::text;
use super::view::{EpochView, GraphView, Side};
use super::words;

/// What ends a line, and says where it stands.
const CENTRE: &str = "\\n";
const LEFT: &str = "\\l";

/// Columns of a label's line.
const COLUMNS: usize = 44;

/// The graph; `all` folds nothing.
pub fn dot(view: &GraphView, all: bool) -> String {
    let mut out = format!("digraph epochs {{\n  label=\"{}\";\n", label(&[view.title().to_owned()], CENTRE));
    // In the order of their edges: the branch that won is on the left.
    out.push_str("  labelloc=t; fontname=\"sans-serif\"; ordering=out; nodesep=0.4; ranksep=0.35; bgcolor=transparent;\n");
    out.push_str("  node [shape=box, style=\"rounded,filled\", fontname=\"sans-serif\", fontsize=11];\n");
    out.push_str("  edge [arrowsize=0.6, penwidth=1.5, fontname=\"sans-serif\", fontsize=10, fontcolor=\"#7d5a0b\"];\n");
    // Of each epoch, the node in which it is.
    let mut nodes: Vec<usize> = (0..view.epochs().len()).collect();
    for row in rows(view, all) {
        match row.what {
            What::Epoch(place) => epoch(view, place, &mut out),
            What::Fold(places) => {
                let first = places.first().copied().unwrap_or_default();
                places.iter().for_each(|place| nodes[*place] = first);
                let folded = Folded::of(view, &places);
                let label = label(&[folded.text, folded.more], CENTRE);
                let _ = writeln!(
                    out,
                    "  e{first} [label=\"{label}\", shape=plaintext, style=\"\", fontcolor=\"#59636e\"];"
                );
            }
            What::Fork(_) | What::Forgotten(_) => {}
        }
    }
    for place in 0..view.epochs().len() {
        edges(view, place, &nodes, &mut out);
    }
    out.push_str("}\n");
    out
}

fn epoch(view: &GraphView, place: usize, out: &mut String) {
    let epoch = &view.epochs()[place];
    let messages = epoch.messages.filter(|messages| *messages > 0);
    let messages = messages.map(|messages| words::count(messages as usize, "message"));
    let here = epoch.is_head.then(|| "you are here".to_owned());
    let note = (!epoch.note.is_empty()).then(|| epoch.note.clone());
    let name = format!("epoch {} · {}", epoch.number, epoch.short());
    let lines = [Some(epoch.sentence()), Some(name), messages, here, note];
    let lines: Vec<String> = lines.into_iter().flatten().collect();
    let (label, tooltip) = (label(&lines, CENTRE), escape(&tooltip(epoch)));
    let fill = match (epoch.side, epoch.is_gone()) {
        (_, true) => "#f6f8fa",
        (Side::Way, false) => "#e3f5ea",
        (Side::Lost, false) => "#fbe9f0",
    };
    let (ink, colour) = (if epoch.is_gone() { "#59636e" } else { "#1f2328" }, colour(epoch.side));
    let borders = if epoch.is_head { 2 } else { 1 };
    let _ = writeln!(
        out,
        "  e{place} [label=\"{label}\", tooltip=\"{tooltip}\", color=\"{colour}\", fillcolor=\"{fill}\", fontcolor=\"{ink}\", \
         peripheries={borders}];"
    );
}

/// The edges to what follows an epoch. What happened where branches part stands beside the first that lost.
fn edges(view: &GraphView, place: usize, nodes: &[usize], out: &mut String) {
    let next = view.next(place);
    let mut told = view.is_fork(place).then(|| words::fork(view, place));
    for child in view.children(place).iter().filter(|child| nodes[**child] != nodes[place]) {
        let weight = if next == Some(*child) { 10 } else { 1 };
        let told = if next == Some(*child) { None } else { told.take() };
        let told = told.map(|told| format!(", label=\"{}\"", label(&told, LEFT)));
        let _ = writeln!(
            out,
            "  e{} -> e{} [color=\"{}\", weight={weight}{}];",
            nodes[place],
            nodes[*child],
            colour(view.epochs()[*child].side),
            told.unwrap_or_default()
        );
    }
}

fn tooltip(epoch: &EpochView) -> String {
    let kept = epoch.kept.as_ref().map(|kept| format!(", kept {kept}")).unwrap_or_default();
    format!("{}{kept}", epoch.hex())
}

fn colour(side: Side) -> &'static str {
    match side {
        Side::Way => "#1a7f4b",
        Side::Lost => "#bf4a73",
    }
}

/// Lines, each as long as it is read easily, and each with what ends it.
fn label(lines: &[String], end: &str) -> String {
    let wrapped = lines.iter().flat_map(|line| text::wrap(line, COLUMNS, "…"));
    wrapped.map(|line| escape(&line) + end).collect()
}

/// Text between quotes: Graphviz looks for backslashes and for entities of HTML in it.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('\\', "\\\\").replace('"', "\\\"")
}
