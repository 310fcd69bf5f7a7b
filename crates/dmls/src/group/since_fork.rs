//! What the commits of one branch did, all together, since the epoch in which branches part.
//!
//! A member who was there at the fork is followed by its leaf: nobody else takes that as long as it is there, so a new signature
//! key hides nobody; and all leaves that a commit removes are kept, however many. Who came later is known by the signature key.

use std::collections::{BTreeMap, BTreeSet};

use crate::credential::Credential;
use crate::crypto::SignaturePublicKey;
use crate::epoch::{Added, KnownCommit};
use crate::forks::Vertex;
use crate::key_schedule::EpochId;
use crate::tree::LeafIndex;

use super::consolidate::Told;
use super::graph::Node;

/// A member of a branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Who {
    /// It was there at the fork, at this leaf.
    AtFork(LeafIndex),
    /// It came later, and is at this leaf.
    Since(LeafIndex),
}

/// A member who was removed.
#[derive(Debug)]
pub(super) struct Gone {
    /// The epoch that the commit made.
    pub epoch: EpochId,
    pub who: Who,
    /// If the commit's list was long enough.
    pub key: Option<SignaturePublicKey>,
    pub by: Who,
    /// Whether nobody came before whom no list names: it could be that one who was removed.
    pub is_sure: bool,
}

/// A member who was added.
#[derive(Debug)]
pub(super) struct Came {
    pub epoch: EpochId,
    pub added: Added,
    pub by: Who,
}

/// A branch.
#[derive(Debug, Default)]
pub(super) struct SinceFork {
    /// Also those who came back.
    pub removed: Vec<Gone>,
    /// Those who were added and are there still, by their leaves.
    pub added: BTreeMap<LeafIndex, Came>,
    /// The same of those who joined by external commits and replaced nobody.
    pub joined: BTreeMap<LeafIndex, (EpochId, Option<Credential>)>,
    /// What is not a matter of members.
    pub told: Vec<(EpochId, Told)>,
    /// Those who joined again at another leaf: from it to the one at the fork. Whoever takes such a leaf later hides the entry.
    moved: BTreeMap<LeafIndex, LeafIndex>,
    committed: BTreeSet<Who>,
    /// Whether somebody was added whom no list names.
    is_cut: bool,
}

impl SinceFork {
    /// Follows the branch by one commit.
    pub(super) fn follow(&mut self, id: &EpochId, vertex: &Vertex<EpochId, Node>) {
        let tell = |what| (id.clone(), what);
        // Only where the graph begins it is not known what the commit did, and that is no branch's.
        let Some(commit) = &vertex.value.commit else { return };
        if commit.external {
            self.join(id, commit, vertex.edge.removes.first());
        }
        let by = self.who(commit.committer);
        self.committed.insert(by);
        let removes = vertex.edge.removes.iter().filter(|_| !commit.external);
        removes.for_each(|leaf| self.remove(id, *leaf, commit, by));
        for added in &commit.added {
            let came = Came { epoch: id.clone(), added: added.clone(), by };
            self.added.insert(added.member.leaf, came);
        }
        let unlisted = commit.added_count.saturating_sub(commit.added.len() as u32);
        self.is_cut |= unlisted > 0;
        self.told.extend((unlisted > 0).then(|| tell(Told::UnlistedAdds(unlisted))));
        self.told.extend(commit.extensions_changed.then(|| tell(Told::Extensions)));
        self.told.extend((commit.psks > 0).then(|| tell(Told::Psks(commit.psks))));
        self.told.extend(commit.reinit.then(|| tell(Told::ReInit)));
    }

    /// An external commit: somebody new, or somebody who was there and takes the place of its old self.
    fn join(&mut self, id: &EpochId, commit: &KnownCommit, replaced: Option<&LeafIndex>) {
        let new = commit.committer;
        match replaced.map(|leaf| (*leaf, self.who(*leaf))) {
            None => {
                self.joined.insert(new, (id.clone(), commit.credential.clone()));
            }
            Some((old, Who::Since(_))) => {
                let (came, joined) = (self.added.remove(&old), self.joined.remove(&old));
                self.added.extend(came.map(|came| (new, came)));
                self.joined.extend(joined.map(|joined| (new, joined)));
            }
            Some((_, Who::AtFork(leaf))) => {
                self.moved.insert(new, leaf);
            }
        }
    }

    fn remove(&mut self, epoch: &EpochId, leaf: LeafIndex, commit: &KnownCommit, by: Who) {
        let who = self.who(leaf);
        let listed = commit.removed.iter().find(|member| member.leaf == leaf);
        let listed = listed.map(|member| member.signature_key.clone());
        let came = self.added.remove(&leaf).map(|came| came.added.member.signature_key);
        self.joined.remove(&leaf);
        self.committed.remove(&who);
        let (epoch, key) = (epoch.clone(), listed.or(came));
        self.removed.push(Gone { epoch, who, key, by, is_sure: !self.is_cut });
    }

    /// Who is at a leaf now.
    pub(super) fn who(&self, leaf: LeafIndex) -> Who {
        if self.added.contains_key(&leaf) || self.joined.contains_key(&leaf) {
            return Who::Since(leaf);
        }
        Who::AtFork(self.moved.get(&leaf).copied().unwrap_or(leaf))
    }

    /// Where somebody is now who was at a leaf at the fork, and was not removed.
    pub(super) fn place(&self, at_fork: LeafIndex) -> LeafIndex {
        self.moved.iter().find(|(_, leaf)| **leaf == at_fork).map_or(at_fork, |(leaf, _)| *leaf)
    }

    /// Whether who is at a leaf now made a commit since it is there, or joined by one.
    pub(super) fn has_committed(&self, leaf: LeafIndex) -> bool {
        self.committed.contains(&self.who(leaf))
    }

    /// Whether somebody was removed, whatever came after.
    pub(super) fn has_removed(&self, who: Option<Who>, key: Option<&SignaturePublicKey>) -> bool {
        let is_it = |gone: &Gone| {
            (matches!(who, Some(Who::AtFork(_))) && Some(gone.who) == who)
                || (key.is_some() && gone.key.as_ref() == key)
        };
        self.removed.iter().any(is_it)
    }

    /// Who was added by a KeyPackage with this key and is there still, and its leaf now.
    pub(super) fn added(&self, key: &SignaturePublicKey) -> Option<(LeafIndex, &Added)> {
        let found = self.added.iter().find(|(_, came)| came.added.member.signature_key == *key);
        found.map(|(leaf, came)| (*leaf, &came.added))
    }
}
