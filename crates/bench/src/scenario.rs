//! What a group can live through, played by any mix of peers.
//!
//! Every peer does everything at least once: it adds another, updates, proposes and commits, removes another,
//! publishes the GroupInfo for an external join, joins by Welcome and from outside, adds with a pre-shared key, speaks. After each Commit
//! all members must have the same `epoch_authenticator` and the same list of members.

use std::error::Error;
use std::fmt;

use crate::peer::{Committed, Peer, Received};

/// Plays the scenario. The first peer creates the group; each needs an identity of its own.
///
/// # Errors
///
/// The step that failed, who failed at it, and how.
pub fn run(peers: Vec<Box<dyn Peer>>, group_id: &[u8]) -> Result<(), Failure> {
    let mut room = Room::create(peers, group_id)?;
    room.everyone_adds_the_next()?;
    room.everyone_speaks()?;
    room.everyone_updates()?;
    room.everyone_commits_the_updates_of_others()?;
    room.everyone_speaks()?;
    room.everyone_removes_the_next_who_joins_from_outside()?;
    room.everyone_joins_again_over_its_own_leaf()?;
    room.everyone_speaks()?;
    room.everyone_removes_two_and_adds_them_at_once()?;
    room.everyone_proposes_what_the_next_commits()?;
    room.everyone_adds_with_a_pre_shared_key()?;
    room.everyone_speaks()
}

/// A step of the scenario that did not go as it should.
#[derive(Debug)]
pub struct Failure {
    step: String,
    cause: Box<dyn Error>,
}

impl Failure {
    fn new(step: &str, cause: impl Into<Box<dyn Error>>) -> Self {
        Self { step: step.to_owned(), cause: cause.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.step, self.cause)
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(self.cause.as_ref())
    }
}

/// All peers, and which of them are members now.
struct Room {
    peers: Vec<Box<dyn Peer>>,
    inside: Vec<bool>,
}

// The acts, in the order in which `run` plays them. A number is a peer's place in `peers`.
impl Room {
    fn create(peers: Vec<Box<dyn Peer>>, group_id: &[u8]) -> Result<Self, Failure> {
        let inside = vec![false; peers.len()];
        let mut room = Self { peers, inside };
        if room.peers.len() < 3 {
            return Err(Failure::new("a scenario needs three peers", "there are fewer"));
        }
        room.act(0, "creates the group", |peer| peer.create_group(group_id))?;
        room.inside[0] = true;
        room.check_agreement("after the creation")?;
        Ok(room)
    }

    fn everyone_adds_the_next(&mut self) -> Result<(), Failure> {
        (1..self.peers.len()).try_for_each(|joiner| self.add(joiner - 1, &[joiner]))
    }

    fn everyone_updates(&mut self) -> Result<(), Failure> {
        for who in 0..self.peers.len() {
            let committed = self.act(who, "updates", |peer| peer.update())?;
            self.deliver_commit(who, &committed, &[])?;
        }
        Ok(())
    }

    fn everyone_commits_the_updates_of_others(&mut self) -> Result<(), Failure> {
        for committer in 0..self.peers.len() {
            for proposer in (0..self.peers.len()).filter(|&one| one != committer) {
                let proposal = self.act(proposer, "proposes an Update", |peer| peer.propose_update())?;
                self.deliver(proposer, &proposal, &Received::Proposal)?;
            }
            let committed =
                self.act(committer, "commits the Updates of others", |peer| peer.commit_pending())?;
            self.deliver_commit(committer, &committed, &[])?;
        }
        Ok(())
    }

    fn everyone_removes_the_next_who_joins_from_outside(&mut self) -> Result<(), Failure> {
        for remover in 0..self.peers.len() {
            let (removed, publisher) = (self.after(remover, 1), self.after(remover, 2));
            self.remove(remover, removed)?;
            self.join_from_outside(removed, publisher)?;
        }
        Ok(())
    }

    fn everyone_joins_again_over_its_own_leaf(&mut self) -> Result<(), Failure> {
        (0..self.peers.len()).try_for_each(|who| self.join_from_outside(who, self.after(who, 1)))
    }

    fn everyone_removes_two_and_adds_them_at_once(&mut self) -> Result<(), Failure> {
        for who in 0..self.peers.len() {
            let two = [self.after(who, 1), self.after(who, 2)];
            self.remove(who, two[0])?;
            self.remove(who, two[1])?;
            self.add(who, &two)?;
        }
        Ok(())
    }

    /// A Remove and then an Add, both by reference.
    fn everyone_proposes_what_the_next_commits(&mut self) -> Result<(), Failure> {
        for proposer in 0..self.peers.len() {
            let (committer, moved) = (self.after(proposer, 1), self.after(proposer, 2));
            let identity = self.peers[moved].identity().to_vec();
            let proposal = self.act(proposer, "proposes a Remove", |peer| peer.propose_remove(&identity))?;
            self.deliver(proposer, &proposal, &Received::Proposal)?;
            let committed = self.act(committer, "commits the Remove", |peer| peer.commit_pending())?;
            let seen = self.act(moved, "is removed", |peer| peer.process(&committed.commit))?;
            self.expect(moved, &Received::Removed, &seen)?;
            self.inside[moved] = false;
            self.deliver_commit(committer, &committed, &[])?;

            let key_package = self.act(moved, "makes a KeyPackage", |peer| peer.key_package())?;
            let proposal = self.act(proposer, "proposes an Add", |peer| peer.propose_add(&key_package))?;
            self.deliver(proposer, &proposal, &Received::Proposal)?;
            let committed = self.act(committer, "commits the Add", |peer| peer.commit_pending())?;
            self.deliver_commit(committer, &committed, &[moved])?;
        }
        Ok(())
    }

    fn everyone_adds_with_a_pre_shared_key(&mut self) -> Result<(), Failure> {
        for who in 0..self.peers.len() {
            self.act(who, "stores a pre-shared key", |peer| peer.store_psk(b"psk id", &[7; 32]))?;
        }
        for adder in 0..self.peers.len() {
            let joiner = self.after(adder, 1);
            self.remove(adder, joiner)?;
            let key_package = self.act(joiner, "makes a KeyPackage", |peer| peer.key_package())?;
            let committed = self.act(adder, "adds with a pre-shared key", |peer| {
                peer.add_with_psk(&key_package, b"psk id")
            })?;
            self.deliver_commit(adder, &committed, &[joiner])?;
        }
        Ok(())
    }

    /// Three messages from each member, which all others get in another order.
    fn everyone_speaks(&mut self) -> Result<(), Failure> {
        let texts = [b"first".as_slice(), b"", b"third"];
        for who in 0..self.peers.len() {
            let mut sent = Vec::new();
            for text in texts {
                sent.push(self.act(who, "sends a message", |peer| peer.send(text))?);
            }
            for at in [2, 0, 1] {
                self.deliver(who, &sent[at], &Received::Application(texts[at].to_vec()))?;
            }
        }
        Ok(())
    }
}

// The parts that acts are made of.
impl Room {
    fn add(&mut self, adder: usize, joiners: &[usize]) -> Result<(), Failure> {
        let mut key_packages = Vec::new();
        for &joiner in joiners {
            key_packages.push(self.act(joiner, "makes a KeyPackage", |peer| peer.key_package())?);
        }
        let committed = self.act(adder, "adds", |peer| peer.add(&key_packages))?;
        self.deliver_commit(adder, &committed, joiners)
    }

    fn remove(&mut self, remover: usize, removed: usize) -> Result<(), Failure> {
        let identity = self.peers[removed].identity().to_vec();
        let committed = self.act(remover, "removes another", |peer| peer.remove(&identity))?;
        let seen = self.act(removed, "is removed", |peer| peer.process(&committed.commit))?;
        self.expect(removed, &Received::Removed, &seen)?;
        self.inside[removed] = false;
        self.deliver_commit(remover, &committed, &[])
    }

    fn join_from_outside(&mut self, joiner: usize, publisher: usize) -> Result<(), Failure> {
        let group_info = self.act(publisher, "publishes a GroupInfo", |peer| peer.group_info())?;
        let commit = self.act(joiner, "joins from outside", |peer| peer.join_external(&group_info))?;
        self.inside[joiner] = true;
        self.deliver_commit(joiner, &Committed { commit, welcome: None }, &[])
    }

    /// Brings a Commit to all members, then its Welcome to those whom it adds.
    fn deliver_commit(
        &mut self,
        from: usize,
        committed: &Committed,
        joiners: &[usize],
    ) -> Result<(), Failure> {
        self.deliver(from, &committed.commit, &Received::Commit)?;
        match &committed.welcome {
            Some(welcome) => {
                for &joiner in joiners {
                    self.act(joiner, "joins by a Welcome", |peer| peer.join(welcome))?;
                    self.inside[joiner] = true;
                }
            }
            None if joiners.is_empty() => {}
            None => return Err(Failure::new(&self.label(from), "an Add without a Welcome")),
        }
        self.check_agreement(&format!("after a Commit of {}", self.label(from)))
    }

    /// Brings a message to all members but its sender.
    fn deliver(&mut self, from: usize, message: &[u8], expected: &Received) -> Result<(), Failure> {
        let what = format!("processes what {} sent", self.label(from));
        for to in (0..self.peers.len()).filter(|&to| to != from && self.inside[to]).collect::<Vec<_>>() {
            let seen = self.act(to, &what, |peer| peer.process(message))?;
            self.expect(to, expected, &seen)?;
        }
        Ok(())
    }

    fn act<T>(
        &mut self,
        who: usize,
        what: &str,
        action: impl FnOnce(&mut dyn Peer) -> Result<T, Box<dyn Error>>,
    ) -> Result<T, Failure> {
        action(self.peers[who].as_mut())
            .map_err(|cause| Failure::new(&format!("{} {what}", self.label(who)), cause))
    }

    fn expect(&self, who: usize, expected: &Received, seen: &Received) -> Result<(), Failure> {
        if expected == seen {
            return Ok(());
        }
        Err(Failure::new(&self.label(who), format!("saw {seen:?} where {expected:?} was sent")))
    }

    /// All members have the same authenticator and list the same members, namely those who are inside.
    fn check_agreement(&self, when: &str) -> Result<(), Failure> {
        let mut views = Vec::new();
        for who in (0..self.peers.len()).filter(|&who| self.inside[who]) {
            let peer = self.peers[who].as_ref();
            let view =
                peer.epoch_authenticator().and_then(|authenticator| Ok((authenticator, peer.members()?)));
            views.push((who, view.map_err(|cause| Failure::new(&self.label(who), cause))?));
        }
        for pair in views.windows(2) {
            if pair[0].1 != pair[1].1 {
                let who = format!("{} and {}", self.label(pair[0].0), self.label(pair[1].0));
                return Err(Failure::new(when, format!("{who} disagree: {:?}, {:?}", pair[0].1, pair[1].1)));
            }
        }

        let mut expected: Vec<_> =
            views.iter().map(|(who, _)| self.peers[*who].identity().to_vec()).collect();
        let mut listed = views.first().map(|(_, (_, members))| members.clone()).unwrap_or_default();
        expected.sort();
        listed.sort();
        if expected != listed {
            return Err(Failure::new(when, format!("members are {listed:?}, should be {expected:?}")));
        }
        Ok(())
    }

    fn after(&self, who: usize, distance: usize) -> usize {
        (who + distance) % self.peers.len()
    }

    fn label(&self, who: usize) -> String {
        let peer = self.peers[who].as_ref();
        format!("{} ({})", String::from_utf8_lossy(peer.identity()), peer.name())
    }
}
