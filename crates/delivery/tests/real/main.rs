//! Groups of real members on real servers: what is agreed on is what can be read.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod asked;
mod invalid;
mod world;

use dmls::LeafIndex;
use dmls_delivery::{
    Device, Epochs, GroupEpochs, GroupName, HomeRule, Input, Invalid, MessageName, Refused, ServerId, Unfit,
};
use world::{World, config, ruleset};

/// Six people at three servers, all of them in, on one final head.
fn six() -> World {
    let mut world = World::new(3, &[0, 0, 1, 1, 2, 2]);
    let added = world.invites(0, &[1, 2, 3, 4, 5]);
    world.run();
    world.assert_one(&added);
    world
}

#[test]
fn a_group_is_made_grows_and_talks() {
    let mut world = six();
    let status = world.servers[1].group(&world.name).unwrap();
    let head = status.head();
    let mut joiners: Vec<_> = status.joiners(&head).iter().map(|one| (one.device, one.home)).collect();
    joiners.sort();
    let people = world.people[1..].iter().map(|person| (person.device, ServerId(person.home as u32)));
    assert_eq!(joiners, people.collect::<Vec<_>>());
    // Whose Welcome it is can be told from its KeyPackages.
    assert_eq!(status.joiners(&head).len(), 5);

    world.says(3, b"hello").unwrap();
    world.settle();
    for (who, person) in world.people.iter().enumerate() {
        assert_eq!(person.heard.len(), usize::from(who != 3), "person {who}");
    }
    let renewed = world.commits(5, |commit| commit);
    world.run();
    world.assert_one(&renewed);
    let removed = {
        let leaf = world.people[1].group().head().own_leaf().unwrap();
        world.commits(2, |commit| commit.remove(leaf))
    };
    world.people[1].group = None;
    world.run();
    world.assert_one(&removed);
    let (group, device) = (world.name, world.people[1].device);
    let post = Input::Post { group, device, message: MessageName([9; 32]), epoch: removed, bytes: vec![1] };
    assert_eq!(world.handle(0, post), Err(Refused::NotMember));
}

#[test]
fn both_sides_of_a_split_go_on_and_come_together() {
    for cut in [[0, 1, 1], [0, 0, 1], [0, 1, 2]] {
        let mut world = six();
        world.split(&cut);
        let (one, other) = (world.commits(1, |commit| commit), world.commits(5, |commit| commit));
        world.run();
        let tag = |world: &World, server: usize, id| {
            let head = world.servers[server].group(&world.name).unwrap().head();
            assert_eq!(head, id);
            let bundle = world.bundle(server, &head);
            let dmls::framing::MlsMessage::PublicMessage(message) =
                <dmls::DmlsMessage as dmls::codec::Decode>::from_bytes(&bundle.commit).unwrap().message
            else {
                panic!("commits are public")
            };
            message.auth.confirmation_tag.unwrap().as_bytes().to_vec()
        };
        let (first, second) = (tag(&world, 0, one.clone()), tag(&world, 2, other.clone()));
        // A side goes on in its own epoch, and is read there.
        world.says(0, b"one").unwrap();
        world.says(4, b"two").unwrap();
        let deeper = world.commits(0, |commit| commit);
        world.run();
        assert!(world.people[1].heard.contains(&b"one".to_vec()));
        assert!(world.people[5].heard.contains(&b"two".to_vec()));

        world.heal();
        world.run();
        world.run();
        let head = if first > second { deeper } else { other };
        world.assert_one(&head);
        // What was said on the other side is read, if it is late.
        for (who, person) in world.people.iter().enumerate() {
            let expected = 2 - usize::from(who == 0 || who == 4);
            assert_eq!(person.heard.len(), expected, "person {who}, {cut:?}");
        }
        // And it goes on.
        let next = world.commits(3, |commit| commit);
        world.run();
        world.assert_one(&next);
    }
}

#[test]
fn a_server_comes_back_at_any_time_and_reads_trees_when_it_needs_them() {
    let mut world = six();
    for round in 0..6 {
        let id = world.commits(round, |commit| commit);
        for number in 0..3 {
            world.restart(number);
        }
        world.run();
        world.assert_one(&id);
        let name = world.name;
        world.servers[round % 3].rest(&name);
        // Who wants to know is told, though nothing is in memory.
        assert_eq!(world.servers[round % 3].group(&name).unwrap().head(), id);
    }
}

#[test]
fn a_server_learns_again_what_its_backup_does_not_have() {
    let mut world = six();
    let backup = world.kept(2);
    for who in [0, 2, 4] {
        world.commits(who, |commit| commit);
        world.run();
    }
    let head = world.head_of(0);
    world.assert_one(&head);
    world.restore(2, backup);
    world.run();
    world.assert_one(&head);
    let next = world.commits(5, |commit| commit);
    world.run();
    world.assert_one(&next);
}

#[test]
fn a_server_that_comes_late_learns_all_from_the_beginning() {
    let mut world = World::new(3, &[0, 1, 1, 2]);
    world.forget(2);
    world.invites(0, &[1, 2]);
    world.run();
    for who in [2, 0] {
        world.commits(who, |commit| commit);
        world.run();
    }
    // Without the server that it brings in, the commit waits.
    let added = world.invites(1, &[3]);
    world.run();
    assert_ne!(world.head_of(0), added);
    world.create(2);
    world.run();
    world.assert_one(&added);
}

#[test]
fn what_everybody_is_past_is_let_go() {
    let mut world = six();
    let epochs = |world: &World| {
        let prefix = [&b"g"[..], &world.name.0, b"ec"].concat();
        world.kept(0).keys().filter(|key| key.starts_with(&prefix)).count()
    };
    let size = |world: &World| -> usize {
        let kept = world.kept(0);
        kept.iter().filter(|(key, _)| key.get(33) == Some(&b'e')).map(|(_, value)| value.len()).sum()
    };
    assert_eq!(epochs(&world), 1);
    world.split(&[0, 0, 1]);
    for who in [0, 1, 2, 4, 5, 4] {
        world.commits(who, |commit| commit);
        world.run();
    }
    let bytes = size(&world);
    assert!(epochs(&world) >= 4);
    let old = world.head_of(0);
    world.heal();
    world.run();
    world.run();
    let id = world.commits(2, |commit| commit);
    world.run();
    world.assert_one(&id);
    assert_eq!(epochs(&world), 1);
    let after = size(&world);
    assert!(after < bytes, "{after} of {bytes}");
    // Who is a member still is told of what was there; a stranger is not.
    assert_ne!(old, id);
    let (left, [device, stranger]) = (world.epochs(0), [1, 9].map(|number| Device([number; 32])));
    assert_eq!(left.devices(&old, ServerId(0)), left.devices(&id, ServerId(0)));
    assert!(left.is_member(&old, &device) && !left.is_member(&old, &stranger));
    assert!(!left.is_witness(&old, &device) && left.joiners(&old).is_empty());
}

/// Why no server takes a group.
fn unfit(group_info: &[u8], tree: Option<Vec<u8>>) -> Option<Unfit> {
    let (disk, known) = (Box::<world::Disk>::default(), Box::<world::Known>::default());
    GroupEpochs::found(group_info, tree.as_deref(), disk, known).err()
}

#[test]
fn groups_that_servers_cant_follow_are_refused() {
    use dmls::extension::{DeliveryKind, ForkChoiceRule};
    use dmls::{Group, NewGroupOptions};
    let mut world = World::new(1, &[0]);
    let fits = ruleset();
    let mut with = |config: dmls::Config| {
        let identity = &world.people[0].identity;
        let group = Group::create(identity, NewGroupOptions::default(), config, world::NOW, &mut world.rng);
        let founding = group.unwrap();
        let info = founding.group_info().unwrap().to_vec();
        let tree = founding.apply_unsaved().head().ratchet_tree();
        unfit(&info, tree)
    };
    assert_eq!(with(config(fits.clone())), None);
    let other = dmls::extension::Ruleset { ruleset: b"others".to_vec(), ..fits.clone() };
    assert_eq!(with(config(other)), Some(Unfit::Rules));
    let folder = dmls::extension::Ruleset { delivery: DeliveryKind::FOLDER, ..fits.clone() };
    assert_eq!(with(config(folder)), Some(Unfit::Delivery));
    let removals = dmls::extension::Ruleset { fork_choice: ForkChoiceRule::REMOVALS_FIRST, ..fits.clone() };
    assert_eq!(with(config(removals)), Some(Unfit::ForkChoice));
    let private = dmls::Config { encrypt_handshake: true, ..config(fits.clone()) };
    assert_eq!(with(private), Some(Unfit::Handshake));
    assert_eq!(with(dmls::Config { ruleset: None, ..config(fits) }), Some(Unfit::Rules));

    // Later ones, of the same epoch too.
    let mut alone = World::new(1, &[0]);
    for world in [&mut alone, &mut six()] {
        let group = world.people[0].group();
        let (info, tree) = (group.head().group_info(world::NOW).unwrap(), group.head().ratchet_tree());
        let late = unfit(&info, tree);
        assert_eq!(late, Some(Unfit::NotFirst));
    }
    // A later one that does not say which commit made its epoch.
    let mut world = six();
    let commit = world.head_of(0);
    let bundle = dmls::Bundle {
        group_info: world.people[0].group().head().group_info(world::NOW).unwrap(),
        ..world.bundle(0, &commit)
    };
    let no_commit = |info: &mut dmls::message::GroupInfo| {
        info.extensions.remove(dmls::registry::ExtensionType::COMMIT_ID);
    };
    let info = world.resigned(&bundle, 1, &no_commit).group_info;
    let tree = world.people[0].group().head().ratchet_tree();
    let late = unfit(&info, tree);
    assert_eq!(late, Some(Unfit::NotFirst));
    // A founder of whom no server says that it is at home there.
    let (other, leaf) = (world::Signer::new(0, &mut world.rng), LeafIndex(0));
    let founder = &world.people[0].identity;
    let unsigned = other.home.attest(
        &world::suite(),
        world.signers[0].keys.private(),
        Device([1; 32]),
        founder.signer().public(),
    );
    for (identity, rule) in [
        (founder.clone().with_extensions(Default::default()), HomeRule::Missing),
        (world::with_home(founder, &unsigned.unwrap()), HomeRule::Signature),
    ] {
        let founding = Group::create(
            &identity,
            NewGroupOptions::default(),
            config(ruleset()),
            world::NOW,
            &mut world.rng,
        );
        let founding = founding.unwrap();
        let info = founding.group_info().unwrap().to_vec();
        let tree = founding.apply_unsaved().head().ratchet_tree();
        let homeless = unfit(&info, tree);
        assert_eq!(homeless, Some(Unfit::Invalid(Invalid::Home { leaf, rule })));
    }
    // A group is called by its first commit.
    let world = alone;
    let status = world.servers[0].group(&world.name).unwrap();
    let genesis = status.certified().find(|id| status.body(id).is_none()).unwrap();
    assert_eq!(GroupName::of(genesis), Some(world.name));
}
