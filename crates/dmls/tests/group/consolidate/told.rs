//! What is told, what is not known any more, and what was ours.

use dmls::extension::Extensions;
use dmls::message::{Proposal, Psk, ReInit};
use dmls::registry::{ExtensionType, ProtocolVersion};
use dmls::{CipherSuite, Config, Credential, LeafIndex, Level, Limits, SentCommit, Stranded, Told};

use super::{add, commit, four, heal, names, nothing, part, rejoin, removes, same, todo};
use crate::common::{Client, NOW, PSK, SPLIT, WHOLE, identity, key_package, public_config, rng};
use crate::new_epoch;

fn with_external_senders(client: &Client) -> Extensions {
    let mut extensions = client.group.head().context_extensions().unwrap().clone();
    extensions.set(ExtensionType::EXTERNAL_SENDERS, vec![0]);
    extensions
}

fn reinit(client: &Client) -> ReInit {
    ReInit {
        group_id: b"next".to_vec(),
        version: ProtocolVersion::MLS10,
        cipher_suite: CipherSuite::X25519_AES128,
        extensions: client.group.head().context_extensions().unwrap().clone(),
    }
}

#[test]
fn what_is_not_a_matter_of_members_is_told() {
    let rng = &mut rng(17);
    let [mut a, mut b, mut c, _] = four(&public_config(), 17);
    let (extensions, reinit) = (with_external_senders(&a), reinit(&a));
    let [lost, won] = part(&mut a, |c| c.extensions(extensions.clone()), &mut b, same, rng);
    let psk = commit(&mut a, rng, |c| c.psk(Psk::External(PSK.to_vec())));
    let update = commit(&mut a, rng, same);
    let end = commit(&mut a, rng, |c| c.reinit(reinit.clone()));
    heal(&mut [&mut a, &mut b, &mut c], &[&lost, &psk, &update, &end, &won]);
    for client in [&a, &b, &c] {
        let told = nothing(client).told;
        let expected = [
            (lost.epoch.clone(), Told::Extensions),
            (psk.epoch.clone(), Told::Psks(1)),
            (end.epoch.clone(), Told::ReInit),
        ];
        assert_eq!(told, expected);
    }
}

#[test]
fn where_the_lists_are_cut_all_removals_are_found_and_unknown_adds_are_told() {
    let rng = &mut rng(19);
    let mut fresh = |what: &str| -> Vec<_> {
        (0..80)
            .map(|n| key_package(&identity(&format!("{what} {n}"), rng), rng).key_package().clone())
            .collect()
    };
    let [many, again, others] = ["member", "again", "other"].map(&mut fresh);
    let [mut a, mut b, mut c, d] = four(&public_config(), 19);
    let dave = d.leaf();
    let first = commit(&mut a, rng, |c| add(c, &many));
    heal(&mut [&mut b, &mut c], &[&first]);
    let leaves: Vec<_> = c.members()[4..].iter().map(|member| member.leaf).collect();
    let [lost, won] =
        part(&mut a, |c| leaves.iter().fold(c, |c, leaf| c.remove(*leaf)), &mut b, |c| add(c, &others), rng);
    // A proposal of ours may be one of those that are not named.
    let ginas = key_package(&identity("gina", rng), rng).key_package().clone();
    a.run(|group| group.propose_add(ginas.clone(), NOW, rng)).unwrap();
    let adds = commit(&mut a, rng, |c| add(c, &again));
    assert_eq!(adds.commit.added.len(), 81);
    let unlisted = a.members()[82].leaf;
    // On the winner somebody else is there.
    let next = commit(&mut a, rng, |c| c.remove(unlisted).remove(dave));
    heal(&mut [&mut a, &mut c], &[&lost, &adds, &next, &won]);
    assert!(c.members().iter().any(|member| member.leaf == unlisted));
    let listed = c.group.epoch(&adds.epoch).unwrap().commit().unwrap().added.len();
    assert!(listed < 80);
    let found = todo(&c);
    assert_eq!((found.removes.len(), found.adds.len()), (81, listed));
    let told = [
        (next.epoch.clone(), Told::UnlistedRemove),
        (adds.epoch.clone(), Told::UnlistedAdds(81 - listed as u32)),
    ];
    assert_eq!(found.told, told);
    assert_eq!(todo(&a).proposals, []);
}

#[test]
fn those_whom_the_lists_leave_out_are_not_taken_for_each_other() {
    let rng = &mut rng(25);
    let [mut a, mut b, mut c, _] = four(&public_config(), 25);
    let mut fresh = |n| key_package(&identity(&format!("member {n}"), rng), rng).key_package().clone();
    let many: Vec<_> = (0..160).map(&mut fresh).collect();
    let first = commit(&mut a, rng, |c| add(c, &many));
    heal(&mut [&mut b, &mut c], &[&first]);
    let leaves: Vec<_> = c.members()[4..].iter().map(|member| member.leaf).collect();
    let erin = identity("erin", rng);
    let [one, other] = [0, 1].map(|_| key_package(&erin, rng).key_package().clone());
    let [lost, won] = part(
        &mut a,
        |c| c.add(one.clone()),
        &mut b,
        |c| leaves[80..].iter().fold(c, |c, leaf| c.remove(*leaf)),
        rng,
    );
    let erins = a.members().last().unwrap().leaf;
    let next =
        commit(&mut a, rng, |c| leaves[..80].iter().chain([&erins]).fold(c, |c, leaf| c.remove(*leaf)));
    let last = commit(&mut b, rng, |c| c.add(other.clone()));
    heal(&mut [&mut c], &[&lost, &next, &won, &last]);
    let cut = |sent: &SentCommit| {
        let commit = c.group.epoch(&sent.epoch).unwrap().commit().unwrap();
        commit.removed_count as usize - commit.removed.len()
    };
    assert!(cut(&next) > 1 && cut(&won) > 1);
    let found = todo(&c);
    assert_eq!((found.removes.len(), found.told), (81, vec![]));
    assert!(found.removes.iter().any(|gone| gone.member.credential == Credential::basic("erin")));
}

#[test]
fn who_joined_by_itself_has_to_join_again() {
    let rng = &mut rng(20);
    let [mut a, mut b, mut c, d] = four(&public_config(), 20);
    let (carol, dave) = (c.leaf(), d.leaf());
    // On the winner somebody else takes the same leaf.
    let franks = key_package(&identity("frank", rng), rng).key_package().clone();
    let [lost, won] = part(&mut a, same, &mut b, |c| c.add(franks.clone()), rng);
    let info = a.group.head().group_info(NOW).unwrap();
    let (mut e, message) = Client::join_external(&identity("erin", rng), &info, &a.config, rng).unwrap();
    let commit_id = e.group.pending().next().unwrap().0.clone();
    let joined = e.run(|group| group.confirm(&commit_id)).unwrap();
    new_epoch(a.receive(&message, SPLIT).unwrap());
    heal(&mut [&mut c], &[&lost, &won]);
    c.receive(&message, SPLIT).unwrap();
    let told = [(joined.id.clone(), Told::Joined(Some(Credential::basic("erin"))))];
    assert_eq!(nothing(&c).told, told);
    // She comes back at another leaf.
    let next = commit(&mut a, rng, |c| c.remove(dave));
    new_epoch(e.receive(&next.message, SPLIT).unwrap());
    let again = rejoin(&mut e, &mut [&mut a], rng);
    assert_ne!(e.leaf(), LeafIndex(4));
    heal(&mut [&mut c], &[&next, &again]);
    assert_eq!(removes(&c, "dave", false).told, told);
    // And is removed.
    let leaf = e.leaf();
    let last = commit(&mut a, rng, |c| c.remove(leaf).remove(carol));
    heal(&mut [&mut b], &[&lost]);
    b.deliver(&message, SPLIT).unwrap();
    heal(&mut [&mut b], &[&next, &again, &last]);
    let found = todo(&b);
    assert_eq!(names(&found).1, [("carol".into(), false), ("dave".into(), false)]);
    assert_eq!(found.told, []);
}

#[test]
fn a_branch_that_we_left_by_joining_again_is_told_as_forgotten() {
    let rng = &mut rng(32);
    let [mut a, _, mut c, _] = four(&public_config(), 32);
    let before = c.head();
    for _ in 0..3 {
        commit(&mut a, rng, same);
    }
    rejoin(&mut c, &mut [&mut a], rng);
    c.restart();
    let found = c.group.consolidate([&before]);
    let [(top, Told::Forgotten)] = &found.told[..] else { panic!("{found:?}") };
    assert!(found.is_empty());
    assert_eq!(c.group.epochs().next().unwrap().id(), top);
}

#[test]
fn proposals_of_ours_that_no_commit_took_come_back() {
    let rng = &mut rng(21);
    let [mut a, mut b, mut c, d] = four(&public_config(), 21);
    let (bob, carol, dave) = (b.leaf(), c.leaf(), d.leaf());
    let [erin, frank, franks_other] = {
        let [erin, frank] = ["erin", "frank"].map(|name| identity(name, rng));
        [&erin, &frank, &frank].map(|who| key_package(who, rng).key_package().clone())
    };
    let [lost, won] = part(&mut a, same, &mut b, same, rng);
    for client in [&mut a, &mut c] {
        client.deliver(&lost.message, SPLIT).unwrap();
    }
    let sent = a.run(|group| group.propose_add(erin.clone(), NOW, rng)).unwrap();
    a.run(|group| group.propose_remove(dave, NOW, rng)).unwrap();
    let of_others = c.run(|group| group.propose_remove(bob, NOW, rng)).unwrap();
    a.receive(&of_others.message, SPLIT).unwrap();
    // This takes one of them.
    c.receive(&sent.message, SPLIT).unwrap();
    let took = vec![sent.reference.clone()];
    let next = commit(&mut c, rng, |c| c.references(took.clone()));
    new_epoch(a.receive(&next.message, SPLIT).unwrap());
    a.run(|group| group.propose_add(frank.clone(), NOW, rng)).unwrap();
    a.run(|group| group.propose_update(NOW, rng)).unwrap();
    a.run(|group| group.propose_remove(carol, NOW, rng)).unwrap();
    heal(&mut [&mut a, &mut c], &[&won]);
    let found = todo(&a);
    assert_eq!(names(&found), (vec!["erin".into()], vec![]));
    let frank = Proposal::Add(Box::new(frank));
    assert_eq!(found.proposals, [Proposal::Remove(dave), frank.clone(), Proposal::Remove(carol)]);
    assert_eq!(todo(&c).proposals, [Proposal::Remove(bob)]);
    // Who is gone needs no removal, who is there no add.
    let gone = commit(&mut a, rng, |c| c.remove(dave));
    assert_eq!(todo(&a).proposals, [frank, Proposal::Remove(carol)]);
    commit(&mut a, rng, |c| c.add(franks_other.clone()));
    a.restart();
    assert_eq!(todo(&a).proposals, [Proposal::Remove(carol)]);
    // What was deleted can't be given back.
    a.run(|group| group.delete_epoch(&next.epoch, Level::Readable)).unwrap();
    assert_eq!(todo(&a).proposals, []);
    heal(&mut [&mut c], &[&gone]);
    assert_eq!(todo(&c).proposals, [Proposal::Remove(bob)]);
}

#[test]
fn proposals_of_ours_that_a_commit_took_do_not_come_back() {
    let rng = &mut rng(33);
    let [mut a, mut b, _, d] = four(&public_config(), 33);
    let dave = d.leaf();
    let extensions = with_external_senders(&a);
    let [lost, won] = part(&mut a, same, &mut b, same, rng);
    let psk = || Psk::External(PSK.to_vec());
    a.run(|group| group.propose_remove(dave, NOW, rng)).unwrap();
    a.run(|group| group.propose_psk(psk(), NOW, rng)).unwrap();
    a.run(|group| group.propose(Proposal::GroupContextExtensions(extensions), NOW, rng)).unwrap();
    let none = a.copy();
    let all = commit(&mut a, rng, same);
    a.run(|group| group.propose(Proposal::ReInit(reinit(&none)), NOW, rng)).unwrap();
    let end = commit(&mut a, rng, same);
    assert!(end.commit.reinit.is_some() && all.commit.psks == 1);
    for (client, count) in [(a, 0), (none, 3)] {
        let mut client = client;
        heal(&mut [&mut client], &[&won]);
        assert_ne!(client.head(), lost.epoch);
        assert_eq!(todo(&client).proposals.len(), count);
    }
    b.restart();
}

#[test]
fn what_was_deleted_is_consolidated_and_what_was_forgotten_is_told() {
    let rng = &mut rng(22);
    let limits = Limits { known_epochs: 4, resumption_psks: 1, ..Limits::default() };
    let [mut a, mut b, mut c, d] = four(&Config { limits, ..public_config() }, 22);
    let leaf = d.leaf();
    let [lost, won] = part(&mut a, |c| c.remove(leaf), &mut b, same, rng);
    new_epoch(c.receive(&lost.message, SPLIT).unwrap());
    let new = new_epoch(c.receive(&won.message, WHOLE).unwrap());
    assert_eq!(
        (new.lost.len(), c.group.epochs().filter(|epoch| epoch.level() == Level::Full).count()),
        (1, 1)
    );
    c.restart();
    removes(&c, "dave", false);
    for _ in 0..8 {
        let next = commit(&mut b, rng, same);
        new_epoch(c.receive(&next.message, WHOLE).unwrap());
    }
    let found = c.group.consolidate([&lost.epoch]);
    assert_eq!((found.is_empty(), found.told), (true, vec![(lost.epoch.clone(), Told::Forgotten)]));
}

#[test]
fn what_is_on_the_way_is_not_lost() {
    let rng = &mut rng(23);
    let [mut a, mut b, mut c, d] = four(&public_config(), 23);
    let leaf = d.leaf();
    let [lost, won] = part(&mut a, |c| c.remove(leaf), &mut b, same, rng);
    heal(&mut [&mut c], &[&lost, &won]);
    removes(&c, "dave", false);
    // The branch that had won is blocked.
    let turn = c.run(|group| group.block(&won.id)).unwrap();
    c.restart();
    let found = c.group.consolidate(turn.lost.iter().map(|lost| &lost.id).chain([&lost.epoch]));
    assert_eq!((found.is_empty(), found.told, found.head), (true, vec![], lost.epoch));
}

#[test]
fn who_can_not_follow_the_winner_finds_nothing() {
    let rng = &mut rng(35);
    let [mut a, mut b, mut c, d] = four(&public_config(), 35);
    let (leaf, carol) = (d.leaf(), c.leaf());
    let [lost, won] = part(&mut a, |c| c.remove(leaf), &mut b, same, rng);
    heal(&mut [&mut c], &[&lost, &won]);
    let mut stranded = c.copy();
    // The branch that wins was deleted here.
    stranded.run(|group| group.delete_epoch(&lost.epoch, Level::Known)).unwrap();
    let turn = stranded.run(|group| group.block(&won.id)).unwrap();
    assert_eq!(turn.stranded, Some(Stranded::HeadDeleted(lost.epoch.clone())));
    stranded.restart();
    assert!(stranded.group.consolidate([&lost.epoch, &won.epoch]).is_empty());
    // It leads on without us.
    let gone = b.run(|group| group.commit().remove(carol).stage(NOW, rng)).unwrap();
    c.receive(&gone.message, SPLIT).unwrap();
    removes(&c, "dave", false);
    c.run(|group| group.confirm_removal(&gone.id)).unwrap();
    c.restart();
    assert!(c.group.consolidate([&lost.epoch]).is_empty());
}
