//! The keyring of the operating system: it keeps the key of a profile, and gives it to whoever is logged in.
//!
//! Linux and its relatives: the Secret Service (GNOME Keyring, KWallet, KeePassXC). macOS: the Keychain. Windows: the Credential Manager.

use std::sync::Arc;

use keyring_core::api::CredentialStoreApi;
use keyring_core::{Entry, Error};
use zeroize::Zeroizing;

use crate::Failure;

/// What all our entries have in common.
const SERVICE: &str = "dmls";

/// The keyring, if one answers.
pub struct Keyring(Arc<dyn CredentialStoreApi + Send + Sync>);

impl Keyring {
    /// That of this computer.
    pub fn open() -> Result<Self, Failure> {
        #[cfg(all(unix, not(any(target_os = "macos", target_os = "ios", target_os = "android"))))]
        let store = dbus_secret_service_keyring_store::Store::new();
        #[cfg(target_os = "macos")]
        let store = apple_native_keyring_store::keychain::Store::new();
        #[cfg(windows)]
        let store = windows_native_keyring_store::Store::new();
        store.map(|store| Self(store)).map_err(|e| {
            let why = match &e {
                Error::PlatformFailure(why) | Error::NoStorageAccess(why) => why.to_string(),
                other => other.to_string(),
            };
            Failure::Failed(format!(
                "the keyring does not answer ({why}): log in to your desktop, or start its service"
            ))
        })
    }

    /// Keeps a key under a name.
    pub fn keep(&self, name: &str, key: &[u8; 32]) -> Result<(), Failure> {
        let kept = self.entry(name).and_then(|entry| entry.set_secret(key));
        kept.map_err(|e| explain(&e, name))?;
        // A keyring that forgets would cost the profile.
        if *self.find(name)? == *key { Ok(()) } else { Err(other(name)) }
    }

    /// The key of a name.
    pub fn find(&self, name: &str) -> Result<Zeroizing<[u8; 32]>, Failure> {
        let found = self.entry(name).and_then(|entry| entry.get_secret());
        let found = Zeroizing::new(found.map_err(|e| explain(&e, name))?);
        let key = <[u8; 32]>::try_from(&found[..]).map_err(|_| other(name))?;
        Ok(Zeroizing::new(key))
    }

    /// Deletes it.
    pub fn forget(&self, name: &str) -> Result<(), Failure> {
        let forgotten = self.entry(name).and_then(|entry| entry.delete_credential());
        forgotten.map_err(|e| explain(&e, name))
    }

    fn entry(&self, name: &str) -> Result<Entry, Error> {
        self.0.build(SERVICE, name, None)
    }
}

/// Errors of the keyring may hold what they are about: only some are printed.
fn explain(e: &Error, name: &str) -> Failure {
    Failure::Failed(match e {
        Error::NoEntry => format!(
            "the keyring has no entry {name} of {SERVICE} any more, which was the key of this profile: restore the keyring from its backup; \
             nothing else opens the profile"
        ),
        Error::NoStorageAccess(why) => {
            format!("the keyring is locked ({why}): unlock it, and try again")
        }
        Error::PlatformFailure(why) => format!("the keyring failed ({why}): try again"),
        Error::Ambiguous(_) => {
            format!("the keyring has several entries {name} of {SERVICE}: delete the wrong ones")
        }
        _ => format!("the keyring can't keep the entry {name} of {SERVICE}"),
    })
}

fn other(name: &str) -> Failure {
    Failure::Failed(format!(
        "the entry {name} of {SERVICE} in the keyring is no key: restore the keyring from its backup"
    ))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use keyring_core::mock::{Cred, Store};
    use keyring_core::{Entry, Error};

    use super::Keyring;
    use crate::Failure;

    fn keyring() -> (Keyring, Entry) {
        let store = Store::new().unwrap();
        let keyring = Keyring(Arc::clone(&store) as Arc<_>);
        let entry = keyring.entry("name").unwrap();
        (keyring, entry)
    }

    fn said<T>(result: Result<T, Failure>) -> String {
        match result {
            Err(Failure::Failed(said)) => said,
            _ => panic!("it did not fail"),
        }
    }

    #[test]
    fn what_is_kept_is_found_until_it_is_forgotten() {
        let (keyring, _) = keyring();
        keyring.keep("name", &[7; 32]).unwrap();
        assert_eq!(*keyring.find("name").unwrap(), [7; 32]);
        keyring.forget("name").unwrap();
        assert!(said(keyring.find("name")).contains("no entry name of dmls any more"));
        assert!(said(keyring.forget("name")).contains("no entry name"));
    }

    #[test]
    fn what_goes_wrong_says_what_to_do_and_no_secret() {
        let (keyring, entry) = keyring();
        keyring.keep("name", &[7; 32]).unwrap();
        let failing = |e: Error| {
            entry.as_any().downcast_ref::<Cred>().unwrap().set_error(e);
            let said = said(keyring.find("name"));
            assert!(!said.contains('7'), "{said}");
            said
        };
        assert!(
            failing(Error::NoStorageAccess("dismissed".into())).contains("is locked (dismissed): unlock it")
        );
        assert!(failing(Error::PlatformFailure("gone".into())).contains("failed (gone): try again"));
        failing(Error::BadEncoding(vec![7; 32]));
        assert_eq!(*keyring.find("name").unwrap(), [7; 32]);
        entry.set_secret(b"short").unwrap();
        assert!(said(keyring.find("name")).contains("is no key"));
    }
}
