//! Transcripts of whole DMLS groups: every member follows, in several orders of delivery.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rand_core::CryptoRng;
use serde_json::Value;

use super::replay::{self, CommitterSecrets};
use super::{At, Outcome as Judgement, array, bytes, equal, field, integer, same, text};
use crate::codec::{Decode, Encode};
use crate::config::{Config, Limits, PreSharedKeys, Retention};
use crate::crypto::{Provider, Secret, SignatureKeyPair, Suite};
use crate::danger::AcceptAnyCredential;
use crate::framing::MlsMessage;
use crate::group::{Group, Level, Outcome};
use crate::identity::OwnKeyPackage;
use crate::key_schedule::{EpochId, KeySchedule};
use crate::registry::CipherSuite;
use crate::time::Time;

/// The external pre-shared keys of a transcript.
struct Psks(BTreeMap<Vec<u8>, Vec<u8>>);

impl PreSharedKeys for Psks {
    fn external(&self, id: &[u8]) -> Option<Secret> {
        self.0.get(id).map(|psk| Secret::new(psk.clone()))
    }
}

/// How often each transcript is followed in a random order.
const RANDOM_ORDERS: usize = 2;

/// Follows a transcript as every member: in the order of `steps`, in `delivery_order` where there is one, in random legal
/// orders, and in an order that is not even legal. `Ok(false)`: the provider lacks the suite.
pub fn transcript(provider: Provider, case: &Value, rng: &mut dyn CryptoRng) -> Result<bool, String> {
    equal("format", text(case, "format")?, "dmls-transcript-1")?;
    let Some(suite) = provider.suite(CipherSuite(integer(case, "cipher_suite")?)) else { return Ok(false) };
    let steps = array(case, "steps")?;
    let mut orders = vec![("steps".to_string(), (1..steps.len()).collect::<Vec<_>>())];
    if let Some(order) = field(case, "delivery_order")?.as_array() {
        let order = order.iter().filter_map(|i| Some(i.as_u64()? as usize)).collect();
        orders.push(("delivery_order".to_string(), order));
    }
    for n in 0..RANDOM_ORDERS {
        orders.push((format!("legal order {n}"), legal_order(steps, rng)?));
    }
    orders.push(("random order".to_string(), shuffled(steps, rng)));
    for member in array(case, "members")? {
        for (name, order) in &orders {
            let place = format!("{} in {name}", text(member, "name")?);
            Follower::new(case, suite, provider, member).at(&place)?.follow(order, rng).at(&place)?;
        }
    }
    Ok(true)
}

fn below(bound: usize, rng: &mut dyn CryptoRng) -> usize {
    (rng.next_u64() % bound.max(1) as u64) as usize
}

/// Everything but `create` and `must_fail`, in any order at all.
fn shuffled(steps: &[Value], rng: &mut dyn CryptoRng) -> Vec<usize> {
    let mut order: Vec<_> = (1..steps.len()).filter(|i| steps[*i]["type"] != "must_fail").collect();
    for i in (1..order.len()).rev() {
        order.swap(i, below(i + 1, rng));
    }
    order
}

/// An order in which parents come before children and proposals before the commits of their epoch.
fn legal_order(steps: &[Value], rng: &mut dyn CryptoRng) -> Result<Vec<usize>, String> {
    let mut known = BTreeSet::from([text(&steps[0], "epoch")?]);
    let mut left = shuffled(steps, rng);
    let mut order = Vec::new();
    while !left.is_empty() {
        let proposed: BTreeSet<_> = left
            .iter()
            .filter(|i| steps[**i]["type"] == "proposal")
            .map(|i| steps[*i]["epoch"].as_str())
            .collect();
        let is_legal = |i: &usize| {
            let step = &steps[*i];
            step["epoch"].as_str().is_some_and(|epoch| known.contains(epoch))
                && !(step["type"] == "commit" && proposed.contains(&step["epoch"].as_str()))
        };
        let place = left.iter().position(is_legal).ok_or("steps: no legal order")?;
        let next = left.remove(place);
        known.extend(steps[next]["new_epoch"].as_str());
        order.push(next);
    }
    Ok(order)
}

/// One member who follows.
struct Follower<'a> {
    case: &'a Value,
    member: &'a Value,
    name: &'a str,
    suite: Suite,
    config: Config,
    now: Time,
    group: Option<Group>,
    /// What storage holds; from time to time the group comes back from there.
    records: BTreeMap<Vec<u8>, Vec<u8>>,
    read: Vec<(Vec<u8>, Vec<u8>, String)>,
    removals: usize,
}

impl<'a> Follower<'a> {
    fn new(case: &'a Value, suite: Suite, provider: Provider, member: &'a Value) -> Result<Self, String> {
        let mut psks = BTreeMap::new();
        for psk in array(case, "external_psks")? {
            psks.insert(bytes(psk, "psk_id")?, bytes(psk, "psk")?);
        }
        let config = Config {
            provider,
            schedule: KeySchedule::Dmls,
            dmls_extension: field(case, "dmls_extension")?.as_bool().ok_or("dmls_extension: not a bool")?,
            max_lifetime: 101 * 366 * 86_400,
            psks: Arc::new(Psks(psks)),
            limits: Limits { resumption_psks: u64::MAX >> 1, ..Limits::default() },
            retention: Retention::while_told(),
            ..Config::new(AcceptAnyCredential)
        };
        Ok(Self {
            case,
            member,
            name: text(member, "name")?,
            suite,
            config,
            now: Time(integer(case, "time")?),
            group: None,
            records: BTreeMap::new(),
            read: Vec::new(),
            removals: 0,
        })
    }

    fn signer(&self) -> Result<SignatureKeyPair, String> {
        let signer =
            SignatureKeyPair::from_private(&self.suite, Secret::new(bytes(self.member, "signature_priv")?));
        signer.at("signature_priv")
    }

    fn follow(&mut self, order: &[usize], rng: &mut dyn CryptoRng) -> Judgement {
        let steps = array(self.case, "steps")?;
        if text(&steps[0], "by")? == self.name {
            self.create(&steps[0])?;
        }
        let mut waiting = Vec::new();
        for i in order {
            waiting.push(*i);
            // Steps of our own, and all before we joined, wait here; the group holds what else is too early.
            loop {
                let before = waiting.len();
                let mut still = Vec::new();
                for i in std::mem::take(&mut waiting) {
                    if !self.deliver(&steps[i]).at(format!("step {i}"))? {
                        still.push(i);
                    }
                }
                waiting = still;
                if waiting.len() == before {
                    break;
                }
            }
            if below(4, rng) == 0 {
                self.restart()?;
            }
        }
        self.check_all(steps)
    }

    fn begin(&mut self, founding: crate::group::Founding) {
        founding.changes().replay_into(&mut self.records);
        self.group = Some(founding.apply_unsaved());
    }

    fn create(&mut self, step: &Value) -> Judgement {
        let epoch = &field(self.case, "epochs")?[text(step, "epoch")?];
        let founding = replay::create(
            self.config.clone(),
            &bytes(epoch, "group_context")?,
            &bytes(epoch, "ratchet_tree")?,
            Secret::new(bytes(field(epoch, "secrets")?, "epoch_secret")?),
            Secret::new(bytes(field(step, "creator_epoch0_keys")?, "leaf_encryption_priv")?),
            self.signer()?,
            self.now,
        );
        self.begin(founding.at("create")?);
        Ok(())
    }

    fn join(&mut self, step: &Value) -> Judgement {
        let key_package = MlsMessage::from_bytes(&bytes(self.member, "key_package")?).at("key_package")?;
        let MlsMessage::KeyPackage(key_package) = key_package else {
            return Err("key_package: another".into());
        };
        same(
            "key_package_ref",
            key_package.reference(&self.suite).as_bytes(),
            &bytes(self.member, "key_package_ref")?,
        )?;
        let own = OwnKeyPackage::from_parts(
            &self.suite,
            *key_package,
            Secret::new(bytes(self.member, "init_priv")?),
            Secret::new(bytes(self.member, "encryption_priv")?),
            self.signer()?,
        );
        let tree = match field(step, "joiner_ratchet_tree")? {
            Value::Null => None,
            _ => Some(bytes(step, "joiner_ratchet_tree")?),
        };
        let welcome = bytes(step, "welcome")?;
        let (own, config, now) = (own.at("key_package")?, self.config.clone(), self.now);
        let founding = Group::join(&own, &welcome, tree.as_deref(), config, now);
        self.begin(founding.at("welcome")?);
        Ok(())
    }

    fn committer_secrets(step: &Value) -> Result<Option<CommitterSecrets>, String> {
        match field(step, "committer_secrets")? {
            Value::Null => Ok(None),
            secrets => Ok(Some(CommitterSecrets {
                leaf: Secret::new(bytes(secrets, "leaf_encryption_priv")?),
                first: Secret::new(bytes(secrets, "path_secret_0")?),
                init: None,
            })),
        }
    }

    fn join_external(&mut self, step: &Value) -> Judgement {
        let epoch = &field(self.case, "epochs")?[text(step, "new_epoch")?];
        let mut secrets = Self::committer_secrets(step)?.ok_or("committer_secrets: missing")?;
        secrets.init = Some(Secret::new(bytes(field(epoch, "secrets")?, "init_secret")?));
        let external = replay::external_commit(
            &self.config,
            self.now,
            &bytes(step, "group_info")?,
            &bytes(step, "message")?,
            secrets,
            self.signer()?,
        );
        let external = external.at("external commit")?;
        let Some(group) = &mut self.group else {
            self.begin(external.begin(self.config.clone()));
            return Ok(());
        };
        let step = external.rejoin(group).at("rejoin")?;
        step.changes().replay_into(&mut self.records);
        step.apply_unsaved();
        self.resume()
    }

    /// `false`: not yet.
    fn deliver(&mut self, step: &Value) -> Result<bool, String> {
        let kind = text(step, "type")?;
        let own = step["from"] == self.name;
        if kind == "commit" && array(step, "joiners")?.iter().any(|joiner| joiner == self.name) {
            return self.join(step).map(|()| true);
        }
        if kind == "external_commit" && own {
            return self.join_external(step).map(|()| true);
        }
        let Some(group) = &mut self.group else { return Ok(false) };
        let message = bytes(step, "message")?;
        let epoch = EpochId::from(bytes(step, "epoch")?);
        if kind == "must_fail" {
            return if step["for"] == self.name { self.must_fail(&message).map(|()| true) } else { Ok(true) };
        }
        if own && kind == "application" {
            return Ok(true);
        }
        if own {
            if group.epoch(&epoch).is_none() {
                return Ok(false);
            }
            let records = &mut self.records;
            if kind == "proposal" {
                let leaf = match &step["proposer_secrets"] {
                    Value::Null => None,
                    secrets => Some(Secret::new(bytes(secrets, "leaf_encryption_priv")?)),
                };
                let step = group.replay_proposal(&message, leaf).at("own proposal")?;
                step.changes().replay_into(records);
                step.apply_unsaved();
            } else {
                let secrets = Self::committer_secrets(step)?;
                let Ok(step) = group.replay_commit(&message, secrets, self.now) else { return Ok(false) };
                step.changes().replay_into(records);
                step.apply_unsaved();
            }
            return self.resume().map(|()| true);
        }
        let step = group.receive(&message, self.now).at("receive")?;
        step.changes().replay_into(&mut self.records);
        let outcome = step.apply_unsaved();
        self.note(outcome);
        self.resume().map(|()| true)
    }

    fn resume(&mut self) -> Judgement {
        while let Some(step) = self.group.as_mut().and_then(|group| group.resume(self.now)) {
            step.changes().replay_into(&mut self.records);
            let outcome = step.apply_unsaved().outcome.at("a held message")?;
            self.note(outcome);
        }
        Ok(())
    }

    fn note(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Application(message) => {
                let sender = message.sender.credential.identity().unwrap_or_default();
                let sender = String::from_utf8_lossy(sender).into_owned();
                self.read.push((message.data, message.authenticated_data, sender));
            }
            Outcome::Removed(_) => self.removals += 1,
            _ => {}
        }
    }

    fn must_fail(&mut self, message: &[u8]) -> Judgement {
        let Some(group) = &mut self.group else { return Err("must_fail: not a member".into()) };
        match group.receive(message, self.now) {
            Err(_) => Ok(()),
            Ok(step) => {
                equal("must_fail", step.outcome().clone(), Outcome::Duplicate)?;
                equal("must_fail: records that change", step.changes().len(), 0)
            }
        }
    }

    /// Forgets the group and comes back from storage.
    fn restart(&mut self) -> Judgement {
        let Some(group) = self.group.take() else { return Ok(()) };
        let mut everything = BTreeMap::new();
        group.snapshot().replay_into(&mut everything);
        equal("records: equal to a snapshot", everything == self.records, true)?;
        let loaded = Group::load(&self.records, self.config.clone()).at("load")?;
        let mut again = BTreeMap::new();
        loaded.snapshot().replay_into(&mut again);
        equal("a loaded group: equal to the one before", again == everything, true)?;
        self.group = Some(loaded);
        Ok(())
    }

    /// Everything that section 6 of the format asks for.
    fn check_all(&mut self, steps: &[Value]) -> Judgement {
        self.restart()?;
        let group = self.group.as_ref().ok_or("never joined")?;
        let full: Vec<_> =
            group.epochs().filter(|epoch| epoch.level() == Level::Full).map(|epoch| epoch.id()).collect();
        equal("holds_epochs", full.len(), integer(self.member, "holds_epochs")?)?;
        let epochs = field(self.case, "epochs")?.as_object().ok_or("epochs: not an object")?;
        for id in &full {
            let hex = hex::encode(id.as_bytes());
            let expected = epochs.get(&hex).ok_or(format!("dmls_epoch: {hex} is not in the transcript"))?;
            self.check_epoch(group, id, expected).at(&hex)?;
        }
        if full.len() == epochs.len() {
            same("highest_tag_head", group.head().id().as_bytes(), &bytes(self.case, "highest_tag_head")?)?;
        }
        let named = |step: &Value, key: &str| {
            step[key].as_array().is_some_and(|names| names.iter().any(|name| name == self.name))
        };
        let mut expected = Vec::new();
        for step in steps {
            if named(step, "followers") && group.epoch(&EpochId::from(bytes(step, "new_epoch")?)).is_none() {
                return Err(format!("new_epoch: {} was not reached", step["new_epoch_name"]));
            }
            if named(step, "receivers") {
                let message = (bytes(step, "plaintext")?, bytes(step, "authenticated_data")?);
                expected.push((message.0, message.1, text(step, "from")?.to_string()));
            }
        }
        let mut read = self.read.clone();
        read.sort();
        expected.sort();
        equal("application messages", read, expected)?;
        equal("removals", self.removals, steps.iter().filter(|step| named(step, "removed")).count())
    }

    fn check_epoch(&self, group: &Group, id: &EpochId, expected: &Value) -> Judgement {
        let epoch = group.full(id).at("epoch")?;
        let reference = group.epoch(id).ok_or("epoch: unknown")?;
        equal("epoch", epoch.context().epoch, integer(expected, "epoch")?)?;
        same("group_context", &epoch.context().to_bytes(), &bytes(expected, "group_context")?)?;
        let tag = &epoch.public().confirmation_tag;
        same("confirmation_tag", tag.as_bytes(), &bytes(expected, "confirmation_tag")?)?;
        let secrets = &epoch.secrets;
        same(
            "epoch_authenticator",
            secrets.epoch_authenticator.as_bytes(),
            &bytes(expected, "epoch_authenticator")?,
        )?;
        same("resumption_psk", secrets.resumption_psk.as_bytes(), &bytes(expected, "resumption_psk")?)?;
        let exporter = field(expected, "exporter")?;
        let exported = reference.export(
            text(exporter, "label")?,
            &bytes(exporter, "context")?,
            integer(exporter, "length")?,
        );
        same("exporter", exported.at("exporter")?.as_bytes(), &bytes(exporter, "secret")?)?;
        same("ratchet_tree", &epoch.public().tree.to_bytes(), &bytes(expected, "ratchet_tree")?)?;
        let members = reference.members().ok_or("members: unknown")?;
        let members: Vec<_> = members
            .iter()
            .map(|m| (u64::from(m.leaf.0), m.credential.identity().map(<[u8]>::to_vec).unwrap_or_default()))
            .collect();
        let mut named = Vec::new();
        for member in array(expected, "members")? {
            named.push((integer(member, "leaf_index")?, text(member, "name")?.as_bytes().to_vec()));
        }
        equal("members", members, named)
    }
}
