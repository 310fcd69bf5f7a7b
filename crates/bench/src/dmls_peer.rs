//! [`dmls`] as a [`Peer`], with the key schedule of RFC 9420.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use dmls::codec::Decode;
use dmls::crypto::Secret;
use dmls::danger::AcceptAnyCredential;
use dmls::extension::Capabilities;
use dmls::framing::MlsMessage;
use dmls::message::Psk;
use dmls::registry::{CredentialType, ProtocolVersion};
use dmls::{
    CipherSuite, CommitBuilder, Credential, ExternalJoinOptions, Group, Identity, KeyPackage, KeySchedule,
    LeafIndex, Lifetime, Member, NewGroupOptions, Outcome, OwnKeyPackage, PreSharedKeys, Provider, Suite,
    Time,
};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::peer::{Committed, Config, NOT_A_MEMBER, Peer, Received, WRONG_MESSAGE};

/// A client of dmls, its keys and randomness a function of its identity, so that a run can be repeated. What a commit
/// or a message changes is not stored anywhere.
pub struct DmlsPeer {
    config: Config,
    suite: Suite,
    settings: dmls::Config,
    client: Identity,
    key_packages: Vec<OwnKeyPackage>,
    psks: Arc<Psks>,
    group: Option<Group>,
    rng: ChaCha20Rng,
}

/// The external pre-shared keys, by id.
#[derive(Default)]
struct Psks(Mutex<BTreeMap<Vec<u8>, Secret>>);

impl PreSharedKeys for Psks {
    fn external(&self, id: &[u8]) -> Option<Secret> {
        self.0.lock().ok()?.get(id).map(Secret::duplicate)
    }
}

impl DmlsPeer {
    /// A client with a fresh signature key, in no group. Fails for a cipher suite that the provider doesn't have.
    pub fn new(config: Config, provider: Provider) -> Result<Self, Box<dyn Error>> {
        let suite = CipherSuite(config.cipher_suite);
        let suite = provider.suite(suite).ok_or("dmls does not have this cipher suite")?;
        let mut rng = ChaCha20Rng::from_seed(seed(&config.identity));
        let psks = Arc::new(Psks::default());
        let settings = dmls::Config {
            provider,
            schedule: KeySchedule::Rfc9420,
            encrypt_handshake: config.private_handshake,
            offer_external_joins: true,
            psks: psks.clone(),
            ..dmls::Config::new(AcceptAnyCredential)
        };
        let capabilities = Capabilities {
            versions: vec![ProtocolVersion::MLS10],
            cipher_suites: vec![suite.code()],
            extensions: Vec::new(),
            proposals: Vec::new(),
            credentials: vec![CredentialType::BASIC],
        };
        let credential = Credential::basic(config.identity.clone());
        let client = Identity::generate(suite, credential, &mut rng)?.with_capabilities(capabilities);
        Ok(Self { config, suite, settings, client, key_packages: Vec::new(), psks, group: None, rng })
    }

    /// Commits what is pending and what `fill` puts in, and confirms it.
    fn commit(
        &mut self,
        fill: impl FnOnce(CommitBuilder<'_>) -> CommitBuilder<'_>,
    ) -> Result<Committed, Box<dyn Error>> {
        let group = self.group.as_mut().ok_or(NOT_A_MEMBER)?;
        let sent = fill(group.commit()).stage(now()?, &mut self.rng)?.apply_unsaved();
        let epoch = group.confirm(&sent.id)?.apply_unsaved();
        Ok(Committed { commit: sent.message, welcome: epoch.welcome })
    }

    fn group(&self) -> Result<&Group, Box<dyn Error>> {
        Ok(self.group.as_ref().ok_or(NOT_A_MEMBER)?)
    }

    fn members_of_head(&self) -> Result<Vec<Member>, Box<dyn Error>> {
        Ok(self.group()?.head().members().unwrap_or_default())
    }

    fn leaf_of(&self, identity: &[u8]) -> Result<LeafIndex, Box<dyn Error>> {
        let members = self.members_of_head()?;
        let member = members.iter().find(|member| member.credential.identity() == Some(identity));
        Ok(member.ok_or("no member has this identity")?.leaf)
    }
}

fn decode_key_package(message: &[u8]) -> Result<KeyPackage, Box<dyn Error>> {
    match MlsMessage::from_bytes(message)? {
        MlsMessage::KeyPackage(key_package) => Ok(*key_package),
        _ => Err(WRONG_MESSAGE.into()),
    }
}

fn seed(identity: &[u8]) -> [u8; 32] {
    let mut seed = [0; 32];
    for (place, byte) in identity.iter().enumerate() {
        seed[place % 32] ^= byte;
    }
    seed
}

/// The other libraries read the clock themselves, so their leaves are valid by that clock only.
#[expect(clippy::disallowed_methods, reason = "the process around the library has the clock")]
fn now() -> Result<Time, Box<dyn Error>> {
    Ok(Time(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs()))
}

impl Peer for DmlsPeer {
    fn name(&self) -> &str {
        "dmls"
    }

    fn identity(&self) -> &[u8] {
        &self.config.identity
    }

    fn key_package(&mut self) -> Result<Vec<u8>, Box<dyn Error>> {
        let lifetime = Lifetime::starting(now()?, 30 * 86_400);
        let own = self.client.key_package(lifetime, &mut self.rng)?;
        let message = own.message();
        self.key_packages.push(own);
        Ok(message)
    }

    fn create_group(&mut self, group_id: &[u8]) -> Result<(), Box<dyn Error>> {
        let options = NewGroupOptions { group_id: Some(group_id.to_vec()), ..NewGroupOptions::default() };
        let founding = Group::create(&self.client, options, self.settings.clone(), now()?, &mut self.rng)?;
        self.group = Some(founding.apply_unsaved());
        Ok(())
    }

    fn join(&mut self, welcome: &[u8]) -> Result<(), Box<dyn Error>> {
        let MlsMessage::Welcome(decoded) = MlsMessage::from_bytes(welcome)? else {
            return Err(WRONG_MESSAGE.into());
        };
        let is_for = |own: &OwnKeyPackage| {
            let reference = own.reference(&self.suite);
            decoded.secrets.iter().any(|secrets| secrets.new_member == reference)
        };
        let at =
            self.key_packages.iter().position(is_for).ok_or("the Welcome is for none of our KeyPackages")?;
        let own = self.key_packages.swap_remove(at);
        self.group = Some(Group::join(&own, welcome, None, self.settings.clone(), now()?)?.apply_unsaved());
        Ok(())
    }

    fn join_external(&mut self, group_info: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
        // A former self is found by its signature key.
        let options = ExternalJoinOptions::default();
        let founding = Group::join_external(
            &self.client,
            group_info,
            options,
            self.settings.clone(),
            now()?,
            &mut self.rng,
        )?;
        let commit = founding.commit().ok_or("an external join without a commit")?.to_vec();
        let mut group = founding.apply_unsaved();
        let joining =
            group.pending().next().map(|(id, _)| id.clone()).ok_or("the external commit has no name")?;
        group.confirm(&joining)?.apply_unsaved();
        self.group = Some(group);
        Ok(commit)
    }

    fn add(&mut self, key_packages: &[Vec<u8>]) -> Result<Committed, Box<dyn Error>> {
        let decoded =
            key_packages.iter().map(|one| decode_key_package(one)).collect::<Result<Vec<_>, _>>()?;
        let path = self.config.path_on_add;
        self.commit(|commit| {
            let commit = decoded.into_iter().fold(commit, CommitBuilder::add);
            if path { commit } else { commit.omit_path() }
        })
    }

    fn update(&mut self) -> Result<Committed, Box<dyn Error>> {
        self.commit(|commit| commit)
    }

    fn remove(&mut self, identity: &[u8]) -> Result<Committed, Box<dyn Error>> {
        let leaf = self.leaf_of(identity)?;
        self.commit(|commit| commit.remove(leaf))
    }

    fn process(&mut self, message: &[u8]) -> Result<Received, Box<dyn Error>> {
        let group = self.group.as_mut().ok_or(NOT_A_MEMBER)?;
        match group.receive(message, now()?)?.apply_unsaved() {
            Outcome::Application(application) => Ok(Received::Application(application.data)),
            Outcome::Proposal(_) => Ok(Received::Proposal),
            Outcome::Commit(_) => Ok(Received::Commit),
            Outcome::Removed(_) => {
                self.group = None;
                Ok(Received::Removed)
            }
            other => Err(format!("{other:?}").into()),
        }
    }

    fn propose_update(&mut self) -> Result<Vec<u8>, Box<dyn Error>> {
        let group = self.group.as_mut().ok_or(NOT_A_MEMBER)?;
        Ok(group.propose_update(now()?, &mut self.rng)?.apply_unsaved().message)
    }

    fn propose_add(&mut self, key_package: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
        let key_package = decode_key_package(key_package)?;
        let group = self.group.as_mut().ok_or(NOT_A_MEMBER)?;
        Ok(group.propose_add(key_package, now()?, &mut self.rng)?.apply_unsaved().message)
    }

    fn propose_remove(&mut self, identity: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
        let leaf = self.leaf_of(identity)?;
        let group = self.group.as_mut().ok_or(NOT_A_MEMBER)?;
        Ok(group.propose_remove(leaf, now()?, &mut self.rng)?.apply_unsaved().message)
    }

    fn store_psk(&mut self, id: &[u8], psk: &[u8]) -> Result<(), Box<dyn Error>> {
        let mut psks = self.psks.0.lock().map_err(|_| "a thread died with the keys")?;
        psks.insert(id.to_vec(), Secret::new(psk.to_vec()));
        Ok(())
    }

    fn add_with_psk(&mut self, key_package: &[u8], id: &[u8]) -> Result<Committed, Box<dyn Error>> {
        let (key_package, psk) = (decode_key_package(key_package)?, Psk::External(id.to_vec()));
        let path = self.config.path_on_add;
        self.commit(|commit| {
            let commit = commit.add(key_package).psk(psk);
            if path { commit } else { commit.omit_path() }
        })
    }

    fn commit_pending(&mut self) -> Result<Committed, Box<dyn Error>> {
        self.commit(|commit| commit)
    }

    fn send(&mut self, text: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
        let group = self.group.as_mut().ok_or(NOT_A_MEMBER)?;
        Ok(group.send(text).seal(&mut self.rng)?.apply_unsaved())
    }

    fn group_info(&mut self) -> Result<Vec<u8>, Box<dyn Error>> {
        Ok(self.group()?.head().group_info(now()?)?)
    }

    fn epoch_authenticator(&self) -> Result<Vec<u8>, Box<dyn Error>> {
        Ok(self.group()?.head().authenticator()?.to_vec())
    }

    fn members(&self) -> Result<Vec<Vec<u8>>, Box<dyn Error>> {
        let members = self.members_of_head()?;
        let identity = |credential: &Credential| credential.identity().map(<[u8]>::to_vec);
        members
            .iter()
            .map(|member| identity(&member.credential).ok_or("not a basic credential".into()))
            .collect()
    }
}
