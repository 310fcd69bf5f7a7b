//! Joining by a Welcome (RFC 9420 s12.4.3.1).

use crate::codec::Decode;
use crate::crypto::{Secret, Suite};
use crate::error::{Error, Rule, Unsupported};
use crate::extension::{Capabilities, Extensions};
use crate::identity::OwnKeyPackage;
use crate::key_schedule::PskLookup;
use crate::message::{
    GroupInfo, GroupSecrets, PreSharedKeyId, Psk, ResumptionPskUsage, Welcome, WelcomeKeys,
};
use crate::tree::{LeafIndex, PrivateTree};

use super::{Epoch, PublicEpoch, Rules};

/// An epoch that we joined by a Welcome.
pub(crate) struct Joined {
    pub epoch: Box<Epoch>,
    /// Ties the group to an older one (s11.2, s11.3).
    pub successor_of: Option<Psk>,
    /// Who signed the GroupInfo.
    pub inviter: LeafIndex,
}

/// Processes a Welcome for one of our key packages. `tree` is needed where the GroupInfo has none.
pub(crate) fn join(
    rules: Rules<'_>,
    own: &OwnKeyPackage,
    welcome: &Welcome,
    tree: Option<&[u8]>,
    psks: PskLookup<'_>,
) -> Result<Joined, Error> {
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

    let group_info = group_info.verify(rules, suite, tree)?;
    let public = group_info.public();
    let (leaf, node) = public
        .tree
        .leaves()
        .find(|(_, leaf)| **leaf == own.key_package.leaf_node)
        .ok_or(Rule::WelcomeLeaf)?;
    check_own_support(&node.capabilities, &public.context.extensions)?;
    let private = PrivateTree::from_welcome(
        &suite,
        &public.tree,
        leaf,
        own.encryption_private.duplicate(),
        group_info.signer(),
        secrets.path_secret.as_ref(),
    )?;
    let epoch_secret = intermediate.epoch_secret(&suite, &public.context);
    rules.config.log("joiner_secret", secrets.joiner_secret.as_bytes());
    rules.config.log("epoch_secret", epoch_secret.as_bytes());
    let expanded = epoch_secret.expand(&suite, rules.config.schedule);
    rules.config.log("dmls_epoch", expanded.keys.id.as_bytes());
    if group_info.dmls_epoch().is_some_and(|named| *named != expanded.keys.id) {
        return Err(Rule::EpochHeader.into());
    }
    let commit_id = group_info.commit_id().cloned();
    let inviter = group_info.signer();
    let public = group_info.into_public();
    let confirmed = expanded.confirm(&suite, public.context, &public.confirmation_tag)?;
    let epoch = Epoch::new(confirmed, public.tree, private, own.signer.clone(), None, commit_id);
    let successor_of = secrets.psks.iter().find(|id| is_successor_psk(id)).map(|id| id.psk.clone());
    Ok(Joined { epoch: Box::new(epoch), successor_of, inviter })
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

/// We must support every extension of the group (RFC 9420 s13.4), in truth: others take what we list as GREASE for supported (s13.5).
pub(super) fn check_own_support(own: &Capabilities, extensions: &Extensions) -> Result<(), Unsupported> {
    let supported = own.without_grease();
    match extensions.types().find(|t| !supported.supports_extension(*t)) {
        Some(extension) => Err(Unsupported::Extension(extension)),
        None => Ok(()),
    }
}

/// The leaf of a member with this signature key: how a client that lost its state finds its old self.
pub(crate) fn find_by_signature_key(
    public: &PublicEpoch,
    key: &crate::crypto::SignaturePublicKey,
) -> Option<LeafIndex> {
    public.tree.leaves().find(|(_, leaf)| leaf.signature_key == *key).map(|(index, _)| index)
}
