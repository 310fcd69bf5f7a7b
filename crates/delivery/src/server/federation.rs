//! A server that computes its own view: time and bytes in, and it does by itself what is due.

use std::collections::BTreeSet;

use dmls::crypto::HashAlgorithm;

use super::{LIVE_BEFORE, Server};
use crate::effects::Effects;
use crate::frame::{Content, Position};
use crate::group::Work;
use crate::ids::{GroupName, Millis, ServerId};
use crate::link::{LinkEvent, LinkOutput, Links, Reach};
use crate::records::Only;
use crate::roster::{BadRecord, Roster};

/// A row of an outbox whose receipt does not come goes out again after this.
const SHIP_AGAIN: u64 = 1_000;
/// Several servers may see the same work. They go one after the other, so that they don't outbid each other.
const TURN: u64 = 300;
/// A group that needs a server of which nothing is known yet looks again after this.
const WAIT: u64 = 250;

impl Server {
    /// Begins to look for the servers of the roster. From now on [`Server::set_view`] is not needed: the server computes whom it reaches from
    /// [`Input::Link`](super::Input::Link), from frames and from [`Input::Tick`](super::Input::Tick), and starts ballots itself.
    ///
    /// The roster is that of the founders; records that were kept stand on it, or it is refused.
    pub fn connect(&mut self, mut roster: Roster, now: Millis) -> Result<Effects, BadRecord> {
        self.chain.iter().try_for_each(|record| roster.take(record).map(|_| ()))?;
        let mut effects = Effects::default();
        let links = Links::new(self.me, self.incarnation, &roster.ids(), self.live_before.clone(), now);
        self.links = Some(links);
        self.roster = Some(roster);
        self.tell_groups_who_is_retired(now, &mut effects);
        let names: Vec<_> = self.groups.keys().copied().collect();
        names.into_iter().for_each(|name| self.note_work(&name, true, now));
        self.note_silence_from(now, &mut effects);
        self.after_links(now, &mut effects);
        Ok(effects)
    }

    /// When [`Input::Tick`](super::Input::Tick) has something to do, at the latest. Nothing is missed by coming later, or more often.
    pub fn next_wake(&self) -> Option<Millis> {
        let links = self.links.as_ref()?;
        let mail = self.with_mail().into_iter().map(|peer| self.ships_at(peer));
        mail.chain(links.next_wake()).chain(self.agenda.next_wake()).min()
    }

    /// The way that frames to a peer take through the network, both ends included. Between neighbours that is the two.
    pub fn route(&self, to: ServerId, now: Millis) -> Option<Vec<ServerId>> {
        self.links.as_ref()?.route(to, now)
    }

    /// Whether a server answers, as far as we know.
    pub fn reach(&self, peer: ServerId) -> Option<Reach> {
        self.links.as_ref()?.reach(peer)
    }

    /// The servers that can be reached, ourselves included.
    pub fn view(&self) -> &BTreeSet<ServerId> {
        &self.view
    }

    pub(super) fn on_link(&mut self, event: LinkEvent, now: Millis, out: &mut Effects) {
        let Some(links) = &mut self.links else { return };
        let output = links.on_event(event, now);
        self.send_links(output, out);
        self.after_links(now, out);
    }

    pub(super) fn tick(&mut self, now: Millis, out: &mut Effects) {
        let Some(links) = &mut self.links else { return };
        let output = links.tick(now);
        self.send_links(output, out);
        self.after_links(now, out);
        for name in self.agenda.due(now) {
            self.take_up(name, now, out);
        }
        for peer in self.with_mail() {
            if self.ships_at(peer) <= now {
                self.ship_next(peer, now, out);
            }
        }
    }

    fn send_links(&mut self, output: LinkOutput, out: &mut Effects) {
        let LinkOutput { hops, probes, arrived } = output;
        out.hops.extend(hops);
        out.arrived.extend(arrived);
        let Some((number, hash)) = self.roster.as_ref().map(Roster::position) else { return };
        let (is_recovering, roster) = (self.is_recovering(), Position { number, hash });
        for (peer, number) in probes {
            self.send(peer, Content::Probe { number, is_recovering, roster }, out);
        }
    }

    pub(super) fn is_recovering(&self) -> bool {
        self.groups.values().any(|entry| entry.group.is_recovering())
    }

    /// Any byte of a peer is an answer.
    pub(super) fn note_heard(&mut self, from: ServerId, now: Millis, out: &mut Effects) {
        let Some(links) = &mut self.links else { return };
        links.on_heard(from, now);
        self.note_hour_of(from, now, out);
        self.after_links(now, out);
    }

    pub(super) fn note_probe(&mut self, from: ServerId, is_recovering: bool, now: Millis, out: &mut Effects) {
        let Some(links) = &mut self.links else { return };
        links.set_recovering(from, is_recovering);
        self.after_links(now, out);
    }

    /// The view follows the links, and what a restart needs to know of it is written.
    pub(super) fn after_links(&mut self, now: Millis, out: &mut Effects) {
        let Some(links) = &self.links else { return };
        let (view, live_before) = (links.view(), links.live_before());
        if self.live_before.as_ref() != Some(live_before) {
            let kept: Vec<_> = live_before.iter().copied().collect();
            out.writer().put(LIVE_BEFORE, &Only, &kept);
            self.live_before = Some(live_before.clone());
        }
        let awaited = links.awaited();
        if self.view != view || self.awaited != awaited {
            self.seen = &view - &BTreeSet::from([self.me]);
            self.view = view;
            self.awaited = awaited;
            self.agenda.try_all(now.after(TURN));
        }
    }

    fn with_mail(&self) -> Vec<ServerId> {
        self.view.iter().copied().filter(|peer| *peer != self.me && self.has_mail(*peer)).collect()
    }

    fn ships_at(&self, peer: ServerId) -> Millis {
        self.shipped.get(&peer).map_or(Millis(0), |at| at.after(SHIP_AGAIN))
    }

    /// The next row of the outbox goes out.
    pub(super) fn ship_next(&mut self, peer: ServerId, now: Millis, out: &mut Effects) {
        self.shipped.insert(peer, now);
        self.ship(peer, out);
    }

    /// After an input: whether the group has something to do, and if something is new, when.
    pub(super) fn note_work(&mut self, name: &GroupName, is_news: bool, now: Millis) {
        let Some(entry) = self.groups.get(name).filter(|_| self.links.is_some()) else { return };
        if entry.group.work() == Work::Nothing {
            return self.agenda.remove(name);
        }
        if is_news {
            let delay = if entry.group.has_submissions() { 0 } else { (self.place(name) + 1) * TURN };
            self.agenda.is_new(*name, now.after(delay));
        }
    }

    /// Our place among the servers of the head in view, by a hash of each and the group: the first leads, so the work of many groups
    /// is shared, and stays where it is.
    fn place(&self, name: &GroupName) -> u64 {
        let Some(entry) = self.groups.get(name) else { return 0 };
        let weight = |server: ServerId| HashAlgorithm::Sha256.hash(&[&name.0, &server.0.to_be_bytes()]);
        let own = weight(self.me);
        let servers = entry.group.head_servers(&*entry.epochs);
        let before = |server: &&ServerId| self.view.contains(server) && weight(**server) < own;
        servers.iter().filter(before).count() as u64
    }

    fn take_up(&mut self, name: GroupName, now: Millis, out: &mut Effects) {
        let Some(entry) = self.groups.get(&name) else { return self.agenda.remove(&name) };
        let work = entry.group.work();
        if work == Work::Ballot && !entry.group.needs().is_disjoint(&self.awaited) {
            return self.agenda.put_off(name, now.after(WAIT));
        }
        if let Some(until) =
            self.agenda.busy_until(&name).filter(|until| entry.group.is_busy() && now < *until)
        {
            return self.agenda.put_off(name, until);
        }
        let _ = self.in_group(&name, now, out, |group, turn| {
            match work {
                Work::Nothing => {}
                Work::Ballot => group.start(turn),
                Work::Flush => group.ask_for_flushes(turn),
                Work::Recover => group.go_on_recovering(turn),
            }
            Ok(())
        });
        match self.groups.get(&name).map(|entry| entry.group.work()) {
            None | Some(Work::Nothing) => self.agenda.remove(&name),
            Some(_) => self.agenda.again(name, now, self.place(&name) * TURN),
        }
    }
}
