//! Runs the MLS working group's test vectors and those of the draft: one function per kind of file, one call per case.
//!
//! For tests only: it is here because the vectors look at internals. Every function says what differs, as
//! `field: found .., expected ..`.

mod crypto;
mod generate;
mod insider;
mod key_schedule;
mod messages;
mod passive_client;
mod replay;
mod run;
mod transcript;
mod tree;

use std::fmt;

use serde_json::Value;

use crate::crypto::{Provider, Secret, Suite};
use crate::registry::CipherSuite;

pub use crypto::{crypto_basics, deserialization, pprf, secret_tree};
pub use generate::generate;
pub use insider::insider;
pub use key_schedule::{dmls_key_schedule, key_schedule, psk_secret, transcript_hashes};
pub use messages::{message_encoding, message_protection, messages, welcome};
pub use passive_client::passive_client;
pub use run::{Summary, run};
pub use transcript::transcript;
pub use tree::{tree_math, tree_operations, tree_validation, treekem};

/// What a case comes to: `Err` says what differs.
pub type Outcome = Result<(), String>;

/// The suite that the case is for, if `provider` has it.
pub fn suite(provider: Provider, case: &Value) -> Result<Option<Suite>, String> {
    Ok(provider.suite(CipherSuite(integer(case, "cipher_suite")?)))
}

/// A field that must be there.
fn field<'a>(case: &'a Value, name: &str) -> Result<&'a Value, String> {
    case.get(name).ok_or_else(|| format!("{name}: the case has no such field"))
}

/// A field with bytes in hex.
fn bytes(case: &Value, name: &str) -> Result<Vec<u8>, String> {
    hex::decode(text(case, name)?).map_err(|e| format!("{name}: {e}"))
}

/// A field with a private key. Some files strip the leading zeros of a P-521 scalar, which has 66 bytes (RFC 9180 s7.1).
fn private_key(suite: &Suite, case: &Value, name: &str) -> Result<Secret, String> {
    let mut key = bytes(case, name)?;
    if suite.code() == CipherSuite::P521_AES256 {
        let missing = 66_usize.saturating_sub(key.len());
        key.splice(0..0, vec![0; missing]);
    }
    Ok(Secret::new(key))
}

/// A field with text.
fn text<'a>(case: &'a Value, name: &str) -> Result<&'a str, String> {
    field(case, name)?.as_str().ok_or_else(|| format!("{name}: not a string"))
}

/// A field with a number that fits.
fn integer<T: TryFrom<u64>>(case: &Value, name: &str) -> Result<T, String> {
    let number = field(case, name)?.as_u64().ok_or_else(|| format!("{name}: not a number"))?;
    T::try_from(number).map_err(|_| format!("{name}: {number} is too large"))
}

/// A field with an array.
fn array<'a>(case: &'a Value, name: &str) -> Result<&'a [Value], String> {
    field(case, name)?.as_array().map(Vec::as_slice).ok_or_else(|| format!("{name}: not an array"))
}

/// Compares bytes.
fn same(name: &str, found: &[u8], expected: &[u8]) -> Outcome {
    if found == expected {
        return Ok(());
    }
    Err(format!("{name}: found {}, expected {}", hex::encode(found), hex::encode(expected)))
}

/// Compares values.
fn equal<T: PartialEq + fmt::Debug>(name: &str, found: T, expected: T) -> Outcome {
    if found == expected { Ok(()) } else { Err(format!("{name}: found {found:?}, expected {expected:?}")) }
}

/// Names the place in an error.
trait At<T> {
    fn at(self, place: impl fmt::Display) -> Result<T, String>;
}

impl<T, E: fmt::Display> At<T> for Result<T, E> {
    fn at(self, place: impl fmt::Display) -> Result<T, String> {
        self.map_err(|e| format!("{place}: {e}"))
    }
}
