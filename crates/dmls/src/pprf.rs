//! The puncturable pseudorandom function (draft s5).

use crate::codec::{Decode, DecodeError, Encode, Reader};
use crate::crypto::{Secret, Suite};

/// Stands in until the module is written.
#[derive(Debug)]
pub(crate) struct Pprf(Secret);

#[derive(Debug)]
pub(crate) struct Puncture;

#[derive(Debug)]
pub(crate) enum PprfError {
    InputLength,
    Punctured,
}

impl Pprf {
    pub(crate) fn new(root: Secret) -> Self {
        Self(root)
    }
    pub(crate) fn evaluate(&self, _: &Suite, _: &[u8]) -> Result<(Secret, Puncture), PprfError> {
        Err(PprfError::Punctured)
    }
    pub(crate) fn apply(&mut self, _: Puncture) {}
}

impl Encode for Pprf {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }
}

impl Decode for Pprf {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Secret::decode(r).map(Self)
    }
}
