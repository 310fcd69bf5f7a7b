//! [openmls](https://docs.rs/openmls) as a [`Peer`].

use std::error::Error;

use openmls::group::{
    CommitBuilder, Initial, MlsGroup, MlsGroupJoinConfig, PURE_CIPHERTEXT_WIRE_FORMAT_POLICY,
    PURE_PLAINTEXT_WIRE_FORMAT_POLICY, StagedWelcome, WireFormatPolicy,
};
use openmls::prelude::{
    BasicCredential, Ciphersuite, CredentialWithKey, DeserializeBytes, GroupId, KeyPackage, LeafNodeIndex,
    LeafNodeParameters, MlsMessageBodyIn, MlsMessageIn, MlsMessageOut, OpenMlsProvider, PreSharedKeyProposal,
    ProcessedMessageContent, Proposal, ProtocolVersion,
};
use openmls::schedule::{ExternalPsk, PreSharedKeyId, Psk};
use openmls_basic_credential::SignatureKeyPair;
use openmls_rust_crypto::OpenMlsRustCrypto;

use crate::peer::{Committed, Config, NOT_A_MEMBER, Peer, Received, WRONG_MESSAGE};

/// A client of openmls, with the RustCrypto provider and its storage in memory.
pub struct OpenMlsPeer {
    config: Config,
    cipher_suite: Ciphersuite,
    provider: OpenMlsRustCrypto,
    signer: SignatureKeyPair,
    group: Option<MlsGroup>,
}

impl OpenMlsPeer {
    /// A client with a fresh signature key, in no group. Fails for a cipher suite that openmls doesn't have.
    pub fn new(config: Config) -> Result<Self, Box<dyn Error>> {
        let cipher_suite = Ciphersuite::try_from(config.cipher_suite)?;
        let signer = SignatureKeyPair::new(cipher_suite.signature_algorithm())?;
        Ok(Self { config, cipher_suite, provider: OpenMlsRustCrypto::default(), signer, group: None })
    }

    fn credential(&self) -> CredentialWithKey {
        CredentialWithKey {
            credential: BasicCredential::new(self.config.identity.clone()).into(),
            signature_key: self.signer.to_public_vec().into(),
        }
    }

    /// Strict: a handshake message in the other format is refused, except for external Commits.
    fn wire_format_policy(&self) -> WireFormatPolicy {
        match self.config.private_handshake {
            true => PURE_CIPHERTEXT_WIRE_FORMAT_POLICY,
            false => PURE_PLAINTEXT_WIRE_FORMAT_POLICY,
        }
    }

    fn join_config(&self) -> MlsGroupJoinConfig {
        MlsGroupJoinConfig::builder()
            .wire_format_policy(self.wire_format_policy())
            .use_ratchet_tree_extension(true)
            .build()
    }

    /// Commits what is pending and what `fill` puts in, then merges.
    fn commit(
        &mut self,
        fill: impl FnOnce(CommitBuilder<'_, Initial>) -> CommitBuilder<'_, Initial>,
    ) -> Result<Committed, Box<dyn Error>> {
        let Self { provider, signer, group, .. } = self;
        let group = group.as_mut().ok_or(NOT_A_MEMBER)?;
        let (commit, welcome, _) = fill(group.commit_builder())
            .load_psks(provider.storage())?
            .build(provider.rand(), provider.crypto(), signer, |_| true)?
            .stage_commit(provider)?
            .into_messages();
        group.merge_pending_commit(provider)?;
        Ok(Committed {
            commit: commit.to_bytes()?,
            welcome: welcome.map(|welcome| welcome.to_bytes()).transpose()?,
        })
    }

    fn leaf_of(&self, identity: &[u8]) -> Result<LeafNodeIndex, Box<dyn Error>> {
        let mut members = self.group.as_ref().ok_or(NOT_A_MEMBER)?.members();
        let member = members.find(|member| member.credential.serialized_content() == identity);
        Ok(member.ok_or("no member has this identity")?.index)
    }

    fn psk_id(&self, id: &[u8]) -> Result<PreSharedKeyId, Box<dyn Error>> {
        let psk = Psk::External(ExternalPsk::new(id.to_vec()));
        Ok(PreSharedKeyId::new(self.cipher_suite, self.provider.rand(), psk)?)
    }

    fn validated_key_package(&self, message: &[u8]) -> Result<KeyPackage, Box<dyn Error>> {
        match decode(message)? {
            MlsMessageBodyIn::KeyPackage(key_package) => {
                Ok(key_package.validate(self.provider.crypto(), ProtocolVersion::Mls10)?)
            }
            _ => Err(WRONG_MESSAGE.into()),
        }
    }
}

fn decode(message: &[u8]) -> Result<MlsMessageBodyIn, Box<dyn Error>> {
    Ok(MlsMessageIn::tls_deserialize_exact_bytes(message)?.extract())
}

impl Peer for OpenMlsPeer {
    fn name(&self) -> &str {
        "openmls"
    }

    fn identity(&self) -> &[u8] {
        &self.config.identity
    }

    fn key_package(&mut self) -> Result<Vec<u8>, Box<dyn Error>> {
        let bundle = KeyPackage::builder().build(
            self.cipher_suite,
            &self.provider,
            &self.signer,
            self.credential(),
        )?;
        Ok(MlsMessageOut::from(bundle.into_key_package()).to_bytes()?)
    }

    fn create_group(&mut self, group_id: &[u8]) -> Result<(), Box<dyn Error>> {
        let group = MlsGroup::builder()
            .with_group_id(GroupId::from_slice(group_id))
            .ciphersuite(self.cipher_suite)
            .with_wire_format_policy(self.wire_format_policy())
            .use_ratchet_tree_extension(true)
            .build(&self.provider, &self.signer, self.credential())?;
        self.group = Some(group);
        Ok(())
    }

    fn join(&mut self, welcome: &[u8]) -> Result<(), Box<dyn Error>> {
        let MlsMessageBodyIn::Welcome(welcome) = decode(welcome)? else { return Err(WRONG_MESSAGE.into()) };
        let group = StagedWelcome::build_from_welcome(&self.provider, &self.join_config(), welcome)?
            .build()?
            .into_group(&self.provider)?;
        self.group = Some(group);
        Ok(())
    }

    fn join_external(&mut self, group_info: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
        let MlsMessageBodyIn::GroupInfo(group_info) = decode(group_info)? else {
            return Err(WRONG_MESSAGE.into());
        };
        // The builder itself removes a leaf that has our signature key.
        let (group, bundle) = MlsGroup::external_commit_builder()
            .with_config(self.join_config())
            .build_group(&self.provider, group_info, self.credential())?
            .load_psks(self.provider.storage())?
            .build(self.provider.rand(), self.provider.crypto(), &self.signer, |_| true)?
            .finalize(&self.provider)?;
        self.group = Some(group);
        Ok(bundle.into_commit().to_bytes()?)
    }

    fn add(&mut self, key_packages: &[Vec<u8>]) -> Result<Committed, Box<dyn Error>> {
        let key_packages =
            key_packages.iter().map(|one| self.validated_key_package(one)).collect::<Result<Vec<_>, _>>()?;
        let path = self.config.path_on_add;
        self.commit(|commit| commit.propose_adds(key_packages).force_self_update(path))
    }

    fn update(&mut self) -> Result<Committed, Box<dyn Error>> {
        self.commit(|commit| commit.force_self_update(true))
    }

    fn remove(&mut self, identity: &[u8]) -> Result<Committed, Box<dyn Error>> {
        let leaf = self.leaf_of(identity)?;
        self.commit(|commit| commit.propose_removals([leaf]))
    }

    fn process(&mut self, message: &[u8]) -> Result<Received, Box<dyn Error>> {
        let Self { provider, group: slot, .. } = self;
        let group = slot.as_mut().ok_or(NOT_A_MEMBER)?;
        let message = MlsMessageIn::tls_deserialize_exact_bytes(message)?.try_into_protocol_message()?;
        match group.process_message(provider, message)?.into_content() {
            ProcessedMessageContent::ApplicationMessage(text) => Ok(Received::Application(text.into_bytes())),
            ProcessedMessageContent::ProposalMessage(proposal) => {
                group.store_pending_proposal(provider.storage(), *proposal)?;
                Ok(Received::Proposal)
            }
            ProcessedMessageContent::StagedCommitMessage(commit) => {
                let removed = commit.self_removed();
                group.merge_staged_commit(provider, *commit)?;
                if removed {
                    // Otherwise its storage refuses a Welcome to the same group.
                    group.delete(provider.storage())?;
                    *slot = None;
                }
                Ok(if removed { Received::Removed } else { Received::Commit })
            }
            _ => Err(WRONG_MESSAGE.into()),
        }
    }

    fn propose_update(&mut self) -> Result<Vec<u8>, Box<dyn Error>> {
        let Self { provider, signer, group, .. } = self;
        let group = group.as_mut().ok_or(NOT_A_MEMBER)?;
        let (message, _) = group.propose_self_update(provider, signer, LeafNodeParameters::default())?;
        Ok(message.to_bytes()?)
    }

    fn propose_add(&mut self, key_package: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
        let key_package = self.validated_key_package(key_package)?;
        let Self { provider, signer, group, .. } = self;
        let group = group.as_mut().ok_or(NOT_A_MEMBER)?;
        let (message, _) = group.propose_add_member(provider, signer, &key_package)?;
        Ok(message.to_bytes()?)
    }

    fn propose_remove(&mut self, identity: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
        let leaf = self.leaf_of(identity)?;
        let Self { provider, signer, group, .. } = self;
        let group = group.as_mut().ok_or(NOT_A_MEMBER)?;
        let (message, _) = group.propose_remove_member(provider, signer, leaf)?;
        Ok(message.to_bytes()?)
    }

    fn store_psk(&mut self, id: &[u8], psk: &[u8]) -> Result<(), Box<dyn Error>> {
        Ok(self.psk_id(id)?.store(&self.provider, psk)?)
    }

    fn add_with_psk(&mut self, key_package: &[u8], id: &[u8]) -> Result<Committed, Box<dyn Error>> {
        let key_package = self.validated_key_package(key_package)?;
        let proposal = Proposal::PreSharedKey(Box::new(PreSharedKeyProposal::new(self.psk_id(id)?)));
        let path = self.config.path_on_add;
        self.commit(|commit| {
            commit.propose_adds([key_package]).add_proposal(proposal).force_self_update(path)
        })
    }

    fn commit_pending(&mut self) -> Result<Committed, Box<dyn Error>> {
        self.commit(|commit| commit)
    }

    fn send(&mut self, text: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
        let Self { provider, signer, group, .. } = self;
        Ok(group.as_mut().ok_or(NOT_A_MEMBER)?.create_message(provider, signer, text)?.to_bytes()?)
    }

    fn group_info(&mut self) -> Result<Vec<u8>, Box<dyn Error>> {
        let group = self.group.as_ref().ok_or(NOT_A_MEMBER)?;
        Ok(group.export_group_info(self.provider.crypto(), &self.signer, true)?.to_bytes()?)
    }

    fn epoch_authenticator(&self) -> Result<Vec<u8>, Box<dyn Error>> {
        Ok(self.group.as_ref().ok_or(NOT_A_MEMBER)?.epoch_authenticator().as_slice().to_vec())
    }

    fn members(&self) -> Result<Vec<Vec<u8>>, Box<dyn Error>> {
        let group = self.group.as_ref().ok_or(NOT_A_MEMBER)?;
        Ok(group.members().map(|member| member.credential.serialized_content().to_vec()).collect())
    }
}
