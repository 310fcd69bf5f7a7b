//! Passive clients: a whole member, through the public API (RFC 9420 s12.4).

use std::sync::Arc;

use serde_json::Value;

use super::{At, Outcome, array, bytes, equal, field, private_key, same};
use crate::codec::Decode;
use crate::config::{Config, Limits, PreSharedKeys, Retention};
use crate::crypto::{Secret, SignatureKeyPair, Suite};
use crate::danger::AcceptAnyCredential;
use crate::framing::MlsMessage;
use crate::group::{Group, Outcome as Received};
use crate::identity::OwnKeyPackage;
use crate::key_schedule::KeySchedule;
use crate::time::Time;

/// Every lifetime in the files contains it.
const NOW: Time = Time(1_700_000_000);

/// One case of `passive-client-*.json`.
pub fn passive_client(suite: &Suite, case: &Value) -> Outcome {
    let mut group = join(suite, case)?;
    let authenticator = bytes(case, "initial_epoch_authenticator")?;
    same("initial_epoch_authenticator", group.head().authenticator().at("authenticator")?, &authenticator)?;
    for (number, epoch) in array(case, "epochs")?.iter().enumerate() {
        follow(&mut group, epoch).at(format_args!("epochs[{number}]"))?;
    }
    Ok(())
}

fn join(suite: &Suite, case: &Value) -> Result<Group, String> {
    let MlsMessage::KeyPackage(key_package) =
        MlsMessage::from_bytes(&bytes(case, "key_package")?).at("key_package")?
    else {
        return Err("key_package: another message".into());
    };
    let secret = |name| private_key(suite, case, name);
    let signer = SignatureKeyPair::from_private(suite, secret("signature_priv")?).at("signature_priv")?;
    let (init, encryption) = (secret("init_priv")?, secret("encryption_priv")?);
    let own = OwnKeyPackage::from_parts(suite, *key_package, init, encryption, signer).at("private keys")?;
    let config = Config {
        provider: suite.provider(),
        schedule: KeySchedule::Rfc9420,
        max_lifetime: u64::MAX,
        psks: Arc::new(external_psks(case)?),
        limits: Limits { resumption_psks: 1 << 10, ..Limits::default() },
        retention: Retention::while_told(),
        ..Config::new(AcceptAnyCredential)
    };
    let tree = match field(case, "ratchet_tree")? {
        Value::Null => None,
        _ => Some(bytes(case, "ratchet_tree")?),
    };
    let founding = Group::join(&own, &bytes(case, "welcome")?, tree.as_deref(), config, NOW);
    Ok(founding.at("welcome")?.apply_unsaved())
}

/// The proposals of an epoch, then the commit.
fn follow(group: &mut Group, case: &Value) -> Outcome {
    for (number, proposal) in array(case, "proposals")?.iter().enumerate() {
        let received = receive(group, proposal).at(format_args!("proposals[{number}]"))?;
        if !matches!(received, Received::Proposal(_)) {
            return Err(format!("proposals[{number}]: {received:?}"));
        }
    }
    let before = group.head().id().clone();
    match receive(group, field(case, "commit")?).at("commit")? {
        Received::Commit(new) => equal("parent", new.parent, Some(before))?,
        other => return Err(format!("commit: {other:?}")),
    }
    same(
        "epoch_authenticator",
        group.head().authenticator().at("authenticator")?,
        &bytes(case, "epoch_authenticator")?,
    )
}

fn receive(group: &mut Group, message: &Value) -> Result<Received, String> {
    let message = message.as_str().and_then(|message| hex::decode(message).ok()).ok_or("not hex")?;
    let step = group.receive(&message, NOW).map_err(|e| e.to_string())?;
    Ok(step.apply_unsaved())
}

struct ExternalPsks(Vec<(Vec<u8>, Secret)>);

impl PreSharedKeys for ExternalPsks {
    fn external(&self, id: &[u8]) -> Option<Secret> {
        self.0.iter().find(|(known, _)| known == id).map(|(_, psk)| psk.duplicate())
    }
}

fn external_psks(case: &Value) -> Result<ExternalPsks, String> {
    let psk = |psk: &Value| Ok((bytes(psk, "psk_id")?, Secret::new(bytes(psk, "psk")?)));
    array(case, "external_psks")?.iter().map(psk).collect::<Result<_, String>>().map(ExternalPsks)
}
