//! The thief has the records and all of the code. What the report says is there, it uses; what is not there, it can't.

use std::collections::BTreeSet;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;

use super::*;
use crate::codec::Decode;
use crate::danger::AcceptAnyCredential;
use crate::epoch::{ProcessedCommit, Rules};
use crate::error::{Error, Rule};
use crate::extension::{ExternalJoins, Ruleset};
use crate::group::{DmlsMessage, SentCommit};
use crate::{
    CipherSuite, Config, Credential, ExternalJoinOptions, Identity, Lifetime, NewGroupOptions, Retention,
};

const NOW: Time = Time(1_800_000_000);

struct Cast {
    config: Config,
    rng: ChaCha20Rng,
}

impl Cast {
    fn new() -> Self {
        let config = Config {
            ruleset: Some(Ruleset { external_joins: ExternalJoins::ANYONE, ..Ruleset::default() }),
            encrypt_handshake: false,
            retention: Retention::while_told(),
            ..Config::new(AcceptAnyCredential)
        };
        Self { config, rng: ChaCha20Rng::seed_from_u64(77) }
    }

    fn identity(&mut self, name: &str) -> Identity {
        let suite = self.config.provider.suite(CipherSuite::X25519_AES128).unwrap();
        Identity::generate(suite, Credential::basic(name), &mut self.rng).unwrap()
    }

    fn group(&mut self, size: usize) -> Vec<Group> {
        let first = self.identity("member 0");
        let founding =
            Group::create(&first, NewGroupOptions::default(), self.config.clone(), NOW, &mut self.rng);
        let mut first = founding.unwrap().apply_unsaved();
        let others: Vec<_> = (1..size)
            .map(|place| {
                let identity = self.identity(&format!("member {place}"));
                identity.key_package(Lifetime::starting(NOW, 86_400), &mut self.rng).unwrap()
            })
            .collect();
        let commit = first.commit();
        let commit = others.iter().fold(commit, |commit, own| commit.add(own.key_package().clone()));
        let welcome =
            commit.stage_confirmed(NOW, &mut self.rng).unwrap().apply_unsaved().epoch.welcome.unwrap();
        let join = |own| Group::join(own, &welcome, None, self.config.clone(), NOW).unwrap().apply_unsaved();
        let others: Vec<_> = others.iter().map(join).collect();
        std::iter::once(first).chain(others).collect()
    }

    /// What the thief has.
    fn stolen(&self, group: &Group) -> Group {
        let mut records = BTreeMap::new();
        group.snapshot().replay_into(&mut records);
        Group::load(&records, self.config.clone()).unwrap()
    }

    fn commit_at(&mut self, by: &Group, epoch: &EpochId) -> SentCommit {
        let mut by = self.stolen(by);
        by.commit().at(epoch).stage(NOW, &mut self.rng).unwrap().apply_unsaved()
    }
}

/// Processes a commit without a look at the graph, as whoever has the code can.
fn process(thief: &Group, parent: &EpochId, message: &[u8]) -> Result<EpochId, Error> {
    let epoch = thief.full(parent)?;
    let message = DmlsMessage::from_bytes(message)?.message;
    let id = message.commit_id(&thief.suite);
    let opened = epoch.open(&thief.config, message)?;
    let rules = Rules::received(&thief.config);
    let processed = thief.with_psks(parent, |psks| epoch.process_commit(rules, &opened.content, id, psks))?;
    match processed {
        ProcessedCommit::Child { epoch, .. } => Ok(epoch.id),
        ProcessedCommit::RemovesUs { .. } => Err(Rule::Sender.into()),
    }
}

fn of<'e>(report: &'e Exposure, id: &EpochId) -> &'e EpochExposure {
    report.epochs.iter().find(|epoch| epoch.id == *id).unwrap()
}

fn tree_keys<'e>(report: &'e Exposure, id: &EpochId) -> &'e [TreeKey] {
    &of(report, id).processing.as_ref().unwrap().tree_keys
}

fn receive_all(groups: &mut [Group], message: &[u8]) {
    for group in groups {
        let _ = group.receive(message, NOW).unwrap().apply_unsaved();
    }
}

/// A group of six whose tree has blank nodes, and filled ones; the first is robbed. Its two last epochs.
fn half_filled(cast: &mut Cast) -> (Vec<Group>, EpochId, EpochId) {
    let mut all = cast.group(7);
    let mut heads = Vec::<EpochId>::new();
    for place in [1, 4, 5] {
        let commit = all[place].commit();
        let commit = if place == 4 { commit.remove(LeafIndex(6)) } else { commit };
        let sent = commit.stage_confirmed(NOW, &mut cast.rng).unwrap().apply_unsaved().sent;
        let (before, after) = all.split_at_mut(place);
        receive_all(before, &sent.message);
        receive_all(&mut after[1..], &sent.message);
        if place == 4 {
            all.truncate(6);
        }
        heads.push(sent.epoch);
    }
    let [_, old, head] = heads.try_into().unwrap();
    (all, old, head)
}

#[test]
fn without_a_tree_key_the_commits_of_those_who_encrypt_to_it_stay_closed() {
    let cast = &mut Cast::new();
    let (all, old, head) = half_filled(cast);
    let mut counts = BTreeSet::new();
    // The first knows the nodes above it; above the third one is blank, so that others encrypt to its leaf.
    for (robbed, epoch) in [(0, &old), (0, &head), (2, &old), (2, &head)] {
        let report = all[robbed].exposure_report(NOW);
        let others = all.iter().enumerate().filter(|(place, _)| *place != robbed);
        let commits: Vec<_> = others.map(|(_, by)| cast.commit_at(by, epoch)).collect();
        let opened = |thief: &Group| {
            commits.iter().filter(|sent| process(thief, epoch, &sent.message).is_ok()).count()
        };
        assert_eq!(opened(&cast.stolen(&all[robbed])), 5);
        let keys = tree_keys(&report, epoch);
        assert_eq!(keys.iter().map(|key| key.encrypted_by).sum::<usize>(), 5, "one key for each commit");
        for key in keys {
            let mut thief = cast.stolen(&all[robbed]);
            let private = &mut thief.graph.node_mut(epoch).unwrap().full_mut().unwrap().private;
            assert!(private.keys.remove(&key.node).is_some());
            assert_eq!(opened(&thief), 5 - key.encrypted_by, "{key:?}");
            counts.insert((robbed, key.encrypted_by));
        }
    }
    assert!(counts.contains(&(0, 1)) && counts.contains(&(0, 2)) && counts.contains(&(2, 3)), "{counts:?}");
}

#[test]
fn what_an_old_epoch_shares_with_the_head_opens_commits_of_the_head() {
    let cast = &mut Cast::new();
    let (all, old, head) = half_filled(cast);
    let report = all[0].exposure_report(NOW);
    let (old_keys, head_keys) = (tree_keys(&report, &old), tree_keys(&report, &head));
    let shared: BTreeSet<_> = old_keys.iter().filter(|key| key.in_head).map(|key| key.node).collect();
    assert!(!shared.is_empty() && shared.len() < old_keys.len());
    assert!(old_keys.iter().all(|key| key.in_head == (key.epochs > 1) || key.epochs > 1));

    // The thief took the device in the old epoch, and the head's public tree.
    let mut thief = cast.stolen(&all[0]);
    let private = thief.full(&old).unwrap().private.duplicate();
    thief.graph.node_mut(&head).unwrap().full_mut().unwrap().private = private;
    let commits: Vec<_> = all[1..].iter().map(|by| cast.commit_at(by, &head)).collect();
    let opened = commits.iter().filter(|sent| process(&thief, &head, &sent.message).is_ok()).count();
    let said = head_keys.iter().filter(|key| shared.contains(&key.node)).map(|key| key.encrypted_by);
    assert_eq!(opened, said.sum::<usize>());
    assert!(opened > 0);

    // As many keys as there are different ones.
    let epochs = thief.epochs().filter_map(|epoch| thief.full(epoch.id()).ok().map(|epoch| &epoch.private));
    let bytes = epochs.flat_map(|private| private.keys.values().map(|key| key.as_bytes().to_vec()));
    let different: BTreeSet<_> = bytes.collect();
    assert_eq!(all[0].exposure_report(NOW).tree_keys, different.len() + (head_keys.len() - shared.len()));
}

#[test]
fn all_children_can_be_derived_but_the_punctured() {
    let cast = &mut Cast::new();
    let mut all = cast.group(4);
    let parent = all[0].head().id().clone();
    let commits: Vec<_> = (1..4).map(|place| cast.commit_at(&all[place], &parent)).collect();
    let info = all[1].head().group_info(NOW).unwrap();
    let newcomer = cast.identity("newcomer");
    let options = ExternalJoinOptions::default();
    let joining =
        Group::join_external(&newcomer, &info, options, cast.config.clone(), NOW, &mut cast.rng).unwrap();
    let external = joining.commit().unwrap().to_vec();

    let robbed = &mut all[0];
    for (count, sent) in commits[..2].iter().enumerate() {
        let processing = of(&robbed.exposure_report(NOW), &parent).processing.clone().unwrap();
        assert_eq!((processing.punctured, processing.external_commits), (Some(count), true));
        assert_eq!(process(&cast.stolen(robbed), &parent, &sent.message).unwrap(), sent.epoch);
        let _ = robbed.receive(&sent.message, NOW).unwrap().apply_unsaved();
    }
    let _ = robbed.receive(&external, NOW).unwrap().apply_unsaved();

    let thief = cast.stolen(robbed);
    assert_eq!(of(&thief.exposure_report(NOW), &parent).processing.as_ref().unwrap().punctured, Some(2));
    for sent in &commits[..2] {
        assert_eq!(process(&thief, &parent, &sent.message).unwrap_err(), Rule::Punctured.into());
    }
    assert_eq!(process(&thief, &parent, &commits[2].message).unwrap(), commits[2].epoch);
    assert!(process(&thief, &parent, &external).is_ok(), "nothing punctures it");

    // Deleted, it gives nothing.
    robbed.delete_old_epochs().apply_unsaved();
    let thief = cast.stolen(robbed);
    assert!(thief.exposure_report(NOW).epochs.iter().all(|epoch| epoch.id != parent));
    assert!(process(&thief, &parent, &commits[2].message).is_err());
    assert!(process(&thief, &parent, &external).is_err());
}
