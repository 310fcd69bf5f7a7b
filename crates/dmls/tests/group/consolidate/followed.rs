//! Who is who on two branches: by leaves and by keys.

use dmls::{Credential, LeafIndex};

use super::{commit, commit_on, four, heal, members, names, nothing, part, rejoin, removes, same, todo};
use crate::common::{Client, NOW, SPLIT, identity, key_package, public_config, rng};
use crate::new_epoch;

#[test]
fn who_has_another_key_or_another_leaf_on_the_winner_is_found() {
    for rejoins in [false, true] {
        let rng = &mut rng(5);
        let [mut a, mut b, c, mut d] = four(&public_config(), 5);
        // Carol leaves, so that another leaf is free.
        let gone = c.leaf();
        let first = commit(&mut a, rng, |c| c.remove(gone));
        heal(&mut [&mut b, &mut d], &[&first]);
        let leaf = d.leaf();
        let [lost, won] = part(&mut a, |c| c.remove(leaf), &mut b, same, rng);
        heal(&mut [&mut a, &mut b, &mut d], &[&lost, &won]);
        removes(&b, "dave", false);
        let next = if rejoins {
            rejoin(&mut d, &mut [&mut b], rng)
        } else {
            let new = identity("dave", rng);
            commit(&mut d, rng, |c| c.identity(new.clone()))
        };
        assert_eq!(d.leaf() == leaf, !rejoins);
        heal(&mut [&mut a, &mut b], &[&next]);
        for client in [&a, &b] {
            let found = removes(client, "dave", true);
            let itself = d.members().into_iter().find(|member| member.leaf == d.leaf());
            assert_eq!(Some(&found.removes[0].member), itself.as_ref());
        }
    }
}

#[test]
fn who_was_removed_and_added_again_is_as_the_winner_has_it() {
    for gone in [false, true] {
        let rng = &mut rng(14);
        let [mut a, mut b, mut c, d] = four(&public_config(), 14);
        let leaf = d.leaf();
        let [lost, won] =
            part(&mut a, |c| c.remove(leaf), &mut b, |c| if gone { c.remove(leaf) } else { c }, rng);
        let again = key_package(&d.identity, rng);
        let next = commit(&mut a, rng, |c| c.add(again.key_package().clone()));
        heal(&mut [&mut a, &mut b, &mut c], &[&lost, &next, &won]);
        for client in [&a, &b, &c] {
            assert_eq!(nothing(client).told, []);
            assert_eq!(members(client).len(), if gone { 3 } else { 4 });
        }
        // The half of it alone is a removal; named with the other half it is not.
        let half = c.group.consolidate([&lost.epoch]);
        assert_eq!(half.removes.len(), usize::from(!gone));
        assert!(c.group.consolidate([&lost.epoch, &next.epoch]).is_empty());
        // Thrown out for good after all.
        let last = commit_on(&mut a, &next.epoch, rng, |c| c.remove(leaf));
        heal(&mut [&mut a, &mut b, &mut c], &[&last]);
        assert_eq!(todo(&c).removes.len(), usize::from(!gone));
    }
}

#[test]
fn who_was_added_and_removed_on_one_branch_and_added_on_the_other_is_removed() {
    let rng = &mut rng(15);
    let [mut a, mut b, mut c, _] = four(&public_config(), 15);
    let erin = identity("erin", rng);
    let [one, other, third] = [0, 1, 2].map(|_| key_package(&erin, rng).key_package().clone());
    let [lost, won] = part(&mut a, |c| c.add(one.clone()), &mut b, |c| c.add(other.clone()), rng);
    let leaf = a.members().iter().find(|m| m.credential == Credential::basic("erin")).unwrap().leaf;
    let next = commit(&mut a, rng, |c| c.remove(leaf));
    heal(&mut [&mut a, &mut b, &mut c], &[&lost, &next, &won]);
    removes(&c, "erin", false);
    // Added a second time there: she is there.
    let last = commit_on(&mut a, &next.epoch, rng, |c| c.add(third.clone()));
    heal(&mut [&mut a, &mut b, &mut c], &[&last]);
    nothing(&c);
}

#[test]
fn who_was_added_and_has_another_key_by_now_is_there() {
    let rng = &mut rng(24);
    let [mut a, mut b, mut c, _] = four(&public_config(), 24);
    let erin = identity("erin", rng);
    let [one, other] = [0, 1].map(|_| key_package(&erin, rng));
    let [lost, won] = part(
        &mut a,
        |c| c.add(one.key_package().clone()),
        &mut b,
        |c| c.add(other.key_package().clone()),
        rng,
    );
    let welcome = b.group.unsent_welcomes().next().unwrap().1.to_vec();
    let mut e = Client::join(&erin, &other, &welcome, &b.config).unwrap();
    let new = identity("erin", rng);
    let next = commit(&mut e, rng, |c| c.identity(new.clone()));
    heal(&mut [&mut a, &mut b, &mut c], &[&lost, &won, &next]);
    assert_eq!(nothing(&c).told, []);
    // Removed there after all.
    let leaf = a.group.epoch(&lost.epoch).unwrap().members().unwrap().last().unwrap().leaf;
    let last = commit_on(&mut a, &lost.epoch, rng, |c| c.remove(leaf));
    heal(&mut [&mut c], &[&last]);
    assert_eq!(removes(&c, "erin", true).removes[0].member.leaf, e.leaf());
}

#[test]
fn who_was_added_removed_and_added_is_added() {
    let rng = &mut rng(16);
    let [mut a, mut b, mut c, _] = four(&public_config(), 16);
    let erin = identity("erin", rng);
    let [one, other] = [0, 1].map(|_| key_package(&erin, rng).key_package().clone());
    let [lost, won] = part(&mut a, |c| c.add(one.clone()), &mut b, same, rng);
    let leaf = a.members().last().unwrap().leaf;
    let next = commit(&mut a, rng, |c| c.remove(leaf));
    heal(&mut [&mut c], &[&lost, &next, &won]);
    nothing(&c);
    let last = commit(&mut a, rng, |c| c.add(other.clone()));
    heal(&mut [&mut a, &mut b, &mut c], &[&lost, &next, &last, &won]);
    let found = todo(&c);
    assert_eq!(names(&found), (vec!["erin".into()], vec![]));
    assert_eq!(found.adds[0].key_package, other.reference(c.group.suite()));
}

#[test]
fn who_was_added_and_joined_again_on_the_branch_that_lost_is_added() {
    let rng = &mut rng(26);
    let [mut a, mut b, c, d] = four(&public_config(), 26);
    let (carol, dave) = (c.leaf(), d.leaf());
    let erin = identity("erin", rng);
    let own = key_package(&erin, rng);
    let [lost, won] = part(&mut a, |c| c.add(own.key_package().clone()), &mut b, same, rng);
    let welcome = a.group.unsent_welcomes().next().unwrap().1.to_vec();
    let mut e = Client::join(&erin, &own, &welcome, &a.config).unwrap();
    let next = commit(&mut a, rng, |c| c.remove(carol));
    new_epoch(e.receive(&next.message, SPLIT).unwrap());
    let again = rejoin(&mut e, &mut [&mut a], rng);
    assert_eq!(e.leaf(), carol);
    let last = commit(&mut e, rng, |c| c.remove(dave));
    heal(&mut [&mut b], &[&lost, &next, &again, &last, &won]);
    let found = todo(&b);
    assert_eq!(names(&found).0, ["erin"]);
    assert_eq!(names(&found).1, [("carol".into(), false), ("dave".into(), false)]);
}

#[test]
fn who_moved_on_the_branch_that_lost_and_was_removed_is_removed() {
    let rng = &mut rng(27);
    let [mut a, mut b, c, mut d] = four(&public_config(), 27);
    let carol = c.leaf();
    let first = commit(&mut a, rng, |c| c.remove(carol));
    heal(&mut [&mut b, &mut d], &[&first]);
    let [lost, won] = part(&mut a, same, &mut b, same, rng);
    new_epoch(d.receive(&lost.message, SPLIT).unwrap());
    let before = d.leaf();
    let again = rejoin(&mut d, &mut [&mut a], rng);
    let leaf = d.leaf();
    assert_eq!(leaf, carol);
    let last = commit(&mut a, rng, |c| c.remove(leaf));
    heal(&mut [&mut b], &[&lost, &again, &last, &won]);
    assert_eq!(removes(&b, "dave", false).removes[0].member.leaf, before);
}

#[test]
fn who_takes_the_leaf_of_another_on_the_winner_is_not_taken_for_it() {
    let rng = &mut rng(28);
    let [mut a, mut b, mut c, mut d] = four(&public_config(), 28);
    let (alice, dave) = (a.leaf(), d.leaf());
    let [franks, ginas] =
        ["frank", "gina"].map(|name| key_package(&identity(name, rng), rng).key_package().clone());
    // Dave has another key before he is removed there, too, and Frank takes his leaf.
    let [lost, won] = part(&mut a, |c| c.remove(dave), &mut b, same, rng);
    new_epoch(d.receive(&won.message, SPLIT).unwrap());
    let new = identity("dave", rng);
    let other = commit(&mut d, rng, |c| c.identity(new.clone()));
    new_epoch(b.receive(&other.message, SPLIT).unwrap());
    let gone = commit(&mut b, rng, |c| c.remove(dave));
    let frank = commit(&mut b, rng, |c| c.add(franks.clone()));
    heal(&mut [&mut a, &mut c], &[&lost, &won, &other, &gone, &frank]);
    assert!(c.members().iter().any(|member| member.leaf == dave));
    assert_eq!(nothing(&c).told, []);
    // An author is gone, and Gina has his leaf: that gives her no turn before others.
    let [lost, won] = part(&mut a, |c| c.remove(dave), &mut b, |c| c.remove(alice), rng);
    let gina = commit(&mut b, rng, |c| c.add(ginas.clone()));
    heal(&mut [&mut c], &[&lost, &won, &gina]);
    let found = removes(&c, "frank", false);
    let hash = |leaf: &LeafIndex| {
        let epoch = found.head.as_bytes();
        c.group.suite().hash_algorithm().hash(&[epoch, &leaf.0.to_be_bytes()])
    };
    let mut turns = vec![alice, b.leaf(), c.leaf()];
    turns.sort_by_key(hash);
    assert_eq!(found.turns, turns);
}

#[test]
fn who_takes_the_leaf_of_a_newcomer_on_the_winner_is_not_taken_for_it() {
    let rng = &mut rng(29);
    let [mut a, mut b, mut c, _] = four(&public_config(), 29);
    let [erin, frank] = ["erin", "frank"].map(|name| identity(name, rng));
    let [one, other, franks] = [&erin, &erin, &frank].map(|who| key_package(who, rng));
    let [one, other] = [one, other].map(|own| own.key_package().clone());
    let add_frank = franks.key_package().clone();
    let [lost, won] = part(&mut a, |c| c.add(one.clone()), &mut b, |c| c.add(add_frank.clone()), rng);
    let leaf = a.members().last().unwrap().leaf;
    let next = commit(&mut a, rng, |c| c.remove(leaf));
    // Frank commits and goes, Erin comes.
    let welcome = b.group.unsent_welcomes().next().unwrap().1.to_vec();
    let mut f = Client::join(&frank, &franks, &welcome, &b.config).unwrap();
    assert_eq!(f.leaf(), leaf);
    let by_frank = commit(&mut f, rng, same);
    new_epoch(b.receive(&by_frank.message, SPLIT).unwrap());
    let gone = commit(&mut b, rng, |c| c.remove(leaf));
    let came = commit(&mut b, rng, |c| c.add(other.clone()));
    heal(&mut [&mut c], &[&lost, &next, &won, &by_frank, &gone, &came]);
    assert_eq!(removes(&c, "erin", false).removes[0].member.leaf, leaf);
}

#[test]
fn who_is_there_by_other_means_is_not_added() {
    let rng = &mut rng(30);
    let [mut a, mut b, mut c, _] = four(&public_config(), 30);
    let erin = identity("erin", rng);
    let own = key_package(&erin, rng).key_package().clone();
    // She joined the winner by herself.
    let [lost, won] = part(&mut a, |c| c.add(own.clone()), &mut b, same, rng);
    let info = b.group.head().group_info(NOW).unwrap();
    let (_, message) = Client::join_external(&erin, &info, &b.config, rng).unwrap();
    heal(&mut [&mut c], &[&lost, &won]);
    assert_eq!(names(&todo(&c)).0, ["erin"]);
    new_epoch(c.receive(&message, SPLIT).unwrap());
    assert_eq!(nothing(&c).told, []);
}

#[test]
fn who_came_back_by_a_key_that_is_old_on_the_winner_is_not_added() {
    let rng = &mut rng(34);
    let [mut a, mut b, mut c, mut d] = four(&public_config(), 34);
    let (leaf, old) = (d.leaf(), key_package(&d.identity, rng).key_package().clone());
    let [lost, won] = part(&mut a, |c| c.remove(leaf), &mut b, same, rng);
    new_epoch(d.receive(&won.message, SPLIT).unwrap());
    let new = identity("dave", rng);
    let other = commit(&mut d, rng, |c| c.identity(new.clone()));
    let back = commit(&mut a, rng, |c| c.add(old.clone()));
    heal(&mut [&mut c], &[&lost, &back, &won, &other]);
    assert_eq!(nothing(&c).told, []);
}

#[test]
fn who_was_removed_and_joined_again_by_itself_is_removed() {
    let rng = &mut rng(36);
    let [mut a, mut b, mut c, d] = four(&public_config(), 36);
    let leaf = d.leaf();
    let [lost, won] = part(&mut a, |c| c.remove(leaf), &mut b, same, rng);
    let info = a.group.head().group_info(NOW).unwrap();
    let (_, message) = Client::join_external(&d.identity, &info, &d.config, rng).unwrap();
    heal(&mut [&mut c], &[&lost, &won]);
    new_epoch(c.receive(&message, SPLIT).unwrap());
    removes(&c, "dave", false);
}
