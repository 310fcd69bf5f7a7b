//! A group with a victim, an insider who attacks, and an outsider.

use std::collections::BTreeMap;
use std::sync::Arc;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::codec::{Decode, Encode};
use crate::config::{Config, PreSharedKeys, Retention};
use crate::credential::{AuthenticationService, Credential, Presented};
use crate::crypto::{ProposalRef, Secret, SignaturePrivateKey, Suite};
use crate::epoch::NewGroupOptions;
use crate::error::{Error, Rule};
use crate::extension::{ExternalJoins, ExternalSender, Ruleset};
use crate::framing::{AuthenticatedContent, Content, FramedContent, MlsMessage, PublicMessage, Sender};
use crate::group::{CommitBuilder, DmlsMessage, Group, Outcome};
use crate::identity::{Identity, OwnKeyPackage};
use crate::key_package::KeyPackage;
use crate::key_schedule::{GroupContext, PskLookup};
use crate::message::{
    Commit, EncryptedGroupSecrets, GroupInfo, GroupSecrets, Proposal, ProposalOrRef, Welcome, WelcomeKeys,
};
use crate::public_group::PublicGroup;
use crate::registry::{CipherSuite, ExtensionType, WireFormat};
use crate::time::{Lifetime, Time};
use crate::tree::{LeafIndex, LeafNode, LeafNodeSource, LeafPlace, RatchetTree, UpdatePath, ValidLeaf};

pub(super) const NOW: Time = Time(1_800_000_000);
pub(super) const ALICE: LeafIndex = LeafIndex(0);
pub(super) const MALLORY: LeafIndex = LeafIndex(1);
pub(super) const BOB: LeafIndex = LeafIndex(2);
pub(super) const NOBODY: LeafIndex = LeafIndex(3);

/// What an observer can't judge: it has neither secrets nor the name of an epoch.
const NEEDS_MEMBERSHIP: &[Rule] = &[
    Rule::MembershipTag,
    Rule::ConfirmationTag,
    Rule::PskUnknown,
    Rule::PskCount,
    Rule::PathSecret,
    Rule::PathSecretKey,
    Rule::ExternalInitPlace,
    Rule::EpochHeader,
];

pub(super) struct World {
    pub rng: ChaCha20Rng,
    pub config: Config,
    /// The victim.
    pub alice: Group,
    /// Follows what is public.
    pub observer: PublicGroup,
    /// The proposals that Alice has accepted: an observer keeps none.
    proposals: Vec<(ProposalRef, Vec<u8>)>,
    /// A member who knows all secrets of the epoch, and does what she likes.
    pub mallory: Group,
    /// What the third member can do.
    pub bob: OwnKeyPackage,
    /// In the external_senders extension.
    pub server: Identity,
    /// Nobody yet.
    pub eve: Identity,
}

/// Knows everybody but the stranger.
struct Acquaintances;

impl AuthenticationService for Acquaintances {
    fn is_valid(&self, presented: &Presented<'_>) -> bool {
        presented.credential.identity() != Some(b"stranger")
    }
}

/// The keys of one old group, whatever the epoch.
struct OldKeys;

impl PreSharedKeys for OldKeys {
    fn external(&self, _: &[u8]) -> Option<Secret> {
        None
    }

    fn resumption(&self, group_id: &[u8], _: u64) -> Option<Secret> {
        (group_id == b"old").then(old_key)
    }
}

fn old_key() -> Secret {
    Secret::new(vec![9; 32])
}

/// Newcomers may join by external commits.
pub(super) fn anyone_may_join() -> Config {
    let ruleset = Ruleset { external_joins: ExternalJoins::ANYONE, ..Ruleset::default() };
    Config {
        ruleset: Some(ruleset),
        psks: Arc::new(OldKeys),
        retention: Retention::while_told(),
        ..Config::new(Acquaintances)
    }
}

/// All that a group would store.
pub(super) fn records(group: &Group) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut records = BTreeMap::new();
    group.snapshot().replay_into(&mut records);
    records
}

impl World {
    /// Alice created the group (epoch 0, retained) and added Mallory and Bob (epoch 1).
    pub(super) fn new() -> Self {
        Self::with(Config { encrypt_handshake: false, ..anyone_may_join() })
    }

    /// The same in a group of another configuration.
    pub(super) fn with(config: Config) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(7);
        let suite = config.provider.suite(CipherSuite::X25519_AES128).unwrap();
        let [alice, mallory, bob, server, eve] = ["alice", "mallory", "bob", "server", "eve"]
            .map(|name| Identity::generate(suite, Credential::basic(name), &mut rng).unwrap());
        let external = ExternalSender {
            signature_key: server.signer().public().clone(),
            credential: server.credential().clone(),
        };
        let options = NewGroupOptions { external_senders: vec![external], ..NewGroupOptions::default() };
        let mut alice =
            Group::create(&alice, options, config.clone(), NOW, &mut rng).unwrap().apply_unsaved();
        let [mallory, bob] =
            [mallory, bob].map(|one| one.key_package(Lifetime::starting(NOW, 1000), &mut rng).unwrap());
        let commit = alice.commit().add(mallory.key_package().clone()).add(bob.key_package().clone());
        let sent = commit.stage(NOW, &mut rng).unwrap().apply_unsaved();
        let welcome = alice.confirm(&sent.id).unwrap().apply_unsaved().welcome.unwrap();
        let mallory = Group::join(&mallory, &welcome, None, config.clone(), NOW).unwrap().apply_unsaved();
        let info = alice.head().group_info(NOW).unwrap();
        let observer = PublicGroup::begin(&info, None, config.clone()).unwrap().apply_unsaved();
        Self { rng, config, alice, observer, proposals: Vec::new(), mallory, bob, server, eve }
    }

    /// The same in a group with this ruleset, but for the format of handshakes.
    pub(super) fn ruled(ruleset: Ruleset) -> Self {
        Self::with(Config {
            encrypt_handshake: false,
            ruleset: Some(ruleset),
            retention: Retention::while_told(),
            ..Config::new(Acquaintances)
        })
    }

    /// What Alice says in a group with this rule for external joins to Eve, who comes from elsewhere and obeys no rules.
    pub(super) fn refused_newcomer(&mut self, external_joins: ExternalJoins) -> Error {
        // The same people: all worlds begin with one seed.
        let message = DmlsMessage::from_bytes(&self.external_commit(|_| ())).unwrap().message;
        let MlsMessage::PublicMessage(message) = message else { unreachable!("always public") };
        *self = Self::ruled(Ruleset { external_joins, ..Ruleset::default() });
        let key = self.eve.signer().private();
        self.refused(&self.public_from(Sender::NewMemberCommit, message.content.content, key))
    }

    pub(super) fn suite(&self) -> Suite {
        *self.alice.suite()
    }

    /// What Alice says to a message, which must change nothing. An observer says the same, as far as it can judge.
    pub(super) fn refused(&mut self, message: &[u8]) -> Error {
        let before = records(&self.alice);
        let answer = self.alice.receive(message, NOW);
        let error = answer.map(|step| step.outcome().clone()).expect_err("Alice must refuse it");
        assert_eq!(records(&self.alice), before);
        match self.observed(message, false) {
            Some(Err(seen)) => assert_eq!(seen, error),
            Some(Ok(())) => {
                assert!(NEEDS_MEMBERSHIP.iter().any(|rule| error == (*rule).into()), "{error} is seen");
            }
            None => {}
        }
        error
    }

    /// What an observer says to a message, which it follows or not; `None` to one that it can't look into.
    pub(super) fn observed(&mut self, message: &[u8], follow: bool) -> Option<Result<(), Error>> {
        let DmlsMessage { message: inner, .. } = DmlsMessage::from_bytes(message).ok()?;
        let MlsMessage::PublicMessage(public) = inner else { return None };
        let parent = self.observer.head().commit_id().clone();
        let Content::Commit(commit) = &public.content.content else {
            return Some(self.observer.check_proposal(&parent, message).map(|_| ()));
        };
        let mut proposals = Vec::new();
        for item in &commit.proposals {
            if let ProposalOrRef::Reference(reference) = item {
                proposals.push(self.proposals.iter().find(|(known, _)| known == reference)?.1.clone());
            }
        }
        let staged = self.observer.stage_unattested(&parent, message, &proposals);
        Some(staged.map(|step| {
            if follow {
                drop(step.apply_unsaved())
            }
        }))
    }

    /// Alice must accept the message, and so must an observer.
    pub(super) fn accepted(&mut self, message: &[u8]) -> Outcome {
        if let Some(seen) = self.observed(message, true) {
            seen.unwrap();
        }
        let outcome = self.alice.receive(message, NOW).unwrap().apply_unsaved();
        if let Outcome::Proposal(stored) = &outcome {
            let sent = DmlsMessage::from_bytes(message).unwrap().message.to_bytes();
            self.proposals.push((stored.reference.clone(), sent));
        }
        outcome
    }

    /// Alice and the observer follow Mallory.
    pub(super) fn mallory_commits(&mut self, build: impl FnOnce(CommitBuilder<'_>) -> CommitBuilder<'_>) {
        let sent = build(self.mallory.commit()).stage(NOW, &mut self.rng).unwrap().apply_unsaved();
        self.mallory.confirm(&sent.id).unwrap().apply_unsaved();
        assert!(matches!(self.accepted(&sent.message), Outcome::Commit(_)));
    }

    // Framing, without any check.

    pub(super) fn mallory_key(&self) -> &SignaturePrivateKey {
        self.mallory.head_epoch().signer.private()
    }

    /// A message as it travels, of the epoch in which Mallory is.
    pub(super) fn wrap(&self, message: MlsMessage) -> Vec<u8> {
        DmlsMessage { message, dmls_epoch: self.mallory.head().id().clone() }.to_bytes()
    }

    pub(super) fn framed(&self, sender: Sender, content: Content) -> FramedContent {
        let context = self.mallory.head_epoch().context();
        let (group_id, epoch) = (context.group_id.clone(), context.epoch);
        // R14: what comes from outside names the epoch under its signature.
        let is_outside = matches!(sender, Sender::External(_) | Sender::NewMemberProposal);
        let authenticated_data =
            if is_outside { self.mallory.head().id().as_bytes().to_vec() } else { Vec::new() };
        FramedContent { group_id, epoch, sender, authenticated_data, content }
    }

    /// Signed for the current epoch; a commit gets a confirmation tag, which is wrong.
    pub(super) fn signed(
        &self,
        format: WireFormat,
        framed: FramedContent,
        key: &SignaturePrivateKey,
    ) -> AuthenticatedContent {
        let context = self.mallory.head_epoch().context();
        let mut content = AuthenticatedContent::sign(&self.suite(), key, format, framed, context).unwrap();
        if let Content::Commit(_) = content.content.content {
            content.auth.confirmation_tag = Some(vec![0; self.suite().nh()].into());
        }
        content
    }

    /// In a PublicMessage with a valid membership tag, if the sender is one who has it.
    pub(super) fn public(&self, content: AuthenticatedContent) -> PublicMessage {
        let epoch = self.mallory.head_epoch();
        let key = &epoch.secrets.membership_key;
        PublicMessage::protect(&self.suite(), key, content, epoch.context()).unwrap()
    }

    /// In a PrivateMessage with the next key of Mallory's handshake ratchet, which stays the next one.
    pub(super) fn private(&mut self, content: AuthenticatedContent) -> MlsMessage {
        let epoch = self.mallory.head_epoch();
        epoch.protect(&self.config, content, &mut self.rng).unwrap().message
    }

    /// Signed by whoever, from whomever, in a PublicMessage.
    pub(super) fn public_from(
        &self,
        sender: Sender,
        content: impl Into<Content>,
        key: &SignaturePrivateKey,
    ) -> Vec<u8> {
        let framed = self.framed(sender, content.into());
        let message = self.public(self.signed(WireFormat::PUBLIC_MESSAGE, framed, key));
        self.wrap(MlsMessage::PublicMessage(Box::new(message)))
    }

    /// What Mallory says.
    pub(super) fn mallory_says(&self, content: impl Into<Content>) -> Vec<u8> {
        self.public_from(Sender::Member(MALLORY), content, self.mallory_key())
    }

    /// Her commit of proposals by value, without a path: proposals are judged before that is missed.
    pub(super) fn refused_commit(&mut self, proposals: impl IntoIterator<Item = Proposal>) -> Error {
        let commit = commit(proposals);
        self.refused(&self.mallory_says(commit))
    }

    pub(super) fn refused_proposal(&mut self, proposal: Proposal) -> Error {
        self.refused(&self.mallory_says(proposal))
    }

    /// The external commit by which Eve joins, changed and signed again.
    pub(super) fn external_commit(&mut self, change: impl FnOnce(&mut Commit)) -> Vec<u8> {
        let info = self.alice.head().group_info(NOW).unwrap();
        let founding = Group::join_external(
            &self.eve,
            &info,
            Default::default(),
            self.config.clone(),
            NOW,
            &mut self.rng,
        );
        let sent = DmlsMessage::from_bytes(founding.unwrap().commit().unwrap()).unwrap();
        let MlsMessage::PublicMessage(mut sent) = sent.message else { unreachable!("always public") };
        let Content::Commit(commit) = &mut sent.content.content else { unreachable!("it is a commit") };
        let before = commit.clone();
        change(commit);
        if *commit == before {
            return self.wrap(MlsMessage::PublicMessage(sent));
        }
        let key = self.eve.signer().private();
        let message = self.public(self.signed(WireFormat::PUBLIC_MESSAGE, sent.content, key));
        self.wrap(MlsMessage::PublicMessage(Box::new(message)))
    }

    // Leaves, each signed as it should be after it was changed.

    /// Mallory's commit with a path, changed.
    pub(super) fn path_commit(&mut self, change: impl FnOnce(&mut UpdatePath)) -> Vec<u8> {
        let signer = self.mallory.head_epoch().signer.clone();
        self.path_commit_by(signer.private(), |path, _| change(path))
    }

    /// The same, its leaf signed with any key. The change sees the provisional GroupContext, for which path secrets are sealed.
    pub(super) fn path_commit_by(
        &mut self,
        leaf_key: &SignaturePrivateKey,
        change: impl FnOnce(&mut UpdatePath, &GroupContext),
    ) -> Vec<u8> {
        let parent = self.mallory.head_epoch().context().clone();
        // Another Mallory sees where it leads.
        let mut other = Group::load(&records(&self.mallory), self.config.clone()).unwrap();
        let staged = other.commit().stage(NOW, &mut self.rng).unwrap().apply_unsaved();
        other.confirm(&staged.id).unwrap().apply_unsaved();
        let context = GroupContext {
            confirmed_transcript_hash: parent.confirmed_transcript_hash,
            ..other.head_epoch().context().clone()
        };
        let message = DmlsMessage::from_bytes(&staged.message).unwrap().message;
        let MlsMessage::PublicMessage(mut sent) = message else { unreachable!("handshakes are public here") };
        let Content::Commit(commit) = &mut sent.content.content else { unreachable!("it is a commit") };
        let path = commit.path.as_mut().unwrap();
        change(path, &context);
        self.sign_leaf(&mut path.leaf_node, MALLORY, leaf_key);
        let message = self.public(self.signed(WireFormat::PUBLIC_MESSAGE, sent.content, self.mallory_key()));
        self.wrap(MlsMessage::PublicMessage(Box::new(message)))
    }

    /// An update of Mallory's.
    pub(super) fn update(&mut self, change: impl FnOnce(&mut LeafNode)) -> Proposal {
        let signer = self.mallory.head_epoch().signer.clone();
        self.update_of(MALLORY, signer.private(), change)
    }

    /// Bob updates his leaf; the proposal as it is sent.
    pub(super) fn bobs_update(&mut self) -> Vec<u8> {
        let signer = self.bob.signer.clone();
        let update = self.update_of(BOB, signer.private(), |_| ());
        self.public_from(Sender::Member(BOB), update, signer.private())
    }

    fn update_of(
        &mut self,
        index: LeafIndex,
        key: &SignaturePrivateKey,
        change: impl FnOnce(&mut LeafNode),
    ) -> Proposal {
        let mut leaf = self.mallory.head_epoch().public().member(index).unwrap().clone();
        leaf.encryption_key = self.suite().generate_key_pair(&mut self.rng).unwrap().public;
        leaf.source = LeafNodeSource::Update;
        change(&mut leaf);
        self.sign_leaf(&mut leaf, index, key);
        Proposal::Update(Box::new(leaf))
    }

    /// An Add of Eve.
    pub(super) fn add(&mut self, change: impl FnOnce(&mut KeyPackage)) -> Proposal {
        let mut key_package = self.key_package().key_package().clone();
        change(&mut key_package);
        let key = self.eve.signer().private();
        self.sign_leaf(&mut key_package.leaf_node, NOBODY, key);
        key_package.sign(&self.suite(), key).unwrap();
        Proposal::Add(Box::new(key_package))
    }

    /// Eve's external commit, its path changed.
    pub(super) fn external_path(&mut self, change: impl FnOnce(&mut UpdatePath)) -> Vec<u8> {
        let (suite, eve) = (self.suite(), self.eve.clone());
        let group_id = self.mallory.id().to_vec();
        self.external_commit(|commit| {
            let path = commit.path.as_mut().unwrap();
            change(path);
            let place = LeafPlace { group_id: &group_id, leaf: NOBODY };
            path.leaf_node.sign(&suite, eve.signer().private(), place).unwrap();
        })
    }

    pub(super) fn sign_leaf(&self, leaf_node: &mut LeafNode, leaf: LeafIndex, key: &SignaturePrivateKey) {
        let place = LeafPlace { group_id: self.mallory.id(), leaf };
        leaf_node.sign(&self.suite(), key, place).unwrap();
    }

    /// What Eve says to a GroupInfo of Mallory's with another tree in it, whose tree hash fits.
    pub(super) fn refused_tree(&mut self, tree: Vec<u8>) -> Error {
        let hash = RatchetTree::from_bytes(&tree, 1 << 8).map(|tree| tree.tree_hash(&self.suite()).to_vec());
        let info = self.group_info(|info| {
            info.group_context.tree_hash = hash.unwrap_or_default();
            info.extensions.set(ExtensionType::RATCHET_TREE, tree);
        });
        self.join_external(info).unwrap_err()
    }

    /// The tree with Mallory's leaf changed; her commit made it, and so a parent hash binds nobody to it.
    pub(super) fn tree_with(&mut self, change: impl FnOnce(&mut LeafNode)) -> Vec<u8> {
        let tree = self.mallory.head_epoch().public().tree.clone();
        let mut leaf = tree.leaf(MALLORY).unwrap().clone();
        change(&mut leaf);
        self.sign_leaf(&mut leaf, MALLORY, self.mallory_key());
        tree.update(MALLORY, ValidLeaf::unchecked(&leaf)).to_bytes()
    }

    // Invitations.

    pub(super) fn key_package(&mut self) -> OwnKeyPackage {
        self.eve.key_package(Lifetime::starting(NOW, 1000), &mut self.rng).unwrap()
    }

    /// Mallory adds Eve.
    pub(super) fn invitation(&mut self) -> (OwnKeyPackage, Welcome) {
        let own = self.key_package();
        let commit = self.mallory.commit().add(own.key_package().clone());
        let sent = commit.stage(NOW, &mut self.rng).unwrap().apply_unsaved();
        let epoch = self.mallory.confirm(&sent.id).unwrap().apply_unsaved();
        let MlsMessage::Welcome(welcome) = MlsMessage::from_bytes(&epoch.welcome.unwrap()).unwrap() else {
            unreachable!("it is a Welcome")
        };
        (own, welcome)
    }

    /// Mallory's invitation, changed, signed again, and sealed again for the owner of `to` or else for Eve.
    pub(super) fn forged_invitation(
        &mut self,
        to: Option<&OwnKeyPackage>,
        change: impl FnOnce(&mut GroupSecrets, &mut GroupInfo),
    ) -> (OwnKeyPackage, Welcome) {
        let suite = self.suite();
        let (own, welcome) = self.invitation();
        let mut secrets = self.group_secrets(&own, &welcome);
        let keys = |secrets: &GroupSecrets| {
            let psk = PskLookup(&|_| Some(old_key())).psk_secret(&suite, &secrets.psks).unwrap();
            let welcome_secret = secrets.joiner_secret.with_psk(&suite, &psk).welcome_secret(&suite);
            WelcomeKeys::derive(&suite, &welcome_secret).unwrap()
        };
        let info = keys(&secrets).open(&suite, &welcome.encrypted_group_info).unwrap();
        let mut info = GroupInfo::from_secret(&info).unwrap();
        change(&mut secrets, &mut info);
        info.sign(&suite, self.mallory_key()).unwrap();
        let info = keys(&secrets).seal(&suite, &info).unwrap();
        let welcome = self.sealed_invitation(to.unwrap_or(&own), &secrets, info);
        (own, welcome)
    }

    pub(super) fn group_secrets(&self, own: &OwnKeyPackage, welcome: &Welcome) -> GroupSecrets {
        let secrets = self.suite().decrypt_with_label(
            &own.init_private,
            &own.key_package.init_key,
            "Welcome",
            &welcome.encrypted_group_info,
            &welcome.secrets[0].encrypted_group_secrets,
        );
        GroupSecrets::from_bytes(secrets.unwrap().as_bytes()).unwrap()
    }

    pub(super) fn sealed_invitation(
        &mut self,
        to: &OwnKeyPackage,
        secrets: &GroupSecrets,
        encrypted_group_info: Vec<u8>,
    ) -> Welcome {
        let suite = self.suite();
        let secret = secrets.to_secret();
        let key = &to.key_package.init_key;
        let sealed = suite
            .encrypt_with_label(key, "Welcome", &encrypted_group_info, secret.as_bytes(), &mut self.rng)
            .unwrap();
        let entry =
            EncryptedGroupSecrets { new_member: to.reference(&suite), encrypted_group_secrets: sealed };
        Welcome { cipher_suite: suite.code(), secrets: vec![entry], encrypted_group_info }
    }

    /// What Eve says to an invitation.
    pub(super) fn join(&self, own: &OwnKeyPackage, welcome: Welcome) -> Result<(), Error> {
        let welcome = MlsMessage::Welcome(welcome).to_bytes();
        Group::join(own, &welcome, None, self.config.clone(), NOW).map(|_| ())
    }

    /// A GroupInfo of Mallory's, changed and signed again.
    pub(super) fn group_info(&self, change: impl FnOnce(&mut GroupInfo)) -> GroupInfo {
        let info = MlsMessage::from_bytes(&self.mallory.head().group_info(NOW).unwrap()).unwrap();
        let MlsMessage::GroupInfo(mut info) = info else { unreachable!("it is a GroupInfo") };
        change(&mut info);
        info.sign(&self.suite(), self.mallory_key()).unwrap();
        *info
    }

    /// What Eve says to a GroupInfo by which she wants to join.
    pub(super) fn join_external(&mut self, info: GroupInfo) -> Result<(), Error> {
        let info = MlsMessage::GroupInfo(Box::new(info)).to_bytes();
        let options = Default::default();
        Group::join_external(&self.eve, &info, options, self.config.clone(), NOW, &mut self.rng).map(|_| ())
    }
}

/// Proposals by value, without a path.
pub(super) fn commit(proposals: impl IntoIterator<Item = Proposal>) -> Commit {
    let by_value = |proposal| ProposalOrRef::Proposal(Box::new(proposal));
    Commit { proposals: proposals.into_iter().map(by_value).collect(), path: None }
}

impl From<Proposal> for Content {
    fn from(proposal: Proposal) -> Self {
        Self::Proposal(proposal)
    }
}

impl From<Commit> for Content {
    fn from(commit: Commit) -> Self {
        Self::Commit(Box::new(commit))
    }
}

// Nothing of the above is refused because the forger can't do better.

#[test]
fn what_is_forged_without_a_change_is_accepted() {
    let mut world = World::new();
    let proposal = Proposal::Remove(BOB);
    assert!(matches!(world.accepted(&world.mallory_says(proposal.clone())), Outcome::Proposal(_)));
    let key = world.server.signer().private();
    let proposal = world.public_from(Sender::External(0), proposal, key);
    assert!(matches!(world.accepted(&proposal), Outcome::Proposal(_)));
    let commit = world.external_commit(|_| ());
    assert!(matches!(world.accepted(&commit), Outcome::Commit(_)));

    let mut world = World::new();
    let info = world.group_info(|_| ());
    world.join_external(info).unwrap();
    let (own, welcome) = world.forged_invitation(None, |_, _| ());
    world.join(&own, welcome).unwrap();
}
