//! The structs of RFC 9420 and the draft, field by field, with the names that the specifications give them.

use dmls::Certificate;
use dmls::GroupContext;
use dmls::codec::{Decode, DecodeError, Encode, Reader};
use dmls::crypto::HpkeCiphertext;
use dmls::extension::{
    Capabilities, Extension, Extensions, ExternalPub, ExternalSenders, RequiredCapabilities,
};
use dmls::framing::{
    Content, ContentType, FramedContent, FramedContentAuthData, MlsMessage, PrivateMessage, PublicMessage,
    Sender,
};
use dmls::message::{
    Commit, EncryptedGroupSecrets, GroupInfo, PreSharedKeyId, Proposal, ProposalOrRef, Psk, ReInit,
    ResumptionPskUsage, Welcome,
};
use dmls::registry::{ExtensionType, ProtocolVersion};
use dmls::tree::{LeafNode, LeafNodeSource, ParentNode, UpdatePath, UpdatePathNode};
use dmls::{Credential, EpochId, KeyPackage, Provider, Time};

use super::field::{Builder, Field};
use crate::term::hex;

/// Nothing in here fails but extensions: their content is opaque to the message around it.
type Done = Result<(), DecodeError>;

/// Decodes an MLSMessage or, if more follows, a DMLSMessage.
pub fn message(bytes: &[u8]) -> Result<Field, DecodeError> {
    let mut r = Reader::new(bytes);
    let message = MlsMessage::decode(&mut r)?;
    let is_wrapped = matches!(message, MlsMessage::PublicMessage(_) | MlsMessage::PrivateMessage(_));
    if r.is_empty() || !is_wrapped {
        r.finish()?;
        return Builder::root("MLSMessage", |b| mls_message(b, &message));
    }
    let in_epoch = |e: DecodeError| DecodeError { field: e.field.or(Some("DMLSMessage.dmls_epoch")), ..e };
    let epoch = EpochId::decode(&mut r).map_err(in_epoch)?;
    r.finish()?;
    Builder::root("DMLSMessage", |b| {
        b.nested("message", "MLSMessage", |b| mls_message(b, &message))?;
        b.opaque("dmls_epoch", "opaque<V>", epoch.as_bytes());
        Ok(())
    })
}

macro_rules! code {
    ($b:expr, $name:expr, $kind:literal, $code:expr) => {
        $b.code($name, $kind, 2, u64::from($code.0), $code.name())
    };
}

fn mls_message(b: &mut Builder, message: &MlsMessage) -> Done {
    code!(b, "version", "ProtocolVersion", ProtocolVersion::MLS10);
    code!(b, "wire_format", "WireFormat", message.wire_format());
    match message {
        MlsMessage::PublicMessage(m) => {
            b.nested("public_message", "PublicMessage", |b| public_message(b, m))?;
        }
        MlsMessage::PrivateMessage(m) => {
            b.nested("private_message", "PrivateMessage", |b| private_message(b, m))?;
        }
        MlsMessage::Welcome(m) => {
            b.nested("welcome", "Welcome", |b| welcome(b, m))?;
        }
        MlsMessage::GroupInfo(m) => {
            b.nested("group_info", "GroupInfo", |b| group_info(b, m))?;
        }
        MlsMessage::KeyPackage(m) => {
            let field = b.nested("key_package", "KeyPackage", |b| key_package(b, m))?;
            field.note = reference(m);
        }
        _ => {}
    }
    Ok(())
}

/// The name under which a Welcome refers to it.
fn reference(package: &KeyPackage) -> Option<String> {
    let suite = Provider::default().suite(package.cipher_suite)?;
    Some(format!("KeyPackageRef {}", hex(package.reference(&suite).as_bytes())))
}

fn public_message(b: &mut Builder, message: &PublicMessage) -> Done {
    b.nested("content", "FramedContent", |b| framed_content(b, &message.content))?;
    b.nested("auth", "FramedContentAuthData", |b| auth_data(b, &message.auth))?;
    if let Some(tag) = &message.membership_tag {
        b.opaque("membership_tag", "MAC", tag.as_bytes());
    }
    Ok(())
}

fn auth_data(b: &mut Builder, auth: &FramedContentAuthData) -> Done {
    b.opaque("signature", "opaque<V>", auth.signature.as_bytes());
    if let Some(tag) = &auth.confirmation_tag {
        b.opaque("confirmation_tag", "MAC", tag.as_bytes());
    }
    Ok(())
}

fn content_type(b: &mut Builder, content_type: ContentType) {
    let (number, name) = match content_type {
        ContentType::Application => (1, "application"),
        ContentType::Proposal => (2, "proposal"),
        ContentType::Commit => (3, "commit"),
    };
    b.code("content_type", "ContentType", 1, number, Some(name));
}

fn framed_content(b: &mut Builder, content: &FramedContent) -> Done {
    b.opaque("group_id", "opaque<V>", &content.group_id);
    b.number("epoch", "uint64", 8, content.epoch);
    b.nested("sender", "Sender", |b| sender(b, content.sender))?;
    b.opaque("authenticated_data", "opaque<V>", &content.authenticated_data);
    content_type(b, content.content.content_type());
    match &content.content {
        Content::Application(data) => b.opaque("application_data", "opaque<V>", data),
        Content::Proposal(inner) => {
            b.nested("proposal", "Proposal", |b| proposal(b, inner))?;
        }
        Content::Commit(inner) => {
            b.nested("commit", "Commit", |b| commit(b, inner))?;
        }
    }
    Ok(())
}

fn sender(b: &mut Builder, sender: Sender) -> Done {
    let mut kind = |number, name| b.code("sender_type", "SenderType", 1, number, Some(name));
    match sender {
        Sender::Member(leaf) => {
            kind(1, "member");
            b.number("leaf_index", "uint32", 4, leaf.0.into());
        }
        Sender::External(index) => {
            kind(2, "external");
            b.number("sender_index", "uint32", 4, index.into());
        }
        Sender::NewMemberProposal => kind(3, "new_member_proposal"),
        Sender::NewMemberCommit => kind(4, "new_member_commit"),
    }
    Ok(())
}

fn private_message(b: &mut Builder, message: &PrivateMessage) -> Done {
    b.opaque("group_id", "opaque<V>", &message.group_id);
    b.number("epoch", "uint64", 8, message.epoch);
    content_type(b, message.content_type);
    b.opaque("authenticated_data", "opaque<V>", &message.authenticated_data);
    b.opaque("encrypted_sender_data", "opaque<V>", &message.encrypted_sender_data);
    b.opaque("ciphertext", "opaque<V>", &message.ciphertext);
    Ok(())
}

fn welcome(b: &mut Builder, welcome: &Welcome) -> Done {
    code!(b, "cipher_suite", "CipherSuite", welcome.cipher_suite);
    b.vector("secrets", "EncryptedGroupSecrets<V>", &welcome.secrets, |b, place, secrets| {
        b.nested(item(place), "EncryptedGroupSecrets", |b| group_secrets(b, secrets)).map(|_| ())
    })?;
    b.opaque("encrypted_group_info", "opaque<V>", &welcome.encrypted_group_info);
    Ok(())
}

fn item(place: usize) -> String {
    format!("[{place}]")
}

fn group_secrets(b: &mut Builder, secrets: &EncryptedGroupSecrets) -> Done {
    b.opaque("new_member", "KeyPackageRef", secrets.new_member.as_bytes());
    let ciphertext = &secrets.encrypted_group_secrets;
    b.nested("encrypted_group_secrets", "HPKECiphertext", |b| hpke_ciphertext(b, ciphertext))?;
    Ok(())
}

fn hpke_ciphertext(b: &mut Builder, sealed: &HpkeCiphertext) -> Done {
    b.opaque("kem_output", "opaque<V>", sealed.kem_output.as_bytes());
    b.opaque("ciphertext", "opaque<V>", &sealed.ciphertext);
    Ok(())
}

fn group_info(b: &mut Builder, info: &GroupInfo) -> Done {
    b.nested("group_context", "GroupContext", |b| group_context(b, &info.group_context))?;
    extensions(b, &info.extensions)?;
    b.opaque("confirmation_tag", "MAC", info.confirmation_tag.as_bytes());
    b.number("signer", "uint32", 4, info.signer.0.into());
    b.opaque("signature", "opaque<V>", info.signature.as_bytes());
    Ok(())
}

fn group_context(b: &mut Builder, context: &GroupContext) -> Done {
    code!(b, "version", "ProtocolVersion", context.version);
    code!(b, "cipher_suite", "CipherSuite", context.cipher_suite);
    b.opaque("group_id", "opaque<V>", &context.group_id);
    b.number("epoch", "uint64", 8, context.epoch);
    b.opaque("tree_hash", "opaque<V>", &context.tree_hash);
    b.opaque("confirmed_transcript_hash", "opaque<V>", &context.confirmed_transcript_hash);
    extensions(b, &context.extensions)
}

fn key_package(b: &mut Builder, package: &KeyPackage) -> Done {
    code!(b, "version", "ProtocolVersion", package.version);
    code!(b, "cipher_suite", "CipherSuite", package.cipher_suite);
    b.opaque("init_key", "HPKEPublicKey", package.init_key.as_bytes());
    b.nested("leaf_node", "LeafNode", |b| leaf_node(b, &package.leaf_node))?;
    extensions(b, &package.extensions)?;
    b.opaque("signature", "opaque<V>", package.signature.as_bytes());
    Ok(())
}

fn leaf_node(b: &mut Builder, leaf: &LeafNode) -> Done {
    b.opaque("encryption_key", "HPKEPublicKey", leaf.encryption_key.as_bytes());
    b.opaque("signature_key", "SignaturePublicKey", leaf.signature_key.as_bytes());
    b.nested("credential", "Credential", |b| credential(b, &leaf.credential))?;
    b.nested("capabilities", "Capabilities", |b| capabilities(b, &leaf.capabilities))?;
    let mut source = |number, name| b.code("leaf_node_source", "LeafNodeSource", 1, number, Some(name));
    match &leaf.source {
        LeafNodeSource::KeyPackage(lifetime) => {
            source(1, "key_package");
            b.nested("lifetime", "Lifetime", |b| -> Done {
                b.number("not_before", "uint64", 8, lifetime.not_before.0).note = date(lifetime.not_before);
                b.number("not_after", "uint64", 8, lifetime.not_after.0).note = date(lifetime.not_after);
                Ok(())
            })?;
        }
        LeafNodeSource::Update => source(2, "update"),
        LeafNodeSource::Commit(parent_hash) => {
            source(3, "commit");
            b.opaque("parent_hash", "opaque<V>", parent_hash);
        }
    }
    extensions(b, &leaf.extensions)?;
    b.opaque("signature", "opaque<V>", leaf.signature.as_bytes());
    Ok(())
}

/// The day and time of seconds since 1970, until the year 9999.
fn date(time: Time) -> Option<String> {
    const DAY: u64 = 86_400;
    let (days, seconds) = (time.0 / DAY, time.0 % DAY);
    if days > 2_932_896 {
        return None;
    }
    // Days since 0000-03-01, so that the leap day is the last of a year; an era is 400 years.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = 400 * era + year + u64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    Some(format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC"))
}

fn credential(b: &mut Builder, credential: &Credential) -> Done {
    code!(b, "credential_type", "CredentialType", credential.credential_type());
    match credential {
        Credential::Basic(identity) => b.opaque("identity", "opaque<V>", identity),
        Credential::X509(chain) => {
            b.vector("certificates", "Certificate<V>", chain, |b, place, certificate| {
                let Certificate { cert_data } = certificate;
                let fill = |b: &mut Builder| -> Done {
                    b.opaque("cert_data", "opaque<V>", cert_data);
                    Ok(())
                };
                b.nested(item(place), "Certificate", fill).map(|_| ())
            })?;
        }
        _ => {}
    }
    Ok(())
}

macro_rules! codes {
    ($b:expr, $name:literal, $kind:literal, $codes:expr) => {
        $b.vector($name, concat!($kind, "<V>"), $codes, |b: &mut Builder, place, code| -> Done {
            code!(b, item(place), $kind, code);
            Ok(())
        })?
    };
}

fn capabilities(b: &mut Builder, capabilities: &Capabilities) -> Done {
    codes!(b, "versions", "ProtocolVersion", &capabilities.versions);
    codes!(b, "cipher_suites", "CipherSuite", &capabilities.cipher_suites);
    codes!(b, "extensions", "ExtensionType", &capabilities.extensions);
    codes!(b, "proposals", "ProposalType", &capabilities.proposals);
    codes!(b, "credentials", "CredentialType", &capabilities.credentials);
    Ok(())
}

fn extensions(b: &mut Builder, extensions: &Extensions) -> Done {
    let items: Vec<Extension> = extensions.iter().cloned().collect();
    b.vector("extensions", "Extension<V>", &items, |b, place, item_| {
        b.nested(item(place), "Extension", |b| extension(b, item_)).map(|_| ())
    })
}

fn extension(b: &mut Builder, extension: &Extension) -> Done {
    code!(b, "extension_type", "ExtensionType", extension.extension_type);
    let data = &extension.extension_data[..];
    let start = b.offset() + data.to_bytes().len() - data.len();
    // Offsets of errors count from the start of the message.
    let moved = |e: DecodeError| DecodeError { offset: start + e.offset, ..e };
    match extension.extension_type {
        ExtensionType::RATCHET_TREE => {
            let nodes = nodes(data).map_err(moved)?;
            b.inside("extension_data", "RatchetTree", data.len(), |b| ratchet_tree(b, &nodes))
        }
        ExtensionType::REQUIRED_CAPABILITIES => {
            let required = RequiredCapabilities::from_bytes(data).map_err(moved)?;
            b.inside("extension_data", "RequiredCapabilities", data.len(), |b| {
                codes!(b, "extension_types", "ExtensionType", &required.extension_types);
                codes!(b, "proposal_types", "ProposalType", &required.proposal_types);
                codes!(b, "credential_types", "CredentialType", &required.credential_types);
                Ok(())
            })
        }
        ExtensionType::EXTERNAL_PUB => {
            let external = ExternalPub::from_bytes(data).map_err(moved)?;
            b.inside("extension_data", "ExternalPub", data.len(), |b| {
                b.opaque("external_pub", "HPKEPublicKey", external.external_pub.as_bytes());
                Ok(())
            })
        }
        ExtensionType::EXTERNAL_SENDERS => {
            let senders = ExternalSenders::from_bytes(data).map_err(moved)?;
            b.inside("extension_data", "ExternalSenders", data.len(), |b| {
                b.vector("external_senders", "ExternalSender<V>", &senders.0, |b, place, sender| {
                    let fill = |b: &mut Builder| -> Done {
                        b.opaque("signature_key", "SignaturePublicKey", sender.signature_key.as_bytes());
                        b.nested("credential", "Credential", |b| credential(b, &sender.credential))?;
                        Ok(())
                    };
                    b.nested(item(place), "ExternalSender", fill).map(|_| ())
                })
            })
        }
        _ => {
            b.opaque("extension_data", "opaque<V>", data);
            Ok(())
        }
    }
}

/// A node of a ratchet tree in a GroupInfo.
enum Node {
    Leaf(Box<LeafNode>),
    Parent(ParentNode),
}

/// The content of the ratchet_tree extension: `optional<Node> ratchet_tree<V>` (RFC 9420 s12.4.3.3).
fn nodes(data: &[u8]) -> Result<Vec<Option<Node>>, DecodeError> {
    let error = |offset, expected| DecodeError { offset, expected, field: Some("ratchet_tree") };
    let mut outer = Reader::new(data);
    let mut r = outer.vector()?;
    outer.finish()?;
    let mut nodes = Vec::new();
    while !r.is_empty() {
        let start = r.position();
        nodes.push(match r.u8()? {
            0 => None,
            1 => {
                let start = r.position();
                match r.u8()? {
                    1 => Some(Node::Leaf(Decode::decode(&mut r)?)),
                    2 => Some(Node::Parent(Decode::decode(&mut r)?)),
                    _ => return Err(error(start, "node type 1 (leaf) or 2 (parent)")),
                }
            }
            _ => return Err(error(start, "0 (absent) or 1 (present)")),
        });
    }
    Ok(nodes)
}

fn ratchet_tree(b: &mut Builder, nodes: &[Option<Node>]) -> Done {
    let size = |node: &Option<Node>| match node {
        None => 1,
        Some(Node::Leaf(leaf)) => 2 + leaf.to_bytes().len(),
        Some(Node::Parent(parent)) => 2 + parent.to_bytes().len(),
    };
    let length = nodes.iter().map(size).sum();
    b.counted("ratchet_tree", "optional<Node><V>", length, nodes, |b, place, node| {
        b.optional(item(place), "optional<Node>", node.as_ref(), tree_node)
    })
}

fn tree_node(b: &mut Builder, node: &Node) -> Done {
    match node {
        Node::Leaf(leaf) => {
            b.code("node_type", "NodeType", 1, 1, Some("leaf"));
            b.nested("leaf_node", "LeafNode", |b| leaf_node(b, leaf))?;
        }
        Node::Parent(parent) => {
            b.code("node_type", "NodeType", 1, 2, Some("parent"));
            b.nested("parent_node", "ParentNode", |b| -> Done {
                b.opaque("encryption_key", "HPKEPublicKey", parent.encryption_key.as_bytes());
                b.opaque("parent_hash", "opaque<V>", &parent.parent_hash);
                b.vector("unmerged_leaves", "uint32<V>", &parent.unmerged_leaves, |b, place, leaf| {
                    b.number(item(place), "uint32", 4, leaf.0.into());
                    Ok(())
                })
            })?;
        }
    }
    Ok(())
}

fn commit(b: &mut Builder, commit: &Commit) -> Done {
    b.vector("proposals", "ProposalOrRef<V>", &commit.proposals, |b, place, entry| {
        b.nested(item(place), "ProposalOrRef", |b| proposal_or_ref(b, entry)).map(|_| ())
    })?;
    b.optional("path", "optional<UpdatePath>", commit.path.as_ref(), update_path)
}

fn proposal_or_ref(b: &mut Builder, entry: &ProposalOrRef) -> Done {
    match entry {
        ProposalOrRef::Proposal(inner) => {
            b.code("type", "ProposalOrRefType", 1, 1, Some("proposal"));
            b.nested("proposal", "Proposal", |b| proposal(b, inner))?;
        }
        ProposalOrRef::Reference(reference) => {
            b.code("type", "ProposalOrRefType", 1, 2, Some("reference"));
            b.opaque("reference", "ProposalRef", reference.as_bytes());
        }
    }
    Ok(())
}

fn update_path(b: &mut Builder, path: &UpdatePath) -> Done {
    b.nested("leaf_node", "LeafNode", |b| leaf_node(b, &path.leaf_node))?;
    b.vector("nodes", "UpdatePathNode<V>", &path.nodes, |b, place, node| {
        b.nested(item(place), "UpdatePathNode", |b| update_path_node(b, node)).map(|_| ())
    })
}

fn update_path_node(b: &mut Builder, node: &UpdatePathNode) -> Done {
    b.opaque("encryption_key", "HPKEPublicKey", node.encryption_key.as_bytes());
    let secrets = &node.encrypted_path_secret;
    b.vector("encrypted_path_secret", "HPKECiphertext<V>", secrets, |b, place, sealed| {
        b.nested(item(place), "HPKECiphertext", |b| hpke_ciphertext(b, sealed)).map(|_| ())
    })
}

fn proposal(b: &mut Builder, proposal: &Proposal) -> Done {
    code!(b, "proposal_type", "ProposalType", proposal.proposal_type());
    match proposal {
        Proposal::Add(package) => {
            b.nested("add", "Add", |b| -> Done {
                let field = b.nested("key_package", "KeyPackage", |b| key_package(b, package))?;
                field.note = reference(package);
                Ok(())
            })?;
        }
        Proposal::Update(leaf) => {
            b.nested("update", "Update", |b| {
                b.nested("leaf_node", "LeafNode", |b| leaf_node(b, leaf)).map(|_| ())
            })?;
        }
        Proposal::Remove(leaf) => {
            b.nested("remove", "Remove", |b| -> Done {
                b.number("removed", "uint32", 4, leaf.0.into());
                Ok(())
            })?;
        }
        Proposal::PreSharedKey(id) => {
            b.nested("psk", "PreSharedKey", |b| {
                b.nested("psk", "PreSharedKeyID", |b| psk_id(b, id)).map(|_| ())
            })?;
        }
        Proposal::ReInit(inner) => {
            b.nested("reinit", "ReInit", |b| reinit(b, inner))?;
        }
        Proposal::ExternalInit(kem_output) => {
            b.nested("external_init", "ExternalInit", |b| -> Done {
                b.opaque("kem_output", "opaque<V>", kem_output.as_bytes());
                Ok(())
            })?;
        }
        Proposal::GroupContextExtensions(inner) => {
            b.nested("group_context_extensions", "GroupContextExtensions", |b| extensions(b, inner))?;
        }
        _ => {}
    }
    Ok(())
}

fn psk_id(b: &mut Builder, id: &PreSharedKeyId) -> Done {
    match &id.psk {
        Psk::External(name) => {
            b.code("psktype", "PSKType", 1, 1, Some("external"));
            b.opaque("psk_id", "opaque<V>", name);
        }
        Psk::Resumption { usage, group_id, epoch } => {
            b.code("psktype", "PSKType", 1, 2, Some("resumption"));
            let (number, name) = match usage {
                ResumptionPskUsage::Application => (1, "application"),
                ResumptionPskUsage::ReInit => (2, "reinit"),
                ResumptionPskUsage::Branch => (3, "branch"),
            };
            b.code("usage", "ResumptionPSKUsage", 1, number, Some(name));
            b.opaque("psk_group_id", "opaque<V>", group_id);
            b.number("psk_epoch", "uint64", 8, *epoch);
        }
    }
    b.opaque("psk_nonce", "opaque<V>", &id.psk_nonce);
    Ok(())
}

fn reinit(b: &mut Builder, reinit: &ReInit) -> Done {
    b.opaque("group_id", "opaque<V>", &reinit.group_id);
    code!(b, "version", "ProtocolVersion", reinit.version);
    code!(b, "cipher_suite", "CipherSuite", reinit.cipher_suite);
    extensions(b, &reinit.extensions)
}

#[cfg(test)]
mod tests;
