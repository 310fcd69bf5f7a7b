//! What RFC 9420 asks of those who make a KeyPackage or add it, and not of those who receive the Commit: a member that
//! refused it would be split off from the others. Each is made by a real peer, added by a real peer, followed by dmls,
//! and refused by dmls when it is to add it itself.

use std::error::Error;
use std::time::Duration;

use dmls::{Provider, Rule};
use dmls_bench::{Config, DmlsPeer, Peer, Received};
use mls_rs::client_builder::MlsConfig;
use mls_rs::extension::ExtensionType;
use mls_rs::identity::SigningIdentity;
use mls_rs::identity::basic::{BasicCredential, BasicIdentityProvider};
use mls_rs::time::MlsTime;
use mls_rs::{
    CipherSuite, CipherSuiteProvider, Client, CryptoProvider, Extension, ExtensionList, Group, MlsMessage,
};
use mls_rs_crypto_rustcrypto::RustCryptoProvider;
use openmls::prelude::{
    BasicCredential as OpenMlsCredential, Capabilities, Ciphersuite, CredentialWithKey, KeyPackage,
    MlsMessageOut,
};
use openmls_basic_credential::SignatureKeyPair;
use openmls_rust_crypto::OpenMlsRustCrypto;

const SUITE: CipherSuite = CipherSuite::CURVE25519_AES128;

/// A client of mls-rs.
fn mls_rs(identity: &str) -> Result<Client<impl MlsConfig>, Box<dyn Error>> {
    let crypto = RustCryptoProvider::new();
    let suite = crypto.cipher_suite_provider(SUITE).ok_or("mls-rs has suite 1")?;
    let (secret, public) = suite.signature_key_generate()?;
    let credential = BasicCredential::new(identity.as_bytes().to_vec()).into_credential();
    Ok(Client::builder()
        .identity_provider(BasicIdentityProvider)
        .crypto_provider(crypto)
        .signing_identity(SigningIdentity::new(credential, public), secret, SUITE)
        .key_package_lifetime(Duration::from_secs(86_400))
        .build())
}

/// Commits an Add of a KeyPackage by the adder's clock; gives the Commit and the Welcome.
fn add(
    group: &mut Group<impl MlsConfig>,
    key_package: &[u8],
    now: MlsTime,
) -> Result<(Vec<u8>, Vec<u8>), Box<dyn Error>> {
    let commit = group.commit_builder().commit_time(now);
    let output = commit.add_member(MlsMessage::from_bytes(key_package)?)?.build()?;
    group.apply_pending_commit()?;
    let welcome = output.welcome_messages().first().ok_or("an Add has a Welcome")?;
    Ok((output.commit_message().to_bytes()?, welcome.to_bytes()?))
}

/// A member of mls-rs adds a KeyPackage; dmls follows, though it would not add it, by this rule.
fn is_followed_and_not_added(key_package: &[u8], now: MlsTime, rule: Rule) -> Result<(), Box<dyn Error>> {
    assert!(!rule.counts_on_receipt(), "{rule}");
    let mut dmls = DmlsPeer::new(Config::new(1, b"dmls"), Provider::default())?;
    let mut group = mls_rs("mls-rs")?.group_builder()?.build()?;
    let (_, welcome) = add(&mut group, &dmls.key_package()?, MlsTime::now())?;
    dmls.join(&welcome)?;

    let refused = dmls.add(&[key_package.to_vec()]).expect_err("dmls does not add it");
    let refused = refused.downcast_ref::<dmls::Error>().ok_or("an error of dmls")?;
    assert_eq!(*refused, dmls::Error::Refused(rule));

    let (commit, _) = add(&mut group, key_package, now)?;
    assert_eq!(dmls.process(&commit)?, Received::Commit);
    assert_eq!(dmls.members()?.len(), 3);
    assert_eq!(dmls.epoch_authenticator()?, group.epoch_authenticator()?.to_vec());
    Ok(())
}

/// `11.1:suite`: a leaf of openmls whose capabilities list another cipher suite than its own.
#[test]
fn capabilities_without_the_suite() -> Result<(), Box<dyn Error>> {
    let (provider, suite) = (OpenMlsRustCrypto::default(), Ciphersuite::try_from(1)?);
    let signer = SignatureKeyPair::new(suite.signature_algorithm())?;
    let credential = CredentialWithKey {
        credential: OpenMlsCredential::new(b"openmls".to_vec()).into(),
        signature_key: signer.to_public_vec().into(),
    };
    let others = Capabilities::new(None, Some(&[Ciphersuite::try_from(3)?]), None, None, None);
    let bundle =
        KeyPackage::builder().leaf_node_capabilities(others).build(suite, &provider, &signer, credential)?;
    let key_package = MlsMessageOut::from(bundle.key_package().clone()).to_bytes()?;
    is_followed_and_not_added(&key_package, MlsTime::now(), Rule::LeafSuite)
}

/// `10:extensions`: a KeyPackage of mls-rs with an extension that its capabilities don't list.
#[test]
fn a_key_package_extension_that_is_not_listed() -> Result<(), Box<dyn Error>> {
    let extension = Extension::new(ExtensionType::new(0xf001), b"of its own".to_vec());
    let extensions = ExtensionList::from(vec![extension]);
    let message = mls_rs("joiner")?.generate_key_package_message(extensions, ExtensionList::new(), None)?;
    is_followed_and_not_added(&message.to_bytes()?, MlsTime::now(), Rule::KeyPackageExtensions)
}

/// `7.3:lifetime`: a KeyPackage of mls-rs that was added in its time, and is over when the Commit arrives.
#[test]
fn an_expired_key_package() -> Result<(), Box<dyn Error>> {
    let (none, long_ago) = (ExtensionList::new, MlsTime::from(1_000_000_000));
    let message = mls_rs("joiner")?.generate_key_package_message(none(), none(), Some(long_ago))?;
    is_followed_and_not_added(&message.to_bytes()?, long_ago, Rule::LeafLifetime)
}
