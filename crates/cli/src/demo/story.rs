//! What happens in the demonstration: the group forms, splits, heals. What is told comes from outcomes.

use std::collections::BTreeSet;

use dmls::{EpochId, Network, NewEpoch, Why};
use rand_chacha::ChaCha20Rng;

use super::Args;
use super::chance::{below, percent, pick, shuffle, stream};
use super::graph::Graph;
use super::tell::{Teller, changes, list, name, verb};
use super::world::{Change, Happened, Recorded, World, epochs_held};
use crate::Failure;
use crate::graph::words::count;
use crate::term::{Ink, hex};

const NAMES: [&str; 40] = [
    "Ada", "Ben", "Cleo", "Dan", "Eve", "Finn", "Gus", "Hana", "Ivo", "June", "Kim", "Leo", "Mia", "Nils",
    "Ola", "Pia", "Quin", "Rosa", "Sam", "Tara", "Umi", "Vera", "Wim", "Xena", "Yann", "Zoe", "Abel", "Bea",
    "Cyra", "Dora", "Emil", "Flo", "Greta", "Hugo", "Ines", "Jan", "Kaya", "Luis", "Maya", "Nora",
];

const SAYINGS: [&str; 12] = [
    "is anyone there?",
    "still here!",
    "the line is bad today",
    "did you get my last message?",
    "who else can read this?",
    "we go on without them",
    "see you on the other side",
    "I'll write it down",
    "lunch at noon?",
    "noon is fine",
    "what did I miss?",
    "keep your keys fresh",
];

/// Something that a losing branch did, and what became of it.
pub struct LostChange {
    pub epoch: EpochId,
    pub number: u64,
    pub committer: String,
    pub change: String,
    pub then: String,
}

/// The run of a demonstration.
pub struct Story<'a> {
    pub world: World,
    pub tell: Teller,
    pub lost: Vec<LostChange>,
    args: &'a Args,
    rng: ChaCha20Rng,
}

/// One commit of a side during a split.
struct Turn {
    side: u8,
    add: bool,
    remove: bool,
}

impl<'a> Story<'a> {
    pub fn new(world: World, tell: Teller, args: &'a Args, seed: u64) -> Self {
        Self { world, tell, lost: Vec::new(), args, rng: stream(seed, 0) }
    }

    /// All of it.
    pub fn run(&mut self) -> Result<(), Failure> {
        self.found()?;
        for number in 1..=self.args.splits {
            let said = self.world.chats.len();
            let parent = self.split(number)?;
            let newcomers = self.heal(&parent, said)?;
            self.bring_back(&newcomers)?;
            self.forget()?;
        }
        self.roll_call()
    }

    fn newcomer(&mut self, side: u8) -> Result<usize, Failure> {
        let number = self.world.people.len();
        let first = NAMES[number % NAMES.len()];
        let name = match number / NAMES.len() {
            0 => first.to_owned(),
            round => format!("{first}{}", round + 1),
        };
        self.world.person(name, side)
    }

    fn names(&self, people: &[usize]) -> String {
        list(&people.iter().map(|who| self.world.name(*who)).collect::<Vec<_>>())
    }

    /// Tells what was wrong with messages: nothing should be.
    fn settle(&mut self) -> Result<Happened, Failure> {
        let happened = self.world.run()?;
        for error in &happened.errors {
            self.tell.event(&self.tell.look.paint(Ink::Bad, error))?;
        }
        Ok(happened)
    }

    fn found(&mut self) -> Result<(), Failure> {
        self.tell.chapter("●", "*", "The group forms")?;
        for _ in 0..self.args.members {
            self.newcomer(0)?;
        }
        self.world.create(0)?;
        self.tell_commit(None, 0)?;
        let others: Vec<usize> = (1..self.args.members as usize).collect();
        for other in &others {
            self.world.offer_key_package(*other, 0)?;
        }
        self.settle()?;
        if self.world.commit(0, &Change::Add(others))?.is_some() {
            self.tell_commit(None, 0)?;
        }
        let joined = self.settle()?.joined;
        self.tell.event(&format!("{} joined by {}", self.names(&joined), welcomes(joined.len())))?;
        self.chatter(2)
    }

    /// Tells of the epoch that began last.
    fn tell_commit(&self, side: Option<u8>, refused: usize) -> Result<(), Failure> {
        let Some(Recorded { id, number, commit, by, .. }) = self.world.history.last() else { return Ok(()) };
        let mut text = match commit {
            Some(commit) => format!("{} {}", self.world.name(*by), changes(commit)),
            None => format!("{} creates the group", self.world.name(*by)),
        };
        if refused > 0 {
            text += " (first of two)";
        }
        self.tell.step(side, &text, *number, id)
    }

    /// Some people say something, and it is told who read it.
    fn chatter(&mut self, times: usize) -> Result<(), Failure> {
        let mut said = Vec::new();
        for _ in 0..times {
            let present = self.world.present();
            let Some(who) = pick(&mut self.rng, &present) else { return Ok(()) };
            said.push(self.say(who)?);
        }
        self.settle()?;
        said.into_iter().try_for_each(|chat| self.tell_chat(None, chat))
    }

    fn say(&mut self, who: usize) -> Result<usize, Failure> {
        let text = pick(&mut self.rng, &SAYINGS).unwrap_or_default();
        self.world.say(who, text)
    }

    fn tell_chat(&self, side: Option<u8>, number: usize) -> Result<(), Failure> {
        let chat = &self.world.chats[number];
        let (read, all) = (chat.read_by.len(), chat.to.len());
        let so_far = if read < all && side.is_some() { " so far" } else { "" };
        let readers = format!("read by {read} of {all}{so_far}");
        self.tell.says(side, self.world.name(chat.from), &chat.text, &readers)
    }

    /// The network splits; both sides go on. Gives the epoch at which they part.
    fn split(&mut self, number: u32) -> Result<EpochId, Failure> {
        let mut present = self.world.present();
        shuffle(&mut self.rng, &mut present);
        // Where there are enough, nobody is alone.
        let least = if present.len() >= 4 { 2 } else { 1 };
        let cut = least + below(&mut self.rng, (present.len() - 2 * least) as u32 + 1) as usize;
        let mut sides = vec![0; self.world.people.len()];
        for who in &present[cut..] {
            sides[*who] = 1;
        }
        self.world.network.split(sides);
        // From now on the delivery services on both sides say that old epochs must be kept (draft s6.1.1).
        self.world.tell_network(Network::Split);
        present[..cut].sort_unstable();
        present[cut..].sort_unstable();
        let title = if self.args.splits > 1 {
            format!("The network splits ({number} of {})", self.args.splits)
        } else {
            "The network splits".into()
        };
        self.tell.chapter("✂", "/", &title)?;
        for (side, members) in [(0, &present[..cut]), (1, &present[cut..])] {
            self.tell.event(&format!("{}{}", self.tell.side(Some(side)), self.names(members)))?;
        }
        let parent = self.world.group(present[0])?.head().id().clone();
        self.both_sides_go_on()?;
        Ok(parent)
    }

    fn both_sides_go_on(&mut self) -> Result<(), Failure> {
        let epochs = self.args.epochs;
        let adding = below(&mut self.rng, 2) as u8;
        let (add_at, remove_at) = (below(&mut self.rng, epochs), below(&mut self.rng, epochs));
        for round in 0..epochs {
            for side in [0, 1] {
                let add = side == adding && round == add_at;
                let remove = side != adding && round == remove_at;
                self.turn(Turn { side, add, remove })?;
            }
        }
        Ok(())
    }

    /// Those of a side who are in the group.
    fn on_side(&self, side: u8) -> Vec<usize> {
        let here = |who: &usize| self.world.network.side(*who) == side;
        self.world.present().into_iter().filter(here).collect()
    }

    fn turn(&mut self, turn: Turn) -> Result<(), Failure> {
        let Turn { side, add, remove } = turn;
        let mut here = self.on_side(side);
        shuffle(&mut self.rng, &mut here);
        let Some((&committer, others)) = here.split_first() else { return Ok(()) };
        let mut with_proposal = false;
        let change = if add {
            let newcomer = self.newcomer(side)?;
            self.world.offer_key_package(newcomer, committer)?;
            self.settle()?;
            Change::Add(vec![newcomer])
        } else if remove {
            self.someone_else(committer, side)?
        } else {
            if let Some(proposer) = others.first().filter(|_| percent(&mut self.rng, 40)) {
                self.world.propose_update(*proposer)?;
                with_proposal = true;
                self.settle()?;
            }
            Change::Update
        };
        self.world.commit(committer, &change)?;
        // Sometimes another was about to commit at the same time: the delivery service takes the first.
        let mut refused = 0;
        if let Some(rival) = others.last().filter(|_| !with_proposal && percent(&mut self.rng, 25)) {
            refused = usize::from(self.world.commit(*rival, &Change::Update)?.is_none());
        }
        self.tell_commit(Some(side), refused)?;
        // Whoever speaks now may be in the epoch before, or in one that the others have not heard of yet.
        let speaker = match with_proposal {
            // The others have proposals, and must commit before they speak (RFC 9420 s12.4).
            true => committer,
            false => pick(&mut self.rng, &[here[0], here[here.len() - 1]]).unwrap_or(committer),
        };
        let chat = self.say(speaker)?;
        let joined = self.settle()?.joined;
        if !joined.is_empty() {
            let text = format!("{} joined by {}", self.names(&joined), welcomes(joined.len()));
            self.tell.event(&format!("{}{text}", self.tell.side(Some(side))))?;
        }
        self.tell_chat(Some(side), chat)
    }

    /// The removal of a member who is on the other side, as seen from this one.
    fn someone_else(&mut self, committer: usize, side: u8) -> Result<Change, Failure> {
        let members = self.world.group(committer)?.head().members().unwrap_or_default();
        let away: Vec<_> = members
            .iter()
            .filter(|member| {
                let who = self.world.by_credential(&member.credential);
                who.is_some_and(|who| self.world.network.side(who) != side)
            })
            .map(|member| member.leaf)
            .collect();
        Ok(pick(&mut self.rng, &away).map_or(Change::Update, Change::Remove))
    }

    /// The network is whole: everybody learns of the fork and arrives on the same side of it. Gives those whose
    /// adding was lost.
    fn heal(&mut self, parent: &EpochId, said: usize) -> Result<Vec<usize>, Failure> {
        let stuck = self.world.network.stuck();
        self.tell.chapter("⚭", "=", "The network heals")?;
        self.tell
            .event(&format!("{} waited for this; now they arrive, in any order", count(stuck, "packet")))?;
        self.world.network.heal();
        let happened = self.settle()?;
        self.tell_fork(parent, &happened)?;
        let newcomers = self.tell_lost(parent)?;
        self.tell_said(said)?;
        Ok(newcomers)
    }

    /// What was said on a branch can be read by its members until its epochs go, whether it won or lost.
    fn tell_said(&self, during_split: usize) -> Result<(), Failure> {
        let chats = &self.world.chats[during_split..];
        let (read, all) =
            chats.iter().fold((0, 0), |(read, all), chat| (read + chat.read_by.len(), all + chat.to.len()));
        self.tell.event(&format!("what was said on both sides has arrived: {read} of {all} deliveries read"))
    }

    fn tell_fork(&self, parent: &EpochId, happened: &Happened) -> Result<(), Failure> {
        let who = |is: &dyn Fn(&NewEpoch) -> bool| {
            let who = happened.commits.iter().filter(|(_, epoch)| is(epoch)).map(|(who, _)| *who);
            Vec::from_iter(BTreeSet::from_iter(who))
        };
        let saw = who(&|epoch| epoch.fork && epoch.parent.as_ref() == Some(parent));
        let moved = who(&|epoch| !epoch.lost.is_empty());
        let history = &self.world.history;
        let mut tags: Vec<_> = history.iter().filter(|e| e.parent.as_ref() == Some(parent)).collect();
        tags.sort_by(|one, other| one.tag.cmp(&other.tag));
        let held = count(happened.held, "message");
        self.tell.event(&format!("{held} came before their epoch and waited for it"))?;
        self.tell.event(&format!("{} {} the fork", self.names(&saw), verb(saw.len(), "see")))?;
        if let [.., loser, winner] = &tags[..] {
            let sign = |e: &Recorded| hex(&e.tag[..4]);
            self.tell.event(&format!(
                "the higher confirmation tag wins: {} of {} over {} of {}",
                self.tell.look.paint(Ink::Good, &sign(winner)),
                self.world.name(winner.by),
                self.tell.look.paint(Ink::Bad, &sign(loser)),
                self.world.name(loser.by),
            ))?;
        }
        if !moved.is_empty() {
            let leave = verb(moved.len(), "leave");
            self.tell.event(&format!("{} {leave} the losing branch", self.names(&moved)))?;
        }
        for (who, removed) in &happened.removed {
            let by = name(&removed.commit.committer.credential);
            let end = match removed.wins {
                true => "on the branch that won, and is out",
                false => "on the branch that lost, and stays",
            };
            self.tell.event(&format!("{} learns of its removal by {by} {end}", self.world.name(*who)))?;
        }
        Ok(())
    }

    /// What the losing branch did is undone: told, and kept for the report.
    fn tell_lost(&mut self, parent: &EpochId) -> Result<Vec<usize>, Failure> {
        let present = self.world.present();
        let Some(witness) = present.iter().copied().find(|who| self.knows(*who, parent)) else {
            return Ok(Vec::new());
        };
        let head = self.world.group(witness)?.head().id().clone();
        let members = self.world.members(witness)?;
        let graph = Graph::new(&self.world.history, &head);
        let known: BTreeSet<&EpochId> = self.lost_ids();
        let lost: Vec<Recorded> = graph.lost().filter(|e| !known.contains(&e.id)).cloned().collect();
        let mut newcomers = Vec::new();
        for epoch in lost {
            let Some(commit) = &epoch.commit else { continue };
            let mut then = Vec::new();
            for added in &commit.added {
                let who = self.world.by_credential(&added.member.credential);
                if let Some(who) = who.filter(|who| !members.contains(who)) {
                    then.push(format!("{} must come again", self.world.name(who)));
                    newcomers.push(who);
                }
            }
            for removed in &commit.removed {
                let who = self.world.by_credential(&removed.credential);
                if let Some(who) = who.filter(|who| members.contains(who)) {
                    then.push(format!("{} stays a member", self.world.name(who)));
                }
            }
            if then.is_empty() {
                then.push("later commits renew keys".into());
            }
            let committer = super::tell::committer(commit);
            let (change, then) = (changes(commit), then.join(", "));
            let text = format!("lost: {committer} {change}; {then}");
            self.tell.event(&self.tell.look.paint(Ink::Bad, &text))?;
            self.lost.push(LostChange { epoch: epoch.id, number: epoch.number, committer, change, then });
        }
        Ok(newcomers)
    }

    fn lost_ids(&self) -> BTreeSet<&EpochId> {
        self.lost.iter().map(|lost| &lost.epoch).collect()
    }

    fn knows(&self, who: usize, epoch: &EpochId) -> bool {
        self.world.group(who).is_ok_and(|group| group.epoch(epoch).is_some())
    }

    /// Those who were added by the losing branch come again: a member sends them a GroupInfo of the winning branch, and
    /// they join by an external commit, or send a new key package and are added.
    fn bring_back(&mut self, newcomers: &[usize]) -> Result<(), Failure> {
        for who in newcomers {
            let adder = self.world.history.iter().rev().find(|e| {
                let added = e.commit.iter().flat_map(|commit| &commit.added);
                added.into_iter().any(|m| self.world.by_credential(&m.member.credential) == Some(*who))
            });
            let adder = adder.map(|epoch| epoch.by);
            let present = self.world.present();
            let candidates: Vec<usize> =
                present.into_iter().filter(|other| !newcomers.contains(other)).collect();
            let sponsor = adder.filter(|adder| candidates.contains(adder)).or(candidates.first().copied());
            let Some(sponsor) = sponsor else { continue };
            self.world.send_group_info(sponsor, *who)?;
            self.settle()?;
            if !self.world.is_left_behind(*who) {
                continue;
            }
            let left = format!("{} hears from {}", self.world.name(*who), self.world.name(sponsor));
            self.tell.event(&format!("{left} of an epoch that it does not know: it is on a lost branch"))?;
            if percent(&mut self.rng, 50) {
                self.world.join_external(*who)?;
                self.tell_commit(None, 0)?;
                self.settle()?;
            } else {
                self.world.offer_key_package(*who, sponsor)?;
                self.settle()?;
                self.world.commit(sponsor, &Change::Add(vec![*who]))?;
                self.tell_commit(None, 0)?;
                let joined = self.settle()?.joined;
                self.tell.event(&format!("{} joined by {}", self.names(&joined), welcomes(joined.len())))?;
            }
            let (number, name) = (self.world.history.last().map_or(0, |e| e.number), self.world.name(*who));
            let comes = format!("{name} must come again");
            if let Some(lost) = self.lost.iter_mut().rev().find(|lost| lost.then.contains(&comes)) {
                lost.then = lost.then.replace(&comes, &format!("{name} came again in epoch {number}"));
            }
        }
        self.chatter(1)
    }

    /// The network is whole, so the delivery service no longer says that old epochs must be kept: with the next commit
    /// they go.
    fn forget(&mut self) -> Result<(), Failure> {
        let held = |story: &Self| -> Vec<usize> {
            let present = story.world.present();
            let group = |who: usize| story.world.group(who).ok().map(epochs_held);
            present.into_iter().filter_map(group).collect()
        };
        let before = held(self);
        self.world.tell_network(Network::Whole);
        self.world.close_removed();
        let present = self.world.present();
        let Some(committer) = pick(&mut self.rng, &present) else { return Ok(()) };
        let own = self.world.commit(committer, &Change::Update)?;
        self.tell_commit(None, 0)?;
        let happened = self.settle()?;
        let entered = own.iter().chain(happened.commits.iter().map(|(_, epoch)| epoch));
        let deleted = entered.flat_map(|epoch| &epoch.deleted).filter(|deleted| deleted.why == Why::Whole);
        let deleted: BTreeSet<&EpochId> = deleted.map(|deleted| &deleted.id).collect();
        let after = held(self);
        let most = |held: &[usize]| held.iter().copied().max().unwrap_or(0);
        self.tell.event(&format!(
            "{} deleted: members held keys of up to {}, now of {}",
            count(deleted.len(), "old epoch"),
            count(most(&before), "epoch"),
            most(&after)
        ))
    }

    /// Whether everybody can talk to everybody.
    fn roll_call(&mut self) -> Result<(), Failure> {
        const SPEAKERS: usize = 8;
        self.tell.chapter("☎", "#", "Roll call")?;
        let mut present = self.world.present();
        shuffle(&mut self.rng, &mut present);
        present.truncate(SPEAKERS);
        let mut said = Vec::new();
        for who in present {
            said.push(self.say(who)?);
        }
        self.settle()?;
        said.into_iter().try_for_each(|chat| self.tell_chat(None, chat))
    }
}

fn welcomes(number: usize) -> &'static str {
    if number == 1 { "its Welcome" } else { "their Welcomes" }
}
