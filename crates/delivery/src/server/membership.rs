//! The roster at a server: what follows when somebody joins or is retired (federation.md s3).

use super::{HEARD, PEER, Peer, RECORD, Server};
use crate::effects::{Alarm, Effects};
use crate::frame::{Content, Position};
use crate::ids::{GroupName, Incarnation, Millis, ServerId};
use crate::roster::{BadRecord, Change, Record, Roster, Taken};

const HOUR: u64 = 3_600_000;
/// After so long one of two servers may retire the other.
const SILENCE: u64 = 30 * 24 * HOUR;
/// So many records go into one frame.
const RECORDS: usize = 16;

impl Server {
    /// Takes a record that operators have signed. It reaches the others by itself.
    pub fn adopt(&mut self, record: &Record, now: Millis) -> Result<Effects, BadRecord> {
        let mut effects = Effects::default();
        let roster = self.roster.as_ref().ok_or(BadRecord::NoRoster)?;
        if let Change::Retire { server } = record.change
            && roster.is_alone(record)
            && self.heard.get(&server).is_none_or(|heard| now < heard.after(SILENCE))
        {
            return Err(BadRecord::NotSilent);
        }
        self.take_record(record, now, &mut effects)?;
        Ok(effects)
    }

    /// Who belongs, as far as is known here.
    pub fn roster(&self) -> Option<&Roster> {
        self.roster.as_ref()
    }

    pub(super) fn belongs(&self, server: ServerId) -> bool {
        let is_member = |roster: &Roster| roster.members().any(|operator| operator.id == server);
        server == self.me || self.roster.as_ref().is_none_or(is_member)
    }

    /// Whoever does not belong is not heard; who was retired is told so.
    pub(super) fn on_stranger(&mut self, from: ServerId, content: &Content, out: &mut Effects) {
        let was_member = self.roster.as_ref().is_some_and(|roster| roster.retired().contains(&from));
        if let Content::Probe { roster, .. } = content
            && was_member
        {
            self.on_position(from, *roster, out);
        }
    }

    /// Whoever has an older roster, or another, gets what it lacks.
    pub(super) fn on_position(&mut self, from: ServerId, theirs: Position, out: &mut Effects) {
        let Some(roster) = &self.roster else { return };
        let is_other = roster.hash_at(theirs.number).is_some_and(|ours| ours != theirs.hash);
        let next = if is_other { theirs.number } else { theirs.number.saturating_add(1) };
        let records: Vec<_> = roster.records_from(next).iter().take(RECORDS).cloned().collect();
        if !records.is_empty() {
            self.send(from, Content::Records { records }, out);
        }
    }

    pub(super) fn on_records(&mut self, records: &[Record], now: Millis, out: &mut Effects) {
        for record in records.iter().take(RECORDS) {
            // Of each number one fork is told: to check more would be work for nothing.
            if self.forks.contains(&record.number) || self.take_record(record, now, out).is_err() {
                return;
            }
        }
    }

    fn take_record(&mut self, record: &Record, now: Millis, out: &mut Effects) -> Result<(), BadRecord> {
        let roster = self.roster.as_mut().ok_or(BadRecord::NoRoster)?;
        let alarm = match roster.take(record)? {
            Taken::Known => return Ok(()),
            Taken::New => {
                self.follow(record, now, out);
                return Ok(());
            }
            Taken::Fork => Alarm::RosterFork(record.number),
            Taken::Split => Alarm::RosterSplit,
        };
        self.forks.insert(record.number);
        out.alarms.push(alarm);
        Ok(())
    }

    fn follow(&mut self, record: &Record, now: Millis, out: &mut Effects) {
        out.writer().put(RECORD, &record.number, record);
        self.chain.push(record.clone());
        if let Change::Retire { server } = record.change {
            self.refuse(server, out);
        }
        if let (Some(links), Some(roster)) = (&mut self.links, &self.roster) {
            links.set_roster(&roster.ids(), now);
        }
        self.tell_groups_who_is_retired(now, out);
        self.note_silence_from(now, out);
        self.after_links(now, out);
    }

    /// Its frames are refused, also later: everything went on without it, so should it come back, it is as a new incarnation that asks the others.
    fn refuse(&mut self, server: ServerId, out: &mut Effects) {
        if server == self.me {
            return out.alarms.push(Alarm::Retired);
        }
        let incarnation = self.peers.get(&server).map_or(0, |peer| peer.incarnation.0);
        let peer = Peer { incarnation: Incarnation(incarnation.saturating_add(1)), received: 0 };
        let mut writer = out.writer();
        writer.put(PEER, &server, &peer);
        self.peers.insert(server, peer);
        self.outboxes.refuse(server, &mut writer);
    }

    pub(super) fn tell_groups_who_is_retired(&mut self, now: Millis, out: &mut Effects) {
        let Some(retired) = self.roster.as_ref().map(|roster| roster.retired().clone()) else { return };
        let names: Vec<GroupName> = self.groups.keys().copied().collect();
        for name in names {
            let _ = self.in_group(&name, now, out, |group, turn| {
                group.set_retired(retired.clone(), turn);
                Ok(())
            });
        }
    }

    /// In a roster of two silence counts from when it began to be one.
    pub(super) fn note_silence_from(&mut self, now: Millis, out: &mut Effects) {
        let Some(members) = self.roster.as_ref().map(Roster::ids).filter(|members| members.len() == 2) else {
            return;
        };
        for server in members {
            if !self.heard.contains_key(&server) {
                self.note_hour(server, now, out);
            }
        }
    }

    /// Once an hour it is written that a server was heard.
    pub(super) fn note_hour_of(&mut self, from: ServerId, now: Millis, out: &mut Effects) {
        if self.heard.get(&from).is_some_and(|heard| heard.after(HOUR) <= now) {
            self.note_hour(from, now, out);
        }
    }

    fn note_hour(&mut self, server: ServerId, now: Millis, out: &mut Effects) {
        self.heard.insert(server, now);
        out.writer().put(HEARD, &server, &now);
    }
}
