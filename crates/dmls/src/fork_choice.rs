//! Which of several commits of one epoch wins (draft s6, s6.1.2).

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use crate::crypto::Tag;
use crate::extension::{ForkChoiceRule, Ruleset};
use crate::key_schedule::CommitId;
use crate::tree::LeafIndex;

/// What everybody who holds a commit can see of it, also whoever it removes.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// The confirmation tag.
    pub tag: &'a Tag,
    /// The commit.
    pub commit: &'a CommitId,
    /// Who committed, by its leaf in the epoch of the commit; of an external commit the leaf that it replaces, if any.
    pub committer: Option<LeafIndex>,
    /// Whom it removes, by their leaves in the epoch of the commit.
    pub removes: &'a [LeafIndex],
}

/// How one of several commits of an epoch is chosen. All members must choose alike, so the epoch's GroupContext names it
/// (R16), and it depends on nothing but its arguments: never on the order of arrival, never on local limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ForkChoice {
    /// The draft's rule: the lexicographically highest confirmation tag wins, as raw bytes (s6.1.2).
    #[default]
    HighestConfirmationTag,
    /// A commit loses to one that removes its committer; among the rest the highest tag wins. So whoever was removed can't
    /// undo it by grinding a tag.
    ///
    /// An arrow goes from each commit to those whose committer it removes, and from each that removes anybody to external
    /// commits of newcomers. Those win at which no arrow points from outside of their own circle (strongly connected
    /// component). The price: the choice between two commits can depend on a third, so a commit that comes late can win
    /// although its author saw it lose; who has deleted its parent by then ([`crate::RetentionRule::AllCommitted`]) is left behind.
    /// `tests/retention.rs` saw that in 1 of 300 random histories without a server, and in none by the highest tag. A removal deeper in
    /// a branch protects only from there on.
    RemovalsFirst {
        /// Of each committer only so many commits count, those with the highest tags: a member can't make all the others
        /// compare, and keep, whatever it sends.
        of_each: u16,
    },
}

impl ForkChoice {
    /// As a GroupContext names it; whoever does not know its ruleset did not join.
    pub(crate) fn of(ruleset: Option<&Ruleset>) -> Self {
        match ruleset {
            Some(ruleset) if ruleset.fork_choice == ForkChoiceRule::REMOVALS_FIRST => {
                Self::RemovalsFirst { of_each: ruleset.children_per_committer }
            }
            _ => Self::HighestConfirmationTag,
        }
    }

    /// The place of the winner; `None` if there are no candidates. If even the tags are equal, the higher commit id wins.
    pub fn choose(self, candidates: &[Candidate<'_>]) -> Option<usize> {
        match self {
            Self::HighestConfirmationTag => (0..candidates.len()).max_by(|a, b| by_tag(candidates, *a, *b)),
            Self::RemovalsFirst { of_each } => {
                let counted = counted(candidates, of_each);
                let unbeaten = unbeaten(candidates, &counted);
                unbeaten.into_iter().max_by(|a, b| by_tag(candidates, *a, *b))
            }
        }
    }

    /// The places of those that can decide anything, among these or among more of them.
    pub(crate) fn counted(self, candidates: &[Candidate<'_>]) -> Vec<usize> {
        match self {
            Self::HighestConfirmationTag => (0..candidates.len()).collect(),
            Self::RemovalsFirst { of_each } => counted(candidates, of_each),
        }
    }

    /// Whether a commit that lost can decide between others.
    pub(crate) fn hears_losers(self) -> bool {
        matches!(self, Self::RemovalsFirst { .. })
    }
}

fn by_tag(candidates: &[Candidate<'_>], one: usize, other: usize) -> Ordering {
    let key = |candidate: usize| (candidates[candidate].tag.as_bytes(), candidates[candidate].commit);
    key(one).cmp(&key(other))
}

/// Of each committer those with the highest tags.
fn counted(candidates: &[Candidate<'_>], of_each: u16) -> Vec<usize> {
    let mut order: Vec<_> = (0..candidates.len()).collect();
    order.sort_unstable_by(|a, b| by_tag(candidates, *b, *a));
    let mut counts = BTreeMap::<_, u16>::new();
    order.retain(|place| {
        let count = counts.entry(candidates[*place].committer).or_default();
        *count = count.saturating_add(1);
        *count <= of_each
    });
    order
}

/// Those at whose circle no arrow points from outside. Whoever is removed stands between the commits as a node of its own, so
/// that there are as many arrows as removals, and not as pairs of commits.
fn unbeaten(candidates: &[Candidate<'_>], counted: &[usize]) -> Vec<usize> {
    let removals = |place: usize| {
        let removes = candidates[place].removes;
        let newcomers = (!removes.is_empty()).then_some(None);
        removes.iter().copied().map(Some).chain(newcomers)
    };
    let removed: BTreeSet<_> = counted.iter().flat_map(|place| removals(*place)).collect();
    let removed: BTreeMap<_, _> = removed.into_iter().zip(counted.len()..).collect();
    let mut graph = Digraph::new(counted.len() + removed.len());
    for (node, place) in counted.iter().enumerate() {
        removals(*place).for_each(|whom| graph.connect(node, removed[&whom]));
        let beaten = removed.get(&candidates[*place].committer);
        beaten.into_iter().for_each(|whom| graph.connect(*whom, node));
    }
    graph.sources().into_iter().filter_map(|node| counted.get(node).copied()).collect()
}

/// A directed graph.
struct Digraph {
    after: Vec<Vec<usize>>,
    before: Vec<Vec<usize>>,
}

impl Digraph {
    fn new(nodes: usize) -> Self {
        Self { after: vec![Vec::new(); nodes], before: vec![Vec::new(); nodes] }
    }

    fn connect(&mut self, from: usize, to: usize) {
        self.after[from].push(to);
        self.before[to].push(from);
    }

    /// The nodes of the strongly connected components at which no arrow points from outside, in O(nodes + arrows).
    fn sources(&self) -> Vec<usize> {
        let mut is_seen = vec![false; self.after.len()];
        let mut finished = Vec::new();
        (0..self.after.len()).for_each(|node| visit(&self.after, node, &mut is_seen, &mut finished));
        // What leads to a node and is not led to by it finishes later. So from the last back, a node that nothing before it leads
        // to is in a component without arrows from outside, and what leads to it is all of that component.
        is_seen.fill(false);
        let mut is_source = vec![false; self.after.len()];
        let mut sources = Vec::new();
        for node in finished.into_iter().rev() {
            if !is_seen[node] {
                visit(&self.after, node, &mut is_seen, &mut Vec::new());
                visit(&self.before, node, &mut is_source, &mut sources);
            }
        }
        sources
    }
}

/// Goes from a node over arrows to all that was not seen yet; each is `finished` after those that it leads to.
fn visit(arrows: &[Vec<usize>], node: usize, is_seen: &mut [bool], finished: &mut Vec<usize>) {
    let mut path = Vec::new();
    if !std::mem::replace(&mut is_seen[node], true) {
        path.push((node, 0));
    }
    while let Some((node, next)) = path.last_mut() {
        match arrows[*node].get(*next) {
            Some(to) => {
                *next += 1;
                if !std::mem::replace(&mut is_seen[*to], true) {
                    path.push((*to, 0));
                }
            }
            None => {
                finished.push(*node);
                path.pop();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, prop_assert_eq, proptest};

    use super::*;

    const REMOVALS_FIRST: ForkChoice = ForkChoice::RemovalsFirst { of_each: 8 };

    struct Commit {
        tag: Tag,
        id: CommitId,
        committer: Option<LeafIndex>,
        removes: Vec<LeafIndex>,
    }

    impl Commit {
        fn candidate(&self) -> Candidate<'_> {
            Candidate { tag: &self.tag, commit: &self.id, committer: self.committer, removes: &self.removes }
        }
    }

    fn commit(tag: u8, committer: Option<u32>, removes: &[u32]) -> Commit {
        Commit {
            tag: vec![tag; 32].into(),
            id: vec![tag; 32].into(),
            committer: committer.map(LeafIndex),
            removes: removes.iter().copied().map(LeafIndex).collect(),
        }
    }

    /// The winner's tag, which must be the same whatever the order.
    fn winner(choice: ForkChoice, commits: &[Commit]) -> Option<u8> {
        let mut winners = Vec::new();
        for first in 0..commits.len().max(1) {
            let mut candidates: Vec<_> = commits.iter().map(Commit::candidate).collect();
            candidates.rotate_left(first);
            winners.push(choice.choose(&candidates).map(|at| candidates[at].tag.as_bytes()[0]));
        }
        assert!(winners.iter().all(|winner| winner == &winners[0]));
        winners[0]
    }

    #[test]
    fn the_highest_tag_wins() {
        let commits = [commit(3, Some(0), &[]), commit(9, Some(1), &[]), commit(5, Some(2), &[1])];
        assert_eq!(winner(ForkChoice::HighestConfirmationTag, &commits), Some(9));
        assert_eq!(winner(ForkChoice::HighestConfirmationTag, &[]), None);
    }

    #[test]
    fn equal_tags_are_told_apart_by_the_commit() {
        let mut commits = [commit(3, Some(0), &[]), commit(3, Some(1), &[])];
        commits[0].id = vec![4; 32].into();
        let candidates: Vec<_> = commits.iter().map(Commit::candidate).collect();
        assert_eq!(ForkChoice::HighestConfirmationTag.choose(&candidates), Some(0));
        assert_eq!(REMOVALS_FIRST.choose(&candidates), Some(0));
    }

    #[test]
    fn whoever_is_removed_loses_whatever_its_tag() {
        let commits = [commit(3, Some(0), &[1]), commit(9, Some(1), &[]), commit(5, Some(2), &[])];
        assert_eq!(winner(REMOVALS_FIRST, &commits), Some(5));
        // The one who is removed removes a bystander: it loses all the same.
        let commits = [commit(3, Some(0), &[1]), commit(9, Some(1), &[2]), commit(5, Some(2), &[])];
        assert_eq!(winner(REMOVALS_FIRST, &commits), Some(3));
    }

    #[test]
    fn two_who_remove_each_other_are_told_apart_by_their_tags() {
        let commits = [commit(3, Some(0), &[1]), commit(9, Some(1), &[0]), commit(99, Some(2), &[])];
        assert_eq!(winner(REMOVALS_FIRST, &commits), Some(99));
        let commits = [commit(3, Some(0), &[1, 2]), commit(9, Some(1), &[0]), commit(99, Some(2), &[])];
        assert_eq!(winner(REMOVALS_FIRST, &commits), Some(9));
    }

    #[test]
    fn a_newcomer_loses_to_any_removal() {
        let commits = [commit(3, Some(0), &[1]), commit(9, None, &[])];
        assert_eq!(winner(REMOVALS_FIRST, &commits), Some(3));
        // One who comes back counts as the leaf that it replaces.
        let commits = [commit(3, Some(0), &[1]), commit(9, Some(2), &[2])];
        assert_eq!(winner(REMOVALS_FIRST, &commits), Some(9));
    }

    #[test]
    fn of_each_committer_the_highest_count() {
        let choice = ForkChoice::RemovalsFirst { of_each: 2 };
        // The lowest of three of one committer removes the author of the highest; it doesn't count.
        let commits = [
            commit(9, Some(1), &[]),
            commit(3, Some(0), &[1]),
            commit(5, Some(0), &[]),
            commit(4, Some(0), &[]),
        ];
        assert_eq!(winner(choice, &commits), Some(9));
        assert_eq!(winner(choice, &commits[..3]), Some(5));
        let candidates: Vec<_> = commits.iter().map(Commit::candidate).collect();
        assert_eq!(choice.counted(&candidates), [0, 2, 3]);
        assert_eq!(ForkChoice::HighestConfirmationTag.counted(&candidates), [0, 1, 2, 3]);
    }

    /// Word for word what the rule says, in cubic time.
    fn unbeaten_by_the_words(commits: &[Commit]) -> Option<u8> {
        let points_at = |from: usize, to: usize| {
            let removes = &commits[from].removes;
            from != to
                && commits[to].committer.map_or(!removes.is_empty(), |committer| removes.contains(&committer))
        };
        let reached = |from: usize| {
            let (mut reached, mut open) = (vec![false; commits.len()], vec![from]);
            while let Some(at) = open.pop() {
                for to in (0..commits.len()).filter(|to| points_at(at, *to)) {
                    if !std::mem::replace(&mut reached[to], true) {
                        open.push(to);
                    }
                }
            }
            reached
        };
        let leads: Vec<_> = (0..commits.len()).map(reached).collect();
        let is_unbeaten = |at: usize| (0..commits.len()).all(|from| !leads[from][at] || leads[at][from]);
        let unbeaten = (0..commits.len()).filter(|at| is_unbeaten(*at));
        unbeaten
            .max_by_key(|at| (&commits[*at].tag, &commits[*at].id))
            .map(|at| commits[at].tag.as_bytes()[0])
    }

    proptest! {
        #[test]
        fn the_quick_way_finds_whom_the_words_say(
            all in prop::collection::vec(
                (any::<u8>(), prop::option::of(0..5_u32), prop::collection::vec(0..5_u32, 0..3)), 1..9)
        ) {
            let commits: Vec<_> = all
                .iter()
                .map(|(tag, committer, removes)| match committer {
                    Some(_) => commit(*tag, *committer, removes),
                    // A newcomer removes nobody.
                    None => commit(*tag, None, &[]),
                })
                .collect();
            prop_assert_eq!(winner(REMOVALS_FIRST, &commits), unbeaten_by_the_words(&commits));
        }
    }
}
