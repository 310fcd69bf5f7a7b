//! Messages: message-protection, welcome, messages, and the draft's message-encoding.

use serde_json::Value;

use super::{At, Outcome, bytes, equal, integer, private_key, same};
use crate::codec::{Decode, Encode, Reader};
use crate::crypto::{HpkePrivateKey, Secret, SignaturePrivateKey, SignaturePublicKey, Suite, Tag};
use crate::error::Rule;
use crate::extension::Extensions;
use crate::framing::{
    AuthenticatedContent, Content, ContentType, FramedContent, MlsMessage, PrivateMessage, PublicMessage,
    Sender, SenderData,
};
use crate::key_schedule::{EpochId, GroupContext, KeySchedule, MembershipKey, PskSecret, SenderDataSecret};
use crate::message::{Commit, GroupInfo, GroupSecrets, Proposal, WelcomeKeys};
use crate::registry::{ProposalType, ProtocolVersion, WireFormat};
use crate::secret_tree::{RatchetLimits, SecretTree};
use crate::tree::{LeafIndex, RatchetTree};

const SENDER: LeafIndex = LeafIndex(1);
const LIMITS: RatchetLimits = RatchetLimits { max_forward: 16, max_kept: 16 };

/// One case of `message-protection.json`: both formats, given messages and our own (s6.2, s6.3).
pub fn message_protection(suite: &Suite, case: &Value) -> Outcome {
    let group = Protection::new(suite, case)?;
    let proposal = bytes(case, "proposal")?;
    let commit = bytes(case, "commit")?;
    let contents = [
        ("proposal", Content::Proposal(Proposal::from_bytes(&proposal).at("proposal")?)),
        ("commit", Content::Commit(Box::new(Commit::from_bytes(&commit).at("commit")?))),
        ("application", Content::Application(bytes(case, "application")?)),
    ];
    for (name, content) in contents {
        group.public(case, name, &content).at(name)?;
        group.private(case, name, &content).at(name)?;
    }
    Ok(())
}

struct Protection<'a> {
    suite: &'a Suite,
    context: GroupContext,
    signer: SignaturePrivateKey,
    verifier: SignaturePublicKey,
    encryption_secret: Secret,
    sender_data_secret: SenderDataSecret,
    membership_key: MembershipKey,
}

impl<'a> Protection<'a> {
    fn new(suite: &'a Suite, case: &Value) -> Result<Self, String> {
        Ok(Self {
            suite,
            context: GroupContext {
                version: ProtocolVersion::MLS10,
                cipher_suite: suite.code(),
                group_id: bytes(case, "group_id")?,
                epoch: integer(case, "epoch")?,
                tree_hash: bytes(case, "tree_hash")?,
                confirmed_transcript_hash: bytes(case, "confirmed_transcript_hash")?,
                extensions: Extensions::new(),
            },
            signer: SignaturePrivateKey::new(suite, private_key(suite, case, "signature_priv")?)
                .at("signature key")?,
            verifier: bytes(case, "signature_pub")?.into(),
            encryption_secret: Secret::new(bytes(case, "encryption_secret")?),
            sender_data_secret: SenderDataSecret(Secret::new(bytes(case, "sender_data_secret")?)),
            membership_key: MembershipKey(Secret::new(bytes(case, "membership_key")?)),
        })
    }

    /// PublicMessages; there is none with application data.
    fn public(&self, case: &Value, name: &str, content: &Content) -> Outcome {
        let own = PublicMessage::protect(
            self.suite,
            &self.membership_key,
            self.sign(WireFormat::PUBLIC_MESSAGE, content)?,
            &self.context,
        );
        if content.content_type() == ContentType::Application {
            return equal("protected as a PublicMessage", own.err(), Some(Rule::ApplicationInPublic));
        }
        let own = MlsMessage::PublicMessage(Box::new(own.at("own")?)).to_bytes();
        let given = bytes(case, &format!("{name}_pub"))?;
        for (whose, message) in [("given PublicMessage", given), ("own PublicMessage", own)] {
            self.open_public(&message, content).at(whose)?;
        }
        Ok(())
    }

    fn open_public(&self, message: &[u8], content: &Content) -> Outcome {
        let MlsMessage::PublicMessage(message) = MlsMessage::from_bytes(message).at("message")? else {
            return Err("not a PublicMessage".into());
        };
        let opened = message.unprotect(self.suite, &self.membership_key, &self.context).at("unprotecting")?;
        self.check(opened, content)
    }

    fn private(&self, case: &Value, name: &str, content: &Content) -> Outcome {
        let given = bytes(case, &format!("{name}_priv"))?;
        self.open_private(&given, content).at("given PrivateMessage")?;

        let tree = self.secret_tree();
        let ratchet = content.content_type().ratchet();
        let (generation, key, _) = tree.next_key(self.suite, SENDER, ratchet).at("next key")?;
        let sender_data = SenderData { leaf_index: SENDER, generation, reuse_guard: [1, 2, 3, 4] };
        let signed = self.sign(WireFormat::PRIVATE_MESSAGE, content)?;
        let own =
            PrivateMessage::protect(self.suite, &self.sender_data_secret, &signed, sender_data, &key, 64);
        let own = MlsMessage::PrivateMessage(own.at("protecting")?).to_bytes();
        self.open_private(&own, content).at("own PrivateMessage")
    }

    fn open_private(&self, message: &[u8], content: &Content) -> Outcome {
        let MlsMessage::PrivateMessage(message) = MlsMessage::from_bytes(message).at("message")? else {
            return Err("not a PrivateMessage".into());
        };
        let sender_data = message.sender_data(self.suite, &self.sender_data_secret).at("sender data")?;
        let (leaf, generation) = (sender_data.leaf_index, sender_data.generation);
        let ratchet = message.content_type.ratchet();
        let (key, _) =
            self.secret_tree().key(self.suite, leaf, ratchet, generation, LIMITS).at("message key")?;
        let opened = message.unprotect(self.suite, sender_data, &key).at("unprotecting")?;
        self.check(opened, content)
    }

    fn secret_tree(&self) -> SecretTree {
        SecretTree::new(self.encryption_secret.duplicate(), 2)
    }

    /// A commit's confirmation tag is that of an epoch which does not exist: any will do.
    fn sign(&self, wire_format: WireFormat, content: &Content) -> Result<AuthenticatedContent, String> {
        let framed = FramedContent {
            group_id: self.context.group_id.clone(),
            epoch: self.context.epoch,
            sender: Sender::Member(SENDER),
            authenticated_data: Vec::new(),
            content: content.clone(),
        };
        let mut signed =
            AuthenticatedContent::sign(self.suite, &self.signer, wire_format, framed, &self.context)
                .at("signing")?;
        if content.content_type() == ContentType::Commit {
            signed.auth.confirmation_tag = Some(Tag::from(vec![7; self.suite.nh()]));
        }
        Ok(signed)
    }

    fn check(&self, opened: AuthenticatedContent, content: &Content) -> Outcome {
        let verified = opened.verify(self.suite, &self.verifier, &self.context).at("signature")?;
        equal("sender", verified.get().content.sender, Sender::Member(SENDER))?;
        equal("content", &verified.get().content.content, content)
    }
}

/// One case of `welcome.json`, without pre-shared keys (s12.4.3.1).
pub fn welcome(suite: &Suite, case: &Value) -> Outcome {
    let MlsMessage::KeyPackage(key_package) = message(case, "key_package")? else {
        return Err("key_package: another message".into());
    };
    let MlsMessage::Welcome(welcome) = message(case, "welcome")? else {
        return Err("welcome: another message".into());
    };
    let reference = key_package.reference(suite);
    let entry = welcome.secrets.iter().find(|entry| entry.new_member == reference);
    let entry = entry.ok_or("welcome: it has no entry for the key package")?;
    let private = HpkePrivateKey(private_key(suite, case, "init_priv")?);
    let sealed = &entry.encrypted_group_secrets;
    let context = &welcome.encrypted_group_info;
    let plaintext = suite
        .decrypt_with_label(&private, &key_package.init_key, "Welcome", context, sealed)
        .at("encrypted_group_secrets")?;
    let secrets = GroupSecrets::from_bytes(plaintext.as_bytes()).at("group secrets")?;

    let intermediate = secrets.joiner_secret.with_psk(suite, &PskSecret::derive(suite, &[]));
    let keys = WelcomeKeys::derive(suite, &intermediate.welcome_secret(suite)).at("welcome keys")?;
    let plaintext = keys.open(suite, &welcome.encrypted_group_info).at("encrypted_group_info")?;
    let info = GroupInfo::from_secret(&plaintext).at("group info")?;
    info.verify_signature(suite, &bytes(case, "signer_pub")?.into()).at("signature of the group info")?;
    let context = info.group_context;
    let expanded = intermediate.epoch_secret(suite, &context).expand(suite, KeySchedule::Rfc9420);
    expanded.confirm(suite, context, &info.confirmation_tag).at("confirmation_tag").map(|_| ())
}

fn message(case: &Value, name: &str) -> Result<MlsMessage, String> {
    MlsMessage::from_bytes(&bytes(case, name)?).at(name)
}

/// One case of `messages.json`: each field decodes, and encodes to the same bytes again.
pub fn messages(case: &Value) -> Outcome {
    for (name, wire_format, content_type) in [
        ("mls_welcome", WireFormat::WELCOME, None),
        ("mls_group_info", WireFormat::GROUP_INFO, None),
        ("mls_key_package", WireFormat::KEY_PACKAGE, None),
        ("public_message_application", WireFormat::PUBLIC_MESSAGE, Some(ContentType::Application)),
        ("public_message_proposal", WireFormat::PUBLIC_MESSAGE, Some(ContentType::Proposal)),
        ("public_message_commit", WireFormat::PUBLIC_MESSAGE, Some(ContentType::Commit)),
        ("private_message", WireFormat::PRIVATE_MESSAGE, None),
    ] {
        let message = round_trip::<MlsMessage>(case, name)?;
        equal(name, message.wire_format(), wire_format)?;
        if let MlsMessage::PublicMessage(message) = &message {
            equal(name, Some(message.content.content.content_type()), content_type)?;
        }
    }
    for (name, proposal_type) in [
        ("add_proposal", ProposalType::ADD),
        ("update_proposal", ProposalType::UPDATE),
        ("remove_proposal", ProposalType::REMOVE),
        ("pre_shared_key_proposal", ProposalType::PSK),
        ("re_init_proposal", ProposalType::REINIT),
        ("external_init_proposal", ProposalType::EXTERNAL_INIT),
        ("group_context_extensions_proposal", ProposalType::GROUP_CONTEXT_EXTENSIONS),
    ] {
        // The file has the proposals without their type.
        let typed = [proposal_type.to_bytes(), bytes(case, name)?].concat();
        let proposal = Proposal::from_bytes(&typed).at(name)?;
        equal(name, proposal.proposal_type(), proposal_type)?;
        same(name, &proposal.to_bytes(), &typed)?;
    }
    round_trip::<GroupSecrets>(case, "group_secrets")?;
    round_trip::<Commit>(case, "commit")?;
    let tree = bytes(case, "ratchet_tree")?;
    same("ratchet_tree", &RatchetTree::from_bytes(&tree, 1 << 12).at("ratchet_tree")?.to_bytes(), &tree)
}

fn round_trip<T: Decode + Encode>(case: &Value, name: &str) -> Result<T, String> {
    let given = bytes(case, name)?;
    let value = T::from_bytes(&given).at(name)?;
    same(name, &value.to_bytes(), &given)?;
    Ok(value)
}

/// One case of `dmls/message-encoding.json`: a DMLSMessage around random bytes in place of the MLSMessage (draft s3).
pub fn message_encoding(case: &Value) -> Outcome {
    let (message, encoding) = (bytes(case, "message")?, bytes(case, "encoding")?);
    let epoch = EpochId::from(bytes(case, "dmls_epoch")?);
    equal("message_len", message.len(), integer(case, "message_len")?)?;
    let mut encoded = message.clone();
    epoch.encode(&mut encoded);
    same("encoding", &encoded, &encoding)?;
    let hash = crate::crypto::HashAlgorithm::Sha256.hash(&[&encoded]);
    same("sha256_of_encoding", &hash, &bytes(case, "sha256_of_encoding")?)?;

    let mut r = Reader::new(&encoding);
    same("message", r.take(message.len(), "the message").at("encoding")?, &message)?;
    equal("dmls_epoch", EpochId::decode(&mut r).at("encoding")?, epoch)?;
    r.finish().at("encoding")
}
