//! Joining by a Welcome (RFC 9420 s12.4.3.1).

use crate::codec::Decode;
use crate::crypto::{Secret, Suite};
use crate::error::{Error, Rule, Unsupported};
use crate::identity::OwnKeyPackage;
use crate::key_schedule::{EpochSecret, Expanded, JoinerSecret, PskLookup};
use crate::message::{
    GroupInfo, GroupSecrets, PreSharedKeyId, Psk, ResumptionPskUsage, Welcome, WelcomeKeys,
};
use crate::registry::{ExtensionType, ProtocolVersion};
use crate::tree::{LeafIndex, PrivateTree, RatchetTree};

use super::public::check_context_extensions;
use super::{Epoch, PublicEpoch, Rules};

/// Processes a Welcome for one of our key packages; also gives the psk that ties the group to an older one (s11.2, s11.3). `tree` is needed where the GroupInfo has none.
pub(crate) fn join(
    rules: Rules<'_>,
    own: &OwnKeyPackage,
    welcome: &Welcome,
    tree: Option<&[u8]>,
    psks: PskLookup<'_>,
) -> Result<(Epoch, Option<Psk>), Error> {
    let code = welcome.cipher_suite;
    if code != own.key_package.cipher_suite {
        return Err(Rule::WelcomeRecipient.into());
    }
    let suite = rules.config.provider.suite(code).ok_or(Unsupported::CipherSuite(code))?;
    let secrets = open_group_secrets(&suite, own, welcome)?;
    check_psks(&secrets.psks)?;
    let psk = psks.psk_secret(&suite, &secrets.psks)?;
    let intermediate = secrets.joiner_secret.with_psk(&suite, &psk);
    let keys = WelcomeKeys::derive(&suite, &intermediate.welcome_secret(&suite))?;
    let plaintext = keys.open(&suite, &welcome.encrypted_group_info).map_err(|_| Rule::WelcomeGroupInfo)?;
    let group_info = GroupInfo::from_secret(&plaintext)?;
    if secrets.psks.iter().any(is_successor_psk) && group_info.group_context.epoch != 1 {
        return Err(Rule::WelcomePsk.into());
    }

    let public = verify_group_info(rules, suite, &group_info, tree)?;
    let (leaf, node) = public
        .tree
        .leaves()
        .find(|(_, leaf)| **leaf == own.key_package.leaf_node)
        .ok_or(Rule::WelcomeLeaf)?;
    check_support(&public, node)?;
    let private = PrivateTree::from_welcome(
        &suite,
        &public.tree,
        leaf,
        own.encryption_private.duplicate(),
        group_info.signer,
        secrets.path_secret.as_ref(),
    )?;
    let expanded = enter(rules, &public, intermediate.epoch_secret(&suite, &public.context))?;
    log_joiner(rules, &secrets.joiner_secret, &expanded);
    let successor = secrets.psks.iter().find(|id| is_successor_psk(id)).map(|id| id.psk.clone());
    Ok((Epoch::new(public, expanded, private, own.signer.clone(), None), successor))
}

fn log_joiner(rules: Rules<'_>, joiner: &JoinerSecret, expanded: &Expanded) {
    rules.config.log("joiner_secret", joiner.as_bytes());
    rules.config.log("dmls_epoch", expanded.id.as_bytes());
}

fn open_group_secrets(suite: &Suite, own: &OwnKeyPackage, welcome: &Welcome) -> Result<GroupSecrets, Error> {
    let reference = own.reference(suite);
    let entry = welcome.secrets.iter().find(|s| s.new_member == reference).ok_or(Rule::WelcomeRecipient)?;
    let plaintext: Secret = suite
        .decrypt_with_label(
            &own.init_private,
            &own.key_package.init_key,
            "Welcome",
            &welcome.encrypted_group_info,
            &entry.encrypted_group_secrets,
        )
        .map_err(|_| Rule::WelcomeSecrets)?;
    Ok(GroupSecrets::from_bytes(plaintext.as_bytes())?)
}

/// Whether a psk leads from an old group into this one (reinit, branch).
pub(crate) fn is_successor_psk(id: &PreSharedKeyId) -> bool {
    matches!(id.psk, Psk::Resumption { usage: ResumptionPskUsage::ReInit | ResumptionPskUsage::Branch, .. })
}

fn check_psks(psks: &[PreSharedKeyId]) -> Result<(), Rule> {
    let successors = psks.iter().filter(|id| is_successor_psk(id)).count();
    if successors > 1 { Err(Rule::WelcomePsk) } else { Ok(()) }
}

/// Verifies everything public about a GroupInfo: tree, leaves, signature, extensions.
pub(crate) fn verify_group_info(
    rules: Rules<'_>,
    suite: Suite,
    group_info: &GroupInfo,
    tree: Option<&[u8]>,
) -> Result<PublicEpoch, Error> {
    let context = &group_info.group_context;
    if context.version != ProtocolVersion::MLS10 || context.cipher_suite != suite.code() {
        return Err(Rule::GroupInfoSuite.into());
    }
    check_context_extensions(rules, &context.group_id, &context.extensions)?;
    let bytes = tree.or(group_info.extensions.data(ExtensionType::RATCHET_TREE)).ok_or(Rule::TreeMissing)?;
    let tree = RatchetTree::from_bytes(bytes, rules.config.limits.members)?;
    if tree.tree_hash(&suite) != context.tree_hash {
        return Err(Rule::TreeHash.into());
    }
    let signer = tree.leaf(group_info.signer).ok_or(Rule::GroupInfoSigner)?;
    group_info.verify_signature(&suite, &signer.signature_key).map_err(|_| Rule::GroupInfoSignature)?;
    let public = PublicEpoch::new(suite, context.clone(), tree, group_info.confirmation_tag.clone());
    public.tree.validate(&public.validator(rules, &context.extensions))?;
    Ok(public)
}

/// A joiner must support every extension of the group (RFC 9420 s13.4).
fn check_support(public: &PublicEpoch, own: &crate::tree::LeafNode) -> Result<(), Error> {
    let supported = own.capabilities.without_grease();
    match public.context.extensions.types().find(|t| !supported.supports_extension(*t)) {
        Some(extension) => Err(Unsupported::Extension(extension).into()),
        None => Ok(()),
    }
}

/// Expands the epoch_secret and checks it against the confirmation tag.
fn enter(rules: Rules<'_>, public: &PublicEpoch, epoch_secret: EpochSecret) -> Result<Expanded, Error> {
    rules.config.log("epoch_secret", epoch_secret.as_bytes());
    let expanded = epoch_secret.expand(&public.suite, rules.config.schedule);
    let key = &expanded.secrets.confirmation_key;
    let expected = key.tag(&public.suite, &public.context.confirmed_transcript_hash);
    public.confirmation_tag.verify(&expected).map_err(|_| Rule::ConfirmationTag)?;
    Ok(expanded)
}

/// The leaf of a member with this signature key: how a client that lost its state finds its old self.
pub(crate) fn find_by_signature_key(
    public: &PublicEpoch,
    key: &crate::crypto::SignaturePublicKey,
) -> Option<LeafIndex> {
    public.tree.leaves().find(|(_, leaf)| leaf.signature_key == *key).map(|(index, _)| index)
}
