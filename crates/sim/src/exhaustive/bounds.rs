//! How far a search goes.

use dmls_delivery::testing::Mutant;

use crate::world::Violation;

/// What clients may submit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// A commit that leaves the members alone.
    Keep,
    /// One that removes all who are not in the view of the ballot.
    Kick,
    /// One that removes all others.
    Alone,
    /// One that brings in the client of a server.
    Add(u8),
    /// Who was removed comes back.
    Return,
    /// One of this client, which nobody else can process.
    Broken(u8),
}

/// A small world.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// As on a command line.
    pub name: &'static str,
    /// How many servers, each with one client.
    pub servers: usize,
    /// Whose clients are members at first.
    pub members: &'static [usize],
    /// Who starts ballots, and with which view as bits.
    pub starts: &'static [(usize, u8)],
    /// How many ballots start.
    pub ballots: u8,
    /// How many commits are submitted.
    pub commits: usize,
    /// How often servers stop and start again.
    pub restarts: u8,
    /// How often a frame arrives and arrives again.
    pub copies: u8,
    /// What may be submitted.
    pub kinds: &'static [Offer],
    /// Whether the lower server has the higher tag.
    pub falling: bool,
    /// Whether finality needs an OK.
    pub has_witnesses: bool,
    /// A server that leads on in ballots below its promise: its certificates come late.
    pub liar: Option<usize>,
    /// Whether in each state it is tried if all comes together after a repair.
    pub heals: bool,
}

const TWO: Bounds = Bounds {
    name: "two",
    servers: 2,
    members: &[0, 1],
    starts: &[(0, 0b01), (1, 0b10), (0, 0b11), (1, 0b11)],
    ballots: 4,
    commits: 3,
    restarts: 0,
    copies: 0,
    kinds: &[Offer::Keep],
    falling: false,
    has_witnesses: false,
    liar: None,
    heals: false,
};

const THREE: Bounds =
    Bounds { name: "three", servers: 3, members: &[0, 1, 2], starts: SPLIT, ballots: 3, commits: 2, ..TWO };

/// The server 0 is cut off, or nobody is.
const SPLIT: &[(usize, u8)] = &[(0, 0b001), (1, 0b110), (2, 0b110), (0, 0b111), (1, 0b111), (2, 0b111)];

/// The same, with two of the leaders.
const SPLIT_OF_TWO: &[(usize, u8)] = &[(0, 0b001), (1, 0b110), (0, 0b111)];

/// All views.
const ANY: &[(usize, u8)] = &[
    (0, 0b001),
    (0, 0b011),
    (0, 0b101),
    (0, 0b111),
    (1, 0b010),
    (1, 0b011),
    (1, 0b110),
    (1, 0b111),
    (2, 0b100),
    (2, 0b101),
    (2, 0b110),
    (2, 0b111),
];

/// The worlds that are searched.
pub const BOUNDS: [Bounds; 16] = [
    TWO,
    Bounds { name: "two-kick", kinds: &[Offer::Keep, Offer::Kick], ..TWO },
    Bounds { name: "two-return", kinds: &[Offer::Keep, Offer::Kick, Offer::Return], ..TWO },
    Bounds { name: "two-alone", kinds: &[Offer::Keep, Offer::Alone, Offer::Return], ..TWO },
    Bounds { name: "two-restart", restarts: 2, ..TWO },
    Bounds { name: "two-copies", copies: 2, ..TWO },
    Bounds { name: "two-broken", has_witnesses: true, kinds: &[Offer::Keep, Offer::Broken(0)], ..TWO },
    THREE,
    Bounds { name: "three-split", starts: SPLIT_OF_TWO, ..THREE },
    Bounds { name: "three-kick", kinds: &[Offer::Keep, Offer::Kick], ..THREE },
    Bounds { name: "three-views", starts: ANY, ..THREE },
    Bounds { name: "three-restart", restarts: 1, ..THREE },
    Bounds { name: "three-late", liar: Some(1), starts: SPLIT_OF_TWO, ..THREE },
    Bounds {
        name: "three-add",
        members: &[0, 1],
        starts: &[(0, 0b011), (0, 0b111), (1, 0b110), (1, 0b111), (2, 0b110)],
        kinds: &[Offer::Keep, Offer::Add(2)],
        ..THREE
    },
    Bounds { name: "three-broken", has_witnesses: true, kinds: &[Offer::Keep, Offer::Broken(0)], ..THREE },
    Bounds { name: "three-return", kinds: &[Offer::Keep, Offer::Kick, Offer::Return], ..THREE },
];

/// Bounds by their name.
pub fn bounds(name: &str) -> Option<Bounds> {
    BOUNDS.into_iter().find(|bounds| bounds.name == name)
}

/// A broken rule, and the smallest bounds in which it shows.
#[derive(Clone, Debug)]
pub struct Hunt {
    /// The rule.
    pub mutant: Mutant,
    /// Where.
    pub bounds: Bounds,
    /// What goes wrong.
    pub violation: Violation,
}

/// All of them.
pub const HUNTS: [Hunt; 0] = [];
