//! What servers ask of epochs: members, witnesses, who committed; and what is there when nothing can be read.

use dmls::{ForkChoice, LeafIndex};
use dmls_delivery::{
    Alarm, Body, Content, Damaged, Device, Epochs, Frame, GroupEpochs, Incarnation, Input, Kept, Message,
    Millis, Ranking, Records, Refused, Server, ServerId, encode_bundle, kept_groups,
};

use super::world::{Disk, Known, NOW, World, person};

fn device(number: u8) -> Device {
    Device([number; 32])
}

/// Asks a copy of a server's epochs, in which the bundles are staged, each on the one before.
fn epochs(world: &World) -> GroupEpochs {
    world.epochs(0)
}

#[test]
fn witnesses_stand_before_and_after_and_are_not_the_committer() {
    // The second and the third are two devices of one person.
    let mut world = World::new(2, &[0, 0, 1, 1, 1]);
    for who in [1, 2] {
        world.people[who] = person("one person", who as u8 + 1, &world.signers, world.people[who].home);
    }
    world.invites(0, &[1, 2, 3]);
    world.run();
    let before = world.head_of(0);
    let package = world.key_package(4);
    let (id, bundle) = world.make(1, |commit| commit.remove(LeafIndex(3)).add(package));
    let mut epochs = epochs(&world);
    let body = Body { parent: before.clone(), bundle: encode_bundle(&bundle).unwrap() };
    let commit = epochs.stage(&body).unwrap();
    assert_eq!((&commit.id, commit.committer, commit.is_external), (&id, device(2), false));
    assert_eq!(commit.servers, [ServerId(0), ServerId(1)].into());
    let (committer, removes) = (Some(LeafIndex(1)), vec![LeafIndex(3)]);
    let ranking = Ranking { committer, removes, children: ForkChoice::HighestConfirmationTag };
    assert_eq!(commit.ranking, ranking);
    // The founder can say; the committer, its other device, who is removed and who is new can't.
    let can = (0..7).filter(|number| epochs.is_witness(&id, &device(*number)));
    assert_eq!(can.collect::<Vec<_>>(), [1]);
    assert!(epochs.has_witness(&id, &id));
    let member = |epochs: &GroupEpochs, epoch| {
        (0..7).filter(|number| epochs.is_member(epoch, &device(*number))).collect::<Vec<_>>()
    };
    assert_eq!(member(&epochs, &before), [1, 2, 3, 4]);
    assert_eq!(member(&epochs, &id), [1, 2, 3, 5]);
    assert_eq!(epochs.devices(&before, ServerId(1)), [device(3), device(4)]);
    assert_eq!(epochs.devices(&id, ServerId(1)), [device(3), device(5)]);
    assert_eq!(epochs.devices(&id, ServerId(2)), []);
    assert_eq!(epochs.joiners(&id).len(), 1);
    assert_eq!((epochs.joiners(&id)[0].device, epochs.joiners(&id)[0].home), (device(5), ServerId(1)));

    // Without the founder nobody can say anything any more.
    world.submit_at(1, &before, encode_bundle(&bundle).unwrap()).unwrap();
    world.people[3].group = None;
    world.run();
    world.assert_one(&id);
    let (gone, bundle) = world.make(2, |commit| commit.remove(LeafIndex(0)));
    epochs = self::epochs(&world);
    epochs.stage(&Body { parent: id.clone(), bundle: encode_bundle(&bundle).unwrap() }).unwrap();
    assert!(epochs.has_witness(&gone, &gone), "the newcomer");
    let witnesses = (0..7).filter(|number| epochs.is_witness(&gone, &device(*number)));
    assert_eq!(witnesses.collect::<Vec<_>>(), [5]);
    // A newcomer's leaf is not that of who was there before it.
    assert!(!epochs.is_witness(&id, &device(5)));
}

#[test]
fn who_is_taken_out_and_in_again_is_new() {
    let mut world = World::new(1, &[0, 0, 0, 0]);
    world.invites(0, &[1, 2, 3]);
    world.run();
    // On another leaf, and on its own.
    for (removed, added, can) in [(vec![1, 2], 2, vec![1, 4]), (vec![2], 2, vec![1, 2, 4])] {
        let package = world.key_package(added);
        let parent = world.head_of(0);
        let (id, bundle) = world.make(0, |commit| {
            removed.iter().fold(commit.add(package), |commit, leaf| commit.remove(LeafIndex(*leaf)))
        });
        world.people[0].group().discard_unsent(&id).unwrap().apply_unsaved();
        let mut epochs = epochs(&world);
        epochs.stage(&Body { parent, bundle: encode_bundle(&bundle).unwrap() }).unwrap();
        let is_there = (0..7).filter(|number| epochs.is_witness(&id, &device(*number)));
        // Not the committer.
        let can: Vec<u8> = can.into_iter().filter(|number| *number != 1).collect();
        assert_eq!(is_there.collect::<Vec<_>>(), can);
        assert!(epochs.is_member(&id, &device(3)));
    }
}

#[test]
fn who_takes_another_name_is_no_witness_under_the_old_one() {
    let mut world = World::new(1, &[0, 0, 0, 0, 0]);
    for (who, name) in [(1, "one"), (2, "one"), (3, "two")] {
        world.people[who] = person(name, who as u8 + 1, &world.signers, 0);
    }
    world.invites(0, &[1, 2, 3, 4]);
    world.run();
    // The second becomes a device of the fourth.
    let named = person("two", 2, &world.signers, 0).identity;
    let (id, bundle) = world.make(1, |commit| commit.identity(named));
    let mut epochs = epochs(&world);
    let body = Body { parent: world.head_of(0), bundle: encode_bundle(&bundle).unwrap() };
    epochs.stage(&body).unwrap();
    let can = (0..7).filter(|number| epochs.is_witness(&id, &device(*number)));
    assert_eq!(can.collect::<Vec<_>>(), [1, 5]);
}

#[test]
fn nobody_is_left_to_say_anything() {
    let mut world = World::new(1, &[0, 0]);
    let first = world.invites(0, &[1]);
    // Alone before it, the founder had no witness; nor is one there now.
    let epochs = epochs(&world);
    assert!(!epochs.has_witness(&first, &first));
    world.run();
    world.assert_one(&first);
}

#[test]
fn who_comes_back_takes_the_place_of_its_old_leaf() {
    let mut world = World::new(2, &[0, 1, 1, 0]);
    // The third and the fourth are two devices of one person.
    world.people[3] = person("person 2", 4, &world.signers, 0);
    world.invites(0, &[1, 2, 3]);
    world.run();
    let head = world.head_of(0);
    let info = world.bundle(0, &head).group_info;
    let tree = world.people[0].group().head().ratchet_tree().unwrap();
    let options = dmls::ExternalJoinOptions { ratchet_tree: Some(&tree), ..Default::default() };
    // It comes back under another name.
    let identity = person("another", 3, &world.signers, 1).identity;
    let group = world.people[2].group.as_mut().unwrap();
    let sent = group.rejoin(&identity, &info, options, NOW, &mut world.rng);
    let sent = sent.unwrap().apply_unsaved();
    let bundle = encode_bundle(&group.bundle(&sent.id, NOW).unwrap()).unwrap();
    let mut epochs = epochs(&world);
    let commit = epochs.stage(&Body { parent: head.clone(), bundle: bundle.clone() }).unwrap();
    let can = (0..7).filter(|number| epochs.is_witness(&sent.id, &device(*number)));
    assert_eq!(can.collect::<Vec<_>>(), [1, 2]);
    assert_eq!((commit.committer, commit.is_external), (device(3), true));
    assert_eq!(
        (commit.ranking.committer, &commit.ranking.removes[..]),
        (Some(LeafIndex(2)), &[LeafIndex(2)][..])
    );
    world.submit_at(2, &head, bundle).unwrap();
    world.run();
    world.assert_one(&sent.id);
}

#[test]
fn too_many_who_say_failed_block_a_commit() {
    let mut world = World::new(2, &[0, 0, 1, 1]);
    let first = world.invites(0, &[1, 2, 3]);
    world.run();
    for grumbler in [2, 3] {
        world.people[grumbler].grumbles = true;
    }
    let bad = world.commits(0, |commit| commit);
    world.run();
    for server in &world.servers {
        let status = server.group(&world.name).unwrap();
        assert_eq!((status.head(), status.finalized()), (first.clone(), &first));
        assert!(status.certified().any(|id| *id == bad));
    }
}

/// A commit costs as many records as its path is long, and a group at rest costs no memory for its trees.
#[test]
fn what_a_commit_writes_grows_slowly() {
    let written = |members: usize| {
        let mut world = World::new(1, &vec![0; members]);
        let others: Vec<_> = (1..members).collect();
        world.invites(0, &others);
        world.run();
        let (_, bundle) = world.make(1, |commit| commit);
        let body = Body { parent: world.head_of(0), bundle: encode_bundle(&bundle).unwrap() };
        let mut epochs = epochs(&world);
        epochs.stage(&body).unwrap();
        let writes = epochs.take_writes().len();
        assert!(epochs.is_awake() && epochs.take_writes().is_empty());
        epochs.rest();
        assert!(!epochs.is_awake());
        // What was not written has not happened.
        epochs.wake().unwrap();
        epochs.stage(&body).unwrap();
        epochs.rest();
        assert!(epochs.take_writes().is_empty());
        writes
    };
    // The epoch, its leaf, and a node for each level.
    assert_eq!((written(8), written(64)), (5, 8));
}

#[derive(Clone)]
struct Unread;

impl Records for Unread {
    fn under(&self, _: &[u8]) -> Result<Kept, Damaged> {
        panic!("nothing was asked")
    }
}

#[test]
fn a_server_starts_without_its_trees() {
    let mut world = World::new(1, &[0, 0, 0]);
    world.invites(0, &[1, 2]);
    world.run();
    let head = world.commits(1, |commit| commit);
    world.run();
    let kept = world.kept(0);
    let server = load(&kept, Unread).unwrap();
    let status = server.group(&world.name).unwrap();
    assert_eq!(status.finalized(), &head);
    assert!(status.body(&head).is_some());
}

#[test]
fn what_cant_be_read_is_told_and_changes_nothing() {
    let mut world = World::new(2, &[0, 1, 1]);
    world.invites(0, &[1, 2]);
    world.run();
    let (parent, (_, bundle)) = (world.head_of(0), world.make(0, |commit| commit));
    let epoch = [&b"g"[..], &world.name.0, b"e"].concat();
    let kept = world.kept(0);
    let records = kept.keys().filter(|key| key.starts_with(&epoch)).cloned().collect::<Vec<_>>();
    assert!(records.len() > 3);
    for key in records {
        let mut damaged = kept.clone();
        damaged.get_mut(&key).unwrap()[0] ^= 1;
        let disk = Disk::default();
        *disk.0.borrow_mut() = damaged.clone();
        let mut server = load(&damaged, disk).unwrap();
        let body = Body { parent: parent.clone(), bundle: encode_bundle(&bundle).unwrap() };
        let submit = Input::Submit { group: world.name, device: device(1), body };
        let refused = server.handle(submit, Millis(0)).err();
        assert_eq!(refused, Some(Refused::Damaged(Damaged)));
        // A frame is dropped, and somebody is told.
        let frame = Frame {
            from: ServerId(1),
            incarnation: Incarnation(0),
            to: Incarnation(0),
            content: Content::Message { group: world.name, message: Message::AskFlush },
        };
        let effects = server.handle(Input::Frame(frame), Millis(0)).unwrap();
        let sendable = effects.persist(|writes| if writes.is_empty() { Ok(()) } else { Err(()) }).unwrap();
        assert_eq!((sendable.frames.len(), sendable.alarms), (0, vec![Alarm::Damaged(world.name)]));
    }
}

#[test]
fn a_commit_without_a_way_to_the_first_is_damage() {
    let mut world = World::new(1, &[0, 0]);
    world.invites(0, &[1]);
    world.run();
    let mut kept = world.kept(0);
    let bodies = [&b"g"[..], &world.name.0, b"b"].concat();
    let genesis = kept_groups(&kept).unwrap()[0].1.id.as_bytes().to_vec();
    let mut records = kept.iter_mut().filter(|(key, _)| key.starts_with(&bodies));
    let (_, record) = records.next().unwrap();
    let place = record.windows(genesis.len()).position(|part| part == genesis).unwrap();
    record[place] ^= 1;
    assert_eq!(load(&kept, Unread).err(), Some(Damaged));
}

fn load(kept: &Kept, records: impl Records + Clone + 'static) -> Result<Server, Damaged> {
    let groups = kept_groups(kept)?.into_iter().map(|(name, genesis)| {
        (
            name,
            genesis,
            Box::new(GroupEpochs::open(&name, Box::new(records.clone()), Box::<Known>::default()))
                as Box<dyn Epochs>,
        )
    });
    Server::load(ServerId(0), kept, groups.collect())
}
