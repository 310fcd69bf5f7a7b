//! What may happen in a state, and what follows.

use std::collections::BTreeSet;

use dmls_delivery::testing::Glimpse;

use super::bounds::Offer;
use super::commits::{self, Kind};
use super::model::{GROUP, Model, State, head, is_certified};
use super::network::Flying;
use crate::world::Violation;

/// Something that may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A ballot begins; just before, a client of the server may submit a commit.
    Start { server: u8, view: u8, number: u8, submit: Option<Kind> },
    /// A client submits a commit while its server waits for promises.
    Submit { server: u8, kind: Kind },
    /// A frame arrives, by its place among those under way.
    Deliver { place: u16, stays: bool },
    /// A server stops and starts again.
    Restart { server: u8 },
    /// The client of a server says whether it can process a commit, by its place among all.
    Testify { server: u8, commit: u8 },
}

impl Model {
    /// What the client of a server could submit.
    fn offers(&self, state: &State, at: usize, view: u8) -> Vec<Kind> {
        let machine = &state.machines[at].server;
        let (Some(head), Some(glimpse)) = (head(state, at), Glimpse::of(machine, &GROUP)) else {
            return Vec::new();
        };
        // One at a time.
        let waits = glimpse
            .waiting()
            .any(|commit| commit.as_bytes()[..commit.as_bytes().len() - 2] == *head.as_bytes());
        if state.commits.len() >= self.bounds.commits || waits {
            return Vec::new();
        }
        let registry = self.registry.borrow();
        let members = &registry.get(&head).members;
        let works = members.contains(&at) && self.can_process(at, &head);
        let outside = members.iter().any(|member| view >> member & 1 == 0);
        let kind = |offer: &Offer| match *offer {
            Offer::Keep => works.then_some(Kind::Keep),
            Offer::Kick => (works && outside).then_some(Kind::Only(view)),
            Offer::Alone => (works && members.len() > 1).then_some(Kind::Only(1 << at)),
            Offer::Add(person) => {
                (works && !members.contains(&usize::from(person))).then_some(Kind::Add(person))
            }
            Offer::Return => (!members.contains(&at)).then_some(Kind::Return),
            Offer::Broken(who) => (works && at == usize::from(who)).then_some(Kind::Broken),
        };
        self.bounds.kinds.iter().filter_map(kind).collect()
    }

    /// All that may happen.
    pub fn actions(&self, state: &State) -> Vec<Action> {
        let mut actions = Vec::new();
        let glimpses = state.machines.iter().map(|machine| Glimpse::of(&machine.server, &GROUP));
        let glimpses: Vec<_> = glimpses.flatten().collect();
        let highest = glimpses.iter().map(Glimpse::highest).max().unwrap_or_default();
        for (at, glimpse) in glimpses.iter().enumerate() {
            let server = at as u8;
            let starts = self.bounds.starts.iter().filter(|(leader, _)| *leader == at);
            for view in starts.map(|(_, view)| *view).filter(|_| state.ballots < self.bounds.ballots) {
                for number in BTreeSet::from([glimpse.highest() + 1, highest + 1]) {
                    let submits = self.offers(state, at, view).into_iter().map(Some).chain([None]);
                    let number = number as u8;
                    actions.extend(submits.map(|submit| Action::Start { server, view, number, submit }));
                }
            }
            if state.views[at] != 0 {
                let kinds = self.offers(state, at, state.views[at]).into_iter();
                actions.extend(kinds.map(|kind| Action::Submit { server, kind }));
            }
            if state.restarts < self.bounds.restarts {
                actions.push(Action::Restart { server });
            }
            if self.bounds.has_witnesses {
                let commits = 0..state.commits.len() as u8;
                actions.extend(commits.map(|commit| Action::Testify { server, commit }));
            }
        }
        for place in 0..state.net.len() as u16 {
            actions.push(Action::Deliver { place, stays: false });
            if state.copies < self.bounds.copies {
                actions.push(Action::Deliver { place, stays: true });
            }
        }
        actions
    }

    /// What follows, and what it is called. `None` if it can't happen, or nothing follows.
    pub fn apply(&self, from: &State, action: Action) -> Result<Option<State>, Violation> {
        let mut state = from.clone();
        match action {
            Action::Start { server, view, number, submit } => {
                let at = usize::from(server);
                if let Some(kind) = submit {
                    self.submit(&mut state, at, kind)?;
                }
                state.ballots += 1;
                let before = state.machines[at].fingerprint;
                self.start(&mut state, at, view, u64::from(number))?;
                if state.machines[at].fingerprint == before {
                    return Ok(None);
                }
            }
            Action::Submit { server, kind } => self.submit(&mut state, usize::from(server), kind)?,
            Action::Deliver { place, stays } => {
                state.copies += u8::from(stays);
                let Some(flying) = from.net.iter().nth(usize::from(place)) else { return Ok(None) };
                self.deliver(&mut state, flying, stays)?;
            }
            Action::Restart { server } => {
                state.restarts += 1;
                self.restart(&mut state, usize::from(server))?;
            }
            Action::Testify { server, commit } => {
                let at = usize::from(server);
                let Some(commit) = from.commits.iter().nth(usize::from(commit)).cloned() else {
                    return Ok(None);
                };
                if !is_certified(from, at, &commit) {
                    return Ok(None);
                }
                self.testify(&mut state, at, &commit)?;
            }
        }
        Ok(Some(state))
    }

    /// As histories tell it.
    pub fn text(&self, state: &State, action: Action) -> String {
        let commit = |server: u8, kind: &Kind| {
            let head = head(state, usize::from(server)).unwrap_or_else(|| self.genesis.clone());
            let mut registry = self.registry.borrow_mut();
            let made = commits::make(&mut registry, &head, usize::from(server), *kind, self.bounds.falling);
            commits::name(&made)
        };
        match action {
            Action::Start { server, view, number, submit } => {
                let submits = submit.map(|kind| format!(", its client submits {}", commit(server, &kind)));
                format!("{server} starts {number}.{server}, sees {view:03b}{}", submits.unwrap_or_default())
            }
            Action::Submit { server, kind } => {
                format!("the client of {server} submits {}", commit(server, &kind))
            }
            Action::Deliver { place, stays } => {
                let flying = state.net.iter().nth(usize::from(place));
                let text = flying.map(Flying::text).unwrap_or_default();
                format!("{text}{}", if stays { ", of which a copy is under way" } else { "" })
            }
            Action::Restart { server } => format!("{server} stops and starts again"),
            Action::Testify { server, commit } => {
                let commit = state.commits.iter().nth(usize::from(commit));
                format!(
                    "the client of {server} says what it thinks of {}",
                    commit.map(commits::name).unwrap_or_default()
                )
            }
        }
    }
}
