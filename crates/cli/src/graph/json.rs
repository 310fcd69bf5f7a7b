//! The graph for programs. Names of fields stay as they are; new ones may come.
//!
//! | | |
//! |---|---|
//! | `type` | `graph` |
//! | `title` | what stands above the drawing |
//! | `now` | what ages are counted from, in seconds since 1970; `null` if not known |
//! | `head` | the id of the epoch in which we send |
//! | `stranded` | whether the branch that won goes where this device can't follow |
//! | `epochs` | all of them, parents first; nothing is folded |
//! | `forks` | where branches part |
//!
//! An epoch:
//!
//! | | |
//! |---|---|
//! | `id`, `short`, `number` | its name in hex digits, the first of them, its number |
//! | `parent` | the id of the epoch before it; `null` if that is not known; it may not be in `epochs` any more |
//! | `confirmation_tag` | of its commit, in hex digits |
//! | `side` | `way` or `lost` |
//! | `head`, `final`, `fork` | whether it is the head; said to be final; whether branches part after it |
//! | `level` | `full`, `readable`, `known`; `null` if not known |
//! | `kept` | in words, for whom or until when; `null` if only its name is left |
//! | `made` | when it came here, in seconds since 1970 |
//! | `committer` | who made its commit; `null` of the first one that a member has |
//! | `change` | in words, what the commit did |
//! | `messages` | how many were sent in it; `null` if nobody counted |
//! | `note` | what else is to be said of it; `null` if nothing |
//!
//! A fork: `at`, the id of the epoch after which branches part; `number`, of that epoch; `won`, the id of the first epoch of the branch that
//! won, or `null`; `lost`, of each branch that lost `first`, the id of its first epoch, `epochs`, how many it has, and `messages`, how
//! many of the counted ones were sent in them; `text`, what happened, in words.

use serde_json::{Value, json};

use super::view::{GraphView, Side};
use super::words;
use crate::term::hex;

/// The graph as one object.
pub fn json(view: &GraphView) -> Value {
    json!({
        "type": "graph",
        "title": view.title(),
        "now": view.now().map(|now| now.0),
        "head": view.head().map(|place| view.epochs()[place].hex()),
        "stranded": view.is_stranded(),
        "epochs": (0..view.epochs().len()).map(|place| epoch(view, place)).collect::<Vec<_>>(),
        "forks": view.forks().map(|place| fork(view, place)).collect::<Vec<_>>(),
    })
}

fn epoch(view: &GraphView, place: usize) -> Value {
    let epoch = &view.epochs()[place];
    json!({
        "id": epoch.hex(),
        "short": epoch.short(),
        "number": epoch.number,
        "parent": epoch.parent.as_ref().map(|parent| hex(parent.as_bytes())),
        "confirmation_tag": epoch.tag,
        "side": match epoch.side {
            Side::Way => "way",
            Side::Lost => "lost",
        },
        "head": epoch.is_head,
        "final": epoch.is_final,
        "fork": view.is_fork(place),
        "level": epoch.level.map(words::level),
        "kept": epoch.kept,
        "made": epoch.made.map(|made| made.0),
        "committer": epoch.by,
        "change": epoch.what,
        "messages": epoch.messages,
        "note": (!epoch.note.is_empty()).then_some(&epoch.note),
    })
}

fn fork(view: &GraphView, place: usize) -> Value {
    let is_lost = |child: &&usize| view.epochs()[**child].side == Side::Lost;
    let won = view.children(place).iter().find(|child| !is_lost(child));
    let lost = view.children(place).iter().filter(is_lost).map(|first| {
        json!({
            "first": view.epochs()[*first].hex(),
            "epochs": view.size(*first),
            "messages": view.messages_from(*first),
        })
    });
    json!({
        "at": view.epochs()[place].hex(),
        "number": view.epochs()[place].number,
        "won": won.map(|won| view.epochs()[*won].hex()),
        "lost": lost.collect::<Vec<_>>(),
        "text": words::fork(view, place).join(" "),
    })
}
