//! Who can be reached, by which way, and for how long a group waits for who can't (federation.md s3).
//!
//! Neighbours are those to whom there is a link. Each server floods whom it has links to, and everybody finds ways through the edges
//! that both ends list. Whether a peer is live is asked end to end, by whatever way, so a relay that swallows is found out.
//!
//! What peers can make us keep and send is bounded: one announcement for each server of the roster, which names servers of the roster and is passed
//! on at most every [`PAUSE`]; a frame that is relayed leads to one frame at most; an old announcement is answered with the newer one.

mod back_off;
mod frame;
mod peer;
mod routes;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use self::back_off::BackOff;
pub use self::frame::{Announcement, LinkFrame};
pub use self::peer::Reach;
use self::peer::{PROBE, Peer};
use self::routes::{Listed, shortest};
use crate::ids::{Incarnation, Millis, ServerId};

/// The announcement of one server is passed on no more often than this.
const PAUSE: u64 = 200;
/// Our own is repeated, also if nothing is new.
const REFRESH: u64 = 20_000;
/// What was not repeated for so long is forgotten.
const EXPIRY: u64 = 60_000;
/// No way is longer.
const LONGEST_PATH: usize = 16;
/// For how long groups wait if more than half of the servers that were live before are in view.
const WAIT_OF_MOST: u64 = 5_000;
/// For how long otherwise.
const WAIT_OF_FEW: u64 = 30_000;

/// What happens on links.
#[derive(Clone, Debug)]
pub enum LinkEvent {
    /// There is a session with a neighbour. Of who is not in the roster this means nothing: once it has joined, it is said again.
    Up(ServerId),
    /// There is none any more.
    Down(ServerId),
    /// A frame came from a neighbour.
    Received(ServerId, LinkFrame),
}

/// What is to be sent.
#[derive(Debug, Default)]
pub(crate) struct LinkOutput {
    /// To neighbours.
    pub(crate) hops: Vec<(ServerId, LinkFrame)>,
    /// Probes, end to end: of whom an answer with that number is asked.
    pub(crate) probes: Vec<(ServerId, u64)>,
    /// For us, from the first server of a path.
    pub(crate) arrived: Vec<(ServerId, Vec<u8>)>,
}

#[derive(Clone, Debug, Default)]
struct Known {
    /// What we know of it, our own included.
    announcement: Option<Announcement>,
    came: Option<Millis>,
    flood_at: Option<Millis>,
    flooded: Option<Millis>,
}

/// The links of one server.
#[derive(Clone, Debug)]
pub(crate) struct Links {
    me: ServerId,
    incarnation: Incarnation,
    /// All servers of the roster, ourselves included.
    known: BTreeMap<ServerId, Known>,
    neighbours: BTreeMap<ServerId, BackOff>,
    peers: BTreeMap<ServerId, Peer>,
    /// Durable: of these more than half must be in view for a quick fallback.
    live_before: BTreeSet<ServerId>,
}

impl Links {
    /// At boot everybody is unknown, nobody is down. Who was live before comes from the records; at the very first start that is the roster.
    pub(crate) fn new(
        me: ServerId,
        incarnation: Incarnation,
        roster: &BTreeSet<ServerId>,
        live_before: Option<BTreeSet<ServerId>>,
        now: Millis,
    ) -> Self {
        let mut links = Self {
            me,
            incarnation,
            known: BTreeMap::new(),
            neighbours: BTreeMap::new(),
            peers: BTreeMap::new(),
            live_before: live_before.unwrap_or_else(|| roster.clone()),
        };
        links.live_before.insert(me);
        links.set_roster(roster, now);
        links
    }

    /// Who belongs is a trust decision: whoever is not in the roster is not heard.
    pub(crate) fn set_roster(&mut self, roster: &BTreeSet<ServerId>, now: Millis) {
        let is_in = |server: &ServerId| *server == self.me || roster.contains(server);
        self.known.retain(|server, _| is_in(server));
        self.neighbours.retain(|server, _| is_in(server));
        self.peers.retain(|server, _| is_in(server));
        self.live_before.retain(is_in);
        self.known.entry(self.me).or_default();
        for server in roster.iter().filter(|server| **server != self.me) {
            self.known.entry(*server).or_default();
            self.peers.entry(*server).or_insert_with(|| Peer::new(now));
        }
    }

    pub(crate) fn set_incarnation(&mut self, incarnation: Incarnation) {
        self.incarnation = incarnation;
    }

    /// The servers that can be reached.
    pub(crate) fn view(&self) -> BTreeSet<ServerId> {
        let live = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.is_live() && !peer.is_recovering)
            .map(|(server, _)| *server);
        live.chain([self.me]).collect()
    }

    /// Those that a group which needs them waits for: unknown, or freshly lost.
    pub(crate) fn awaited(&self) -> BTreeSet<ServerId> {
        let awaited = self.peers.iter().filter(|(_, peer)| !peer.is_live() && !peer.is_given_up);
        awaited.map(|(server, _)| *server).collect()
    }

    /// What must be durable before anything follows from it.
    pub(crate) fn live_before(&self) -> &BTreeSet<ServerId> {
        &self.live_before
    }

    pub(crate) fn reach(&self, peer: ServerId) -> Option<Reach> {
        self.peers.get(&peer).map(|peer| peer.reach)
    }

    /// The way to a peer, both ends included. A neighbour that does not list us may have something to tell all the same.
    pub(crate) fn route(&self, to: ServerId, now: Millis) -> Option<Vec<ServerId>> {
        let suspects = &self.peers.get(&to)?.suspects;
        let listed = self.listed(now);
        let path = shortest(&listed, self.me, to, suspects)
            .or_else(|| shortest(&listed, self.me, to, &BTreeSet::new()))
            .or_else(|| self.is_neighbour(to).then(|| vec![self.me, to]))?;
        (path.len() <= LONGEST_PATH).then_some(path)
    }

    fn listed(&self, now: Millis) -> Listed {
        let others = self.known.values().filter_map(|known| known.announcement.as_ref());
        let mut listed: Listed = others
            .map(|announcement| (announcement.server, announcement.up.iter().copied().collect()))
            .collect();
        listed.insert(self.me, self.up(now));
        listed
    }

    /// The neighbours that count.
    fn up(&self, now: Millis) -> BTreeSet<ServerId> {
        let up = self.neighbours.iter().filter(|(_, back_off)| back_off.counts(now));
        up.map(|(server, _)| *server).collect()
    }

    pub(crate) fn on_event(&mut self, event: LinkEvent, now: Millis) -> LinkOutput {
        let mut out = LinkOutput::default();
        match event {
            LinkEvent::Up(server) if self.peers.contains_key(&server) => {
                self.neighbours.entry(server).or_default().up(now);
                let all = self.known.values().filter_map(|known| known.announcement.clone());
                out.hops.extend(all.map(|announcement| (server, LinkFrame::Announce { announcement })));
            }
            LinkEvent::Down(server) => {
                self.neighbours.entry(server).and_modify(|back_off| back_off.down(now));
            }
            LinkEvent::Received(via, frame) if self.is_neighbour(via) => match frame {
                LinkFrame::Announce { announcement } => {
                    self.on_announcement(via, announcement, now, &mut out)
                }
                LinkFrame::Relayed { path, sealed } => self.on_relayed(via, path, sealed, &mut out),
            },
            _ => {}
        }
        self.renew(now);
        out
    }

    fn is_neighbour(&self, server: ServerId) -> bool {
        self.neighbours.get(&server).is_some_and(BackOff::is_up)
    }

    fn on_announcement(&mut self, via: ServerId, mut news: Announcement, now: Millis, out: &mut LinkOutput) {
        news.up.retain(|server| self.known.contains_key(server));
        news.up.sort();
        news.up.dedup();
        let me = self.me;
        let Some(known) = self.known.get_mut(&news.server) else { return };
        let age = known.announcement.as_ref().map(Announcement::age);
        if news.server == me {
            // We were restarted, and others remember more than we do: go on above that.
            let own = known.announcement.as_mut().filter(|own| own.incarnation == news.incarnation);
            if let Some(own) = own.filter(|own| own.counter <= news.counter && **own != news) {
                own.counter = news.counter.saturating_add(1);
                known.flood_soon(now);
            }
        } else if age.is_none_or(|age| age < news.age()) {
            known.announcement = Some(news);
            known.came = Some(now);
            known.flood_soon(now);
        } else if let Some(announcement) = known.announcement.clone().filter(|newer| news.age() < newer.age())
        {
            out.hops.push((via, LinkFrame::Announce { announcement }));
        }
    }

    /// One step further on the path that the first server chose; nothing goes where the path does not say so.
    fn on_relayed(&self, via: ServerId, path: Vec<ServerId>, sealed: Vec<u8>, out: &mut LinkOutput) {
        let is_good = path.len() <= LONGEST_PATH
            && path.iter().collect::<BTreeSet<_>>().len() == path.len()
            && path.iter().all(|server| self.known.contains_key(server));
        let Some(place) = path.iter().position(|server| *server == self.me).filter(|_| is_good) else {
            return;
        };
        if place == 0 || path[place - 1] != via {
            return;
        }
        match path.get(place + 1).copied() {
            None => out.arrived.push((path[0], sealed)),
            Some(next) if self.is_neighbour(next) => {
                out.hops.push((next, LinkFrame::Relayed { path, sealed }));
            }
            Some(_) => {}
        }
    }

    /// Any byte of a peer, by whatever way.
    pub(crate) fn on_heard(&mut self, from: ServerId, now: Millis) {
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.on_heard(now);
            peer.look(now);
        }
        self.remember(now);
    }

    /// Who comes back from a backup is in nobody's view, and nobody waits for it.
    pub(crate) fn set_recovering(&mut self, from: ServerId, is_recovering: bool) {
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.is_recovering = is_recovering;
        }
    }

    pub(crate) fn on_answer(&mut self, from: ServerId, number: u64) {
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.on_answer(number);
        }
    }

    /// What time alone makes due.
    pub(crate) fn tick(&mut self, now: Millis) -> LinkOutput {
        let mut out = LinkOutput::default();
        self.peers.values_mut().for_each(|peer| peer.look(now));
        self.remember(now);
        self.renew(now);
        for known in self.known.values_mut() {
            if known.came.is_some_and(|came| came.after(EXPIRY) <= now) {
                *known = Known { flooded: known.flooded, ..Known::default() };
            }
        }
        self.flood(now, &mut out);
        self.probe(now, &mut out);
        out
    }

    /// A new announcement of our own if our neighbours changed, or the last one is old.
    fn renew(&mut self, now: Millis) {
        let up: Vec<_> = self.up(now).into_iter().collect();
        let Some(known) = self.known.get_mut(&self.me) else { return };
        let last = known.announcement.as_ref();
        let is_old = known.flooded.is_none_or(|flooded| flooded.after(REFRESH) <= now);
        let is_same = last.is_some_and(|last| last.up == up && last.incarnation == self.incarnation);
        if is_same && (!is_old || known.flood_at.is_some()) {
            return;
        }
        let counter = last.map_or(0, |last| last.counter.saturating_add(1));
        let (server, incarnation) = (self.me, self.incarnation);
        known.announcement = Some(Announcement { server, incarnation, counter, up });
        known.flood_soon(now);
    }

    fn flood(&mut self, now: Millis, out: &mut LinkOutput) {
        let neighbours: Vec<_> = self
            .neighbours
            .iter()
            .filter(|(_, back_off)| back_off.is_up())
            .map(|(server, _)| *server)
            .collect();
        for known in self.known.values_mut().filter(|known| known.flood_at.is_some_and(|at| at <= now)) {
            known.flood_at = None;
            known.flooded = Some(now);
            let Some(announcement) = &known.announcement else { continue };
            let to_all = neighbours
                .iter()
                .map(|server| (*server, LinkFrame::Announce { announcement: announcement.clone() }));
            out.hops.extend(to_all);
        }
    }

    fn probe(&mut self, now: Millis, out: &mut LinkOutput) {
        let due: Vec<_> =
            self.peers.iter().filter(|(_, peer)| peer.ask_at <= now).map(|(server, _)| *server).collect();
        for server in due {
            let Some(peer) = self.peers.get_mut(&server) else { continue };
            peer.ask_at = now.after(PROBE);
            let mut path = None;
            if peer.is_swallowed() {
                let avoided = peer.suspects.clone();
                path = shortest(&self.listed(now), self.me, server, &avoided);
                if path.is_none() {
                    // Every way was tried: begin anew.
                    self.peers.entry(server).and_modify(|peer| peer.suspects.clear());
                }
            }
            let Some(path) = path.or_else(|| self.route(server, now)) else { continue };
            let Some(peer) = self.peers.get_mut(&server) else { continue };
            out.probes.push((server, peer.ask(&path)));
        }
    }

    /// Who is live now, and for whom groups don't wait any longer: after 5 s if more than half of those who were live before are in
    /// view (of two halves the one with the lowest id), else after 30 s.
    fn remember(&mut self, now: Millis) {
        let view = self.view();
        let here = self.live_before.intersection(&view).count() * 2;
        let has_lowest = self.live_before.first().is_some_and(|lowest| view.contains(lowest));
        let is_most = here > self.live_before.len() || here == self.live_before.len() && has_lowest;
        let wait = if is_most { WAIT_OF_MOST } else { WAIT_OF_FEW };
        for (server, peer) in &mut self.peers {
            if !peer.is_live() && !peer.is_given_up && peer.since.after(wait) <= now {
                peer.is_given_up = true;
            }
            if peer.is_given_up {
                self.live_before.remove(server);
            }
        }
        self.live_before.extend(view);
    }

    /// When [`Self::tick`] has something to do. Each peer is asked again soon: whatever is slower than that is seen then.
    pub(crate) fn next_wake(&self) -> Option<Millis> {
        let floods = self.known.values().filter_map(|known| known.flood_at);
        floods.chain(self.peers.values().map(|peer| peer.ask_at)).min()
    }
}

impl Known {
    fn flood_soon(&mut self, now: Millis) {
        let pause_over = self.flooded.map_or(now, |flooded| flooded.after(PAUSE).max(now));
        self.flood_at.get_or_insert(pause_over);
    }
}
