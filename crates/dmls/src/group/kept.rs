//! Why an epoch is kept: what `retention.rs` does, as something that a person can have explained.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::config::RetentionRule;
use crate::credential::Credential;
use crate::epoch::Member;
use crate::key_schedule::EpochId;
use crate::time::Time;
use crate::tree::LeafIndex;

use super::graph::{Level, Node};
use super::heard::Heard;
use super::{EpochRef, Group, Network};

/// Why an epoch is kept. Two things are no reason to keep one: a commit of ours that is made in it and not confirmed (it goes with its
/// parent), and [`crate::Limits::epochs`], which evicts whatever is said here.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kept {
    /// It is the head.
    Head,
    /// For nothing: the next commit, or [`Group::expire`] now, leaves only this much of it.
    Due(Level),
    /// Until the next commit: the network is whole ([`Network::Whole`]); or the group has the RFC's key schedule, with one child for each
    /// epoch.
    NextCommit,
    /// Until the delivery service says that it may go: [`RetentionRule::WhileTold`], and the network is split.
    Told,
    /// Members may still make a commit in it ([`RetentionRule::AllCommitted`], [`RetentionRule::AllMoved`]).
    Members {
        /// Members of the head who were not seen past it.
        silent: Vec<Member>,
        /// Members who made no commit after it on the way before they were removed, and may not know that they are. If one commit removed
        /// several, one may be named who was seen elsewhere.
        removed: Vec<Member>,
        /// When these are not waited for any longer ([`crate::Retention::removed_grace`]).
        until: Option<Time>,
    },
    /// Its branch has lost so far, but by the fork choice of the group a further commit could make it win, as long as the epoch in
    /// which it parts from the way processes commits.
    Fork {
        /// That epoch.
        parts: EpochId,
    },
    /// For messages that come late, and nothing else ([`crate::Retention::late_epochs`]). At the end of a branch that lost, also to follow
    /// those who are still there.
    Late {
        /// Since when.
        since: Time,
        /// Until when, or until there are too many of them.
        until: Time,
    },
    /// Only to read messages, because of a final commit, of [`Group::delete_epoch`], or of a successor in a group with the RFC's key schedule:
    /// until all messages were delivered ([`Group::flushed`]), the network is whole, or the rule does not need it.
    Messages,
}

/// What it takes to say it of all epochs.
pub(super) struct Keeping<'g> {
    group: &'g Group,
    now: Time,
    /// What would be lowered now, and to which level.
    due: BTreeMap<EpochId, Level>,
    /// What would be kept for late messages from now on.
    left: Vec<EpochId>,
    heard: Option<Heard>,
}

impl<'g> Keeping<'g> {
    pub(super) fn new(group: &'g Group, now: Time) -> Self {
        let (mut due, mut left) = (BTreeMap::<EpochId, Level>::new(), Vec::new());
        let mut heard = None;
        if group.state.network == Network::Split {
            let level = |id: &EpochId| group.graph.node(id).map_or(Level::Known, Node::level);
            for gone in group.not_needed(&group.state.head, None, now) {
                if gone.level < level(&gone.id) {
                    let lowest = due.get(&gone.id).map_or(gone.level, |level| gone.level.min(*level));
                    due.insert(gone.id, lowest);
                } else if gone.is_left {
                    left.push(gone.id);
                }
            }
            let is_followed = group.heard.as_ref().is_some_and(|heard| *heard.at() == group.state.head);
            let is_asked = group.config.retention.rule != RetentionRule::WhileTold && !group.is_linear();
            heard = (is_asked && !is_followed).then(|| Heard::new(group, &group.state.head));
        }
        Self { group, now, due, left, heard }
    }

    /// `None` if only its name is left.
    pub(super) fn of(&self, epoch: EpochRef<'_>) -> Option<Kept> {
        let (group, id, level) = (self.group, epoch.id(), epoch.level());
        let rule = group.config.retention.rule;
        Some(if level == Level::Known {
            return None;
        } else if epoch.is_head() {
            Kept::Head
        } else if group.state.network == Network::Whole {
            Kept::NextCommit
        } else if let Some(level) = self.due.get(id) {
            Kept::Due(*level)
        } else if let Some(since) = self.late_since(epoch) {
            let until = Time(since.0.saturating_add(group.config.retention.late_seconds));
            Kept::Late { since, until }
        } else if level == Level::Readable {
            Kept::Messages
        } else if group.is_linear() {
            Kept::NextCommit
        } else if rule == RetentionRule::WhileTold {
            Kept::Told
        } else if let Some(parts) = self.parts(epoch) {
            Kept::Fork { parts }
        } else {
            self.members(epoch)
        })
    }

    fn late_since(&self, epoch: EpochRef<'_>) -> Option<Time> {
        let late = self.group.graph.late();
        let left = self.group.graph.node(epoch.id())?.left;
        let is_late = |left: &Time| late.contains(&(*left, epoch.number(), epoch.id().clone()));
        left.filter(is_late).or_else(|| self.left.contains(epoch.id()).then_some(self.now))
    }

    /// Where the branch of an epoch leaves the way.
    fn parts(&self, epoch: EpochRef<'_>) -> Option<EpochId> {
        if epoch.is_on_way() || !self.group.hears_losers() {
            return None;
        }
        let forks = self.group.graph.forks();
        forks.ancestors(epoch.id()).map(|(id, _)| id).find(|id| forks.is_on_way(id)).cloned()
    }

    /// Whom an epoch on the way waits for.
    fn members(&self, epoch: EpochRef<'_>) -> Kept {
        let group = self.group;
        let Some(heard) = self.heard.as_ref().or(group.heard.as_ref()) else { return Kept::Told };
        let tree = &group.head_epoch().public().tree;
        let silent = heard.waited_for(epoch.number());
        let silent = silent.filter_map(|leaf| Some(Member::new(leaf, tree.leaf(leaf)?))).collect();

        let grace = group.config.retention.removed_grace;
        let waits = |(_, when): &(u64, Time)| self.now.0.saturating_sub(when.0) < grace;
        let removals: Vec<_> = heard.waited_for_removed(epoch.number()).filter(waits).collect();
        let until = removals.iter().map(|(_, when)| Time(when.0.saturating_add(grace))).max();
        let removed = match until {
            Some(_) => self.not_seen(epoch, |number| removals.iter().any(|(other, _)| *other == number)),
            None => Vec::new(),
        };
        Kept::Members { silent, removed, until }
    }

    /// Those of an epoch who were removed on the way by an epoch with such a number, and made no commit on the way before that.
    fn not_seen(&self, epoch: EpochRef<'_>, by: impl Fn(u64) -> bool) -> Vec<Member> {
        let way = self.group.graph.forks().ancestors(&self.group.state.head);
        let way = way.take_while(|(_, vertex)| vertex.number > epoch.number());
        let way: Vec<_> = way.map(|(_, vertex)| (vertex.number, &vertex.edge)).collect();
        let (mut seen, mut gone) = (BTreeSet::new(), BTreeSet::new());
        let mut leaves = BTreeSet::<LeafIndex>::new();
        for (number, edge) in way.into_iter().rev() {
            // A leaf that is removed for the second time was somebody else's.
            let removed = edge.removes.iter().filter(|leaf| gone.insert(**leaf));
            let waited_for = removed.filter(|leaf| by(number) && !seen.contains(*leaf));
            leaves.extend(waited_for.filter(|leaf| edge.committer != Some(**leaf)));
            seen.extend(edge.committer);
        }
        let members = epoch.members().into_iter().flatten();
        members.filter(|member| leaves.contains(&member.leaf)).collect()
    }
}

/// In a few words, names as they are in the credentials.
impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Head => f.write_str("the head"),
            Self::Due(Level::Readable) => {
                f.write_str("for nothing: the next step leaves only what reads messages")
            }
            Self::Due(_) => f.write_str("for nothing: the next step deletes it"),
            Self::NextCommit => f.write_str("until the next commit"),
            Self::Told => f.write_str("until the delivery service lets it go"),
            Self::Members { silent, removed, until } => {
                if !silent.is_empty() {
                    write!(f, "until seen past it: {}", names(silent))?;
                }
                if let Some(Time(until)) = until {
                    let and = if silent.is_empty() { "" } else { "; " };
                    write!(f, "{and}until {until}: removed, and may not know: {}", names(removed))?;
                }
                Ok(())
            }
            Self::Fork { .. } => f.write_str("its branch may still win"),
            Self::Late { until: Time(until), .. } => write!(f, "for late messages, until {until}"),
            Self::Messages => f.write_str("for messages not delivered yet"),
        }
    }
}

fn names(members: &[Member]) -> String {
    let name = |member: &Member| match &member.credential {
        Credential::Basic(identity) if std::str::from_utf8(identity).is_ok_and(|name| !name.is_empty()) => {
            String::from_utf8_lossy(identity).escape_debug().to_string()
        }
        _ => format!("leaf {}", member.leaf.0),
    };
    members.iter().map(name).collect::<Vec<_>>().join(", ")
}
