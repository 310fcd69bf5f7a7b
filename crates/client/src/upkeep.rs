//! What a client does by itself, when it is due.

use std::collections::BTreeSet;

use dmls::framing::Sender;
use dmls::{Group, Time};
use rand_core::CryptoRng;

use crate::client::{Client, group_name, saw, unknown};
use crate::doubt::DOUBT;
use crate::entry::{GroupEvent, Note};
use crate::error::Error;
use crate::event::Event;
use crate::names::name_in;
use crate::outbox;
use crate::own_packages;
use crate::parcel::{Name, Place};
use crate::payload::Mark;
use crate::record::Text;
use crate::state::{Due, Local, MemberTag, Spaces, State, receipts};

/// So long after a request to be taken in again nobody has answered: we ask once more, and wait twice as long. Perhaps we were removed where we
/// can't see it.
const ASK_AGAIN: u64 = 86_400;
/// So many marks are acknowledged by a message of their own, even if nothing is said.
const RECEIPT_OF: usize = 256;

impl Client {
    /// Does all that is due by now: of key packages, and in each group.
    pub fn tick(&mut self, now: Time, rng: &mut dyn CryptoRng) -> Result<(), Error> {
        self.tend_key_packages(now, rng)?;
        self.accept_waiting(now)?;
        // Commits use key packages up.
        self.crowd = None;
        let groups: Vec<_> = self.groups.keys().cloned().collect();
        for id in groups {
            let done = self.tend(&id, now, rng);
            self.go_on(&id, done)?;
        }
        Ok(())
    }

    /// What fails in one group does not stop the others: it is told, once.
    pub(crate) fn go_on(&mut self, id: &[u8], done: Result<(), Error>) -> Result<(), Error> {
        let failed = match done {
            Ok(()) => None,
            Err(e) if e.is_fatal() => return Err(e),
            Err(e) => Some(e.to_string()),
        };
        let Some(local) = self.groups.get_mut(id) else { return Ok(()) };
        if let Some(why) = failed.clone().filter(|why| local.failed.as_ref() != Some(why)) {
            self.events.push(Event::Failed { group: id.to_vec(), why });
        }
        local.failed = failed;
        Ok(())
    }

    /// A key package that was used, or is old, is replaced; those that were replaced long ago are erased.
    fn tend_key_packages(&mut self, now: Time, rng: &mut dyn CryptoRng) -> Result<(), Error> {
        let due = own_packages::due(&self.profile, now)?;
        if !due.renew && due.old.is_empty() {
            return Ok(());
        }
        let Self { profile, identity, .. } = self;
        profile.transaction(|tx| {
            for reference in &due.old {
                own_packages::erase(tx, reference)?;
            }
            if due.renew { own_packages::publish(tx, identity, now, rng) } else { Ok(()) }
        })
    }

    /// Does what is due in a group. Each part is a step of its own: a crash between them leaves the rest for the next time.
    pub(crate) fn tend(&mut self, id: &[u8], now: Time, rng: &mut dyn CryptoRng) -> Result<(), Error> {
        self.take_held(id, now)?;
        self.believe_removals(id)?;
        self.note_exclusion(id, now)?;
        self.accept_waiting(now)?;
        self.note_name(id, now)?;
        self.send_welcomes(id)?;
        self.expire(id, now)?;
        self.find_the_way(id, now, rng)?;
        let local = self.local(id)?;
        if local.group.is_removed() || local.state.rolled_back {
            return Ok(());
        }
        self.look_at_lost(id, now)?;
        let worked = self.do_work(id, now, rng);
        let said = self.say(id, now, rng);
        worked.and(said)
    }

    /// Sends what is due, whatever became of the work.
    fn say(&mut self, id: &[u8], now: Time, rng: &mut dyn CryptoRng) -> Result<(), Error> {
        self.propose_to_leave(id, now, rng)?;
        let local = self.local(id)?;
        if local.group.head().proposals().is_some_and(|proposals| !proposals.is_empty()) {
            // Nothing is sent before somebody commits.
            return Ok(());
        }
        if local.state.stranded {
            // It goes out again once we are taken in again.
            return Ok(());
        }
        self.look_at_unsettled(id, now, rng)?;
        self.acknowledge(id, now, rng)
    }

    /// Commits by which we are removed. What can be verified of them is (the rest only members of the new epoch can), and a member who lies about
    /// it could as well remove us. So they count as any commit does: the fork choice decides whether we are out.
    fn believe_removals(&mut self, id: &[u8]) -> Result<(), Error> {
        loop {
            let Self { groups, profile, .. } = self;
            let Local { group, state, changed, .. } = groups.get_mut(id).ok_or_else(|| unknown(id))?;
            let Some(commit) = group.claimed_removals().next().cloned() else { return Ok(()) };
            let mut new_state = state.clone();
            let step = group.confirm_removal(&commit)?;
            step.persist(|changes, turn| {
                profile.transaction(|tx| {
                    tx.write_group(id, changes)?;
                    if let Some(end) = turn.lost.last() {
                        new_state.add_lost(&end.id);
                    }
                    new_state.store(tx, id)
                })
            })?;
            (*state, *changed) = (new_state, true);
            self.waits_for_us = true;
        }
    }

    /// Whether we are out is noted when it changes.
    fn note_exclusion(&mut self, id: &[u8], now: Time) -> Result<(), Error> {
        let Local { group, state, .. } = self.local(id)?;
        let excluded = group.is_removed();
        if excluded == state.excluded {
            return Ok(());
        }
        let state = State { excluded, ..state.clone() };
        self.waits_for_us |= excluded;
        self.set_state_and_note(id, state, excluded.then(|| Note::new(GroupEvent::Excluded, now)))
    }

    /// Another name of the group is noted once the head has it: a commit gave it, or the branch that wins never had the last one.
    fn note_name(&mut self, id: &[u8], now: Time) -> Result<(), Error> {
        let Local { group, state, .. } = self.local(id)?;
        let name = group_name(group);
        if group.is_removed() || name == state.name.0 {
            return Ok(());
        }
        let renamed = Note::new(GroupEvent::Renamed, now).by(named_by(group)).whom(vec![name.clone()]);
        let state = State { name: Text(name), ..state.clone() };
        self.set_state_and_note(id, state, Some(renamed))
    }

    /// Welcomes of our commits that are on the way to the head: nobody joins a branch that lost.
    fn send_welcomes(&mut self, id: &[u8]) -> Result<(), Error> {
        loop {
            let Self { groups, profile, .. } = self;
            let Local { group, .. } = groups.get_mut(id).ok_or_else(|| unknown(id))?;
            let first = group.unsent_welcomes().next();
            let Some((commit, welcome)) = first.map(|(commit, welcome)| (commit.clone(), welcome.to_vec()))
            else {
                return Ok(());
            };
            let step = group.welcome_sent(&commit)?;
            step.persist(|changes, ()| {
                profile.transaction(|tx| {
                    tx.write_group(id, changes)?;
                    outbox::post(tx, Place::Invitations, &welcome).map(drop)
                })
            })?;
        }
    }

    /// Deletes what time alone makes due.
    fn expire(&mut self, id: &[u8], now: Time) -> Result<(), Error> {
        let Self { groups, profile, .. } = self;
        let Local { group, .. } = groups.get_mut(id).ok_or_else(|| unknown(id))?;
        let step = group.expire(now);
        if step.changes().is_empty() {
            return Ok(());
        }
        step.persist(|changes, _| {
            profile.transaction(|tx| tx.write_group(id, changes).map_err(Error::from))
        })?;
        Ok(())
    }

    /// Where we can't follow the others, we ask to be taken in again.
    fn find_the_way(&mut self, id: &[u8], now: Time, rng: &mut dyn CryptoRng) -> Result<(), Error> {
        self.look_at_doubt(id, now)?;
        let wait = DOUBT.saturating_mul(self.settings.patience);
        let Local { group, state, .. } = self.local(id)?;
        let lost = if group.is_removed() {
            state.awaited.is_some_and(|since| now.0 >= since.0.saturating_add(wait))
        } else {
            state.stranded || state.rolled_back
        };
        let patience = ASK_AGAIN << state.asks.saturating_sub(1).min(6);
        if lost && state.asked.is_none_or(|at| now.0 >= at.0.saturating_add(patience)) {
            self.rejoin(id, now, rng)?;
        }
        Ok(())
    }

    /// What one of the members should do: at once if we are the first in line, else once those before us had their time.
    fn do_work(&mut self, id: &[u8], now: Time, rng: &mut dyn CryptoRng) -> Result<(), Error> {
        let due = self.due_work(id, now)?;
        let is_in_doubt = due.is_some() && self.is_in_doubt(id)?;
        let patience = self.settings.patience;
        let Self { groups, profile, .. } = self;
        let Local { group, state, .. } = groups.get_mut(id).ok_or_else(|| unknown(id))?;
        let Some((work, mut turn)) = due else {
            if state.due.is_some() {
                let new_state = State { due: None, ..state.clone() };
                profile.transaction(|tx| new_state.store(tx, id))?;
                *state = new_state;
            }
            return Ok(());
        };
        let head = group.head().id().clone();
        let since = match &state.due {
            Some(due) if due.head == head => due.since,
            _ => {
                let new_state = State { due: Some(Due { head, since: now }), ..state.clone() };
                profile.transaction(|tx| new_state.store(tx, id))?;
                *state = new_state;
                now
            }
        };
        // Who doesn't know whether it is where the others are leaves it to them, unless nobody else does it; and says nothing that would make
        // others doubt, if it has to think that it is alone.
        if state.stranded && work.requests.is_empty() {
            return Ok(());
        }
        if is_in_doubt || state.stranded {
            turn = turn.saturating_add(2 * DOUBT);
        } else if !work.adds.is_empty() && !state.began.with_the_group() {
            // Who asks may have come on another branch, and takes no answer by somebody who came on ours: whoever began with the group is known on all.
            turn = turn.saturating_add(DOUBT);
        }
        if now.0 < since.0.saturating_add(patience.saturating_mul(turn)) {
            return Ok(());
        }
        let used = work.key_packages(group.suite());
        match self.commit(id, work, now, rng) {
            Err(e) if !e.is_fatal() && !used.is_empty() => {
                // One of them may be what is refused. Who asks will ask again; nobody else waits for it.
                self.drop_key_packages(id, &used)?;
                return Err(e);
            }
            new => new?,
        };
        self.send_welcomes(id)
    }

    /// Proposes to remove us, in each epoch in which we have not yet.
    fn propose_to_leave(&mut self, id: &[u8], now: Time, rng: &mut dyn CryptoRng) -> Result<(), Error> {
        let Self { groups, profile, seen, .. } = self;
        let Local { group, state, tag, .. } = groups.get_mut(id).ok_or_else(|| unknown(id))?;
        let head = group.head();
        let (Some(own), true) = (head.own_leaf(), state.leaving) else { return Ok(()) };
        let proposed = head.proposals().unwrap_or_default();
        if proposed.iter().any(|proposal| proposal.sender == Sender::Member(own)) {
            return Ok(());
        }
        let step = group.propose_remove(own, now, rng)?;
        let sent = step.persist(|changes, sent| {
            profile.transaction(|tx| {
                tx.write_group(id, changes)?;
                outbox::post_message(tx, id, *tag, &sent.message).map(drop)
            })
        })?;
        saw(seen, Place::Group(*tag), Name::of(&sent.message));
        Ok(())
    }

    /// Says what was taken in, now and then.
    fn acknowledge(&mut self, id: &[u8], now: Time, rng: &mut dyn CryptoRng) -> Result<(), Error> {
        let after = self.settings.receipt_after;
        let repeat_after = self.settings.patience.saturating_mul(2 * DOUBT);
        let local = self.groups.get(id).ok_or_else(|| unknown(id))?;
        let waited = local.state.unsaid.is_some_and(|since| now.0 >= since.0.saturating_add(after));
        let members = local.group.head().members().map_or(0, |members| members.len());
        let many = self.profile.entries_after(Spaces(id).unsaid(), None, RECEIPT_OF)?.len() == RECEIPT_OF;
        let repeats = local.state.spoke_up.is_some_and(|since| now.0 >= since.0.saturating_add(repeat_after));
        if members > 1 && (waited || many || repeats) {
            self.send_receipt(id, now, rng)?;
        }
        if repeats {
            let state = State { spoke_up: None, ..self.local(id)?.state.clone() };
            self.set_state(id, state)?;
        }
        Ok(())
    }

    /// The other members of the head.
    pub(crate) fn others(&self, id: &[u8]) -> Result<BTreeSet<MemberTag>, Error> {
        let local = self.groups.get(id).ok_or_else(|| unknown(id))?;
        let head = local.group.head();
        let own = head.own_leaf();
        let members =
            head.members().unwrap_or_default().into_iter().filter(|member| Some(member.leaf) != own);
        Ok(members.map(|member| MemberTag::of(&member.signature_key)).collect())
    }

    /// Takes back what every member of its group has taken in, as far as they said; how many parcels. Who comes back from a backup that is
    /// older than that has to be taken in again.
    pub fn prune(&mut self, now: Time, rng: &mut dyn CryptoRng) -> Result<usize, Error> {
        let mut pruned = 0;
        let groups: Vec<_> =
            self.groups.values().map(|local| (local.group.id().to_vec(), local.tag)).collect();
        for (id, tag) in groups {
            let others = self.others(&id)?;
            let active = {
                let local = self.local(&id)?;
                let waits = local.group.head().proposals().is_none_or(|proposals| !proposals.is_empty());
                !local.group.is_removed() && !local.state.rolled_back && !waits
            };
            if !active {
                continue;
            }
            if !others.is_empty() && !self.profile.entries_after(Spaces(&id).unsaid(), None, 1)?.is_empty() {
                self.send_receipt(&id, now, rng)?;
            }
            let place = Place::Group(tag);
            self.load_seen(place)?;
            let mut old = Vec::new();
            for name in self.seen.get(&place).into_iter().flatten() {
                let known: BTreeSet<_> = receipts(&self.profile, &id, Mark::of(name))?.into_iter().collect();
                if !others.is_empty() && known.is_superset(&others) {
                    old.push(*name);
                }
            }
            self.profile.transaction(|tx| {
                for name in &old {
                    outbox::retract(tx, place, *name)?;
                    tx.delete(Spaces(&id).receipts(), &Mark::of(name).0)?;
                    tx.delete(Spaces(&id).seen(), &name.0)?;
                }
                Ok::<_, Error>(())
            })?;
            let seen = self.seen.entry(place).or_default();
            old.iter().for_each(|name| {
                seen.remove(name);
            });
            pruned += old.len();
        }
        Ok(pruned)
    }
}

/// Who made the last commit on the way to the head that changed the settings of the group; empty if nobody has.
fn named_by(group: &Group) -> String {
    let mut epoch = Some(group.head());
    while let Some(at) = epoch {
        if let Some(commit) = at.commit().filter(|commit| commit.extensions_changed) {
            return commit.credential.as_ref().map(name_in).unwrap_or_default();
        }
        epoch = at.parent().and_then(|parent| group.epoch(parent));
    }
    String::new()
}
