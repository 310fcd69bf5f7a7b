//! What of a branch that lost is proposed again on the winner. Everybody comes back from its records before it is asked.

mod followed;
mod told;

use dmls::message::{Proposal, Psk};
use dmls::{
    CommitBuilder, Config, Consolidation, Credential, EpochId, ExternalJoinOptions, KeyPackage, Level,
    NewEpoch, Outcome, SentCommit, Told, Usage,
};
use rand_chacha::ChaCha20Rng;

use crate::common::{Client, NOW, PSK, SPLIT, group, identity, key_package, public_config, rng};
use crate::{new_epoch, tag_of};

pub(super) fn four(config: &Config, seed: u64) -> [Client; 4] {
    let names = ["alice", "bob", "carol", "dave"];
    group(&names, config, &mut rng(7000 + seed)).try_into().ok().unwrap()
}

/// A commit in the head, confirmed.
pub(super) fn commit(
    by: &mut Client,
    rng: &mut ChaCha20Rng,
    build: impl for<'g> Fn(CommitBuilder<'g>) -> CommitBuilder<'g>,
) -> SentCommit {
    let sent = by.run(|group| build(group.commit()).stage(NOW, rng)).unwrap();
    assert!(by.confirm(&sent, SPLIT).is_head);
    sent
}

/// Two commits of one epoch; the first loses. Nobody else has them yet.
pub(super) fn part(
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

pub(super) fn same(builder: CommitBuilder<'_>) -> CommitBuilder<'_> {
    builder
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
