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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// Whether what is known to change nothing is left out. Only a test of that does without.
    pub is_reduced: bool,
    /// Whether in each state it is tried if all comes together after a repair.
    pub heals: bool,
}

const TWO: Bounds = Bounds {
    name: "two",
    servers: 2,
    members: &[0, 1],
    starts: &[(0, 0b01), (1, 0b10), (0, 0b11), (1, 0b11)],
    ballots: 3,
    commits: 2,
    restarts: 0,
    copies: 0,
    kinds: &[Offer::Keep],
    falling: false,
    has_witnesses: false,
    liar: None,
    is_reduced: true,
    heals: false,
};

/// Each side may remove the other; who was removed may come back.
const TWO_KICK: Bounds =
    Bounds { name: "two-kick", commits: 3, kinds: &[Offer::Keep, Offer::Kick, Offer::Return], ..TWO };
/// The same, and by a commit of both sides.
const TWO_ALONE: Bounds =
    Bounds { name: "two-alone", kinds: &[Offer::Keep, Offer::Alone, Offer::Return], ..TWO_KICK };
const TWO_RESTART: Bounds = Bounds { name: "two-restart", restarts: 1, ..TWO };
const TWO_BROKEN: Bounds = Bounds {
    name: "two-broken",
    ballots: 2,
    kinds: &[Offer::Keep, Offer::Broken(0)],
    has_witnesses: true,
    heals: true,
    ..TWO
};

const THREE: Bounds = Bounds {
    name: "three",
    servers: 3,
    members: &[0, 1, 2],
    // The server 0 is cut off, or nobody is.
    starts: &[(0, 0b001), (1, 0b110), (2, 0b110), (0, 0b111), (1, 0b111), (2, 0b111)],
    ballots: 2,
    ..TWO
};

/// One server on each side leads.
const THREE_SPLIT: Bounds =
    Bounds { name: "three-split", starts: &[(0, 0b001), (1, 0b110), (0, 0b111)], ballots: 3, ..THREE };
/// The server 1 lies, so that certificates come late.
const THREE_LATE: Bounds = Bounds { name: "three-late", liar: Some(1), ..THREE_SPLIT };
/// The server 2 comes in.
const THREE_ADD: Bounds = Bounds {
    name: "three-add",
    members: &[0, 1],
    starts: &[(0, 0b011), (0, 0b111), (1, 0b110), (1, 0b111), (2, 0b110), (0, 0b001)],
    kinds: &[Offer::Keep, Offer::Add(2)],
    ..THREE
};

/// Any view of any server.
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

/// Worlds that are searched in each run of the tests, besides those of the broken rules.
pub const QUICK: [Bounds; 11] = [
    Bounds { name: "two-heals", heals: true, ballots: 2, copies: 1, restarts: 1, ..TWO },
    Bounds { name: "two-kick-falling", falling: true, ..TWO_KICK },
    Bounds { name: "two-alone-heals", heals: true, ballots: 2, ..TWO_ALONE },
    TWO_KICK,
    TWO_ALONE,
    TWO_RESTART,
    TWO_BROKEN,
    THREE,
    THREE_SPLIT,
    THREE_LATE,
    Bounds { name: "three-add", heals: true, ..THREE_ADD },
];

/// Worlds that take longer.
pub const LARGE: [Bounds; 11] = [
    Bounds { name: "two-kick-4", ballots: 4, commits: 4, ..TWO_KICK },
    Bounds { name: "two-kick-4-falling", ballots: 4, commits: 4, falling: true, ..TWO_KICK },
    Bounds { name: "two-alone-3", heals: true, ..TWO_ALONE },
    Bounds { name: "two-restarts", restarts: 2, copies: 1, ..TWO },
    Bounds { name: "two-broken-3", ballots: 3, ..TWO_BROKEN },
    Bounds { name: "three-any-view", starts: ANY, ..THREE },
    Bounds { name: "three-3", ballots: 3, ..THREE },
    Bounds { name: "three-split-4", ballots: 4, ..THREE_SPLIT },
    Bounds { name: "three-restart", restarts: 1, ..THREE },
    Bounds { name: "three-kick", kinds: &[Offer::Keep, Offer::Kick], heals: true, ..THREE },
    Bounds { name: "three-late-heals", heals: true, ..THREE_LATE },
];

/// Bounds by their name.
pub fn bounds(name: &str) -> Option<Bounds> {
    let of_hunts = hunts().into_iter().map(|hunt| hunt.bounds);
    QUICK.into_iter().chain(LARGE).chain(of_hunts).find(|bounds| bounds.name == name)
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
    /// After how many events.
    pub events: usize,
}

/// All that are found. With a ballot or a commit less nothing is.
pub fn hunts() -> Vec<Hunt> {
    let hunt = |mutant, bounds, violation, events| Hunt { mutant, bounds, violation, events };
    let highest = Violation::FinalIsNotHighest;
    vec![
        hunt(Mutant::NaiveFinality, TWO_KICK, highest.clone(), 3),
        hunt(
            Mutant::ElectorateFromOwnHead,
            Bounds { ballots: 2, commits: 1, heals: true, ..TWO_KICK },
            Violation::NotFinal,
            4,
        ),
        hunt(Mutant::LeaderOutside, TWO_ALONE, highest.clone(), 8),
        hunt(
            Mutant::AcceptByParent,
            Bounds { ballots: 1, commits: 1, ..TWO_BROKEN },
            Violation::CannotGoOn,
            1,
        ),
        hunt(
            Mutant::AddedServerWithoutVote,
            Bounds { ballots: 1, commits: 1, ..THREE_ADD },
            Violation::GhostServer,
            1,
        ),
        hunt(Mutant::NoDropOfOwnBallot, THREE_SPLIT, highest.clone(), 15),
        hunt(
            Mutant::MajorityFinality,
            Bounds { name: "three-falling", falling: true, ..THREE },
            highest.clone(),
            8,
        ),
        hunt(Mutant::Amnesia, Bounds { ballots: 2, ..TWO_RESTART }, highest.clone(), 7),
        hunt(Mutant::IgnoredPromise, THREE_SPLIT, highest, 15),
        hunt(Mutant::NoPin, THREE_LATE, Violation::HeadLeavesFinal, 16),
        hunt(Mutant::NoOkNeeded, Bounds { ballots: 1, commits: 1, ..TWO_BROKEN }, Violation::Bricked, 5),
        hunt(Mutant::OwnOkCounts, Bounds { ballots: 1, commits: 1, ..TWO_BROKEN }, Violation::Bricked, 5),
        hunt(Mutant::BlockedChildCounts, Bounds { commits: 1, ..TWO_BROKEN }, Violation::CannotGoOn, 5),
        hunt(
            Mutant::BlockedIsNotSkipped,
            Bounds { ballots: 1, commits: 1, ..TWO_BROKEN },
            Violation::NotFinal,
            1,
        ),
    ]
}
