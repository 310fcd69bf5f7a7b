//! `dmls inspect --records FILE --exposure`: what whoever takes these records learns.

use dmls::exposure::{EpochExposure, Exposure, MessageKeys, PendingExposure, ProcessingKeys, RatchetKeys};
use dmls::{Kept, Level, Member};
use serde_json::{Value, json};

use super::records::network;
use crate::demo::tell::name;
use crate::graph::words::level;
use crate::term::hex;

/// As data.
pub fn json(report: &Exposure) -> Value {
    json!({
        "type": "exposure",
        "group_id": hex(&report.group_id),
        "now": report.now.0,
        "network": network(report.network),
        "epochs": report.epochs.iter().map(epoch).collect::<Vec<_>>(),
        "erased": report.erased,
        "resumption_psks": report.resumption_psks.iter().map(|id| hex(id.as_bytes())).collect::<Vec<_>>(),
        "pending": report.pending.iter().map(pending).collect::<Vec<_>>(),
        "signature_keys": report.signature_keys.iter().map(|key| hex(key.as_bytes())).collect::<Vec<_>>(),
        "tree_keys": report.tree_keys,
        "unsent_welcomes": report.unsent_welcomes,
        "held_messages": report.held_messages,
    })
}

fn epoch(epoch: &EpochExposure) -> Value {
    json!({
        "id": hex(epoch.id.as_bytes()),
        "number": epoch.number,
        "level": level(epoch.level),
        "made": epoch.made.0,
        "kept": kept(&epoch.kept),
        "messages": messages(&epoch.messages),
        "processing": epoch.processing.as_ref().map(processing),
    })
}

fn pending(pending: &PendingExposure) -> Value {
    json!({
        "commit": hex(pending.commit.as_bytes()),
        "parent": pending.parent.as_ref().map(|id| hex(id.as_bytes())),
        "id": hex(pending.id.as_bytes()),
        "number": pending.number,
        "made": pending.made.0,
        "given_up": pending.given_up,
        "messages": messages(&pending.messages),
        "processing": processing(&pending.processing),
    })
}

fn kept(kept: &Kept) -> Value {
    let members = |members: &[Member]| {
        let member = |member: &Member| json!({ "leaf": member.leaf.0, "name": name(&member.credential) });
        members.iter().map(member).collect::<Vec<_>>()
    };
    let why = |why: &str| json!({ "why": why, "text": kept.to_string() });
    let mut told = why(match kept {
        Kept::Head => "head",
        Kept::Due(_) => "due",
        Kept::NextCommit => "next_commit",
        Kept::Told => "told",
        Kept::Members { .. } => "members",
        Kept::Fork { .. } => "fork",
        Kept::Late { .. } => "late",
        Kept::Messages => "messages",
        _ => "other",
    });
    match kept {
        Kept::Due(Level::Readable) => told["leaves"] = json!("readable"),
        Kept::Due(_) => told["leaves"] = json!("known"),
        Kept::Members { silent, removed, until } => {
            told["silent"] = json!(members(silent));
            told["removed"] = json!(members(removed));
            told["until"] = json!(until.map(|until| until.0));
        }
        Kept::Fork { parts } => told["parts"] = json!(hex(parts.as_bytes())),
        Kept::Late { since, until } => {
            told["since"] = json!(since.0);
            told["until"] = json!(until.0);
        }
        _ => {}
    }
    told
}

fn messages(messages: &MessageKeys) -> Value {
    let ratchet = |keys: &RatchetKeys| json!({ "skipped": keys.skipped, "next": keys.next });
    let used = messages.used.iter().map(|sender| {
        json!({
            "leaf": sender.leaf.0,
            "handshake": ratchet(&sender.handshake),
            "application": ratchet(&sender.application),
        })
    });
    json!({ "used": used.collect::<Vec<_>>(), "unused": messages.unused })
}

fn processing(keys: &ProcessingKeys) -> Value {
    let tree_keys = keys.tree_keys.iter().map(|key| {
        json!({
            "node": key.node.0,
            "encrypted_by": key.encrypted_by,
            "epochs": key.epochs,
            "in_head": key.in_head,
        })
    });
    json!({
        "tree_keys": tree_keys.collect::<Vec<_>>(),
        "punctured": keys.punctured,
        "external_commits": keys.external_commits,
        "own_updates": keys.own_updates,
    })
}
