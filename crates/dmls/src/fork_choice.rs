//! Which of several commits of one epoch wins (draft s6, s6.1.2).

use std::cmp::Ordering;

use crate::crypto::Tag;
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
    /// although its author saw it lose; and a loser that is forgotten (`Limits::known_epochs`) decides no longer, so members who
    /// forget at different times can differ. A removal deeper in a branch protects only from there on.
    RemovalsFirst,
}

impl ForkChoice {
    /// As a GroupContext names it ([`crate::extension::Ruleset`], R16).
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::HighestConfirmationTag => 0,
            Self::RemovalsFirst => 1,
        }
    }

    /// `None`: one that this version does not know.
    pub(crate) fn from_code(code: u8) -> Option<Self> {
        [Self::HighestConfirmationTag, Self::RemovalsFirst].into_iter().find(|choice| choice.code() == code)
    }

    /// The place of the winner; `None` if there are no candidates. If even the tags are equal, the higher commit id wins.
    pub fn choose(self, candidates: &[Candidate<'_>]) -> Option<usize> {
        match self {
            Self::HighestConfirmationTag => (0..candidates.len()).max_by(|a, b| by_tag(candidates, *a, *b)),
            Self::RemovalsFirst => removals_first(candidates),
        }
    }
}

fn by_tag(candidates: &[Candidate<'_>], one: usize, other: usize) -> Ordering {
    let key = |candidate: usize| (candidates[candidate].tag.as_bytes(), candidates[candidate].commit);
    key(one).cmp(&key(other))
}

/// From the highest tag down, the first at whose circle nobody from outside points.
fn removals_first(candidates: &[Candidate<'_>]) -> Option<usize> {
    let mut order: Vec<_> = (0..candidates.len()).collect();
    order.sort_by(|a, b| by_tag(candidates, *b, *a));
    let points_at = |from: usize, to: usize| {
        let removes = candidates[from].removes;
        match candidates[to].committer {
            _ if from == to => false,
            Some(committer) => removes.contains(&committer),
            None => !removes.is_empty(),
        }
    };
    order.into_iter().find(|candidate| {
        let above = reached(candidates.len(), *candidate, |from, to| points_at(to, from));
        let below = reached(candidates.len(), *candidate, points_at);
        above.iter().zip(&below).all(|(above, below)| !above || *below)
    })
}

/// What can be reached from `start` over arrows, `start` too.
fn reached(count: usize, start: usize, arrow: impl Fn(usize, usize) -> bool) -> Vec<bool> {
    let mut reached = vec![false; count];
    let mut open = vec![start];
    while let Some(from) = open.pop() {
        if !std::mem::replace(&mut reached[from], true) {
            open.extend((0..count).filter(|to| !reached[*to] && arrow(from, *to)));
        }
    }
    reached
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Commit {
        tag: Tag,
        id: CommitId,
        committer: Option<LeafIndex>,
        removes: Vec<LeafIndex>,
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
            let mut candidates: Vec<_> = commits
                .iter()
                .map(|c| Candidate {
                    tag: &c.tag,
                    commit: &c.id,
                    committer: c.committer,
                    removes: &c.removes,
                })
                .collect();
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
        let candidates: Vec<_> = commits
            .iter()
            .map(|c| Candidate { tag: &c.tag, commit: &c.id, committer: c.committer, removes: &c.removes })
            .collect();
        assert_eq!(ForkChoice::HighestConfirmationTag.choose(&candidates), Some(0));
        assert_eq!(ForkChoice::RemovalsFirst.choose(&candidates), Some(0));
    }

    #[test]
    fn whoever_is_removed_loses_whatever_its_tag() {
        let commits = [commit(3, Some(0), &[1]), commit(9, Some(1), &[]), commit(5, Some(2), &[])];
        assert_eq!(winner(ForkChoice::RemovalsFirst, &commits), Some(5));
        // The one who is removed removes a bystander: it loses all the same.
        let commits = [commit(3, Some(0), &[1]), commit(9, Some(1), &[2]), commit(5, Some(2), &[])];
        assert_eq!(winner(ForkChoice::RemovalsFirst, &commits), Some(3));
    }

    #[test]
    fn two_who_remove_each_other_are_told_apart_by_their_tags() {
        let commits = [commit(3, Some(0), &[1]), commit(9, Some(1), &[0]), commit(99, Some(2), &[])];
        assert_eq!(winner(ForkChoice::RemovalsFirst, &commits), Some(99));
        let commits = [commit(3, Some(0), &[1, 2]), commit(9, Some(1), &[0]), commit(99, Some(2), &[])];
        assert_eq!(winner(ForkChoice::RemovalsFirst, &commits), Some(9));
    }

    #[test]
    fn a_newcomer_loses_to_any_removal() {
        let commits = [commit(3, Some(0), &[1]), commit(9, None, &[])];
        assert_eq!(winner(ForkChoice::RemovalsFirst, &commits), Some(3));
        // One who comes back counts as the leaf that it replaces.
        let commits = [commit(3, Some(0), &[1]), commit(9, Some(2), &[2])];
        assert_eq!(winner(ForkChoice::RemovalsFirst, &commits), Some(9));
    }
}
