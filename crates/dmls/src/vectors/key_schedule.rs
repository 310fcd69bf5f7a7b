//! The key schedule: key-schedule, psk_secret, transcript-hashes, and the draft's own key-schedule.

use serde_json::Value;

use super::{At, Outcome, array, bytes, equal, field, integer, same, text};
use crate::codec::{Decode, Encode};
use crate::crypto::{Secret, Suite};
use crate::error::Rule;
use crate::extension::Extensions;
use crate::framing::{AuthenticatedContent, Content};
use crate::key_schedule::{
    CommitConfirmation, CommitSecret, ConfirmationKey, EpochKeys, EpochSecret, GroupContext, InitSecret,
    JoinerSecret, KeySchedule, NextInit, PskSecret, ResolvedPsk, confirmed_transcript_hash,
    interim_transcript_hash,
};
use crate::message::{PreSharedKeyId, Psk};
use crate::pprf::Pprf;
use crate::registry::ProtocolVersion;

/// One case of `key-schedule.json`: epochs, each from the init_secret of the one before (s8).
pub fn key_schedule(suite: &Suite, case: &Value) -> Outcome {
    let group_id = bytes(case, "group_id")?;
    let mut init = InitSecret(secret(case, "initial_init_secret")?);
    for (number, epoch) in (0..).zip(array(case, "epochs")?) {
        let context = GroupContext {
            version: ProtocolVersion::MLS10,
            cipher_suite: suite.code(),
            group_id: group_id.clone(),
            epoch: number,
            tree_hash: bytes(epoch, "tree_hash")?,
            confirmed_transcript_hash: bytes(epoch, "confirmed_transcript_hash")?,
            extensions: Extensions::new(),
        };
        init = key_schedule_epoch(suite, &context, &init, epoch).at(format_args!("epoch {number}"))?;
    }
    Ok(())
}

fn key_schedule_epoch(
    suite: &Suite,
    context: &GroupContext,
    init: &InitSecret,
    case: &Value,
) -> Result<InitSecret, String> {
    same("group_context", &context.to_bytes(), &bytes(case, "group_context")?)?;
    let commit = CommitSecret(secret(case, "commit_secret")?);
    let joiner = JoinerSecret::derive(suite, init, &commit, context);
    same("joiner_secret", joiner.as_bytes(), &bytes(case, "joiner_secret")?)?;
    let intermediate = joiner.with_psk(suite, &PskSecret(secret(case, "psk_secret")?));
    let welcome = intermediate.welcome_secret(suite);
    same("welcome_secret", welcome.as_bytes(), &bytes(case, "welcome_secret")?)?;
    let expanded = intermediate.epoch_secret(suite, context).expand(suite, KeySchedule::Rfc9420);

    let keys = expanded.keys;
    let secrets = &keys.secrets;
    for (name, found) in [
        ("sender_data_secret", keys.sender_data.as_bytes()),
        ("encryption_secret", keys.encryption.as_bytes()),
        ("exporter_secret", secrets.exporter.as_bytes()),
        ("epoch_authenticator", secrets.epoch_authenticator.as_bytes()),
        ("external_secret", secrets.external.as_bytes()),
        ("confirmation_key", expanded.confirmation_key.as_bytes()),
        ("membership_key", secrets.membership_key.as_bytes()),
        ("resumption_psk", secrets.resumption_psk.as_bytes()),
    ] {
        same(name, found, &bytes(case, name)?)?;
    }
    let external = secrets.external.key_pair(suite).at("external_pub")?;
    same("external_pub", external.public.as_bytes(), &bytes(case, "external_pub")?)?;
    let exporter = field(case, "exporter")?;
    let (context, length) = (bytes(exporter, "context")?, integer(exporter, "length")?);
    let exported = secrets.exporter.export(suite, text(exporter, "label")?, &context, length);
    same("exporter.secret", exported.as_bytes(), &bytes(exporter, "secret")?)?;

    let NextInit::Linear(next) = keys.next_init else {
        return Err("init_secret: the key schedule is not the RFC's".into());
    };
    same("init_secret", next.as_bytes(), &bytes(case, "init_secret")?)?;
    Ok(next)
}

/// One case of `psk_secret.json` (s8.4).
pub fn psk_secret(suite: &Suite, case: &Value) -> Outcome {
    let psk = |part: &Value| {
        let psk = Psk::External(bytes(part, "psk_id")?);
        let id = PreSharedKeyId { psk, psk_nonce: bytes(part, "psk_nonce")? };
        Ok(ResolvedPsk { id, secret: secret(part, "psk")? })
    };
    let psks = array(case, "psks")?.iter().map(psk).collect::<Result<Vec<_>, String>>()?;
    same("psk_secret", PskSecret::derive(suite, &psks).as_bytes(), &bytes(case, "psk_secret")?)
}

/// One case of `transcript-hashes.json` (s8.2).
pub fn transcript_hashes(suite: &Suite, case: &Value) -> Outcome {
    let commit_bytes = bytes(case, "authenticated_content")?;
    let commit = AuthenticatedContent::from_bytes(&commit_bytes).at("authenticated_content")?;
    same("authenticated_content, encoded again", &commit.to_bytes(), &commit_bytes)?;
    if !matches!(commit.content.content, Content::Commit(_)) {
        return Err("authenticated_content: not a commit".into());
    }
    let before = bytes(case, "interim_transcript_hash_before")?;
    let confirmed = confirmed_transcript_hash(suite, &before, &commit.transcript_input());
    same("confirmed_transcript_hash_after", &confirmed, &bytes(case, "confirmed_transcript_hash_after")?)?;
    let tag = commit.auth.confirmation_tag.as_ref().ok_or("authenticated_content: no confirmation_tag")?;
    let expected = ConfirmationKey(secret(case, "confirmation_key")?).tag(suite, &confirmed);
    tag.verify(&expected).at("confirmation_tag")?;
    let interim = interim_transcript_hash(suite, &confirmed, tag);
    same("interim_transcript_hash_after", &interim, &bytes(case, "interim_transcript_hash_after")?)
}

/// One case of `dmls/key-schedule.json`: a parent with some children already, and one more child (draft s4).
pub fn dmls_key_schedule(suite: &Suite, case: &Value) -> Outcome {
    let EpochKeys { id, mut next_init, .. } =
        EpochSecret(secret(case, "epoch_secret")?).expand(suite, KeySchedule::Dmls).keys;
    same("parent_dmls_epoch", id.as_bytes(), &bytes(case, "parent_dmls_epoch")?)?;
    let NextInit::Punctured(pprf) = &mut next_init else {
        return Err("parent_init_secret: the key schedule is not the draft's".into());
    };
    let fresh = Pprf::new(secret(case, "parent_init_secret")?);
    equal("parent_init_secret, in the records of a PPRF", pprf.records() == fresh.records(), true)?;
    for input in array(case, "punctured_earlier")? {
        let input = input.as_str().and_then(|input| hex::decode(input).ok()).ok_or("punctured_earlier")?;
        let (_, puncture) = pprf.evaluate(suite, &input).at("punctured_earlier")?;
        pprf.apply(puncture);
    }

    let last_path_secret = match field(case, "path_secret_n")? {
        Value::Null => None,
        _ => Some(secret(case, "path_secret_n")?),
    };
    let confirmation = CommitConfirmation::derive(suite, last_path_secret.as_ref());
    same("commit_confirmation", confirmation.as_bytes(), &bytes(case, "commit_confirmation")?)?;
    let commit = CommitSecret::derive(suite, last_path_secret.as_ref());
    same("commit_secret", commit.as_bytes(), &bytes(case, "commit_secret")?)?;

    let context = RawContext(bytes(case, "child_group_context")?);
    let input = confirmation.child_input(suite, &context);
    same("pprf_input", input.as_bytes(), &bytes(case, "pprf_input")?)?;
    let (found, puncture) = next_init.child(suite, &confirmation, &context).at("init_secret")?;
    same("init_secret", found.as_bytes(), &bytes(case, "init_secret")?)?;
    let found = JoinerSecret::derive(suite, &found, &commit, &context);
    same("joiner_secret", found.as_bytes(), &bytes(case, "joiner_secret")?)?;
    let intermediate = found.with_psk(suite, &PskSecret(secret(case, "psk_secret")?));
    let welcome = intermediate.welcome_secret(suite);
    same("welcome_secret", welcome.as_bytes(), &bytes(case, "welcome_secret")?)?;
    let child = intermediate.epoch_secret(suite, &context);
    same("child_epoch_secret", child.as_bytes(), &bytes(case, "child_epoch_secret")?)?;
    let child = child.expand(suite, KeySchedule::Dmls);
    same("child_dmls_epoch", child.keys.id.as_bytes(), &bytes(case, "child_dmls_epoch")?)?;

    next_init.apply(puncture.ok_or("init_secret: deriving it does not puncture")?);
    let again = next_init.child(suite, &confirmation, &context);
    equal("the same child again", again.err(), Some(Rule::Punctured))
}

/// Random bytes in place of a GroupContext.
struct RawContext(Vec<u8>);

impl Encode for RawContext {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0);
    }
}

fn secret(part: &Value, name: &str) -> Result<Secret, String> {
    bytes(part, name).map(Secret::new)
}
