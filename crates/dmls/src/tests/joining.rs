//! Welcome and GroupInfo (RFC 9420 s12.4.3).

use super::refusals;
use super::world::{NOW, World};
use crate::credential::Credential;
use crate::error::Error;
use crate::identity::{Identity, OwnKeyPackage};
use crate::message::{GroupInfo, GroupSecrets, PreSharedKeyId, Psk, ResumptionPskUsage};
use crate::registry::{ExtensionType, ProtocolVersion};
use crate::time::Lifetime;
use crate::tree::LeafIndex;

refusals! { RULES:
    welcome_for_another => WelcomeRecipient, |world| {
        let (_, welcome) = world.invitation();
        let other = other_key_package(world);
        world.join(&other, welcome).unwrap_err()
    };
    welcome_secrets => WelcomeSecrets, |world| {
        let (own, mut welcome) = world.invitation();
        welcome.secrets[0].encrypted_group_secrets.ciphertext[0] ^= 1;
        world.join(&own, welcome).unwrap_err()
    };
    welcome_group_info => WelcomeGroupInfo, |world| {
        let (own, welcome) = world.invitation();
        // Sealed for it anew, as it is bound to what it should lead to.
        let secrets = world.group_secrets(&own, &welcome);
        let mut info = welcome.encrypted_group_info;
        info[0] ^= 1;
        let welcome = world.sealed_invitation(&own, &secrets, info);
        world.join(&own, welcome).unwrap_err()
    };
    welcome_of_two_successions => WelcomePsk, |world| {
        let psk = |epoch| PreSharedKeyId {
            psk: Psk::Resumption { usage: ResumptionPskUsage::Branch, group_id: b"old".to_vec(), epoch },
            psk_nonce: vec![0; 32],
        };
        refused_welcome(world, |secrets, _| secrets.psks = vec![psk(1), psk(2)])
    };
    welcome_without_our_leaf => WelcomeLeaf, |world| {
        let other = other_key_package(world);
        let (_, welcome) = world.forged_invitation(Some(&other), |_, _| ());
        world.join(&other, welcome).unwrap_err()
    };
    signer_is_blank => GroupInfoSigner, |world| refused_info(world, |info| info.signer = LeafIndex(9));
    group_info_signature => GroupInfoSignature, |world| {
        let mut info = world.group_info(|_| ());
        info.extensions.set(ExtensionType(0xF0FF), Vec::new());
        world.join_external(info).unwrap_err()
    };
    group_info_version => GroupInfoSuite, |world| {
        refused_info(world, |info| info.group_context.version = ProtocolVersion(2))
    };
    no_external_pub => GroupInfoExternalPub, |world| {
        refused_info(world, |info| info.extensions.remove(ExtensionType::EXTERNAL_PUB))
    };
    another_tree => TreeHash, |world| refused_info(world, |info| info.group_context.tree_hash[0] ^= 1);
    commit_id_of_another_length => GroupInfoName, |world| {
        refused_info(world, |info| info.extensions.set(ExtensionType::COMMIT_ID, vec![0; 31]))
    };
    no_tree => TreeMissing, |world| refused_info(world, |info| info.extensions.remove(ExtensionType::RATCHET_TREE));
}

fn other_key_package(world: &mut World) -> OwnKeyPackage {
    let other = Identity::generate(world.suite(), Credential::basic("frank"), &mut world.rng).unwrap();
    other.key_package(Lifetime::starting(NOW, 1000), &mut world.rng).unwrap()
}

fn refused_info(world: &mut World, change: impl FnOnce(&mut GroupInfo)) -> Error {
    let info = world.group_info(change);
    world.join_external(info).unwrap_err()
}

fn refused_welcome(world: &mut World, change: impl FnOnce(&mut GroupSecrets, &mut GroupInfo)) -> Error {
    let (own, welcome) = world.forged_invitation(None, change);
    world.join(&own, welcome).unwrap_err()
}
