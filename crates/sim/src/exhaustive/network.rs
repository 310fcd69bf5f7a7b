//! Frames under way.

use std::cmp::Ordering;
use std::rc::Rc;

use dmls::codec::Encode;
use dmls_delivery::testing::Glimpse;
use dmls_delivery::{Content, Digest, Frame, Message, Parcel, Server};

use super::model::GROUP;

/// A frame on its way to a server.
#[derive(Clone)]
pub struct Flying(Rc<Packet>);

struct Packet {
    to: usize,
    from: usize,
    bytes: Vec<u8>,
    frame: Frame,
}

impl Flying {
    /// `None` for what is left out (see the folder's comment). The number of a row is forgotten.
    pub fn new(to: usize, mut frame: Frame, is_reduced: bool) -> Option<Self> {
        match &mut frame.content {
            Content::Hello | Content::Received { .. } => return None,
            Content::Parcel { parcel: Parcel::Flush { .. }, .. } if is_reduced => return None,
            Content::Message { message: Message::Outbid { .. } | Message::AskFlush, .. } if is_reduced => {
                return None;
            }
            Content::Parcel { number, .. } => *number = 0,
            // The view is given, so nobody probes; there is no roster.
            Content::Probe { .. } | Content::Probed { .. } | Content::Records { .. } => return None,
            Content::Message { .. } => {}
        }
        let from = frame.from.0 as usize;
        Some(Self(Rc::new(Packet { to, from, bytes: frame.to_bytes(), frame })))
    }

    /// Who gets it.
    pub fn to(&self) -> usize {
        self.0.to
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0.bytes
    }

    /// Whether it is a row of an outbox.
    pub fn is_parcel(&self) -> bool {
        matches!(self.0.frame.content, Content::Parcel { .. })
    }

    /// As it arrives. Each row has a number that its receiver has not seen.
    pub fn frame(&self, next: u64) -> Frame {
        let mut frame = self.0.frame.clone();
        if let Content::Parcel { number, .. } = &mut frame.content {
            *number = next;
        }
        frame
    }

    /// Whether it changes nothing at its receiver, now and later. Promises and what is certified only rise, and a leader does not lead
    /// the same ballot again; so it does not hold where votes are forgotten. Votes in older ballots than the promised one are given
    /// only by a mutant, which says so.
    pub fn is_dead(&self, receiver: &Server, counts_old_ballots: bool) -> bool {
        let Some(glimpse) = Glimpse::of(receiver, &GROUP) else { return false };
        match &self.0.frame.content {
            Content::Message { message, .. } => match message {
                Message::Prepare { ballot, .. } => *ballot <= glimpse.promised(),
                Message::Accept { ballot, .. } | Message::Finalize { ballot, .. } => {
                    *ballot < glimpse.promised() && !counts_old_ballots
                }
                Message::Promise { ballot, digest } => {
                    glimpse.leads() != Some((*ballot, true)) && is_known(digest, receiver, &glimpse)
                }
                Message::Vote { ballot, .. } => glimpse.leads() != Some((*ballot, false)),
                Message::Learn { digest } => is_known(digest, receiver, &glimpse),
                _ => false,
            },
            Content::Parcel { parcel: Parcel::Certified { commit }, .. } => is_certified(receiver, commit),
            Content::Parcel { parcel: Parcel::Final { commit }, .. } => is_final(receiver, commit),
            _ => false,
        }
    }

    /// As histories tell it.
    pub fn text(&self) -> String {
        let Packet { to, from, frame, .. } = &*self.0;
        let name = super::commits::name;
        let text = match &frame.content {
            Content::Message { message, .. } => match message {
                Message::Prepare { ballot, .. } => format!("prepare {ballot}"),
                Message::Promise { ballot, .. } => format!("promise {ballot}"),
                Message::Accept { ballot, commit, .. } => format!("accept {} in {ballot}", name(commit)),
                Message::Finalize { ballot, commit, .. } => format!("finalize {} in {ballot}", name(commit)),
                Message::Vote { ballot, commit } => format!("vote for {} in {ballot}", name(commit)),
                Message::Learn { .. } => "learn".to_owned(),
                other => format!("{other:?}"),
            },
            Content::Parcel { parcel: Parcel::Certified { commit }, .. } => {
                format!("certified {}", name(commit))
            }
            Content::Parcel { parcel: Parcel::Final { commit }, .. } => format!("final {}", name(commit)),
            other => format!("{other:?}"),
        };
        format!("{to} gets from {from}: {text}")
    }
}

/// Commits are named by their path, so that an ancestor is a prefix.
fn is_final(receiver: &Server, commit: &dmls::CommitId) -> bool {
    let status = receiver.group(&GROUP);
    status.is_some_and(|status| status.finalized().as_bytes().starts_with(commit.as_bytes()))
}

fn is_certified(receiver: &Server, commit: &dmls::CommitId) -> bool {
    receiver.group(&GROUP).is_some_and(|status| status.certified().any(|known| known == commit))
}

fn is_known(digest: &Digest, receiver: &Server, glimpse: &Glimpse<'_>) -> bool {
    let is_candidate = |candidate: &dmls_delivery::Candidate| {
        is_certified(receiver, &candidate.commit)
            || glimpse
                .candidates()
                .any(|(commit, ballot)| *commit == candidate.commit && *ballot >= candidate.ballot)
    };
    is_final(receiver, &digest.finalized)
        && digest.certified.iter().all(|commit| is_certified(receiver, commit))
        && digest.candidates.iter().all(is_candidate)
        && digest.testimonies.is_empty()
}

impl PartialEq for Flying {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Flying {}

impl PartialOrd for Flying {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Flying {
    fn cmp(&self, other: &Self) -> Ordering {
        let key = |flying: &Self| (flying.0.to, flying.0.from);
        key(self).cmp(&key(other)).then_with(|| self.0.bytes.cmp(&other.0.bytes))
    }
}
