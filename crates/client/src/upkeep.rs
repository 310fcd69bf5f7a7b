//! What a client does by itself, when it is due.

use std::collections::BTreeSet;

use dmls::Time;
use dmls::framing::Sender;
use rand_core::CryptoRng;

use crate::client::{Client, group_name, message_at, note, unknown};
use crate::entry::{GroupEvent, Message, Note};
use crate::error::Error;
use crate::inbox::unsettled;
use crate::names::name_in;
use crate::outbox;
use crate::own_packages;
use crate::parcel::{Name, Place};
use crate::payload::Mark;
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
        let groups: Vec<_> = self.groups.keys().cloned().collect();
        for id in groups {
            self.tend(&id, now, rng)?;
        }
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
        self.believe_removals(id, now)?;
        self.send_welcomes(id)?;
        self.expire(id, now)?;
        self.find_the_way(id, now, rng)?;
        let local = self.local(id)?;
        if local.group.is_removed() || local.state.rolled_back {
            return Ok(());
        }
        self.do_work(id, now, rng)?;
        self.propose_to_leave(id, now, rng)?;
        let local = self.local(id)?;
        if local.group.head().proposals().is_some_and(|proposals| !proposals.is_empty()) {
            // Nothing is sent before somebody commits.
            return Ok(());
        }
        self.send_again(id, now, rng)?;
        self.acknowledge(id, now, rng)
    }

    /// Commits by which we are removed. What can be verified of them is (the rest only members of the new epoch can), and a member who lies about
    /// it could as well remove us. So they count as any commit does: the fork choice decides whether we are out.
    fn believe_removals(&mut self, id: &[u8], now: Time) -> Result<(), Error> {
        loop {
            let Self { groups, profile, events, .. } = self;
            let Local { group, state, .. } = groups.get_mut(id).ok_or_else(|| unknown(id))?;
            let Some(commit) = group.claimed_removals().next().cloned() else { return Ok(()) };
            let was_removed = group.is_removed();
            let mut new_state = state.clone();
            let mut told = Vec::new();
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
            *state = new_state;
            if group.is_removed() && !was_removed {
                profile.transaction(|tx| note(tx, &mut told, id, Note::new(GroupEvent::Excluded, now)))?;
            }
            events.extend(told);
        }
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

    /// Where we can't follow the others, we ask to be taken in again. That several members were on their way to us in vain is told by the library; that
    /// we were invited on both sides of a split, and something waits for an epoch that we don't know, says the same.
    fn find_the_way(&mut self, id: &[u8], now: Time, rng: &mut dyn CryptoRng) -> Result<(), Error> {
        let doubt_after = self.settings.doubt_after;
        let Local { group, state, .. } = self.local(id)?;
        if group.is_removed() {
            return Ok(());
        }
        let waited = |since: Option<Time>| since.is_some_and(|at| now.0 >= at.0.saturating_add(doubt_after));
        if !state.stranded && (waited(state.invited) || waited(state.doubt)) {
            let is_stranded = waited(state.invited) || group.held() > 0;
            let new_state = State { doubt: None, invited: None, stranded: is_stranded, ..state.clone() };
            self.profile.transaction(|tx| new_state.store(tx, id))?;
            self.local(id)?.state = new_state;
            if is_stranded {
                self.note(id, Note::new(GroupEvent::Stranded, now))?;
            }
        }
        let state = &self.local(id)?.state;
        let lost = state.stranded || state.rolled_back;
        let patience = ASK_AGAIN << state.asks.saturating_sub(1).min(6);
        if lost && state.asked.is_none_or(|at| now.0 >= at.0.saturating_add(patience)) {
            self.rejoin(id, now, rng)?;
        }
        Ok(())
    }

    /// What one of the members should do: at once if we are the first in line, else once those before us had their time.
    fn do_work(&mut self, id: &[u8], now: Time, rng: &mut dyn CryptoRng) -> Result<(), Error> {
        let due = self.due_work(id, now)?;
        let patience = self.settings.patience;
        let Self { groups, profile, .. } = self;
        let Local { group, state, .. } = groups.get_mut(id).ok_or_else(|| unknown(id))?;
        let Some((work, turn)) = due else {
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
        if now.0 < since.0.saturating_add(patience.saturating_mul(turn as u64)) {
            return Ok(());
        }
        let before = group_name(group);
        let new = self.commit(id, work, now, rng)?;
        self.send_welcomes(id)?;
        self.note_name(id, &before, &name_in(&new.commit.committer.credential), now)
    }

    /// Proposes to remove us, in each epoch in which we have not yet.
    fn propose_to_leave(&mut self, id: &[u8], now: Time, rng: &mut dyn CryptoRng) -> Result<(), Error> {
        let Self { groups, profile, seen, .. } = self;
        let Local { group, state, tag } = groups.get_mut(id).ok_or_else(|| unknown(id))?;
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
        seen.entry(Place::Group(*tag)).or_default().insert(Name::of(&sent.message));
        Ok(())
    }

    /// Messages of ours go out again that only a branch saw which lost, that we sent before we lost the way, or that somebody can't have read
    /// who had lost it: with the same id, so that whoever has read one does not read it twice.
    fn send_again(&mut self, id: &[u8], now: Time, rng: &mut dyn CryptoRng) -> Result<(), Error> {
        let retaken = self.local(id)?.state.retaken.clone();
        let mut again = Vec::new();
        for (_, message) in unsettled(&self.profile, id)? {
            let group = &self.local(id)?.group;
            let is_lost = group.epoch(&message.epoch).is_none_or(|epoch| !epoch.is_on_way());
            let is_missed = !retaken.is_empty() && {
                let known = receipts(&self.profile, id, message.mark)?;
                retaken.iter().any(|member| !known.contains(member))
            };
            if is_lost || is_missed {
                again.push(message.order);
            }
        }
        again.sort_unstable();
        let mut count = 0;
        for order in again {
            let Some(message) = message_at(&self.profile, id, order)? else { continue };
            let epoch = self.local(id)?.group.head().id().clone();
            self.seal(id, Message { epoch, on_way: true, again: true, ..message }, Some(order), rng)?;
            count += 1;
        }
        if count > 0 {
            self.note(id, Note::new(GroupEvent::SentAgain, now).count(count))?;
        }
        if !retaken.is_empty() {
            let Self { groups, profile, .. } = self;
            let Local { state, .. } = groups.get_mut(id).ok_or_else(|| unknown(id))?;
            let new_state = State { retaken: Vec::new(), ..state.clone() };
            profile.transaction(|tx| new_state.store(tx, id))?;
            *state = new_state;
        }
        Ok(())
    }

    /// Says what was taken in, now and then; and forgets which messages of ours all have.
    fn acknowledge(&mut self, id: &[u8], now: Time, rng: &mut dyn CryptoRng) -> Result<(), Error> {
        self.settle(id)?;
        let after = self.settings.receipt_after;
        let local = self.local(id)?;
        let waited = local.state.unsaid.is_some_and(|since| now.0 >= since.0.saturating_add(after));
        let members = local.group.head().members().map_or(0, |members| members.len());
        let many = members > 1
            && self.profile.entries_after(Spaces(id).unsaid(), None, RECEIPT_OF)?.len() == RECEIPT_OF;
        if waited || many { self.send_receipt(id, now, rng) } else { Ok(()) }
    }

    /// Messages of ours that all members of the head have taken in need not be sent again.
    fn settle(&mut self, id: &[u8]) -> Result<(), Error> {
        let local = self.groups.get(id).ok_or_else(|| unknown(id))?;
        let head = local.group.head();
        let own = head.own_leaf();
        let members =
            head.members().unwrap_or_default().into_iter().filter(|member| Some(member.leaf) != own);
        let others: BTreeSet<_> = members.map(|member| MemberTag::of(&member.signature_key)).collect();
        if others.is_empty() {
            return Ok(());
        }
        let mut settled = Vec::new();
        for (key, message) in unsettled(&self.profile, id)? {
            let known: BTreeSet<_> = receipts(&self.profile, id, message.mark)?.into_iter().collect();
            if known.is_superset(&others) {
                settled.push(key);
            }
        }
        if settled.is_empty() {
            return Ok(());
        }
        self.profile.transaction(|tx| {
            for key in &settled {
                tx.delete(Spaces(id).unsettled(), key)?;
            }
            Ok(())
        })
    }

    /// The other members of the head.
    fn others(&self, id: &[u8]) -> Result<BTreeSet<MemberTag>, Error> {
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
