//! What a group does at its limits and when something went wrong: one test for each thing that a reader, an attacker or a
//! new user of the first edition found. All through the public interface.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can't go on fails")]

mod arrived;
#[path = "../common/mod.rs"]
mod common;
mod consolidate;
mod epochs;
mod joining;
mod limits;
mod loading;
mod network;
mod own_commits;
mod removals;
mod retention;
mod whereabouts;

use common::{Client, NOW, SPLIT, group, rng};
use dmls::codec::{Decode, Encode};
use dmls::crypto::Tag;
use dmls::framing::MlsMessage;
use dmls::{Config, DmlsMessage, EpochId, NewEpoch, Outcome, SentCommit};
use rand_chacha::ChaCha20Rng;

fn pair(config: &Config, seed: u64) -> (Client, Client) {
    let [a, b] = group(&["alice", "bob"], config, &mut rng(2000 + seed)).try_into().ok().unwrap();
    (a, b)
}

fn trio(config: &Config, seed: u64) -> (Client, Client, Client) {
    let [a, b, c] = group(&["alice", "bob", "carol"], config, &mut rng(2000 + seed)).try_into().ok().unwrap();
    (a, b, c)
}

/// The confirmation tag of a commit that is a PublicMessage.
fn tag_of(message: &[u8]) -> Tag {
    let MlsMessage::PublicMessage(message) = DmlsMessage::from_bytes(message).unwrap().message else {
        panic!("not public")
    };
    message.auth.confirmation_tag.unwrap()
}

fn with_header(message: &[u8], header: &[u8]) -> Vec<u8> {
    let mut message = DmlsMessage::from_bytes(message).unwrap();
    message.dmls_epoch = header.into();
    message.to_bytes()
}

/// Commits of one epoch that are sent and never confirmed, the lowest tag first. The config must be public.
fn rivals(by: &mut Client, epoch: &EpochId, count: usize, rng: &mut ChaCha20Rng) -> Vec<SentCommit> {
    let mut all: Vec<_> = (0..count)
        .map(|_| {
            let sent = by.run(|group| group.commit().at(epoch).stage(NOW, rng)).unwrap();
            by.run(|group| group.discard_unsent(&sent.id)).unwrap();
            sent
        })
        .collect();
    all.sort_by_key(|sent| tag_of(&sent.message).as_bytes().to_vec());
    all
}

/// All orders of some things.
fn permutations<T: Copy>(items: &[T]) -> Vec<Vec<T>> {
    if items.is_empty() {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for (place, first) in items.iter().enumerate() {
        let rest = [&items[..place], &items[place + 1..]].concat();
        for mut order in permutations(&rest) {
            order.insert(0, *first);
            all.push(order);
        }
    }
    all
}

fn new_epoch(outcome: Outcome) -> NewEpoch {
    match outcome {
        Outcome::Commit(new) => *new,
        other => panic!("not a commit: {other:?}"),
    }
}

/// Commits in the head, confirms, and gives it to the others.
fn advance(by: &mut Client, others: &mut [&mut Client], rng: &mut ChaCha20Rng) -> SentCommit {
    let sent = by.stage(rng);
    by.confirm(&sent, SPLIT);
    for other in others {
        let new = new_epoch(other.receive(&sent.message, SPLIT).unwrap());
        assert_eq!(new.id, sent.epoch);
    }
    sent
}
