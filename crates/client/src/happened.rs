//! What a step of the library means: for the log, for people, for what is to be done next.

use dmls::crypto::SignaturePublicKey;
use dmls::{Credential, Member, NewEpoch, Stranded, Time};
use dmls_store::Transaction;

use crate::client::note;
use crate::entry::{GroupEvent, Note};
use crate::error::Error;
use crate::event::Event;
use crate::names::name_in;
use crate::people::{Fingerprint, contact, pin};
use crate::state::{MemberTag, State};

/// Notes a new epoch. Nothing here looks at the group: it is written in the transaction of the step.
pub(crate) fn new_epoch(
    tx: &mut Transaction<'_>,
    told: &mut Vec<Event>,
    group: &[u8],
    state: &mut State,
    new: &NewEpoch,
    now: Time,
) -> Result<(), Error> {
    let by = name_in(&new.commit.committer.credential);
    let is_added = |member: &Member| {
        new.commit.added.iter().any(|added| added.member.signature_key == member.signature_key)
    };
    let (again, removed): (Vec<_>, Vec<_>) = new.commit.removed.iter().partition(|member| is_added(member));
    let is_again = |key: &SignaturePublicKey| again.iter().any(|member| member.signature_key == *key);
    let added = new.commit.added.iter().filter(|added| !is_again(&added.member.signature_key));
    let added: Vec<_> = added.map(|added| name_in(&added.member.credential)).collect();
    let names =
        |members: &[&Member]| members.iter().map(|member| name_in(&member.credential)).collect::<Vec<_>>();
    for (event, whom) in [
        (GroupEvent::Added, added),
        (GroupEvent::Removed, names(&removed)),
        (GroupEvent::TookAgain, names(&again)),
    ] {
        if !whom.is_empty() {
            note(tx, told, group, Note::new(event, now).by(by.clone()).whom(whom))?;
        }
    }
    for member in &again {
        let member = MemberTag::of(&member.signature_key);
        if !state.retaken.contains(&member) {
            state.retaken.push(member);
        }
    }
    for added in &new.commit.added {
        meet(tx, told, &added.member.credential, &added.member.signature_key, now)?;
    }
    if new.fork {
        note(tx, told, group, Note::new(GroupEvent::Forked, now).by(by))?;
    }
    if let Some(end) = new.lost.last() {
        let lost = new.lost.iter().filter_map(|lost| lost.commit.as_ref()?.credential.as_ref());
        let mut losers: Vec<_> = lost.map(name_in).collect();
        losers.sort();
        losers.dedup();
        let switched = Note::new(GroupEvent::Switched, now).by(losers.join(", ")).count(new.lost.len());
        note(tx, told, group, switched)?;
        state.add_lost(&end.id);
        let renamed = new
            .lost
            .iter()
            .filter_map(|lost| lost.commit.as_ref())
            .filter(|commit| commit.extensions_changed);
        for commit in renamed {
            let by = commit.credential.as_ref().map(name_in).unwrap_or_default();
            note(tx, told, group, Note::new(GroupEvent::SettingsLost, now).by(by))?;
        }
    }
    if !new.is_head {
        state.add_lost(&new.id);
        if new.commit.extensions_changed {
            let by = name_in(&new.commit.committer.credential);
            note(tx, told, group, Note::new(GroupEvent::SettingsLost, now).by(by))?;
        }
    }
    if !new.is_head || !new.lost.is_empty() {
        state.speak_up(now);
    }
    if new.own {
        state.committed = now;
    }
    if let Some(sign) = &new.stranded {
        stranded(tx, told, group, state, sign, now)?;
    }
    Ok(())
}

/// There are signs that others are on a branch that we can't follow. Of messages that wait [`crate::doubt`] knows more.
fn stranded(
    tx: &mut Transaction<'_>,
    told: &mut Vec<Event>,
    group: &[u8],
    state: &mut State,
    sign: &Stranded,
    now: Time,
) -> Result<(), Error> {
    if matches!(sign, Stranded::OtherBranch { .. }) {
        return Ok(());
    }
    state.guessed = false;
    if !state.stranded {
        state.stranded = true;
        note(tx, told, group, Note::new(GroupEvent::Stranded, now))?;
    }
    Ok(())
}

/// Somebody's key was seen: it is pinned, or compared with the one that is.
pub(crate) fn meet(
    tx: &mut Transaction<'_>,
    told: &mut Vec<Event>,
    credential: &Credential,
    key: &SignaturePublicKey,
    now: Time,
) -> Result<(), Error> {
    let name = name_in(credential);
    let found = Fingerprint::of(&name, key);
    let known = contact(tx, &name)?;
    if !pin(tx, &name, key, now)? {
        let pinned = known.map_or(found, |contact| contact.fingerprint());
        told.push(Event::OtherKey { name, pinned, found });
    } else if known.is_none() {
        told.push(Event::Met { name, fingerprint: found });
    }
    Ok(())
}
