//! `dmls inspect --records`: the epoch graph of a stored group.

use std::collections::BTreeMap;

use data_encoding::HEXLOWER_PERMISSIVE;
use dmls::danger::AcceptAnyCredential;
use dmls::{Config, EpochId, EpochRef, Error, Group, KeySchedule, Network, RecordsError, Time};
use serde_json::{Value, json};

use crate::demo::tell::{changes, committer, name};
use crate::graph::words::{count, level};
use crate::graph::{Detail, Drawing, GraphView, lines};
use crate::term::{Look, hex};

/// The group in a dump: one record a line, the key and the value in hex digits. The error says where and why.
pub fn load(dump: &[u8]) -> Result<Group, String> {
    let records = parse(dump)?;
    // A default authentication service serves, because nothing is received here.
    let config = Config::new(AcceptAnyCredential);
    let loaded = match Group::load(&records, config.clone()) {
        Err(Error::Records(RecordsError::Schedule)) => {
            Group::load(&records, Config { schedule: KeySchedule::Rfc9420, ..config })
        }
        loaded => loaded,
    };
    loaded.map_err(|e| e.to_string())
}

fn parse(dump: &[u8]) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, String> {
    let dump = std::str::from_utf8(dump).map_err(|_| "not a dump: it is not text")?;
    let mut records = BTreeMap::new();
    for (place, line) in dump.lines().enumerate() {
        let wrong = |what: &str| format!("line {}: {what}", place + 1);
        if line.trim().is_empty() || line.trim_start().starts_with('#') {
            continue;
        }
        let mut words = line.split_ascii_whitespace();
        let (key, value, rest) = (words.next(), words.next(), words.next());
        if rest.is_some() {
            return Err(wrong("more than a key and a value"));
        }
        let decode = |word: Option<&str>, what: &str| {
            // The error of the decoder would show what stands there, which may be secret.
            HEXLOWER_PERMISSIVE
                .decode(word.unwrap_or_default().as_bytes())
                .map_err(|_| wrong(&format!("the {what} is not hex digits")))
        };
        if records.insert(decode(key, "key")?, decode(value, "value")?).is_some() {
            return Err(wrong("a key for the second time"));
        }
    }
    Ok(records)
}

/// The epochs, all of them, and what is left of each.
pub fn draw(group: &Group, now: Time, look: Look) -> String {
    let drawing = Drawing { look, width: None, all: true, detail: Detail::Technical, reasons: false };
    let mut text = vec![summary(group)];
    text.extend(lines(&GraphView::of(group, now, &name), &drawing).iter().map(|line| line.paint(look)));
    text.iter().map(|line| format!("{line}\n")).collect()
}

fn summary(group: &Group) -> String {
    let parts = [
        count(group.epochs().count(), "epoch"),
        format!("{} pending", count(group.pending().count(), "commit")),
        format!("{} held", count(group.held(), "message")),
        format!("the network is {}", network(group.network())),
    ];
    format!("group {}: {}", hex(group.id()), parts.join(", "))
}

pub fn network(network: Network) -> &'static str {
    match network {
        Network::Whole => "whole",
        Network::Split => "split",
    }
}

/// The same as data.
pub fn json(group: &Group) -> Value {
    let id = |id: &EpochId| hex(id.as_bytes());
    let epoch = |epoch: EpochRef<'_>| {
        json!({
            "id": id(epoch.id()),
            "parent": epoch.parent().map(id),
            "number": epoch.number(),
            "level": level(epoch.level()),
            "head": epoch.is_head(),
            "way": epoch.is_on_way(),
            "final": epoch.is_final(),
            "confirmation_tag": hex(epoch.confirmation_tag().as_bytes()),
            "commit": hex(epoch.commit_id().as_bytes()),
            "committer": epoch.commit().map(committer),
            "change": epoch.commit().map(changes),
            "members": epoch.members().map(|members| members.len()),
            "made": epoch.made().0,
        })
    };
    json!({
        "type": "records",
        "group_id": hex(group.id()),
        "cipher_suite": group.suite().code().to_string(),
        "key_schedule": match group.config().schedule {
            KeySchedule::Dmls => "dmls",
            KeySchedule::Rfc9420 => "rfc9420",
        },
        "network": network(group.network()),
        "head": id(group.head().id()),
        "pending": group.pending().map(|(commit, _)| hex(commit.as_bytes())).collect::<Vec<_>>(),
        "claimed_removals": group.claimed_removals().map(|id| hex(id.as_bytes())).collect::<Vec<_>>(),
        "held": group.held(),
        "epochs": group.epochs().map(epoch).collect::<Vec<_>>(),
    })
}
