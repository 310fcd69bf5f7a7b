//! Doubt: messages wait for epochs that we don't know. Their commits may be on the way. Or a branch lost on which they were said, and nobody
//! brings it here any more. Or others are where we can't follow: who joined below the place where two branches part can't tell which wins.
//!
//! Nothing in such a message says which. So whoever has waited long enough asks to be taken in again, and says where it began
//! ([`Began`]): who began above it has seen all that it has seen and more, so that one knows better and answers; who began below it does not, unless
//! nobody else does for a day. So all come to where those are who began first, and these agree by the fork choice.
//!
//! Those who do see both branches help: whoever sees a commit on a branch that lost says something on the winner ([`State::speak_up`]), so that
//! those who have no other sign hear that there is one. And who is in doubt leaves what anybody can do to others.
//!
//! Three more signs are as good as a message that waits: we are invited once more to where we are; our request was answered once more; and something
//! comes long after we joined that is older than what we can read, and nothing after it on our branch: not everybody knows at once that we are there.
//!
//! What waited when we were taken in again is no sign any more: it is of where we were, or of where we were not.

use dmls::codec::{Decode, Encode};
use dmls::{EpochRef, Time};
use dmls_store::{Profile, Transaction};

use crate::client::{Client, unknown};
use crate::entry::{GroupEvent, Note};
use crate::error::Error;
use crate::parcel::{Name, Place};
use crate::record::{fixed, record};
use crate::state::{Spaces, State};

/// So many times the patience of members we wait for what we may be missing.
pub(crate) const DOUBT: u64 = 10;
/// So long we wait for the commits that lead to an epoch ahead of ours: a network may bring them later than what was said after them.
pub(crate) const AHEAD: u64 = 86_400;

/// Where somebody's view of a group begins: number and beginning of the id of the epoch in which it joined. The lower it is the more forks it
/// has seen; the id decides between two who joined at the same depth of two branches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Began(pub [u8; 16]);

fixed!(Began, 16, "where somebody began, 16 bytes");

impl Began {
    pub(crate) fn at(epoch: EpochRef<'_>) -> Self {
        let mut began = [0; 16];
        began[..8].copy_from_slice(&epoch.number().to_be_bytes());
        for (to, from) in began[8..].iter_mut().zip(epoch.id().as_bytes()) {
            *to = *from;
        }
        Self(began)
    }

    /// Whether it was with the group: there is one epoch 0 and, as its creator does not commit twice in it, one epoch 1.
    pub(crate) fn with_the_group(self) -> bool {
        self < Self(2_u128.wrapping_shl(64).to_be_bytes())
    }
}

/// A message that waits for an epoch.
struct Waiting {
    since: Time,
    /// The number of its epoch.
    number: u64,
    /// It waited before we were taken in again.
    is_old: bool,
}

record!(Waiting { since, number, is_old });

impl Waiting {
    fn load(profile: &Profile, group_id: &[u8], name: &Name) -> Result<Option<Self>, Error> {
        let stored = profile.get(Spaces(group_id).waiting(), &name.0)?;
        let waiting = stored.map(|stored| Self::from_bytes(stored.as_bytes())).transpose();
        waiting.map_err(|_| Error::Damaged("a message that waits"))
    }

    fn all(profile: &Profile, group_id: &[u8]) -> Result<Vec<(Vec<u8>, Self)>, Error> {
        let decode = |(name, stored): (Vec<u8>, dmls::crypto::Secret)| {
            let waiting = Self::from_bytes(stored.as_bytes());
            Ok((name, waiting.map_err(|_| Error::Damaged("a message that waits"))?))
        };
        profile.all(Spaces(group_id).waiting())?.into_iter().map(decode).collect()
    }

    /// When it is a sign that we lost the way, if it is one: `head` is the number of our head.
    fn is_sign_at(&self, state: &State, head: u64, patience: u64) -> Option<Time> {
        let is_ahead = self.number > head;
        // Whoever began with the group knows all branches. It can miss commits only of its own.
        if self.is_old || (state.began.with_the_group() && !is_ahead) {
            return None;
        }
        let wait = if is_ahead { AHEAD } else { DOUBT.saturating_mul(patience) };
        Some(Time(self.since.0.saturating_add(wait)))
    }
}

/// A message waits for an epoch.
pub(crate) fn waits(
    tx: &mut Transaction<'_>,
    group_id: &[u8],
    state: &mut State,
    name: &Name,
    number: u64,
    now: Time,
) -> Result<(), Error> {
    let before = Waiting::load(tx, group_id, name)?;
    let is_old = before.is_some_and(|waiting| waiting.is_old);
    if !is_old {
        state.doubt = true;
    }
    let waiting = Waiting { since: now, number, is_old };
    Ok(tx.put(Spaces(group_id).waiting(), &name.0, &waiting.to_bytes())?)
}

/// A message came that is older than where our view of the group begins. As long as we are new, that is what was said before us.
pub(crate) fn before_us(state: &mut State, patience: u64, now: Time) {
    if now.0 >= state.entered.0.saturating_add(DOUBT.saturating_mul(patience)) {
        state.sign.get_or_insert(now);
    }
}

/// A message does not wait any longer.
pub(crate) fn came(tx: &mut Transaction<'_>, group_id: &[u8], name: &Name) -> Result<(), Error> {
    Ok(tx.delete(Spaces(group_id).waiting(), &name.0)?)
}

/// We begin anew: what waits is to be given again, for the new beginning may be able to read it; but it is no sign any more. Its names.
pub(crate) fn begin_anew(tx: &mut Transaction<'_>, group_id: &[u8]) -> Result<Vec<Name>, Error> {
    let mut names = Vec::new();
    for (name, waiting) in Waiting::all(tx, group_id)? {
        let waiting = Waiting { is_old: true, ..waiting };
        tx.put(Spaces(group_id).waiting(), &name, &waiting.to_bytes())?;
        tx.delete(Spaces(group_id).seen(), &name)?;
        names.extend(name.try_into().ok().map(Name));
    }
    Ok(names)
}

impl Client {
    /// Looks whether what waits has waited for too long.
    pub(crate) fn look_at_doubt(&mut self, id: &[u8], now: Time) -> Result<(), Error> {
        let patience = self.settings.patience;
        let state = self.local(id)?.state.clone();
        if !state.doubt && state.sign.is_none() {
            return Ok(());
        }
        let waiting = if state.doubt { Waiting::all(&self.profile, id)? } else { Vec::new() };
        let head = self.local(id)?.group.head().number();
        let sign = state.sign.map(|since| Time(since.0.saturating_add(DOUBT.saturating_mul(patience))));
        let signs = waiting.iter().filter_map(|(_, waiting)| waiting.is_sign_at(&state, head, patience));
        let first = signs.chain(sign).min();
        let is_lost = first.is_some_and(|at| at <= now) && !state.stranded;
        let mut new_state =
            State { doubt: waiting.iter().any(|(_, waiting)| !waiting.is_old), ..state.clone() };
        if is_lost {
            (new_state.stranded, new_state.guessed) = (true, true);
        } else if first.is_none() && state.guessed {
            (new_state.stranded, new_state.guessed) = (false, false);
        }
        if new_state == state {
            return Ok(());
        }
        self.set_state_and_note(id, new_state, is_lost.then(|| Note::new(GroupEvent::Stranded, now)))
    }

    /// Whether something waits that is a sign, or will be one: what will never be is no reason to leave anything to others.
    pub(crate) fn is_in_doubt(&self, id: &[u8]) -> Result<bool, Error> {
        let local = self.groups.get(id).ok_or_else(|| unknown(id))?;
        if !local.state.doubt {
            return Ok(false);
        }
        let (head, patience) = (local.group.head().number(), self.settings.patience);
        let waiting = Waiting::all(&self.profile, id)?;
        Ok(waiting.iter().any(|(_, waiting)| waiting.is_sign_at(&local.state, head, patience).is_some()))
    }

    /// Parcels that are to be given again.
    pub(crate) fn forget_seen(&mut self, place: Place, names: &[Name]) {
        if let Some(seen) = self.seen.get_mut(&place) {
            names.iter().for_each(|name| {
                seen.remove(name);
            });
        }
    }
}
