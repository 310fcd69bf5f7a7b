//! A server: its groups, its outboxes, its devices' queues. One call takes one input and gives what follows from it.

mod agenda;
mod federation;
mod input;
mod membership;
mod status;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use self::agenda::Agenda;
pub use self::input::Input;
pub use self::status::Status;
use crate::codec::record;
use crate::commit::{Commit, Epochs};
use crate::effects::{Alarm, Effects};
use crate::frame::{Content, Frame};
use crate::group::{Damaged, GENESIS, Group, Refused, Turn, is_news};
use crate::ids::{Device, GroupName, Incarnation, Millis, ServerId};
use crate::link::Links;
use crate::message::Item;
use crate::mutant::Mutant;
use crate::outbox::{Outboxes, Row};
use crate::queue::{Queued, Queues};
use crate::records::{Kept, Only, key, read};
use crate::roster::{Record, Roster};

const INCARNATION: u8 = b'i';
const PEER: u8 = b'p';
const GROUP: u8 = b'g';
/// Beside the kinds of records that a group has.
const EPOCHS: u8 = b'e';
const LIVE_BEFORE: u8 = b'l';
const RECORD: u8 = b'r';
const HEARD: u8 = b'h';

/// What is known of another server.
#[derive(Clone, Copy, Debug)]
struct Peer {
    incarnation: Incarnation,
    /// The last row of its outbox that came.
    received: u64,
}

record!(Peer { incarnation, received });

struct Entry {
    group: Group,
    epochs: Box<dyn Epochs>,
    /// Of its records.
    prefix: Vec<u8>,
}

/// One server of a federation.
pub struct Server {
    me: ServerId,
    incarnation: Incarnation,
    mutant: Option<Mutant>,
    peers: BTreeMap<ServerId, Peer>,
    groups: BTreeMap<GroupName, Entry>,
    outboxes: Outboxes,
    queues: Queues,
    view: BTreeSet<ServerId>,
    online: BTreeSet<Device>,
    /// Not where the view is given from outside.
    links: Option<Links>,
    live_before: Option<BTreeSet<ServerId>>,
    /// Servers that groups wait for: unknown, or freshly lost.
    awaited: BTreeSet<ServerId>,
    /// Servers that we see live ourselves.
    seen: BTreeSet<ServerId>,
    /// Not where the view is given from outside.
    roster: Option<Roster>,
    /// What was kept of it.
    chain: Vec<Record>,
    /// When servers were heard last, roughly.
    heard: BTreeMap<ServerId, Millis>,
    /// Of which numbers a second record was told.
    forks: BTreeSet<u64>,
    agenda: Agenda,
    shipped: BTreeMap<ServerId, Millis>,
}

impl Server {
    /// A server without groups, or with what it has kept: `groups` are those of whose records are there, each with its first commit.
    pub fn load(
        me: ServerId,
        kept: &Kept,
        groups: Vec<(GroupName, Commit, Box<dyn Epochs>)>,
    ) -> Result<Self, Damaged> {
        Self::with_mutant(me, kept, groups, None)
    }

    pub(crate) fn with_mutant(
        me: ServerId,
        kept: &Kept,
        groups: Vec<(GroupName, Commit, Box<dyn Epochs>)>,
        mutant: Option<Mutant>,
    ) -> Result<Self, Damaged> {
        let incarnation = read::<Only, Incarnation>(kept, &[], INCARNATION)?;
        let mut server = Self {
            me,
            incarnation: incarnation.first().map_or(Incarnation(0), |(_, incarnation)| *incarnation),
            mutant,
            peers: read(kept, &[], PEER)?.into_iter().collect(),
            groups: BTreeMap::new(),
            outboxes: Outboxes::load(kept)?,
            queues: Queues::load(kept)?,
            view: BTreeSet::from([me]),
            online: BTreeSet::new(),
            links: None,
            live_before: None,
            awaited: BTreeSet::new(),
            seen: BTreeSet::new(),
            roster: None,
            chain: read::<u64, Record>(kept, &[], RECORD)?.into_iter().map(|(_, record)| record).collect(),
            heard: read(kept, &[], HEARD)?.into_iter().collect(),
            forks: BTreeSet::new(),
            agenda: Agenda::default(),
            shipped: BTreeMap::new(),
        };
        let live_before = read::<Only, Vec<ServerId>>(kept, &[], LIVE_BEFORE)?.pop();
        server.live_before = live_before.map(|(_, servers)| servers.into_iter().collect());
        for (name, genesis, epochs) in groups {
            let prefix = key(GROUP, &name);
            let group = Group::load(me, genesis, mutant, kept, &prefix)?;
            server.groups.insert(name, Entry { group, epochs, prefix });
        }
        Ok(server)
    }

    /// The next incarnation: the records come from a backup. Asks the others what it has forgotten.
    pub fn restore(&mut self, now: Millis) -> Effects {
        self.incarnation = Incarnation(self.incarnation.0 + 1);
        let mut effects = Effects::default();
        effects.writer().put(INCARNATION, &Only, &self.incarnation);
        if let Some(links) = &mut self.links {
            links.set_incarnation(self.incarnation);
        }
        let names: Vec<_> = self.groups.keys().copied().collect();
        for name in names {
            let _ = self.in_group(&name, now, &mut effects, |group, turn| {
                group.restore(turn);
                Ok(())
            });
        }
        effects
    }

    /// Takes part in a group from its beginning.
    pub fn create(
        &mut self,
        name: GroupName,
        genesis: Commit,
        epochs: Box<dyn Epochs>,
        now: Millis,
    ) -> Effects {
        let mut effects = Effects::default();
        let (mut epochs, prefix) = (epochs, key(GROUP, &name));
        let group = {
            let mut turn =
                turn(&mut *epochs, now, &self.view, &self.seen, &self.online, &prefix, &mut effects);
            Group::create(self.me, genesis, self.mutant, &mut turn)
        };
        write_epochs(&mut *epochs, &prefix, &mut effects);
        self.groups.insert(name, Entry { group, epochs, prefix });
        effects
    }

    /// Which servers can be reached now, for worlds without links.
    pub fn set_view(&mut self, mut view: BTreeSet<ServerId>) {
        view.insert(self.me);
        self.view = view;
    }

    /// Which devices are connected now.
    pub fn set_online(&mut self, online: BTreeSet<Device>) {
        self.online = online;
    }

    /// Takes an input. What a device brings may be refused; then nothing has changed.
    pub fn handle(&mut self, input: Input, now: Millis) -> Result<Effects, Refused> {
        let mut effects = Effects::default();
        let out = &mut effects;
        match input {
            Input::Frame(frame) => self.on_frame(frame, now, out),
            Input::Link(event) => self.on_link(event, now, out),
            Input::Tick => self.tick(now, out),
            Input::Ship(peer) => self.ship(peer, out),
            Input::Start(group) => self.in_group(&group, now, out, |group, turn| {
                group.start(turn);
                Ok(())
            })?,
            Input::GoOnRecovering(group) => self.in_group(&group, now, out, |group, turn| {
                group.go_on_recovering(turn);
                Ok(())
            })?,
            Input::Submit { group, device, body } => {
                self.in_group(&group, now, out, |group, turn| group.submit(device, body, turn).map(|_| ()))?;
            }
            Input::Testify { group, device, commit, verdict } => {
                self.in_group(&group, now, out, |group, turn| {
                    group.testify(device, &commit, verdict, turn).map(|_| ())
                })?;
            }
            Input::Post { group, device, message, epoch, bytes } => {
                self.in_group(&group, now, out, |group, turn| {
                    group.post(device, message, &epoch, &bytes, turn)
                })?;
            }
            Input::Teach { group, bodies, finalized } => self.in_group(&group, now, out, |group, turn| {
                group.teach(bodies, finalized.as_ref(), turn);
                Ok(())
            })?,
            Input::Acknowledge { device, up_to } => {
                self.queues.acknowledge(device, up_to, &mut out.writer());
            }
        }
        Ok(effects)
    }

    fn on_frame(&mut self, frame: Frame, now: Millis, out: &mut Effects) {
        let Frame { from, incarnation, to, content } = frame;
        if let Content::Records { records } = content {
            return self.on_records(&records, now, out);
        }
        if !self.belongs(from) {
            return self.on_stranger(from, &content, out);
        }
        if let Content::Probe { roster, .. } = content {
            // Also to an older incarnation: it may be one that was retired and does not know that it joined again.
            self.on_position(from, roster, out);
        }
        let peer = self.peers.entry(from).or_insert(Peer { incarnation, received: 0 });
        let is_new = peer.incarnation < incarnation;
        if is_new {
            *peer = Peer { incarnation, received: 0 };
            out.writer().put(PEER, &from, peer);
        }
        let is_current = incarnation == peer.incarnation;
        let is_old = incarnation < peer.incarnation || to < self.incarnation;
        if is_current {
            self.note_heard(from, now, out);
        }
        if is_old && self.mutant != Some(Mutant::OldIncarnation) {
            // It does not know that we, or it, came back.
            if to < self.incarnation {
                self.send(from, Content::Hello, out);
            }
            return;
        }
        match content {
            Content::Hello | Content::Records { .. } => {}
            Content::Probe { number, is_recovering, .. } => {
                self.note_probe(from, is_recovering, now, out);
                let is_recovering = self.is_recovering();
                self.send(from, Content::Probed { number, is_recovering }, out);
            }
            Content::Probed { number, is_recovering } => {
                if let Some(links) = &mut self.links {
                    links.on_answer(from, number);
                }
                self.note_probe(from, is_recovering, now, out);
            }
            Content::Message { group, message } => {
                let _ = self.in_group(&group, now, out, |group, turn| {
                    group.handle(from, message, turn);
                    Ok(())
                });
            }
            Content::Parcel { number, group, parcel } => {
                let mut is_taken = number <= self.peers[&from].received;
                if !is_taken {
                    let _ = self.in_group(&group, now, out, |group, turn| {
                        is_taken = group.receive(from, &parcel, turn);
                        Ok(())
                    });
                }
                if is_taken {
                    self.on_received(from, number, out);
                }
            }
            Content::Received { number } => {
                self.outboxes.acknowledge(from, number, &mut out.writer());
                if self.links.is_some() && self.has_mail(from) {
                    self.ship_next(from, now, out);
                }
            }
        }
    }

    fn on_received(&mut self, from: ServerId, number: u64, out: &mut Effects) {
        if let Some(peer) = self.peers.get_mut(&from).filter(|peer| peer.received < number) {
            peer.received = number;
            out.writer().put(PEER, &from, peer);
        }
        self.send(from, Content::Received { number }, out);
    }

    fn send(&self, to: ServerId, content: Content, out: &mut Effects) {
        let peer = self.peers.get(&to).map_or(Incarnation(0), |peer| peer.incarnation);
        let frame = Frame { from: self.me, incarnation: self.incarnation, to: peer, content };
        out.frames.push((to, frame));
    }

    fn ship(&mut self, peer: ServerId, out: &mut Effects) {
        let Some((number, row)) = self.outboxes.first(peer) else { return };
        let Row { group, parcel } = row.clone();
        self.send(peer, Content::Parcel { number, group, parcel }, out);
        if self.mutant == Some(Mutant::LossyOutbox) {
            self.outboxes.acknowledge(peer, number, &mut out.writer());
        }
    }

    /// One turn of a group; what it gives goes to the outboxes, the queues, and the wire. A group that is not here takes nothing.
    fn in_group(
        &mut self,
        name: &GroupName,
        now: Millis,
        out: &mut Effects,
        take: impl FnOnce(&mut Group, &mut Turn<'_>) -> Result<(), Refused>,
    ) -> Result<(), Refused> {
        let Some(Entry { group, epochs, prefix }) = self.groups.get_mut(name) else {
            return Err(Refused::UnknownEpoch);
        };
        if self.roster.as_ref().is_some_and(|roster| roster.retired().contains(&self.me)) {
            return Err(Refused::Retired);
        }
        let was_recovering = group.is_recovering();
        if let Err(damaged) = epochs.wake() {
            out.alarms.push(Alarm::Damaged(*name));
            return Err(Refused::Damaged(damaged));
        }
        let was_flushed = group.flushed().clone();
        let mut turn = turn(&mut **epochs, now, &self.view, &self.seen, &self.online, prefix, out);
        if let Err(refused) = take(group, &mut turn) {
            // What is refused leaves nothing behind, in the trees neither.
            if !epochs.take_writes().is_empty() {
                epochs.rest();
            }
            return Err(refused);
        }
        group.take_own(&mut turn);
        let is_back = was_recovering && !group.is_recovering();
        if is_back {
            turn.queue.clear();
            group.refill(&mut turn);
        }
        let Turn { sends, outbox, queue, forked, .. } = turn;
        if *group.flushed() != was_flushed {
            epochs.let_go(group.flushed());
        }
        write_epochs(&mut **epochs, prefix, out);
        let written = out.writes.range(prefix.clone()..).take_while(|(key, _)| key.starts_with(prefix));
        let is_news = written.filter_map(|(key, _)| key.get(prefix.len())).any(|kind| is_news(*kind));
        let mut writer = out.writer();
        if is_back {
            self.queues.clear(name, &mut writer);
        }
        let retired = self.roster.as_ref().map(Roster::retired);
        for (peer, parcel) in
            outbox.into_iter().filter(|(peer, _)| retired.is_none_or(|all| !all.contains(peer)))
        {
            self.outboxes.push(peer, Row { group: *name, parcel }, &mut writer);
        }
        for (device, item) in queue {
            self.queues.push(device, Queued { group: *name, item }, &mut writer);
        }
        out.alarms.extend(forked.map(Alarm::FinalFork));
        for (to, message) in sends {
            self.send(to, Content::Message { group: *name, message }, out);
        }
        self.note_work(name, is_news, now);
        Ok(())
    }

    /// Frees the memory that the trees of a group take. They are read again when something happens in it.
    pub fn rest(&mut self, name: &GroupName) {
        if let Some(entry) = self.groups.get_mut(name) {
            entry.epochs.rest();
        }
    }

    /// The same server once more. What each group looks its commits up in is given anew.
    #[cfg(feature = "testing")]
    pub(crate) fn copy(&self, epochs: impl Fn(&GroupName) -> Box<dyn Epochs>) -> Self {
        let copy = |(name, entry): (&GroupName, &Entry)| {
            let (group, prefix) = (entry.group.clone(), entry.prefix.clone());
            (*name, Entry { group, epochs: epochs(name), prefix })
        };
        Self {
            me: self.me,
            incarnation: self.incarnation,
            mutant: self.mutant,
            peers: self.peers.clone(),
            groups: self.groups.iter().map(copy).collect(),
            outboxes: self.outboxes.clone(),
            queues: self.queues.clone(),
            view: self.view.clone(),
            online: self.online.clone(),
            links: self.links.clone(),
            live_before: self.live_before.clone(),
            awaited: self.awaited.clone(),
            seen: self.seen.clone(),
            roster: self.roster.clone(),
            chain: self.chain.clone(),
            heard: self.heard.clone(),
            forks: self.forks.clone(),
            agenda: self.agenda.clone(),
            shipped: self.shipped.clone(),
        }
    }

    #[cfg(feature = "testing")]
    pub(crate) fn agreement(&self, name: &GroupName) -> Option<&Group> {
        self.groups.get(name).map(|entry| &entry.group)
    }

    /// Who this is.
    pub fn id(&self) -> ServerId {
        self.me
    }

    /// How often it came back from a backup.
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// What waits for a device, in order, from the number after the last that it acknowledged. Nothing while the server recovers.
    pub fn queue(&self, device: &Device) -> impl Iterator<Item = (u64, &Item)> {
        let waiting = (!self.is_recovering()).then(|| self.queues.waiting(device));
        waiting.into_iter().flatten().map(|(number, queued)| (number, &queued.item))
    }

    /// Whether rows wait for a peer.
    pub fn has_mail(&self, peer: ServerId) -> bool {
        self.outboxes.first(peer).is_some()
    }

    /// How many rows wait in all outboxes.
    pub fn outbox_len(&self) -> usize {
        self.outboxes.len()
    }

    /// A group, as an operator sees it.
    pub fn group(&self, name: &GroupName) -> Option<Status<'_>> {
        self.groups.get(name).map(|entry| Status { entry })
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("me", &self.me)
            .field("incarnation", &self.incarnation)
            .finish_non_exhaustive()
    }
}

/// The groups of which there are records, each with its first commit, for [`Server::load`].
pub fn kept_groups(kept: &Kept) -> Result<Vec<(GroupName, Commit)>, Damaged> {
    let mut groups = Vec::new();
    let mut from = vec![GROUP];
    while let Some((first, _)) = kept.range(from..).next().filter(|(key, _)| key.starts_with(&[GROUP])) {
        let name = GroupName(*first[1..].first_chunk().ok_or(Damaged)?);
        let prefix = key(GROUP, &name);
        let genesis = read::<Only, Commit>(kept, &prefix, GENESIS)?.pop().ok_or(Damaged)?;
        groups.push((name, genesis.1));
        // Past the last of its keys: no kind is 0xff.
        from = [&prefix[..], &[0xff]].concat();
    }
    Ok(groups)
}

/// Of the records of a group's epochs.
pub(crate) fn epochs_prefix(name: &GroupName) -> Vec<u8> {
    [&key(GROUP, name)[..], &[EPOCHS]].concat()
}

fn write_epochs(epochs: &mut dyn Epochs, prefix: &[u8], out: &mut Effects) {
    let records = epochs.take_writes().into_iter();
    out.writes.extend(records.map(|(key, value)| ([prefix, &[EPOCHS], &key].concat(), value)));
}

fn turn<'a>(
    epochs: &'a mut dyn Epochs,
    now: Millis,
    view: &'a BTreeSet<ServerId>,
    seen: &'a BTreeSet<ServerId>,
    online: &'a BTreeSet<Device>,
    prefix: &'a [u8],
    effects: &'a mut Effects,
) -> Turn<'a> {
    Turn {
        epochs,
        now,
        view,
        seen,
        online,
        prefix,
        writes: &mut effects.writes,
        sends: Vec::new(),
        outbox: Vec::new(),
        queue: Vec::new(),
        forked: None,
    }
}
