//! Creating a group (RFC 9420 s11): epoch 0, in which the creator is alone.

use rand_core::CryptoRng;

use crate::codec::Encode;
use crate::config::Config;
use crate::credential::Operation;
use crate::crypto::{HpkePrivateKey, Suite};
use crate::error::{Error, Unsupported};
use crate::extension::{Extensions, ExternalSender, ExternalSenders, RequiredCapabilities};
use crate::framing::MlsMessage;
use crate::identity::Identity;
use crate::key_schedule::{EpochSecret, GroupContext};
use crate::registry::{ExtensionType, ProtocolVersion};
use crate::time::{Lifetime, Time};
use crate::tree::{LeafIndex, LeafNode, LeafValidator, PrivateTree, RatchetTree};

use super::join::check_own_support;
use super::public::check_context_extensions;
use super::{Epoch, Recipient, Rules};

/// What a new group is like.
#[derive(Clone, Debug, Default)]
pub struct NewGroupOptions {
    /// Its id; random if `None`.
    pub group_id: Option<Vec<u8>>,
    /// More extensions for its GroupContext. Those that the configuration asks for come by themselves.
    pub extensions: Extensions,
    /// Who may send proposals from outside (RFC 9420 s12.1.8.1).
    pub external_senders: Vec<ExternalSender>,
}

/// The GroupContext extensions of a new group, with those of R9 and R16 where the configuration asks for them. A ruleset in
/// the options stays.
fn context_extensions(
    rules: Rules<'_>,
    group_id: &[u8],
    options: NewGroupOptions,
) -> Result<Extensions, Error> {
    let mut extensions = options.extensions;
    if !options.external_senders.is_empty() {
        extensions.set_content(&ExternalSenders(options.external_senders));
    }
    if rules.config.wants_extension() {
        extensions.set(ExtensionType::DMLS, Vec::new());
        if let Some(ruleset) = rules.config.ruleset_to_create()
            && !extensions.contains(ExtensionType::RULESET)
        {
            extensions.set_content(&ruleset);
        }
        let mut required = extensions.content::<RequiredCapabilities>()?.unwrap_or_default();
        for marker in [ExtensionType::DMLS, ExtensionType::RULESET] {
            if extensions.contains(marker) && !required.extension_types.contains(&marker) {
                required.extension_types.push(marker);
            }
        }
        extensions.set_content(&required);
    }
    check_context_extensions(rules, group_id, &extensions)?;
    Ok(extensions)
}

/// A group that begins.
#[derive(Debug)]
pub(crate) struct NewGroup {
    pub epoch: Box<Epoch>,
    /// Its first MLSMessage(GroupInfo), with the tree: its hash is the CommitId of epoch 0 (R15). Made once and stored, because
    /// another signature would be another name.
    pub group_info: Vec<u8>,
}

/// Makes epoch 0 with a random epoch_secret, and the GroupInfo that names it.
pub(crate) fn create(
    config: &Config,
    now: Time,
    identity: &Identity,
    options: NewGroupOptions,
    rng: &mut dyn CryptoRng,
) -> Result<NewGroup, Error> {
    let rules = Rules::new(config, now);
    let suite = rules
        .config
        .provider
        .suite(identity.suite().code())
        .ok_or(Unsupported::CipherSuite(identity.suite().code()))?;
    let group_id = options.group_id.clone().unwrap_or_else(|| {
        let mut id = vec![0; 16];
        rng.fill_bytes(&mut id);
        id
    });
    let extensions = context_extensions(rules, &group_id, options)?;
    let lifetime = Lifetime::starting(now, rules.config.max_lifetime / 2);
    let (leaf, private) = identity.key_package_leaf(lifetime, rng)?;
    check_own_support(&leaf.capabilities, &extensions)?;
    let epoch_secret = EpochSecret::random(&suite, rng);
    rules.config.log("leaf_encryption_priv", private.as_bytes());
    rules.config.log("epoch_secret", epoch_secret.as_bytes());
    let context = GroupContext {
        version: ProtocolVersion::MLS10,
        cipher_suite: suite.code(),
        group_id,
        epoch: 0,
        // Known once the leaf is validated.
        tree_hash: Vec::new(),
        confirmed_transcript_hash: Vec::new(),
        extensions,
    };
    let mut epoch = first_epoch(rules, suite, context, leaf, private, epoch_secret, identity)?;
    rules.config.log("dmls_epoch", epoch.id.as_bytes());
    let group_info = MlsMessage::GroupInfo(Box::new(epoch.group_info(rules, Recipient::Anyone)?));
    epoch.commit_id = Some(group_info.commit_id(&suite));
    Ok(NewGroup { epoch: Box::new(epoch), group_info: group_info.to_bytes() })
}

fn first_epoch(
    rules: Rules<'_>,
    suite: Suite,
    mut context: GroupContext,
    leaf: LeafNode,
    private: HpkePrivateKey,
    epoch_secret: EpochSecret,
    identity: &Identity,
) -> Result<Epoch, Error> {
    // The creator's own leaf must be one that others accept.
    let validator = LeafValidator {
        suite: &suite,
        group_id: &context.group_id,
        extensions: &context.extensions,
        judge: rules.judge,
        max_lifetime: rules.config.max_lifetime,
        auth: &*rules.config.authentication,
    };
    let tree = RatchetTree::new(validator.in_tree(&leaf, LeafIndex(0), Operation::Create)?);
    context.tree_hash = tree.tree_hash(&suite).to_vec();
    let expanded = epoch_secret.expand(&suite, rules.config.schedule);
    let (confirmed, _) = expanded.confirm_own(&suite, context);
    let private = PrivateTree::new(LeafIndex(0), private);
    Ok(Epoch::new(confirmed, tree, private, identity.signer().clone(), None, None))
}
