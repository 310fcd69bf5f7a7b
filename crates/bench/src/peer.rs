//! The trait that each implementation is put behind.

use std::error::Error;

/// One client, a member of at most one group at a time.
///
/// Every message, in and out, is an encoded `MLSMessage` (RFC 9420 s6). Errors are the library's own: a test
/// wants to show them, nobody needs to tell them apart.
pub trait Peer {
    /// The implementation: `dmls`, `openmls`, `mls-rs`.
    fn name(&self) -> &str;

    /// The content of this peer's `basic` credential (s5.3).
    fn identity(&self) -> &[u8];

    /// A fresh KeyPackage (s10); its private keys stay here, for a later [`join`](Self::join).
    fn key_package(&mut self) -> Result<Vec<u8>, Box<dyn Error>>;

    /// Creates a group with this peer as its only member (s11).
    fn create_group(&mut self, group_id: &[u8]) -> Result<(), Box<dyn Error>>;

    /// Joins by a Welcome that has the `ratchet_tree` extension in its GroupInfo (s12.4.3.1).
    fn join(&mut self, welcome: &[u8]) -> Result<(), Box<dyn Error>>;

    /// Joins by an external Commit (s12.4.3.2) and returns it. The peer is in the new epoch at once; if it
    /// was a member already, the Commit removes its old leaf.
    fn join_external(&mut self, group_info: &[u8]) -> Result<Vec<u8>, Box<dyn Error>>;

    /// Commits an Add of each KeyPackage. As after every Commit of its own, the peer is in the new epoch at
    /// once.
    fn add(&mut self, key_packages: &[Vec<u8>]) -> Result<Committed, Box<dyn Error>>;

    /// Commits nothing but a path: fresh keys from this peer's leaf to the root.
    fn update(&mut self) -> Result<Committed, Box<dyn Error>>;

    /// Commits a Remove of the member with this identity.
    fn remove(&mut self, identity: &[u8]) -> Result<Committed, Box<dyn Error>>;

    /// Processes a message of another: stores a proposal, applies a Commit, decrypts application data.
    fn process(&mut self, message: &[u8]) -> Result<Received, Box<dyn Error>>;

    /// An Update proposal by itself (s12.1.2), for another member to commit.
    fn propose_update(&mut self) -> Result<Vec<u8>, Box<dyn Error>>;

    /// An Add proposal by itself (s12.1.1).
    fn propose_add(&mut self, key_package: &[u8]) -> Result<Vec<u8>, Box<dyn Error>>;

    /// A Remove proposal by itself (s12.1.3) of the member with this identity.
    fn propose_remove(&mut self, identity: &[u8]) -> Result<Vec<u8>, Box<dyn Error>>;

    /// Gives this peer a pre-shared key (s8.4), to be named by commits and Welcomes.
    fn store_psk(&mut self, id: &[u8], psk: &[u8]) -> Result<(), Box<dyn Error>>;

    /// Commits a pre-shared key together with an Add: the joiner needs the key, too.
    fn add_with_psk(&mut self, key_package: &[u8], id: &[u8]) -> Result<Committed, Box<dyn Error>>;

    /// Commits, by reference, all proposals that were stored in this epoch.
    fn commit_pending(&mut self) -> Result<Committed, Box<dyn Error>>;

    /// Encrypts application data (s15).
    fn send(&mut self, text: &[u8]) -> Result<Vec<u8>, Box<dyn Error>>;

    /// The current GroupInfo with `external_pub` and `ratchet_tree`, as an external joiner needs it.
    fn group_info(&mut self) -> Result<Vec<u8>, Box<dyn Error>>;

    /// The `epoch_authenticator` (s8.7): equal for two members if and only if they agree on the whole epoch.
    fn epoch_authenticator(&self) -> Result<Vec<u8>, Box<dyn Error>>;

    /// The members' identities, in the order of their leaves.
    fn members(&self) -> Result<Vec<Vec<u8>>, Box<dyn Error>>;
}

/// What [`Peer::process`] found in a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// A Commit; the peer is in the next epoch.
    Commit,
    /// A Commit that removed this peer; it's in no group now.
    Removed,
    /// A proposal, stored for the next Commit.
    Proposal,
    /// Application data.
    Application(Vec<u8>),
}

/// What a committer has to send.
#[derive(Clone, Debug)]
pub struct Committed {
    /// To the members of the epoch that it ends.
    pub commit: Vec<u8>,
    /// To those that it adds: one Welcome for all.
    pub welcome: Option<Vec<u8>>,
}

/// What a peer is told at its birth.
#[derive(Clone, Debug)]
pub struct Config {
    /// RFC 9420 s17.1; all three libraries know 1, 2 and 3.
    pub cipher_suite: u16,
    /// The content of the `basic` credential; unique in the group.
    pub identity: Vec<u8>,
    /// Proposals and Commits are PrivateMessages, or else PublicMessages (external Commits always are).
    pub private_handshake: bool,
    /// A Commit of Adds only has a path too, which s12.4 leaves to the committer.
    pub path_on_add: bool,
}

impl Config {
    /// Public handshake messages, a path in every Commit.
    pub fn new(cipher_suite: u16, identity: impl Into<Vec<u8>>) -> Self {
        Self { cipher_suite, identity: identity.into(), private_handshake: false, path_on_add: true }
    }
}

/// What a method that needs a group says when there is none.
pub(crate) const NOT_A_MEMBER: &str = "this peer is not in a group";
/// What is said to a message of a kind that the method can't use.
pub(crate) const WRONG_MESSAGE: &str = "not the kind of MLSMessage that belongs here";
