//! What kind of worlds: who lies, what breaks.

/// How a world goes wrong. Numbers are of a thousand.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// As on a command line.
    pub name: &'static str,
    /// At most so many servers.
    pub servers: usize,
    /// Worlds with a member that makes commits which not everybody can process.
    pub evil: usize,
    /// Such a member has a friend, and they say OK to each other.
    pub colludes: bool,
    /// Such members say Failed to everything else.
    pub says_failed: bool,
    /// Whether policy lets who lost the way come back by an external commit.
    pub returns: bool,
    /// Worlds in which an honest member loses its state.
    pub loses: usize,
    /// Worlds in which servers come back from backups.
    pub restores: usize,
    /// How often in one world.
    pub restores_at_most: usize,
    /// Whether the network splits.
    pub splits: bool,
    /// Whether servers crash.
    pub crashes: bool,
    /// Worlds with one member a server at the start: servers come and go.
    pub narrow: usize,
    /// How often an outbox goes on when it could.
    pub ship: usize,
    /// How many frames arrive at once, at most.
    pub deliveries: usize,
    /// Ballots that run to their end at once.
    pub bursts: usize,
    /// Worlds in which servers are wrong about who can be reached.
    pub wrong_views: usize,
}

const MENDED: Config = Config {
    name: "mended",
    servers: 3,
    evil: 350,
    colludes: false,
    says_failed: false,
    returns: true,
    loses: 300,
    restores: 500,
    restores_at_most: 1,
    splits: true,
    crashes: true,
    narrow: 300,
    ship: 1000,
    deliveries: 1,
    bursts: 250,
    wrong_views: 0,
};

/// The kinds of worlds, of which each seed takes one in turn.
pub const CONFIGS: [Config; 9] = [
    MENDED,
    Config { name: "evil", evil: 1000, loses: 700, ..MENDED },
    Config { name: "collude", evil: 1000, colludes: true, ..MENDED },
    Config { name: "says-failed", evil: 1000, says_failed: true, ..MENDED },
    Config { name: "restore", restores: 1000, restores_at_most: 3, ..MENDED },
    Config { name: "slow", ship: 400, narrow: 1000, bursts: 600, evil: 0, loses: 0, restores: 0, ..MENDED },
    Config { name: "wide", servers: 5, deliveries: 5, narrow: 500, evil: 0, loses: 0, restores: 0, ..MENDED },
    Config {
        name: "wrong",
        servers: 5,
        deliveries: 5,
        bursts: 50,
        wrong_views: 1000,
        evil: 0,
        loses: 0,
        restores: 0,
        ..MENDED
    },
    Config {
        name: "calm",
        servers: 5,
        splits: false,
        crashes: false,
        evil: 0,
        loses: 0,
        restores: 0,
        ..MENDED
    },
];

/// By its name.
pub fn config(name: &str) -> Option<Config> {
    CONFIGS.into_iter().find(|config| config.name == name)
}
