//! The providers of this build. They are values, not type parameters.

use std::fmt;

use super::{CryptoProvider, Suite};
use crate::registry::CipherSuite;

/// A provider, by value.
#[derive(Clone, Copy)]
pub struct Provider(pub(super) &'static dyn CryptoProvider);

impl Provider {
    /// A provider of your own.
    pub fn new(primitives: &'static dyn CryptoProvider) -> Self {
        Self(primitives)
    }

    /// aws-lc-rs: the fast one, for native targets.
    #[cfg(feature = "aws-lc-rs")]
    pub fn aws_lc() -> Self {
        Self(&super::aws_lc::AwsLc)
    }

    /// RustCrypto: the portable one, also for WebAssembly.
    #[cfg(feature = "rustcrypto")]
    pub fn rust_crypto() -> Self {
        Self(&super::rust_crypto::RustCrypto)
    }

    /// All that this build has, the default first.
    pub fn all() -> Vec<Self> {
        vec![
            #[cfg(feature = "aws-lc-rs")]
            Self::aws_lc(),
            #[cfg(feature = "rustcrypto")]
            Self::rust_crypto(),
        ]
    }

    /// For people.
    pub fn name(&self) -> &'static str {
        self.0.name()
    }

    /// All suites whose primitives are there.
    pub fn suites(&self) -> impl Iterator<Item = Suite> {
        let provider = *self;
        CipherSuite::REGISTERED.iter().filter_map(move |code| provider.suite(*code))
    }

    /// The suite, if its primitives are there. No suite has X448 or Ed448: no maintained crate offers a stable release.
    pub fn suite(&self, code: CipherSuite) -> Option<Suite> {
        Suite::with_provider(code, *self)
    }
}

#[cfg(any(feature = "aws-lc-rs", feature = "rustcrypto"))]
impl Default for Provider {
    fn default() -> Self {
        #[cfg(feature = "aws-lc-rs")]
        return Self::aws_lc();
        #[cfg(not(feature = "aws-lc-rs"))]
        return Self::rust_crypto();
    }
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Provider({})", self.name())
    }
}
