//! Which of several commits wins is the group's choice, at servers too.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use dmls::{CommitId, ForkChoice, LeafIndex};
use dmls_delivery::{
    Body, Commit, Device, Effects, Epochs, GroupName, Input, Invalid, Kept, Millis, Ranking, Server, ServerId,
};

const GROUP: GroupName = GroupName([1; 32]);

/// A commit's bundle is its name, its tag too; so many leaves it removes, from the first on, and the last made it.
struct Named(ForkChoice);

fn commit(name: &[u8], children: ForkChoice) -> Commit {
    Commit {
        id: name.into(),
        tag: name[..1].into(),
        committer: Device([0; 32]),
        is_external: false,
        servers: [ServerId(0)].into(),
        ranking: Ranking {
            committer: name.last().map(|leaf| LeafIndex((*leaf).into())),
            removes: name[1..].iter().rev().skip(1).map(|leaf| LeafIndex((*leaf).into())).collect(),
            children,
        },
    }
}

impl Epochs for Named {
    fn stage(&mut self, body: &Body) -> Result<Commit, Invalid> {
        Ok(commit(&body.bundle, self.0))
    }

    fn is_member(&self, _: &CommitId, _: &Device) -> bool {
        true
    }

    fn devices(&self, _: &CommitId, _: ServerId) -> Vec<Device> {
        Vec::new()
    }

    fn is_witness(&self, _: &CommitId, _: &Device) -> bool {
        true
    }

    fn has_witness(&self, _: &CommitId, _: &CommitId) -> bool {
        false
    }
}

fn write(kept: &mut Kept, effects: Effects) {
    let written = effects.persist(|writes| {
        let new = writes.iter().filter_map(|(key, value)| Some((key.clone(), value.clone()?)));
        kept.extend(new);
        Ok::<_, ()>(())
    });
    written.unwrap();
}

#[test]
fn whoever_is_removed_loses_where_the_group_says_so() {
    // The tag, the leaves that are removed, the committer: leaf 7 has the highest tag and is removed by leaf 2; leaf 4 is next.
    let (high, next, removal) = ([9, 7], [8, 4], [5, 7, 2]);
    let removals_first = ForkChoice::RemovalsFirst { of_each: 8 };
    for (choice, winner) in [(ForkChoice::HighestConfirmationTag, &high[..]), (removals_first, &next)] {
        let mut kept = Kept::new();
        let mut server = Server::load(ServerId(0), &kept, Vec::new()).unwrap();
        let genesis = commit(&[0, 0], choice);
        write(&mut kept, server.create(GROUP, genesis.clone(), Box::new(Named(choice)), Millis(0)));
        let bodies = [&high[..], &next, &removal]
            .map(|name| Body { parent: genesis.id.clone(), bundle: name.to_vec() });
        let teach = Input::Teach { group: GROUP, bodies: bodies.to_vec(), finalized: None };
        write(&mut kept, server.handle(teach, Millis(0)).unwrap());
        assert_eq!(server.group(&GROUP).unwrap().head().as_bytes(), winner);
        // And after a restart, as it was kept.
        let (name, genesis) = dmls_delivery::kept_groups(&kept).unwrap().pop().unwrap();
        let again = Server::load(ServerId(0), &kept, vec![(name, genesis, Box::new(Named(choice)))]).unwrap();
        assert_eq!(again.group(&GROUP).unwrap().head().as_bytes(), winner);
    }
}
