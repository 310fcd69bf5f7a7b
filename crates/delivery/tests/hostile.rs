//! Whatever other servers and devices send, nothing panics, and what is kept is what the server is.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use dmls::codec::{Decode, Encode};
use dmls::crypto::SignaturePublicKey;
use dmls::{CipherSuite, CommitId, Provider};
use dmls_delivery::{
    Announcement, Approval, Ballot, Body, Candidate, Change, Commit, Content, Device, Digest, Effects,
    Epochs, Frame, GroupName, Incarnation, Input, Invalid, Kept, LinkEvent, LinkFrame, Message, MessageName,
    Millis, Operator, Parcel, Position, Ranking, Record, Roster, RosterHash, Server, ServerId, Testimony,
    Verdict, replay_into,
};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

const GROUP: GroupName = GroupName([1; 32]);

/// Every bundle is a commit of the device and to the servers that its bytes say; one whose first byte is 0xff is invalid.
struct Anything;

impl Epochs for Anything {
    fn stage(&mut self, body: &Body) -> Result<Commit, Invalid> {
        match body.bundle.first() {
            None | Some(0xff) => Err(Invalid::Other("it says so")),
            Some(_) => Ok(commit(&body.bundle)),
        }
    }

    fn is_member(&self, _: &CommitId, device: &Device) -> bool {
        device.0[0] < 4
    }

    fn devices(&self, _: &CommitId, home: ServerId) -> Vec<Device> {
        (home.0 < 4).then_some(Device([home.0 as u8; 32])).into_iter().collect()
    }

    fn is_witness(&self, commit: &CommitId, device: &Device) -> bool {
        device.0[0] != commit.as_bytes().first().copied().unwrap_or_default() % 4
    }

    fn has_witness(&self, _: &CommitId, epoch: &CommitId) -> bool {
        epoch.as_bytes().len() > 1
    }
}

fn commit(name: &[u8]) -> Commit {
    Commit {
        id: name.into(),
        tag: name.into(),
        committer: Device([name[0] % 4; 32]),
        is_external: name[0].is_multiple_of(7),
        servers: (0..4).filter(|server| name[0] >> server & 1 == 1).map(ServerId).collect(),
        ranking: Ranking::default(),
    }
}

fn write(kept: &mut Kept, effects: Effects) -> usize {
    let sendable = effects.persist(|writes| {
        replay_into(kept, writes);
        Ok::<_, ()>(())
    });
    let sendable = sendable.unwrap();
    let frames = sendable.frames;
    for (_, frame) in &sendable.hops {
        assert_eq!(LinkFrame::from_bytes(&frame.to_bytes()).unwrap(), *frame);
    }
    for (_, frame) in &frames {
        assert_eq!(Frame::from_bytes(&frame.to_bytes()).unwrap(), *frame);
    }
    frames.len()
}

/// Nobody can sign for them.
fn founders() -> Roster {
    let suite = Provider::all()[0].suite(CipherSuite::X25519_AES128).unwrap();
    let key = || SignaturePublicKey::from(vec![9; 32]);
    let founder = |id| Operator { id: ServerId(id), address: Vec::new(), key: key(), recovery: key() };
    Roster::found(suite, (0..4).map(founder).collect()).unwrap()
}

struct Maker(ChaCha8Rng);

impl Maker {
    fn below(&mut self, n: u64) -> u64 {
        self.0.next_u64() % n
    }

    fn id(&mut self) -> CommitId {
        let length = self.below(2) + 1;
        let bytes: Vec<_> = (0..length).map(|_| self.below(16) as u8).collect();
        if self.below(40) == 0 { vec![0xff].into() } else { bytes.into() }
    }

    fn ballot(&mut self, leader: ServerId) -> Ballot {
        let leader = if self.below(10) == 0 { ServerId(self.below(5) as u32) } else { leader };
        Ballot { number: self.below(12), leader }
    }

    fn digest(&mut self) -> Digest {
        let certified = (0..self.below(3)).map(|_| self.id()).collect();
        let candidates = (0..self.below(3))
            .map(|_| Candidate { commit: self.id(), ballot: self.ballot(ServerId(2)) })
            .collect();
        let testimonies = (0..self.below(3)).map(|_| {
            let verdict = if self.below(2) == 0 { Verdict::Ok } else { Verdict::Failed };
            Testimony { commit: self.id(), device: Device([self.below(6) as u8; 32]), verdict }
        });
        let testimonies = testimonies.collect();
        let finalized = if self.below(4) > 0 { vec![0].into() } else { self.id() };
        Digest { finalized, certified, candidates, testimonies }
    }

    fn message(&mut self, from: ServerId) -> Message {
        let ballot = self.ballot(from);
        match self.below(13) {
            0 => Message::Prepare { ballot, view: (0..self.below(4) as u32).map(ServerId).collect() },
            1 => Message::Promise { ballot, digest: self.digest() },
            2 => Message::Outbid { ballot, promised: self.ballot(from) },
            3 => Message::Accept { ballot, commit: self.id(), digest: self.digest() },
            4 => Message::Finalize { ballot, commit: self.id(), digest: self.digest() },
            5 => Message::Vote { ballot, commit: self.id() },
            6 => Message::Learn { digest: self.digest() },
            7 => Message::Fetch { commits: vec![self.id(), self.id()], above: self.id() },
            8 => Message::Bodies { bodies: (0..3).map(|_| self.body()).collect() },
            9 => Message::Recover,
            11 => Message::LeftOut { ballot, servers: vec![ServerId(2)] },
            10 => Message::Recovered { number: self.below(9), digest: self.digest() },
            _ => Message::AskFlush,
        }
    }

    fn body(&mut self) -> Body {
        let (parent, id) = (self.id(), self.id());
        let parent = if self.below(2) == 0 { vec![0].into() } else { parent };
        Body { parent, bundle: id.as_bytes().to_vec() }
    }

    fn frame(&mut self) -> Frame {
        let from = ServerId(self.below(5) as u32);
        let content = match self.below(11) {
            10 => Content::Records { records: vec![self.record()] },
            0 => Content::Hello,
            8 => Content::Probe {
                number: self.below(9),
                is_recovering: self.below(2) == 0,
                roster: self.position(),
            },
            9 => Content::Probed { number: self.below(9), is_recovering: self.below(2) == 0 },
            1 => Content::Received { number: self.below(9) },
            2 | 3 => {
                let commit = self.id();
                let parcel = match self.below(4) {
                    0 => Parcel::Certified { commit },
                    1 => Parcel::Final { commit },
                    2 => Parcel::Flush { commit },
                    _ => Parcel::Post { message: MessageName([3; 32]), epoch: commit, bytes: vec![1] },
                };
                Content::Parcel { number: self.below(20), group: GROUP, parcel }
            }
            _ => Content::Message { group: GROUP, message: self.message(from) },
        };
        Frame { from, incarnation: Incarnation(self.below(2)), to: Incarnation(self.below(2)), content }
    }

    fn position(&mut self) -> Position {
        Position { number: self.below(3), hash: RosterHash([self.below(2) as u8; 32]) }
    }

    fn record(&mut self) -> Record {
        let change = Change::Retire { server: ServerId(self.below(5) as u32) };
        let (_, previous) = founders().position();
        let mut record = Record { number: self.below(3), previous, change, approvals: Vec::new() };
        for _ in 0..self.below(4) {
            let (by, signature) = (ServerId(self.below(5) as u32), vec![1; 64].into());
            record.approvals.push(Approval { by, is_recovery: self.below(2) == 0, signature });
        }
        record
    }

    fn link_frame(&mut self) -> LinkFrame {
        let servers = |make: &mut Self| (0..make.below(6)).map(|_| ServerId(make.below(6) as u32)).collect();
        if self.below(3) == 0 {
            return LinkFrame::Relayed { path: servers(self), sealed: vec![1] };
        }
        let incarnation = Incarnation(self.below(2));
        let counter = if self.below(9) == 0 { u64::MAX } else { self.below(99) };
        let server = ServerId(self.below(6) as u32);
        LinkFrame::Announce { announcement: Announcement { server, incarnation, counter, up: servers(self) } }
    }

    fn input(&mut self) -> Input {
        let device = Device([self.below(6) as u8; 32]);
        let group = GROUP;
        match self.below(26) {
            20 => Input::Link(LinkEvent::Up(ServerId(self.below(6) as u32))),
            21 => Input::Link(LinkEvent::Down(ServerId(self.below(6) as u32))),
            22 | 23 => Input::Link(LinkEvent::Received(ServerId(self.below(6) as u32), self.link_frame())),
            24 | 25 => Input::Tick,
            0 => Input::Start(group),
            1 => Input::Ship(ServerId(self.below(4) as u32)),
            2 => Input::GoOnRecovering(group),
            3 | 4 => Input::Submit { group, device, body: self.body() },
            5 => Input::Testify { group, device, commit: self.id(), verdict: Verdict::Failed },
            6 => {
                Input::Post { group, device, message: MessageName([2; 32]), epoch: self.id(), bytes: vec![0] }
            }
            7 => Input::Acknowledge { device, up_to: self.below(30) },
            8 => Input::Teach { group, bodies: vec![self.body()], finalized: None },
            _ => Input::Frame(self.frame()),
        }
    }
}

fn load(kept: &Kept) -> Server {
    Server::load(ServerId(1), kept, vec![(GROUP, commit(&[0]), Box::new(Anything))]).unwrap()
}

#[test]
fn nothing_panics_and_what_is_kept_is_what_the_server_is() {
    let mut make = Maker(ChaCha8Rng::seed_from_u64(7));
    for world in 0..60 {
        let mut kept = Kept::new();
        let mut server = Server::load(ServerId(1), &kept, Vec::new()).unwrap();
        // All four servers have members at first.
        let genesis = Commit { servers: (0..4).map(ServerId).collect(), ..commit(&[0]) };
        write(&mut kept, server.create(GROUP, genesis.clone(), Box::new(Anything), Millis(0)));
        let roster: BTreeSet<_> = (0..4).map(ServerId).collect();
        match world % 2 {
            0 => server.set_view(roster),
            _ => {
                write(&mut kept, server.connect(founders(), Millis(0)).unwrap());
            }
        }
        let mut frames = 0;
        for time in 0..700 {
            let before = kept.clone();
            match server.handle(make.input(), Millis(time * 100)) {
                Ok(effects) => frames += write(&mut kept, effects),
                Err(_) => assert_eq!(kept, before),
            }
        }
        assert!(frames > 40, "world {world} did nothing");
        let groups: Vec<(_, _, Box<dyn Epochs>)> = vec![(GROUP, genesis, Box::new(Anything))];
        let again = Server::load(ServerId(1), &kept, groups).unwrap();
        let (one, other) = (server.group(&GROUP).unwrap(), again.group(&GROUP).unwrap());
        assert_eq!(one.head(), other.head());
        assert_eq!((one.finalized(), one.flushed()), (other.finalized(), other.flushed()));
        assert_eq!(one.certified().collect::<Vec<_>>(), other.certified().collect::<Vec<_>>());
        for device in (0..4).map(|number| Device([number; 32])) {
            assert!(server.queue(&device).eq(again.queue(&device)));
        }
    }
}

#[test]
fn bytes_are_a_frame_or_an_error() {
    let mut make = Maker(ChaCha8Rng::seed_from_u64(8));
    for _ in 0..2_000 {
        let mut bytes = make.frame().to_bytes();
        let place = make.below(bytes.len() as u64) as usize;
        bytes[place] ^= 1 << make.below(8);
        if let Ok(frame) = Frame::from_bytes(&bytes) {
            assert_eq!(frame.to_bytes(), bytes);
        }
        bytes.truncate(place);
        assert!(Frame::from_bytes(&bytes).is_err());
    }
}

#[test]
fn nothing_leaves_before_it_is_written() {
    let mut server = Server::load(ServerId(1), &Kept::new(), Vec::new()).unwrap();
    let genesis = Commit { servers: [ServerId(0), ServerId(1)].into(), ..commit(&[0]) };
    let mut kept = Kept::new();
    write(&mut kept, server.create(GROUP, genesis, Box::new(Anything), Millis(0)));
    let ballot = Ballot { number: 1, leader: ServerId(0) };
    let content = Content::Message { group: GROUP, message: Message::Prepare { ballot, view: Vec::new() } };
    let frame = Frame { from: ServerId(0), incarnation: Incarnation(0), to: Incarnation(0), content };
    let effects = server.handle(Input::Frame(frame.clone()), Millis(1)).unwrap();
    assert!(effects.persist(|_| Err(())).is_err());
    // The disk knows nothing of it, so the server that is loaded again promises once more.
    let mut again = load(&kept);
    let effects = again.handle(Input::Frame(frame), Millis(2)).unwrap();
    assert_eq!(write(&mut kept, effects), 1);
    let content = Content::Message { group: GROUP, message: Message::Prepare { ballot, view: Vec::new() } };
    let frame = Frame { from: ServerId(0), incarnation: Incarnation(0), to: Incarnation(0), content };
    let effects = load(&kept).handle(Input::Frame(frame), Millis(3)).unwrap();
    let outbid = effects.persist(|_| Ok::<_, ()>(())).unwrap().frames;
    assert!(
        matches!(&outbid[0].1.content, Content::Message { message: Message::Outbid { .. }, .. }),
        "{outbid:?}"
    );
}
