//! What whoever takes a device learns from a group's records now, in numbers (draft s7). Nothing here is secret.
//!
//! It counts what is there. What was read, what was punctured and what was deleted is not, if the store has overwritten it.
//! `Display` says it as a table, with what puncturing does not protect.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::crypto::SignaturePublicKey;
use crate::epoch::{Epoch, Reading};
use crate::key_schedule::{CommitId, EpochId, NextInit};
use crate::secret_tree::RatchetKind;
use crate::time::Time;
use crate::tree::{LeafIndex, NodeIndex, PrivateTree, RatchetTree};

use super::graph::Level;
use super::kept::Keeping;
use super::{EpochRef, Group, Kept, Network};

/// What the records of a group give away.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Exposure {
    /// The group id.
    pub group_id: Vec<u8>,
    /// Now.
    pub now: Time,
    /// What the delivery service said of the network.
    pub network: Network,
    /// Epochs of which more than the name is left, parents first.
    pub epochs: Vec<EpochExposure>,
    /// How many epochs are names only: of these there is nothing but, perhaps, a resumption_psk.
    pub erased: usize,
    /// Epochs whose resumption_psk is there, by number; some of them are names only (RFC 9420 s8.6).
    pub resumption_psks: Vec<EpochId>,
    /// Own commits that are not confirmed.
    pub pending: Vec<PendingExposure>,
    /// Whose private keys are there: ours, one for each identity that we had in these epochs. They sign as us, in any group. Another copy
    /// is in the application's [`crate::Identity`], which is not part of these records and not counted.
    pub signature_keys: Vec<SignaturePublicKey>,
    /// Different private keys of ratchet trees, over all epochs that are full and all own commits that are not confirmed.
    pub tree_keys: usize,
    /// Welcomes that were not sent yet. They are encrypted to those who join; they show the KeyPackages' names.
    pub unsent_welcomes: usize,
    /// Messages held for an epoch that is not here. The keys that open them are not here either.
    pub held_messages: usize,
}

/// What is there of an epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EpochExposure {
    /// Its name.
    pub id: EpochId,
    /// Its number.
    pub number: u64,
    /// Its level: more than [`Level::Known`].
    pub level: Level,
    /// Since when it is here.
    pub made: Time,
    /// Why, and for whom.
    pub kept: Kept,
    /// Messages that can be read.
    pub messages: MessageKeys,
    /// What is there of an epoch that is [`Level::Full`].
    pub processing: Option<ProcessingKeys>,
}

/// What is there of a commit of ours that is not confirmed: all of the epoch that it makes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PendingExposure {
    /// The commit.
    pub commit: CommitId,
    /// The epoch in which it was made, if that is known.
    pub parent: Option<EpochId>,
    /// The epoch that it makes.
    pub id: EpochId,
    /// Its number.
    pub number: u64,
    /// Since when it is here.
    pub made: Time,
    /// Whether it was given up ([`Group::abandon`]).
    pub given_up: bool,
    /// Messages of that epoch that can be read.
    pub messages: MessageKeys,
    /// What processes commits in it.
    pub processing: ProcessingKeys,
}

/// Which messages of an epoch can be read. What a ratchet has passed and not skipped can't: its key is erased.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MessageKeys {
    /// Members of whom a key was used, we among them if we sent something.
    pub used: Vec<SenderKeys>,
    /// How many other members there are: all that these sent in this epoch can be read.
    pub unused: usize,
}

/// Which messages of one member can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SenderKeys {
    /// The member.
    pub leaf: LeafIndex,
    /// Of its encrypted proposals and commits.
    pub handshake: RatchetKeys,
    /// Of its application data.
    pub application: RatchetKeys,
}

/// Which generations of a ratchet have keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RatchetKeys {
    /// Those that were skipped: messages that did not arrive.
    pub skipped: Vec<u32>,
    /// This one and all after it; `None` if there are no more.
    pub next: Option<u32>,
}

/// What makes commits of an epoch readable, and its children derivable. With it are the epoch's exporter secret, which gives all that the
/// application exports, its epoch_authenticator and its membership key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProcessingKeys {
    /// Private keys of the ratchet tree.
    pub tree_keys: Vec<TreeKey>,
    /// At how many children the init secret was punctured: these can't be derived again, all others can. `None` with the RFC's
    /// key schedule: every child can be.
    pub punctured: Option<usize>,
    /// Whether the group lets anybody in by an external commit. Their children can be derived, also those that were: nothing punctures them
    /// (DESIGN s3.4, R5).
    pub external_commits: bool,
    /// Private keys of Updates that we proposed and nobody committed.
    pub own_updates: usize,
}

/// A private key of the ratchet tree.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TreeKey {
    /// Its node.
    pub node: NodeIndex,
    /// How many members encrypt to it when they make a commit in this epoch.
    pub encrypted_by: usize,
    /// In how many epochs that are full it is the node's key, this one counted. It is one key: deleting one of these alone deletes none.
    pub epochs: usize,
    /// Whether the head is one of them: then members will encrypt to it in the next commit, too.
    pub in_head: bool,
}

/// In how many epochs each private key is, by its node and public key.
type Shared<'g> = BTreeMap<(NodeIndex, &'g [u8]), usize>;

impl Group {
    /// What whoever takes the records of this group learns now: for every retained epoch, why it is there and what it gives away. It looks at all
    /// epochs.
    pub fn exposure_report(&self, now: Time) -> Exposure {
        let retained: Vec<_> = self.epochs().filter(|epoch| epoch.level() > Level::Known).collect();
        let full: Vec<_> = retained.iter().filter_map(|epoch| self.full(epoch.id()).ok()).collect();
        let mut shared = Shared::new();
        for key in full.iter().flat_map(|epoch| keys_of(epoch)) {
            *shared.entry(key).or_default() += 1;
        }
        let pending: Vec<_> = self.pending.values().map(|pending| &*pending.epoch).collect();
        let keys: BTreeSet<_> = full.iter().chain(&pending).flat_map(|epoch| keys_of(epoch)).collect();
        let signers = full.iter().chain(&pending).map(|epoch| epoch.signer.public());
        let keeping = Keeping::new(self, now);
        Exposure {
            group_id: self.group_id.clone(),
            now,
            network: self.state.network,
            epochs: retained.iter().filter_map(|e| self.epoch_exposure(*e, &keeping, &shared)).collect(),
            erased: self.graph.known(),
            resumption_psks: self.graph.resumptions().iter().map(|(_, id)| id.clone()).collect(),
            pending: self.pending_exposure(&shared),
            signature_keys: signers.cloned().collect::<BTreeSet<_>>().into_iter().collect(),
            tree_keys: keys.len(),
            unsent_welcomes: self.welcomes.len(),
            held_messages: self.held.len(),
        }
    }

    fn epoch_exposure(
        &self,
        epoch: EpochRef<'_>,
        keeping: &Keeping<'_>,
        shared: &Shared<'_>,
    ) -> Option<EpochExposure> {
        let node = self.graph.node(epoch.id())?;
        Some(EpochExposure {
            id: epoch.id().clone(),
            number: epoch.number(),
            level: epoch.level(),
            made: epoch.made(),
            kept: keeping.of(epoch)?,
            messages: message_keys(node.reading()?),
            processing: node.full().map(|epoch| self.processing_keys(epoch, shared)),
        })
    }

    fn pending_exposure(&self, shared: &Shared<'_>) -> Vec<PendingExposure> {
        let pending = self.pending.iter().map(|(commit, pending)| PendingExposure {
            commit: commit.clone(),
            parent: pending.parent.clone(),
            id: pending.epoch.id.clone(),
            number: pending.epoch.context().epoch,
            made: pending.made,
            given_up: pending.given_up,
            messages: message_keys(&pending.epoch.reading),
            processing: self.processing_keys(&pending.epoch, shared),
        });
        pending.collect()
    }

    fn processing_keys(&self, epoch: &Epoch, shared: &Shared<'_>) -> ProcessingKeys {
        let head: BTreeSet<_> = keys_of(self.head_epoch()).collect();
        let encrypted_by = encrypted_by(&epoch.public().tree, &epoch.private);
        let tree_keys = keys_of(epoch).map(|key| TreeKey {
            node: key.0,
            encrypted_by: encrypted_by.get(&key.0).copied().unwrap_or(0),
            epochs: shared.get(&key).copied().unwrap_or(0),
            in_head: head.contains(&key),
        });
        ProcessingKeys {
            tree_keys: tree_keys.collect(),
            punctured: match &epoch.next_init {
                NextInit::Punctured(pprf) => Some(pprf.punctures()),
                NextInit::Linear(_) => None,
            },
            external_commits: epoch.public().allows_external_joins(),
            own_updates: epoch.proposals.values().filter(|stored| stored.own_update.is_some()).count(),
        }
    }
}

impl EpochRef<'_> {
    /// Why it is kept; `None` if only its name is left. It looks at all epochs: [`Group::exposure_report`] does that once.
    pub fn kept(&self, now: Time) -> Option<Kept> {
        Keeping::new(self.group(), now).of(*self)
    }
}

fn message_keys(reading: &Reading) -> MessageKeys {
    let mut used = BTreeMap::<LeafIndex, SenderKeys>::new();
    for (leaf, kind, skipped, next) in reading.messages.unused() {
        let sender = used.entry(leaf).or_insert_with(|| SenderKeys {
            leaf,
            handshake: RatchetKeys::default(),
            application: RatchetKeys::default(),
        });
        let ratchet = match kind {
            RatchetKind::Handshake => &mut sender.handshake,
            RatchetKind::Application => &mut sender.application,
        };
        *ratchet = RatchetKeys { skipped, next };
    }
    let members = reading.public.tree.leaves().filter(|(leaf, _)| !used.contains_key(leaf));
    MessageKeys { unused: members.count(), used: used.into_values().collect() }
}

/// The private keys of an epoch, each with the public one by which others know it.
fn keys_of(epoch: &Epoch) -> impl Iterator<Item = (NodeIndex, &[u8])> {
    let tree = &epoch.public().tree;
    epoch.private.keys.keys().filter_map(|node| Some((*node, tree.public_key(*node)?.as_bytes())))
}

/// How many members encrypt to each key of ours. A committer encrypts to the resolution of the node of our direct path that is beside
/// its own (RFC 9420 s7.5), and we have one key of that.
fn encrypted_by(tree: &RatchetTree, private: &PrivateTree) -> BTreeMap<NodeIndex, usize> {
    let (size, own) = (tree.size(), private.leaf);
    let path = std::iter::once(own.node()).chain(size.direct_path(own));
    let keys = path.map(|node| tree.resolution(node).into_iter().find(|node| private.key(*node).is_some()));
    let keys: Vec<_> = keys.collect();
    let mut count = BTreeMap::new();
    for (leaf, _) in tree.leaves().filter(|(leaf, _)| *leaf != own) {
        let below = size.common_ancestor(own, leaf).level().saturating_sub(1);
        if let Some(Some(node)) = keys.get(below as usize) {
            *count.entry(*node).or_default() += 1;
        }
    }
    count
}

/// What stands below each table.
const WORDS: &str = "
Not exposed: messages that were read, children that were punctured, epochs of which only the name is left.
Puncturing protects a child that was derived, and nothing else. A thief of this device
- opens the path secrets of every commit made in a full epoch, with its tree keys; those marked * are the head's too: members go
  on encrypting to them until a commit of our own replaces them, and to the others in old epochs;
- reads what was sent in a retained epoch and has not arrived, or was skipped: `2 skipped+4..` are two, and all from generation 4 on;
- derives every child of a full epoch that has not been derived here, and the children by external commits again;
- has a full epoch's exporter secret, and the resumption_psks, and the epochs of own commits that nobody confirmed;
- signs as us: each full epoch holds our signature key. Its owner's copy, the identity, is outside of these records.
";

impl fmt::Display for Exposure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rows =
            vec![["epoch", "level", "age", "tree keys", "messages", "children", "kept"].map(String::from)];
        for epoch in &self.epochs {
            let age = age(self.now.0.saturating_sub(epoch.made.0));
            let level = if epoch.level == Level::Full { "full" } else { "readable" };
            let [keys, children] = epoch.processing.as_ref().map_or_else(none, ProcessingKeys::cells);
            let name = format!("{} {}", epoch.number, short(&epoch.id));
            let kept = epoch.kept.to_string();
            rows.push([name, level.to_string(), age, keys, epoch.messages.cell(), children, kept]);
        }
        for pending in &self.pending {
            let age = age(self.now.0.saturating_sub(pending.made.0));
            let [keys, children] = pending.processing.cells();
            let name = format!("{} {}", pending.number, short(&pending.id));
            let kept = if pending.given_up { "given up" } else { "not confirmed" };
            let kept = format!("own commit, {kept}");
            rows.push([name, "own".to_string(), age, keys, pending.messages.cell(), children, kept]);
        }
        let column = |place: usize| rows.iter().map(|row| row[place].chars().count()).max().unwrap_or(0);
        let widths: Vec<_> = (0..6).map(column).collect();
        for row in &rows {
            for (cell, width) in row.iter().zip(&widths) {
                write!(f, "{cell:<width$}  ")?;
            }
            writeln!(f, "{}", row[6])?;
        }
        writeln!(
            f,
            "\nprivate keys of ratchet trees: {}; resumption_psks: {}",
            self.tree_keys,
            self.resumption_psks.len()
        )?;
        writeln!(
            f,
            "our signature keys: {}; Welcomes not sent: {}",
            self.signature_keys.len(),
            self.unsent_welcomes
        )?;
        writeln!(f, "messages held: {}; epochs that are names only: {}", self.held_messages, self.erased)?;
        f.write_str(WORDS)
    }
}

fn none() -> [String; 2] {
    ["-".to_string(), "-".to_string()]
}

impl ProcessingKeys {
    fn cells(&self) -> [String; 2] {
        let shared = self.tree_keys.iter().filter(|key| key.in_head).count();
        let keys = format!(
            "{}{}",
            self.tree_keys.len(),
            if shared > 0 { format!(", {shared}*") } else { String::new() }
        );
        let children = match self.punctured {
            Some(0) => "all".to_string(),
            Some(count) => format!("all but {count}"),
            None => "all, also again".to_string(),
        };
        [keys, if self.external_commits { children + ", external" } else { children }]
    }
}

impl MessageKeys {
    fn cell(&self) -> String {
        let ratchet = |keys: &RatchetKeys| {
            let skipped = keys.skipped.len();
            let next = keys.next.map(|next| format!("{next}..")).unwrap_or_default();
            if skipped > 0 { format!("{skipped} skipped+{next}") } else { next }
        };
        let used = self
            .used
            .iter()
            .map(|sender| format!("leaf {}: {}", sender.leaf.0, ratchet(&sender.application)));
        let mut parts: Vec<_> = used.take(4).collect();
        if self.used.len() > parts.len() {
            parts.push(format!("{} more", self.used.len() - parts.len()));
        }
        if self.unused > 0 {
            parts.push(format!("all of {} members", self.unused));
        }
        parts.join(", ")
    }
}

fn short(id: &EpochId) -> String {
    id.as_bytes().iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

fn age(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests;
