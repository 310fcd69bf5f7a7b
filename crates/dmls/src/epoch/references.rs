//! Which of the stored proposals go into a commit of ours (RFC 9420 s12.4.1): whatever others sent, a commit stays possible.

use std::collections::BTreeSet;

use rand_core::CryptoRng;

use crate::crypto::{HpkePublicKey, ProposalRef};
use crate::error::{Error, Limit, Rule, Usage};
use crate::framing::Sender;
use crate::key_schedule::PskLookup;
use crate::message::Proposal;
use crate::tree::LeafIndex;

use super::{CommitRequest, Committer, Epoch, Proposed, Provisional, Rules, StoredProposal};

/// The proposals of a commit of ours.
#[derive(Debug)]
pub(crate) struct Chosen<'a> {
    pub list: Vec<Proposed<'a>>,
    /// What they lead to.
    pub provisional: Provisional,
    /// The stored ones that can't be in this commit, each with the reason.
    pub left_out: Vec<(ProposalRef, Error)>,
}

/// The search for what fits together.
struct Search<'a> {
    list: Vec<Proposed<'a>>,
    provisional: Provisional,
    left_out: Vec<(ProposalRef, Error)>,
    /// How many lists that don't fit may still be tried.
    misfits: u32,
}

/// How many lists that don't fit are tried: each costs a verification of every leaf in it. What is left then waits for
/// the next commit.
const MISFITS: u32 = 32;

impl Epoch {
    /// The proposals of a commit: those requested, which must fit, and of the stored ones those that fit with them, unless the
    /// request says which.
    pub(super) fn choose<'a>(
        &'a self,
        rules: Rules<'_>,
        request: &'a CommitRequest,
        psks: PskLookup<'_>,
    ) -> Result<Chosen<'a>, Error> {
        let own = Sender::Member(self.own_leaf());
        let by_value = request.proposals.iter();
        let mut list: Vec<_> =
            by_value.map(|proposal| Proposed { proposal, sender: own, reference: None }).collect();
        if let Some(references) = &request.references {
            for reference in references {
                let (reference, stored) =
                    self.proposals.get_key_value(reference).ok_or(Usage::UnknownProposal)?;
                list.push(self.proposed(reference, stored));
            }
            let provisional = self.apply(rules, &list)?;
            return Ok(Chosen { list, provisional, left_out: Vec::new() });
        }
        let (candidates, mut left_out) = self.candidates(&list, psks);
        let given = list.len();
        list.extend(candidates);
        match self.apply(rules, &list) {
            Ok(provisional) => Ok(Chosen { list, provisional, left_out }),
            Err(_) => {
                let candidates = list.split_off(given);
                let provisional = self.apply(rules, &list)?;
                let mut search = Search { list, provisional, left_out, misfits: MISFITS };
                let candidates = self.fitting_alone(rules, &mut search, candidates);
                self.add_fitting(rules, &mut search, &candidates);
                left_out = search.left_out;
                Ok(Chosen { list: search.list, provisional: search.provisional, left_out })
            }
        }
    }

    fn apply(&self, rules: Rules<'_>, list: &[Proposed<'_>]) -> Result<Provisional, Error> {
        self.public().apply_proposals(rules, Committer::Member(self.own_leaf()), list)
    }

    /// A stored proposal. Our own go by value: whether the others ever got one, nobody can know after a crash.
    fn proposed<'a>(&self, reference: &'a ProposalRef, stored: &'a StoredProposal) -> Proposed<'a> {
        let is_own = stored.sender == Sender::Member(self.own_leaf());
        let reference = Some(reference).filter(|_| !is_own);
        Proposed { proposal: &stored.proposal, sender: stored.sender, reference }
    }

    fn name_of(&self, proposed: &Proposed<'_>) -> Option<ProposalRef> {
        let by_value = || {
            let mut stored = self.proposals.iter();
            stored.find(|(_, stored)| std::ptr::eq(&stored.proposal, proposed.proposal)).map(|(name, _)| name)
        };
        proposed.reference.or_else(by_value).cloned()
    }

    /// The stored proposals in the order of their arrival, a reinit last, without those of which it is plain that they can't be in
    /// this commit. Of several that concern one leaf, the one that RFC 9420 s12.2 prefers: removes before updates, of those the
    /// most recent.
    fn candidates<'a>(
        &'a self,
        given: &[Proposed<'_>],
        psks: PskLookup<'_>,
    ) -> (Vec<Proposed<'a>>, Vec<(ProposalRef, Error)>) {
        let own = Sender::Member(self.own_leaf());
        let mut touched: BTreeSet<LeafIndex> = given.iter().filter_map(Proposed::touches).collect();
        let mut stored: Vec<_> = self.proposals.iter().collect();
        stored.sort_by_key(|(_, stored)| match stored.proposal {
            Proposal::Remove(_) => (0, stored.order),
            Proposal::Update(_) => (1, u32::MAX - stored.order),
            _ => (2, stored.order),
        });
        let mut candidates = Vec::new();
        let mut left_out = Vec::new();
        for (reference, stored) in stored {
            let proposed = self.proposed(reference, stored);
            let obstacle = match proposed.proposal {
                Proposal::Update(_) if stored.sender == own => Some(Rule::UpdateByCommitter),
                Proposal::Remove(leaf) if *leaf == self.own_leaf() => Some(Rule::RemoveCommitter),
                Proposal::PreSharedKey(id) if (psks.0)(id).is_none() => Some(Rule::PskUnknown),
                _ => None,
            };
            let repeated = proposed.touches().is_some_and(|leaf| touched.contains(&leaf));
            match obstacle.or_else(|| repeated.then_some(Rule::RepeatedLeaf)) {
                Some(rule) => left_out.push((reference.clone(), rule.into())),
                None => {
                    touched.extend(proposed.touches());
                    candidates.push((
                        matches!(proposed.proposal, Proposal::ReInit(_)),
                        stored.order,
                        proposed,
                    ));
                }
            }
        }
        candidates.sort_by_key(|(is_reinit, order, _)| (*is_reinit, *order));
        (candidates.into_iter().map(|(_, _, proposed)| proposed).collect(), left_out)
    }

    /// Names those that don't even fit alone with what was requested.
    fn fitting_alone<'a>(
        &self,
        rules: Rules<'_>,
        search: &mut Search<'a>,
        candidates: Vec<Proposed<'a>>,
    ) -> Vec<Proposed<'a>> {
        let given = search.list.len();
        let mut fitting = Vec::with_capacity(candidates.len());
        for candidate in candidates {
            search.list.push(candidate.clone());
            match self.apply(rules, &search.list) {
                Ok(_) => fitting.push(candidate),
                Err(error) => search.left_out.extend(self.name_of(&candidate).map(|name| (name, error))),
            }
            search.list.truncate(given);
        }
        fitting
    }

    /// Adds what fits: all of it, or of each half what fits.
    fn add_fitting<'a>(&self, rules: Rules<'_>, search: &mut Search<'a>, rest: &[Proposed<'a>]) {
        if rest.is_empty() {
            return;
        }
        let before = search.list.len();
        search.list.extend_from_slice(rest);
        let error = match search.misfits {
            0 => Limit::Proposals.into(),
            _ => match self.apply(rules, &search.list) {
                Ok(provisional) => {
                    search.provisional = provisional;
                    return;
                }
                Err(error) => error,
            },
        };
        search.list.truncate(before);
        if rest.len() > 1 && search.misfits > 0 {
            search.misfits -= 1;
            let (one, other) = rest.split_at(rest.len() / 2);
            self.add_fitting(rules, search, one);
            self.add_fitting(rules, search, other);
            return;
        }
        let names = rest.iter().filter_map(|proposed| self.name_of(proposed));
        search.left_out.extend(names.map(|name| (name, error.clone())));
    }

    /// Takes out the stored proposals with a key to which nothing can be encrypted. Such keys are refused where they arrive; this
    /// is for what came in all the same. `false`: there is none, so the commit would fail again.
    pub(super) fn leave_out_unusable(
        &self,
        rules: Rules<'_>,
        chosen: &mut Chosen<'_>,
        rng: &mut dyn CryptoRng,
    ) -> Result<bool, Error> {
        let info = self.suite().hpke_info("", &[]);
        let mut works = |key: &HpkePublicKey| self.suite().hpke_seal(&info, key, &[], rng);
        let before = chosen.list.len();
        let mut kept = Vec::with_capacity(before);
        for proposed in std::mem::take(&mut chosen.list) {
            let keys = match proposed.proposal {
                Proposal::Add(key_package) => {
                    vec![&key_package.init_key, &key_package.leaf_node.encryption_key]
                }
                Proposal::Update(leaf) => vec![&leaf.encryption_key],
                _ => Vec::new(),
            };
            let failure = keys.into_iter().find_map(|key| works(key).err());
            match (failure, self.name_of(&proposed)) {
                (Some(error), Some(name)) => chosen.left_out.push((name, error.into())),
                _ => kept.push(proposed),
            }
        }
        chosen.provisional = self.apply(rules, &kept)?;
        chosen.list = kept;
        Ok(chosen.list.len() < before)
    }
}

impl Proposed<'_> {
    /// The leaf that an update or remove concerns.
    fn touches(&self) -> Option<LeafIndex> {
        match (self.proposal, self.sender) {
            (Proposal::Update(_), Sender::Member(leaf)) => Some(leaf),
            (Proposal::Remove(leaf), _) => Some(*leaf),
            _ => None,
        }
    }
}
