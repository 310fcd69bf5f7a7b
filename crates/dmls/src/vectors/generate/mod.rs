//! Makes transcripts: random histories of a group with forks, written down with all that others need to judge them.

mod document;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use rand_core::CryptoRng;
use serde_json::{Map, Value, json};

use super::At;
use crate::config::{Config, KeyLog, PreSharedKeys, Retention};
use crate::credential::Credential;
use crate::crypto::{Provider, Secret, Suite};
use crate::danger::AcceptAnyCredential;
use crate::epoch::NewGroupOptions;
use crate::group::{ExternalJoinOptions, Group, Outcome, SentCommit, Step};
use crate::identity::{Identity, OwnKeyPackage};
use crate::key_schedule::EpochId;
use crate::message::{Psk, ResumptionPskUsage};
use crate::registry::CipherSuite;
use crate::time::{Lifetime, Time};

/// The time of all transcripts, and the lifetime of all key packages (section 1 of the format).
const NOW: Time = Time(1_760_000_000);
const LIFETIME: Lifetime = Lifetime { not_before: Time(1_735_689_600), not_after: Time(4_891_363_200) };

const NAMES: [&str; 12] =
    ["alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan", "judy", "mallory", "niaj"];

/// Collects the secrets of the commit that is being made.
#[derive(Default)]
struct Log(Mutex<BTreeMap<&'static str, Vec<u8>>>);

impl KeyLog for Log {
    fn secret(&self, label: &'static str, secret: &[u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(label, secret.to_vec());
    }
}

impl Log {
    fn take(&self) -> BTreeMap<&'static str, Vec<u8>> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

struct Psks(Vec<(Vec<u8>, Vec<u8>)>);

impl PreSharedKeys for Psks {
    fn external(&self, id: &[u8]) -> Option<Secret> {
        self.0.iter().find(|(known, _)| known == id).map(|(_, psk)| Secret::new(psk.clone()))
    }
}

/// One who is a member at some time.
struct Player {
    identity: Identity,
    key_package: Option<OwnKeyPackage>,
    group: Option<Group>,
    commits: bool,
    sends: bool,
}

/// The world of one transcript.
struct World<'r> {
    suite: Suite,
    config: Config,
    rng: &'r mut dyn CryptoRng,
    log: Arc<Log>,
    psks: Arc<Psks>,
    players: Vec<Player>,
    steps: Vec<Value>,
    epochs: Map<String, Value>,
    /// In the order of creation.
    ids: Vec<EpochId>,
}

/// Makes the transcript of a seeded generator. `None`: the provider lacks the suite.
pub fn generate(
    provider: Provider,
    suite: CipherSuite,
    name: &str,
    rng: &mut dyn CryptoRng,
) -> Result<Option<Value>, String> {
    let Some(suite) = provider.suite(suite) else { return Ok(None) };
    let mut flip = || rng.next_u32() & 1 == 1;
    let (encrypt_handshake, ratchet_tree_in_welcome, dmls_extension) =
        (flip(), flip() || flip(), flip() || flip());
    let log = Arc::new(Log::default());
    let psks = Arc::new(Psks((0..2).map(|_| (random(8, rng), random(32, rng))).collect()));
    let config = Config {
        provider,
        dmls_extension,
        encrypt_handshake,
        // Newcomers join by external commits, and there the format knows no other rules than RFC 9420's.
        ruleset: None,
        offer_external_joins: true,
        ratchet_tree_in_welcome,
        max_lifetime: 101 * 366 * 86_400,
        psks: psks.clone(),
        key_log: Some(log.clone()),
        retention: Retention::while_told(),
        ..Config::new(AcceptAnyCredential)
    };
    let mut world = World {
        suite,
        config,
        rng,
        log,
        psks,
        players: Vec::new(),
        steps: Vec::new(),
        epochs: Map::new(),
        ids: Vec::new(),
    };
    world.play()?;
    world.write(name).map(Some)
}

fn random(length: usize, rng: &mut dyn CryptoRng) -> Vec<u8> {
    let mut bytes = vec![0; length];
    rng.fill_bytes(&mut bytes);
    bytes
}

fn hex_of(bytes: &[u8]) -> Value {
    hex::encode(bytes).into()
}

fn or_null(bytes: Option<&Vec<u8>>) -> Value {
    bytes.map_or(Value::Null, |bytes| hex_of(bytes))
}

/// Applies a step for which nothing is stored.
fn apply<T>(step: Result<Step<'_, T>, crate::Error>, what: &str) -> Result<T, String> {
    step.at(what).map(Step::apply_unsaved)
}

impl World<'_> {
    fn below(&mut self, bound: usize) -> usize {
        (self.rng.next_u64() % bound.max(1) as u64) as usize
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        let place = self.below(from.len());
        from.get(place).cloned()
    }

    fn name(&self, player: usize) -> &'static str {
        NAMES[player % NAMES.len()]
    }

    fn new_player(&mut self, with_key_package: bool) -> Result<usize, String> {
        let name = self.name(self.players.len());
        let identity = Identity::generate(self.suite, Credential::basic(name), self.rng).at("identity")?;
        let identity = if self.config.dmls_extension { identity } else { identity.without_dmls() };
        let key_package = with_key_package
            .then(|| identity.key_package(LIFETIME, self.rng))
            .transpose()
            .at("key package")?;
        self.players.push(Player { identity, key_package, group: None, commits: false, sends: false });
        Ok(self.players.len() - 1)
    }

    fn group(&mut self, player: usize) -> Result<&mut Group, String> {
        self.players[player].group.as_mut().ok_or_else(|| "a player without a group".to_string())
    }

    /// The players who hold an epoch.
    fn holders(&self, id: &EpochId) -> Vec<usize> {
        let holds = |player: &Player| player.group.as_ref().is_some_and(|group| group.full(id).is_ok());
        (0..self.players.len()).filter(|i| holds(&self.players[*i])).collect()
    }

    fn names(&self, players: &[usize]) -> Value {
        players.iter().map(|player| self.name(*player)).collect()
    }

    fn play(&mut self) -> Result<(), String> {
        self.create()?;
        // Somebody only listens: the first who is added neither commits nor sends.
        let first = self.ids[0].clone();
        self.commit(0, &first, 2)?;
        for _ in 0..16 + self.below(10) {
            let epoch = self.pick_epoch();
            let holders: Vec<_> = self.holders(&epoch).into_iter().filter(|player| *player != 1).collect();
            let Some(player) = self.pick(&holders) else { continue };
            let room = NAMES.len() - self.players.len();
            match self.below(11) {
                0..=2 => self.commit(player, &epoch, 0)?,
                3 if room > 1 => self.commit(player, &epoch, 1)?,
                4 if room > 0 => self.external_commit(None, &epoch)?,
                5 if self.players[player].group.is_some() => self.external_commit(Some(player), &epoch)?,
                6 | 7 => self.propose(player)?,
                _ => self.send(player, &epoch)?,
            }
        }
        self.must_fail()
    }

    /// Rather a young epoch, so that branches grow.
    fn pick_epoch(&mut self) -> EpochId {
        let count = self.ids.len();
        let (one, other) = (self.below(count), self.below(count));
        self.ids[one.max(other)].clone()
    }

    fn create(&mut self) -> Result<(), String> {
        let creator = self.new_player(false)?;
        let identity = self.players[creator].identity.clone();
        let config = self.config.clone();
        let options = NewGroupOptions { group_id: Some(random(16, self.rng)), ..Default::default() };
        let group = Group::create(&identity, options, config, NOW, self.rng).at("create")?.apply_unsaved();
        let secrets = self.log.take();
        let id = group.head().id().clone();
        self.players[creator].group = Some(group);
        self.players[creator].commits = true;
        self.describe(creator, &id, None, &secrets, false)?;
        self.steps.push(json!({
            "type": "create",
            "by": self.name(creator),
            "epoch": hex_of(id.as_bytes()),
            "creator_epoch0_keys": { "leaf_encryption_priv": or_null(secrets.get("leaf_encryption_priv")) },
        }));
        Ok(())
    }

    /// A commit of `player` in `epoch`, with adds, sometimes a remove and pre-shared keys, and the stored proposals.
    fn commit(&mut self, player: usize, epoch: &EpochId, adds: usize) -> Result<(), String> {
        let joiners = (0..adds).map(|_| self.new_player(true)).collect::<Result<Vec<_>, _>>()?;
        let (external, resumption) = (self.below(4) == 0, adds == 0 && self.below(4) == 0);
        let external = external.then(|| self.psks.0[0].0.clone());
        let resumption = if resumption { self.common_ancestor(epoch) } else { None };
        let removed = if self.below(4) == 0 { self.pick_removed(player, epoch)? } else { None };
        let key_packages: Vec<_> = joiners
            .iter()
            .filter_map(|j| self.players[*j].key_package.as_ref())
            .map(|k| k.key_package.clone())
            .collect();
        let Self { players, rng, log, .. } = self;
        log.take();
        let group = players[player].group.as_mut().ok_or("a player without a group")?;
        let group_id = group.id().to_vec();
        let mut builder = group.commit().at(epoch).authenticated_data(b"transcript".to_vec());
        for key_package in key_packages {
            builder = builder.add(key_package);
        }
        if let Some(leaf) = removed {
            builder = builder.remove(leaf);
        }
        if let Some(id) = external {
            builder = builder.psk(Psk::External(id));
        }
        if let Some(epoch) = resumption {
            let usage = ResumptionPskUsage::Application;
            builder = builder.psk(Psk::Resumption { usage, group_id, epoch });
        }
        let step = builder.stage(NOW, *rng).at("commit")?;
        let sent = step.apply_unsaved();
        let secrets = log.take();
        // Also where the branch has lost already: a transcript follows all of them.
        let invitation = self.group(player)?.bundle(&sent.id, NOW).at("bundle")?.welcome;
        apply(self.group(player)?.confirm(&sent.id), "confirm")?;
        self.players[player].commits = true;
        self.describe(player, &sent.epoch, Some(epoch), &secrets, false)?;
        let (followers, gone) = self.spread(player, epoch, &sent.message)?;
        let joiner_tree = self.welcome(player, &joiners, &sent, invitation.as_deref())?;
        self.steps.push(json!({
            "type": "commit",
            "kind": kind(&sent),
            "from": self.name(player),
            "epoch": hex_of(epoch.as_bytes()),
            "epoch_name": self.epoch_name(epoch),
            "message": hex_of(&sent.message),
            "new_epoch": hex_of(sent.epoch.as_bytes()),
            "new_epoch_name": self.epoch_name(&sent.epoch),
            "followers": self.names(&followers),
            "removed": self.names(&gone),
            "joiners": self.names(&joiners),
            "welcome": or_null(invitation.as_ref()),
            "joiner_ratchet_tree": or_null(joiner_tree.as_ref()),
            "committer_secrets": committer_secrets(&secrets),
        }));
        Ok(())
    }

    /// The number of an earlier epoch on the branch that all who hold `epoch` hold too.
    fn common_ancestor(&mut self, epoch: &EpochId) -> Option<u64> {
        let described = self.epochs.get(&hex::encode(epoch.as_bytes()))?;
        // A judge need not connect the epoch that it entered by an external commit with those that it had before.
        if described["secrets"]["parent_init_secret"].is_null() {
            return None;
        }
        let parent = described["parent_dmls_epoch"].as_str()?.to_string();
        let parent = EpochId::from(hex::decode(parent).ok()?);
        let all_hold = self.holders(epoch).iter().all(|player| self.holders(&parent).contains(player));
        all_hold.then(|| self.epochs.get(&hex::encode(parent.as_bytes()))?["epoch"].as_u64()).flatten()
    }

    fn pick_removed(
        &mut self,
        player: usize,
        epoch: &EpochId,
    ) -> Result<Option<crate::tree::LeafIndex>, String> {
        let group = self.group(player)?;
        let own = group.full(epoch).at("epoch")?.own_leaf();
        let members = group.epoch(epoch).and_then(|epoch| epoch.members()).ok_or("members: unknown")?;
        if members.len() < 4 {
            return Ok(None);
        }
        let others: Vec<_> = members.iter().map(|member| member.leaf).filter(|leaf| *leaf != own).collect();
        Ok(self.pick(&others))
    }

    /// Delivers a commit to all who hold its epoch: who follows, and who is removed.
    fn spread(
        &mut self,
        from: usize,
        epoch: &EpochId,
        message: &[u8],
    ) -> Result<(Vec<usize>, Vec<usize>), String> {
        let (mut followers, mut removed) = (Vec::new(), Vec::new());
        for player in self.holders(epoch).into_iter().filter(|player| *player != from) {
            match apply(self.group(player)?.receive(message, NOW), "receive a commit")? {
                Outcome::Commit(_) => followers.push(player),
                Outcome::Removed(_) => removed.push(player),
                other => return Err(format!("a commit led to {other:?}")),
            }
        }
        Ok((followers, removed))
    }

    /// Lets the joiners in. Gives the tree, where the Welcome does not hold it.
    fn welcome(
        &mut self,
        from: usize,
        joiners: &[usize],
        sent: &SentCommit,
        welcome: Option<&[u8]>,
    ) -> Result<Option<Vec<u8>>, String> {
        let Some(welcome) = welcome else { return Ok(None) };
        let tree = (!self.config.ratchet_tree_in_welcome)
            .then(|| {
                self.group(from)?
                    .epoch(&sent.epoch)
                    .and_then(|epoch| epoch.ratchet_tree())
                    .ok_or("no tree".to_string())
            })
            .transpose()?;
        for joiner in joiners {
            let config = self.config.clone();
            let key_package = self.players[*joiner].key_package.as_ref().ok_or("no key package")?;
            let founding = Group::join(key_package, welcome, tree.as_deref(), config, NOW).at("join")?;
            self.players[*joiner].group = Some(founding.apply_unsaved());
        }
        Ok(tree)
    }

    /// An external commit in `epoch`, of somebody new, or of a member who joins again and keeps its graph.
    fn external_commit(&mut self, again: Option<usize>, epoch: &EpochId) -> Result<(), String> {
        let holders = self.holders(epoch);
        let Some(helper) = self.pick(&holders) else { return Ok(()) };
        let group_info =
            self.group(helper)?.epoch(epoch).ok_or("an epoch")?.group_info(NOW).at("group info")?;
        let joiner = again.map_or_else(|| self.new_player(false), Ok)?;
        let (identity, config) = (self.players[joiner].identity.clone(), self.config.clone());
        let options = ExternalJoinOptions { epoch: Some(epoch.clone()), ..Default::default() };
        self.log.take();
        let (id, message) = match &mut self.players[joiner].group {
            Some(group) => {
                let step = group.rejoin(&identity, &group_info, options, NOW, self.rng);
                let sent = apply(step, "rejoin")?;
                apply(group.confirm(&sent.id), "confirm")?;
                (sent.epoch, sent.message)
            }
            empty => {
                let founding = Group::join_external(&identity, &group_info, options, config, NOW, self.rng)
                    .at("join")?;
                let message = founding.commit().ok_or("no commit")?.to_vec();
                let group = empty.insert(founding.apply_unsaved());
                (group.head().id().clone(), message)
            }
        };
        let secrets = self.log.take();
        self.players[joiner].commits = true;
        self.describe(joiner, &id, Some(epoch), &secrets, true)?;
        let (followers, gone) = self.spread(joiner, epoch, &message)?;
        self.steps.push(json!({
            "type": "external_commit",
            "from": self.name(joiner),
            "epoch": hex_of(epoch.as_bytes()),
            "epoch_name": self.epoch_name(epoch),
            "group_info": hex_of(&group_info),
            "message": hex_of(&message),
            "new_epoch": hex_of(id.as_bytes()),
            "new_epoch_name": self.epoch_name(&id),
            "followers": self.names(&followers),
            "removed": self.names(&gone),
            "committer_secrets": committer_secrets(&secrets),
        }));
        Ok(())
    }

    /// A proposal in the player's head: an update, a pre-shared key or a remove.
    fn propose(&mut self, player: usize) -> Result<(), String> {
        let which = self.below(3);
        let epoch = self.group(player)?.head().id().clone();
        let removed = if which == 2 { self.pick_removed(player, &epoch)? } else { None };
        let psk = Psk::External(self.psks.0[1].0.clone());
        let Self { players, rng, log, .. } = self;
        log.take();
        let group = players[player].group.as_mut().ok_or("a player without a group")?;
        let step = match (which, removed) {
            (0, _) => group.propose_psk(psk, NOW, *rng),
            (2, Some(leaf)) => group.propose_remove(leaf, NOW, *rng),
            _ => group.propose_update(NOW, *rng),
        };
        let sent = apply(step, "propose")?;
        let leaf = log.take().remove("proposer_leaf_encryption_priv");
        self.players[player].sends = true;
        for other in self.holders(&epoch).into_iter().filter(|other| *other != player) {
            apply(self.group(other)?.receive(&sent.message, NOW), "receive a proposal")?;
        }
        self.steps.push(json!({
            "type": "proposal",
            "from": self.name(player),
            "epoch": hex_of(epoch.as_bytes()),
            "epoch_name": self.epoch_name(&epoch),
            "message": hex_of(&sent.message),
            "proposer_secrets": leaf.map(|leaf| json!({ "leaf_encryption_priv": hex_of(&leaf) })),
        }));
        Ok(())
    }

    fn send(&mut self, player: usize, epoch: &EpochId) -> Result<(), String> {
        if !self.group(player)?.full(epoch).at("epoch")?.proposals.is_empty() {
            return Ok(());
        }
        let plaintext = format!("{} in {}", self.name(player), self.epoch_name(epoch));
        let Self { players, rng, .. } = self;
        let group = players[player].group.as_mut().ok_or("a player without a group")?;
        let message =
            apply(group.send(plaintext.as_bytes()).at(epoch).authenticated_data(*b"aad").seal(*rng), "send")?;
        self.players[player].sends = true;
        let receivers: Vec<_> = self.holders(epoch).into_iter().filter(|other| *other != player).collect();
        for other in &receivers {
            match apply(self.group(*other)?.receive(&message, NOW), "receive a message")? {
                Outcome::Application(read) if read.data == plaintext.as_bytes() => {}
                other => return Err(format!("a message led to {other:?}")),
            }
        }
        self.steps.push(json!({
            "type": "application",
            "from": self.name(player),
            "epoch": hex_of(epoch.as_bytes()),
            "epoch_name": self.epoch_name(epoch),
            "message": hex_of(&message),
            "plaintext": hex_of(plaintext.as_bytes()),
            "authenticated_data": hex_of(b"aad"),
            "receivers": self.names(&receivers),
        }));
        Ok(())
    }

    /// The commits once more, to one follower each: they must be refused.
    fn must_fail(&mut self) -> Result<(), String> {
        let commits: Vec<_> = self.steps.iter().filter(|s| s["followers"][0].is_string()).cloned().collect();
        for step in commits.iter().take(3) {
            let reason =
                format!("already processed: {} exists", step["new_epoch_name"].as_str().unwrap_or_default());
            self.steps.push(json!({
                "type": "must_fail",
                "for": step["followers"][0],
                "epoch": step["epoch"],
                "message": step["message"],
                "reason": reason,
            }));
        }
        Ok(())
    }
}

fn kind(sent: &SentCommit) -> String {
    let commit = &sent.commit;
    let parts =
        [("add", commit.added.len()), ("remove", commit.removed.len()), ("update", commit.updated.len())];
    let mut names: Vec<_> = parts.iter().filter(|(_, count)| *count > 0).map(|(name, _)| *name).collect();
    if commit.psks > 0 {
        names.push("psk");
    }
    if names.is_empty() { "self_update".into() } else { names.join("_") }
}

fn committer_secrets(secrets: &BTreeMap<&'static str, Vec<u8>>) -> Value {
    json!({
        "leaf_encryption_priv": or_null(secrets.get("leaf_encryption_priv")),
        "path_secret_0": or_null(secrets.get("path_secret_0")),
    })
}
