//! What of a branch that lost is proposed again on the winner. Everybody comes back from its records before it is asked.

use dmls::extension::Extensions;
use dmls::message::{Proposal, Psk, ReInit};
use dmls::registry::{ExtensionType, ProtocolVersion};
use dmls::{
    CipherSuite, CommitBuilder, Config, Consolidation, Credential, EpochId, ExternalJoinOptions, KeyPackage,
    LeafIndex, Level, Limits, NewEpoch, Outcome, SentCommit, Told, Usage,
};
use rand_chacha::ChaCha20Rng;

use super::common::{Client, NOW, PSK, SPLIT, WHOLE, group, identity, key_package, public_config, rng};
use super::{new_epoch, tag_of};

fn four(config: &Config, seed: u64) -> [Client; 4] {
    let names = ["alice", "bob", "carol", "dave"];
    group(&names, config, &mut rng(7000 + seed)).try_into().ok().unwrap()
}

/// A commit in the head, confirmed.
fn commit(
    by: &mut Client,
    rng: &mut ChaCha20Rng,
    build: impl for<'g> Fn(CommitBuilder<'g>) -> CommitBuilder<'g>,
) -> SentCommit {
    let sent = by.run(|group| build(group.commit()).stage(NOW, rng)).unwrap();
    assert!(by.confirm(&sent, SPLIT).is_head);
    sent
}

/// Two commits of one epoch; the first loses. Nobody else has them yet.
fn part(
    loser: &mut Client,
    lost: impl for<'g> Fn(CommitBuilder<'g>) -> CommitBuilder<'g>,
    winner: &mut Client,
    won: impl for<'g> Fn(CommitBuilder<'g>) -> CommitBuilder<'g>,
    rng: &mut ChaCha20Rng,
) -> [SentCommit; 2] {
    loop {
        let one = loser.run(|group| lost(group.commit()).stage(NOW, rng)).unwrap();
        let other = winner.run(|group| won(group.commit()).stage(NOW, rng)).unwrap();
        if tag_of(&one.message).as_bytes() < tag_of(&other.message).as_bytes() {
            loser.confirm(&one, SPLIT);
            winner.confirm(&other, SPLIT);
            return [one, other];
        }
        loser.run(|group| group.discard_unsent(&one.id)).unwrap();
        winner.run(|group| group.discard_unsent(&other.id)).unwrap();
    }
}

/// Everybody gets everything, and starts again. Gives the new epochs that each was told of.
fn heal(clients: &mut [&mut Client], commits: &[&SentCommit]) -> Vec<Vec<NewEpoch>> {
    let told = clients.iter_mut().map(|client| {
        let outcomes = commits.iter().flat_map(|sent| client.deliver(&sent.message, SPLIT).unwrap());
        let new = outcomes.filter_map(|outcome| match outcome {
            Outcome::Commit(new) => Some(*new),
            _ => None,
        });
        let new = new.collect();
        client.restart();
        new
    });
    told.collect()
}

/// Of all that this client knows.
fn todo(client: &Client) -> Consolidation {
    let beside = client.group.epochs().filter(|epoch| !epoch.is_on_way());
    client.group.consolidate(beside.map(|epoch| epoch.id()))
}

fn nothing(client: &Client) -> Consolidation {
    let found = todo(client);
    assert!(found.is_empty() && found.turns.is_empty() && found.proposals.is_empty(), "{found:?}");
    found
}

fn nothing_for(clients: &[&Client]) {
    for client in clients {
        nothing(client);
    }
}

fn name(credential: &Credential) -> String {
    String::from_utf8(credential.identity().unwrap().to_vec()).unwrap()
}

/// Who is to be added, and who is to be removed: whether it is active there.
fn names(found: &Consolidation) -> (Vec<String>, Vec<(String, bool)>) {
    let adds = found.adds.iter().map(|added| name(&added.member.credential)).collect();
    let removes = found.removes.iter().map(|gone| (name(&gone.member.credential), gone.active)).collect();
    (adds, removes)
}

fn removes(client: &Client, who: &str, active: bool) -> Consolidation {
    let found = todo(client);
    assert_eq!(names(&found), (vec![], vec![(who.to_string(), active)]));
    found
}

/// Commits all of it, and gives it to the others.
fn consolidate(by: &mut Client, others: &mut [&mut Client], fresh: &[KeyPackage], rng: &mut ChaCha20Rng) {
    let found = todo(by);
    let sent =
        by.run(|group| group.commit().consolidate(&found, fresh.iter().cloned())?.stage(NOW, rng)).unwrap();
    by.confirm(&sent, SPLIT);
    for other in others {
        new_epoch(other.receive(&sent.message, SPLIT).unwrap());
        other.restart();
    }
    by.restart();
}

fn members(client: &Client) -> Vec<String> {
    client.members().iter().map(|member| name(&member.credential)).collect()
}

fn add<'g>(commit: CommitBuilder<'g>, list: &[KeyPackage]) -> CommitBuilder<'g> {
    list.iter().fold(commit, |commit, one| commit.add(one.clone()))
}

fn same(builder: CommitBuilder<'_>) -> CommitBuilder<'_> {
    builder
}

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

/// Joins again, and gives that to the others, the first of whom shows the group.
fn rejoin(client: &mut Client, others: &mut [&mut Client], rng: &mut ChaCha20Rng) -> SentCommit {
    let info = others[0].group.head().group_info(NOW).unwrap();
    let (identity, options) = (client.identity.clone(), ExternalJoinOptions::default());
    let sent = client.run(|group| group.rejoin(&identity, &info, options, NOW, rng)).unwrap();
    client.confirm(&sent, SPLIT);
    for other in others {
        new_epoch(other.receive(&sent.message, SPLIT).unwrap());
    }
    sent
}

#[test]
fn who_was_removed_on_both_branches_is_gone() {
    let rng = &mut rng(1);
    let [mut a, mut b, mut c, d] = four(&public_config(), 1);
    let leaf = d.leaf();
    let [lost, won] = part(&mut a, |c| c.remove(leaf), &mut b, |c| c.remove(leaf), rng);
    heal(&mut [&mut a, &mut b, &mut c], &[&lost, &won]);
    for client in [&a, &b, &c] {
        assert_eq!(nothing(client).told, []);
    }
}

#[test]
fn who_was_removed_on_the_branch_that_lost_is_removed_once() {
    let rng = &mut rng(2);
    let [mut a, mut b, mut c, d] = four(&public_config(), 2);
    let leaf = d.leaf();
    let [lost, won] = part(&mut a, |c| c.remove(leaf), &mut b, same, rng);
    let told = heal(&mut [&mut a, &mut b, &mut c], &[&lost, &won]);
    // What each was told leads to the same as what the graph has.
    let ends = |new: &NewEpoch| -> Vec<EpochId> {
        let beside = (!new.is_head).then(|| new.id.clone());
        new.lost.iter().map(|lost| lost.id.clone()).chain(beside).collect()
    };
    for (client, told) in [&a, &b, &c].into_iter().zip(told) {
        let found = removes(client, "dave", false);
        let ends: Vec<_> = told.iter().flat_map(ends).collect();
        assert_eq!(client.group.consolidate(&ends), found);
        assert_eq!((found.removes[0].member.leaf, &found.head), (leaf, &won.epoch));
        // The author first; nobody commits its own removal.
        assert_eq!((found.turns.len(), found.turns[0]), (3, a.leaf()));
        assert!(!found.turns.contains(&leaf));
        assert_eq!(found, todo(&c));
    }
    consolidate(&mut b, &mut [&mut a, &mut c], &[], rng);
    for client in [&a, &b, &c] {
        assert_eq!(members(client), ["alice", "bob", "carol"]);
        nothing(client);
    }
    // Who is invited again later stays.
    let again = key_package(&d.identity, rng);
    let sent = commit(&mut c, rng, |c| c.add(again.key_package().clone()));
    heal(&mut [&mut a, &mut b, &mut c], &[&sent]);
    for client in [&a, &b, &c] {
        assert_eq!(members(client), ["alice", "bob", "carol", "dave"]);
        let told = &nothing(client).told;
        assert!(matches!(&told[..], [(id, Told::AddedAgain(who))] if *id == lost.epoch && who.leaf == leaf));
    }
}

#[test]
fn the_order_of_turns_is_everybodys_and_not_always_the_same() {
    let rng = &mut rng(3);
    let mut orders = Vec::new();
    for seed in 0..6 {
        let [mut a, mut b, mut c, d] = four(&public_config(), 30 + seed);
        let leaf = d.leaf();
        let [lost, won] = part(&mut a, |c| c.remove(leaf), &mut b, same, rng);
        heal(&mut [&mut a, &mut b, &mut c], &[&lost, &won]);
        assert_eq!(todo(&a), todo(&b));
        assert_eq!(todo(&a), todo(&c));
        orders.push(todo(&a).turns);
    }
    assert!(orders.iter().all(|order| order[0] == orders[0][0]));
    assert!(orders.iter().any(|order| order != &orders[0]));
}

#[test]
fn who_was_removed_and_is_active_on_the_winner_is_the_callers_to_decide() {
    let rng = &mut rng(4);
    let [mut a, mut b, mut c, mut d] = four(&public_config(), 4);
    let leaf = d.leaf();
    let [lost, won] = part(&mut a, |c| c.remove(leaf), &mut d, same, rng);
    heal(&mut [&mut a, &mut b, &mut c], &[&lost, &won]);
    let mut found = removes(&c, "dave", true);
    assert_eq!(found.turns[0], a.leaf());
    found.removes.retain(|gone| !gone.active);
    let sent = c.run(|group| group.commit().consolidate(&found, [])?.stage(NOW, rng)).unwrap();
    assert_eq!(sent.commit.removed, []);
    c.run(|group| group.discard_unsent(&sent.id)).unwrap();
    consolidate(&mut c, &mut [&mut a, &mut b], &[], rng);
    assert_eq!(members(&b), ["alice", "bob", "carol"]);
    // It says of itself that it lost nothing: it can't follow that branch.
    d.receive(&lost.message, SPLIT).unwrap();
    nothing(&d);
}

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
fn who_was_added_is_added_again_by_a_fresh_key_package() {
    let rng = &mut rng(6);
    let [mut a, mut b, mut c, mut d] = four(&public_config(), 6);
    let [erin, frank] = ["erin", "frank"].map(|name| identity(name, rng));
    let [used, franks] = [&erin, &frank].map(|who| key_package(who, rng));
    let [lost, won] = part(
        &mut a,
        |c| c.add(used.key_package().clone()).add(franks.key_package().clone()),
        &mut b,
        same,
        rng,
    );
    heal(&mut [&mut a, &mut b, &mut c, &mut d], &[&lost, &won]);
    let found = todo(&c);
    assert_eq!(names(&found), (vec!["erin".into(), "frank".into()], vec![]));
    assert_eq!(found.adds[0].key_package, used.key_package().reference(c.group.suite()));
    assert_eq!((found.turns.len(), found.turns[0]), (4, a.leaf()));

    let mut try_with = |key_package: &KeyPackage| {
        let commit = c.group.commit().consolidate(&found, [key_package.clone()]);
        commit.err()
    };
    let other = key_package(&identity("mallory", rng), rng);
    assert_eq!(try_with(used.key_package()), Some(Usage::KeyPackageUsed.into()));
    assert_eq!(try_with(other.key_package()), Some(Usage::NotToAdd.into()));

    // One now, the other when its KeyPackage is there.
    let fresh = key_package(&erin, rng);
    let sent = c
        .run(|group| group.commit().consolidate(&found, [fresh.key_package().clone()])?.stage(NOW, rng))
        .unwrap();
    let welcome = c.confirm(&sent, SPLIT).welcome.unwrap();
    heal(&mut [&mut a, &mut b, &mut d], &[&sent]);
    let e = Client::join(&erin, &fresh, &welcome, &c.config).unwrap();
    assert_eq!(e.secret(&sent.epoch), d.secret(&sent.epoch));
    let stale = a.group.commit().consolidate(&found, []).err();
    assert_eq!(stale, Some(Usage::OtherHead.into()));
    assert_eq!(names(&todo(&a)), (vec!["frank".into()], vec![]));
    consolidate(
        &mut a,
        &mut [&mut b, &mut c, &mut d],
        &[key_package(&frank, rng).key_package().clone()],
        rng,
    );
    nothing_for(&[&a, &b, &c, &d]);
    // Who leaves later is not added once more.
    let leaf = e.leaf();
    let sent = commit(&mut b, rng, |c| c.remove(leaf));
    heal(&mut [&mut a, &mut c, &mut d], &[&sent]);
    nothing_for(&[&a, &b, &c, &d]);
}

#[test]
fn who_was_added_on_both_branches_is_there() {
    for twice in [false, true] {
        let rng = &mut rng(8);
        let [mut a, mut b, mut c, _] = four(&public_config(), 8);
        let erin = identity("erin", rng);
        let [one, other] = [0, 1].map(|_| key_package(&erin, rng));
        let other = if twice { one.key_package() } else { other.key_package() };
        let [lost, won] =
            part(&mut a, |c| c.add(one.key_package().clone()), &mut b, |c| c.add(other.clone()), rng);
        heal(&mut [&mut a, &mut b, &mut c], &[&lost, &won]);
        for client in [&a, &b, &c] {
            let told = nothing(client).told;
            let is_told = matches!(&told[..], [(id, Told::SameKeyPackage(who))]
                if *id == lost.epoch && who.credential == Credential::basic("erin"));
            assert_eq!((is_told, told.len()), (twice, usize::from(twice)));
        }
    }
}

#[test]
fn a_removal_outlives_its_remover() {
    let rng = &mut rng(9);
    let [mut a, mut b, mut c, d] = four(&public_config(), 9);
    let (alice, dave) = (a.leaf(), d.leaf());
    let [lost, won] = part(&mut a, |c| c.remove(dave), &mut b, |c| c.remove(alice), rng);
    heal(&mut [&mut b, &mut c], &[&lost, &won]);
    for client in [&b, &c] {
        let found = removes(client, "dave", false);
        let mut turns = found.turns;
        turns.sort_unstable();
        assert_eq!(turns, [b.leaf(), c.leaf()]);
    }
    consolidate(&mut c, &mut [&mut b], &[], rng);
    assert_eq!(members(&b), ["bob", "carol"]);
    // Each removed the other: the loser's removal is as good as the winner's, and who is removed can't commit it.
    let [mut a, mut b, mut c, mut d] = four(&public_config(), 10);
    let (alice, bob) = (a.leaf(), b.leaf());
    let [lost, won] = part(&mut a, |c| c.remove(bob), &mut b, |c| c.remove(alice), rng);
    heal(&mut [&mut c, &mut d], &[&lost, &won]);
    heal(&mut [&mut b], &[&lost]);
    assert!(!removes(&c, "bob", true).turns.contains(&bob));
    nothing(&b);
    consolidate(&mut d, &mut [&mut c], &[], rng);
    assert_eq!(members(&c), ["carol", "dave"]);
}

#[test]
fn the_creator_is_removed_as_anybody() {
    let rng = &mut rng(11);
    let [mut a, mut b, mut c, mut d] = four(&public_config(), 11);
    let creator = a.leaf();
    let [lost, won] = part(&mut b, |c| c.remove(creator), &mut c, same, rng);
    heal(&mut [&mut a, &mut b, &mut c, &mut d], &[&lost, &won]);
    for client in [&b, &c, &d] {
        let found = removes(client, "alice", false);
        assert_eq!((found.turns.len(), found.turns[0]), (3, b.leaf()));
    }
    // She knows that branch as a claim only.
    assert_eq!(a.group.consolidate([&lost.epoch]).told, [(lost.epoch.clone(), Told::Forgotten)]);
    nothing(&a);
    consolidate(&mut d, &mut [&mut b, &mut c], &[], rng);
    assert_eq!(members(&b), ["bob", "carol", "dave"]);
    nothing_for(&[&b, &c, &d]);
}

#[test]
fn branches_without_a_common_member_have_nothing_to_tell_each_other() {
    let rng = &mut rng(12);
    let [mut a, mut b, mut c, mut d] = four(&public_config(), 12);
    let [la, lb, lc, ld] = [&a, &b, &c, &d].map(Client::leaf);
    let [lost, won] = part(&mut a, |x| x.remove(lc).remove(ld), &mut c, |x| x.remove(la).remove(lb), rng);
    heal(&mut [&mut a, &mut b, &mut c, &mut d], &[&lost, &won]);
    for client in [&a, &b, &c, &d] {
        assert_eq!(nothing(client).told, []);
    }
    assert_eq!([&a, &b].map(Client::head), [lost.epoch.clone(), lost.epoch.clone()]);
    assert_eq!([&c, &d].map(Client::head), [won.epoch.clone(), won.epoch.clone()]);
    // The removal of those who lost stands as soon as they believe it.
    a.run(|group| group.confirm_removal(&won.id)).unwrap();
    assert!(a.group.is_removed());
}

#[test]
fn of_two_who_consolidate_at_once_one_wins_and_nothing_is_left() {
    let rng = &mut rng(13);
    let [mut a, mut b, mut c, d] = four(&public_config(), 13);
    let (leaf, erin) = (d.leaf(), identity("erin", rng));
    let used = key_package(&erin, rng);
    let [lost, won] = part(&mut a, |c| c.add(used.key_package().clone()).remove(leaf), &mut b, same, rng);
    heal(&mut [&mut a, &mut b, &mut c], &[&lost, &won]);
    let fresh = [0, 1].map(|_| key_package(&erin, rng));
    let (for_a, for_c) = (todo(&a), todo(&c));
    let fresh = fresh.map(|own| own.key_package().clone());
    let both = part(
        &mut a,
        |x| x.consolidate(&for_a, [fresh[0].clone()]).unwrap(),
        &mut c,
        |x| x.consolidate(&for_c, [fresh[1].clone()]).unwrap(),
        rng,
    );
    let told = heal(&mut [&mut a, &mut b, &mut c], &[&both[0], &both[1]]);
    assert_eq!(told[0].last().unwrap().lost.len(), 1);
    for client in [&a, &b, &c] {
        assert_eq!(client.head(), both[1].epoch);
        assert_eq!(members(client), ["alice", "bob", "carol", "erin"]);
        assert_eq!(nothing(client).told, []);
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
fn several_branches_of_several_commits_give_one_commit() {
    let rng = &mut rng(18);
    let names_of = ["alice", "bob", "carol", "dave", "ivan", "judy"];
    let clients = group(&names_of, &public_config(), rng);
    let [mut a, mut b, mut c, d, i, j] = <[Client; 6]>::try_from(clients).ok().unwrap();
    let [ld, li, lj] = [&d, &i, &j].map(Client::leaf);
    let [erin, frank] = ["erin", "frank"].map(|name| identity(name, rng));
    let [es, fs] = [&erin, &frank].map(|who| key_package(who, rng));
    // Two ends that begin with one commit.
    let [lost, won] = part(
        &mut a,
        |c| c.remove(ld).add(es.key_package().clone()).psk(Psk::External(PSK.to_vec())),
        &mut b,
        same,
        rng,
    );
    let ginas = key_package(&identity("gina", rng), rng).key_package().clone();
    a.run(|group| group.propose_add(ginas.clone(), NOW, rng)).unwrap();
    let one = commit(&mut a, rng, |c| c.remove(li).references(vec![]));
    let two = commit_on(&mut a, &lost.epoch, rng, |c| {
        c.remove(lj).add(fs.key_package().clone()).references(vec![])
    });
    let next = commit(&mut b, rng, same);
    heal(&mut [&mut a, &mut b, &mut c], &[&two, &one, &lost, &next, &won]);
    for client in [&a, &b, &c] {
        let (mut adds, removes) = names(&todo(client));
        adds.sort_unstable();
        assert_eq!(adds, ["erin", "frank"]);
        assert_eq!(removes, ["dave", "ivan", "judy"].map(|name| (name.to_string(), false)));
        assert_eq!(todo(client).turns[0], a.leaf());
        assert_eq!(todo(client).told, [(lost.epoch.clone(), Told::Psks(1))]);
    }
    assert_eq!(todo(&a).proposals, [Proposal::Add(Box::new(ginas))]);
    a.run(|group| group.delete_epoch(&lost.epoch, Level::Known)).unwrap();
    let fresh = [&erin, &frank].map(|who| key_package(who, rng).key_package().clone());
    consolidate(&mut c, &mut [&mut a, &mut b], &fresh, rng);
    for client in [&a, &b, &c] {
        nothing(client);
        assert_eq!(members(client), ["alice", "bob", "carol", "erin", "frank"]);
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

/// A commit in another epoch than the head, confirmed.
fn commit_on(
    by: &mut Client,
    epoch: &EpochId,
    rng: &mut ChaCha20Rng,
    build: impl for<'g> Fn(CommitBuilder<'g>) -> CommitBuilder<'g>,
) -> SentCommit {
    let sent = by.run(|group| build(group.commit().at(epoch)).stage(NOW, rng)).unwrap();
    by.confirm(&sent, SPLIT);
    sent
}
