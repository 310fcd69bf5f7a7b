//! [mls-rs](https://docs.rs/mls-rs) as a [`Peer`].

use std::error::Error;

use mls_rs::client_builder::{BaseConfig, PaddingMode, WithCryptoProvider, WithIdentityProvider};
use mls_rs::error::MlsError;
use mls_rs::group::{CommitBuilder, CommitEffect, Member, ReceivedMessage};
use mls_rs::identity::SigningIdentity;
use mls_rs::identity::basic::{BasicCredential, BasicIdentityProvider};
use mls_rs::mls_rules::{CommitOptions, DefaultMlsRules, EncryptionOptions};
use mls_rs::psk::{ExternalPskId, PreSharedKey};
use mls_rs::time::MlsTime;
use mls_rs::{CipherSuite, CipherSuiteProvider, Client, CryptoProvider, ExtensionList, Group, MlsMessage};
use mls_rs_crypto_rustcrypto::RustCryptoProvider;

use crate::peer::{Committed, Config, NOT_A_MEMBER, Peer, Received, WRONG_MESSAGE};

/// How mls-rs spells a client's choice of providers; the name is needed twice and is too long to repeat.
type Providers =
    WithIdentityProvider<BasicIdentityProvider, WithCryptoProvider<RustCryptoProvider, BaseConfig>>;

/// A client of mls-rs, with the RustCrypto provider and its storage in memory.
///
/// It lets mls-rs read the clock wherever that is optional, so that it judges lifetimes strictly.
pub struct MlsRsPeer {
    config: Config,
    client: Client<Providers>,
    group: Option<Group<Providers>>,
}

impl MlsRsPeer {
    /// A client with a fresh signature key, in no group. Fails for a cipher suite that mls-rs doesn't have.
    pub fn new(config: Config) -> Result<Self, Box<dyn Error>> {
        let crypto = RustCryptoProvider::new();
        let cipher_suite = CipherSuite::new(config.cipher_suite);
        let suite =
            crypto.cipher_suite_provider(cipher_suite).ok_or("mls-rs does not have this cipher suite")?;
        let (secret, public) = suite.signature_key_generate()?;
        let credential = BasicCredential::new(config.identity.clone()).into_credential();

        let encryption = EncryptionOptions::new(config.private_handshake, PaddingMode::default());
        let rules = DefaultMlsRules::new()
            .with_commit_options(CommitOptions::new().with_path_required(config.path_on_add))
            .with_encryption_options(encryption);
        let client = Client::builder()
            .identity_provider(BasicIdentityProvider)
            .crypto_provider(crypto)
            .mls_rules(rules)
            .signing_identity(SigningIdentity::new(credential, public), secret, cipher_suite)
            .build();
        Ok(Self { config, client, group: None })
    }

    /// Commits what is pending and what `fill` puts in, then applies.
    fn commit(
        &mut self,
        fill: impl FnOnce(CommitBuilder<'_, Providers>) -> Result<CommitBuilder<'_, Providers>, MlsError>,
    ) -> Result<Committed, Box<dyn Error>> {
        let group = self.group.as_mut().ok_or(NOT_A_MEMBER)?;
        let output = fill(group.commit_builder().commit_time(MlsTime::now()))?.build()?;
        group.apply_pending_commit()?;
        let welcome = output.welcome_messages().first();
        Ok(Committed {
            commit: output.commit_message().to_bytes()?,
            welcome: welcome.map(MlsMessage::to_bytes).transpose()?,
        })
    }
}

impl Peer for MlsRsPeer {
    fn name(&self) -> &str {
        "mls-rs"
    }

    fn identity(&self) -> &[u8] {
        &self.config.identity
    }

    fn key_package(&mut self) -> Result<Vec<u8>, Box<dyn Error>> {
        let none = ExtensionList::new;
        Ok(self.client.generate_key_package_message(none(), none(), None)?.to_bytes()?)
    }

    fn create_group(&mut self, group_id: &[u8]) -> Result<(), Box<dyn Error>> {
        self.group = Some(self.client.group_builder()?.with_group_id(group_id.to_vec()).build()?);
        Ok(())
    }

    fn join(&mut self, welcome: &[u8]) -> Result<(), Box<dyn Error>> {
        let welcome = MlsMessage::from_bytes(welcome)?;
        let (group, _) = self.client.join_group(None, &welcome, Some(MlsTime::now()))?;
        self.group = Some(group);
        Ok(())
    }

    fn join_external(&mut self, group_info: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
        let mut builder = self.client.external_commit_builder()?.commit_time(MlsTime::now());
        // Unlike openmls, it has to be told of our old leaf.
        if let Some(group) = &self.group {
            builder = builder.with_removal(group.current_member_index());
        }
        let (group, commit) = builder.build(MlsMessage::from_bytes(group_info)?)?;
        self.group = Some(group);
        Ok(commit.to_bytes()?)
    }

    fn add(&mut self, key_packages: &[Vec<u8>]) -> Result<Committed, Box<dyn Error>> {
        self.commit(|commit| {
            key_packages
                .iter()
                .try_fold(commit, |commit, one| commit.add_member(MlsMessage::from_bytes(one)?))
        })
    }

    fn update(&mut self) -> Result<Committed, Box<dyn Error>> {
        self.commit(|commit| Ok(commit))
    }

    fn remove(&mut self, identity: &[u8]) -> Result<Committed, Box<dyn Error>> {
        let group = self.group.as_ref().ok_or(NOT_A_MEMBER)?;
        let index = group.member_with_identity(identity)?.index;
        self.commit(|commit| commit.remove_member(index))
    }

    fn process(&mut self, message: &[u8]) -> Result<Received, Box<dyn Error>> {
        let group = self.group.as_mut().ok_or(NOT_A_MEMBER)?;
        let message = MlsMessage::from_bytes(message)?;
        match group.process_incoming_message_with_time(message, MlsTime::now())? {
            ReceivedMessage::ApplicationMessage(text) => Ok(Received::Application(text.data().to_vec())),
            ReceivedMessage::Proposal(_) => Ok(Received::Proposal),
            ReceivedMessage::Commit(commit) => match commit.effect {
                CommitEffect::NewEpoch(_) => Ok(Received::Commit),
                CommitEffect::Removed { .. } => {
                    self.group = None;
                    Ok(Received::Removed)
                }
                CommitEffect::ReInit(_) => Err(WRONG_MESSAGE.into()),
            },
            _ => Err(WRONG_MESSAGE.into()),
        }
    }

    fn propose_update(&mut self) -> Result<Vec<u8>, Box<dyn Error>> {
        Ok(self.group.as_mut().ok_or(NOT_A_MEMBER)?.propose_update(Vec::new())?.to_bytes()?)
    }

    fn propose_add(&mut self, key_package: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
        let key_package = MlsMessage::from_bytes(key_package)?;
        let group = self.group.as_mut().ok_or(NOT_A_MEMBER)?;
        Ok(group.propose_add(key_package, Vec::new())?.to_bytes()?)
    }

    fn propose_remove(&mut self, identity: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
        let group = self.group.as_mut().ok_or(NOT_A_MEMBER)?;
        let index = group.member_with_identity(identity)?.index;
        Ok(group.propose_remove(index, Vec::new())?.to_bytes()?)
    }

    fn store_psk(&mut self, id: &[u8], psk: &[u8]) -> Result<(), Box<dyn Error>> {
        // The store is shared: this is another handle of the client's own.
        let id = ExternalPskId::new(id.to_vec());
        self.client.secret_store().insert(id, PreSharedKey::new(psk.to_vec()));
        Ok(())
    }

    fn add_with_psk(&mut self, key_package: &[u8], id: &[u8]) -> Result<Committed, Box<dyn Error>> {
        let id = ExternalPskId::new(id.to_vec());
        self.commit(|commit| commit.add_member(MlsMessage::from_bytes(key_package)?)?.add_external_psk(id))
    }

    fn commit_pending(&mut self) -> Result<Committed, Box<dyn Error>> {
        self.commit(|commit| Ok(commit))
    }

    fn send(&mut self, text: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
        let group = self.group.as_mut().ok_or(NOT_A_MEMBER)?;
        Ok(group.encrypt_application_message(text, Vec::new())?.to_bytes()?)
    }

    fn group_info(&mut self) -> Result<Vec<u8>, Box<dyn Error>> {
        let group = self.group.as_ref().ok_or(NOT_A_MEMBER)?;
        Ok(group.group_info_message_allowing_ext_commit(true)?.to_bytes()?)
    }

    fn epoch_authenticator(&self) -> Result<Vec<u8>, Box<dyn Error>> {
        Ok(self.group.as_ref().ok_or(NOT_A_MEMBER)?.epoch_authenticator()?.as_bytes().to_vec())
    }

    fn members(&self) -> Result<Vec<Vec<u8>>, Box<dyn Error>> {
        let group = self.group.as_ref().ok_or(NOT_A_MEMBER)?;
        let identity = |member: Member| {
            member.signing_identity.credential.as_basic().map(|basic| basic.identifier.clone())
        };
        group
            .roster()
            .members_iter()
            .map(|member| identity(member).ok_or("not a basic credential".into()))
            .collect()
    }
}
