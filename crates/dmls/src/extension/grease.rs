//! GREASE (RFC 9420 s13.5): values without a meaning, so that everybody stays used to unknown ones.

use rand_core::CryptoRng;

use crate::registry::{CipherSuite, CredentialType, ExtensionType, ProposalType};

use super::{Capabilities, Extensions};

/// One of the reserved values: 0x0A0A, 0x1A1A, .. 0xEAEA.
fn reserved(rng: &mut dyn CryptoRng) -> u16 {
    0x0a0a + 0x1010 * (rng.next_u32() % 15) as u16
}

fn is_reserved(value: u16) -> bool {
    value & 0x0f0f == 0x0a0a && value >> 8 == value & 0xff && value <= 0xeaea
}

impl Capabilities {
    /// With a reserved value in each list that may have one.
    pub(crate) fn with_grease(mut self, rng: &mut dyn CryptoRng) -> Self {
        self.cipher_suites.push(CipherSuite(reserved(rng)));
        self.extensions.push(ExtensionType(reserved(rng)));
        self.proposals.push(ProposalType(reserved(rng)));
        self.credentials.push(CredentialType(reserved(rng)));
        self
    }

    /// What the client really supports: "representations of a client's own capabilities MUST NOT contain GREASE values".
    pub(crate) fn without_grease(&self) -> Self {
        let mut own = self.clone();
        own.cipher_suites.retain(|suite| !is_reserved(suite.0));
        own.extensions.retain(|extension| !is_reserved(extension.0));
        own.proposals.retain(|proposal| !is_reserved(proposal.0));
        own.credentials.retain(|credential| !is_reserved(credential.0));
        own
    }

    /// Extensions of a KeyPackage or a leaf that mean nothing: those reserved types that are listed.
    pub(crate) fn grease_extensions(&self, rng: &mut dyn CryptoRng) -> Extensions {
        let mut extensions = Extensions::new();
        for extension in self.extensions.iter().filter(|extension| is_reserved(extension.0)) {
            let mut data = vec![0; (rng.next_u32() % 16) as usize];
            rng.fill_bytes(&mut data);
            extensions.set(*extension, data);
        }
        extensions
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha20Rng;
    use rand_chacha::rand_core::SeedableRng;

    use super::*;

    #[test]
    fn the_fifteen_reserved_values_are_drawn_and_recognised() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let drawn: std::collections::BTreeSet<u16> = (0..1000).map(|_| reserved(&mut rng)).collect();
        let all: std::collections::BTreeSet<u16> =
            (0..=u16::MAX).filter(|value| is_reserved(*value)).collect();
        assert_eq!(drawn, all);
        assert_eq!(all.len(), 15);
        assert!(all.contains(&0x0a0a) && all.contains(&0xeaea) && !all.contains(&0xfafa));
    }

    #[test]
    fn what_is_added_is_taken_out() {
        let mut rng = ChaCha20Rng::seed_from_u64(2);
        let own = Capabilities { extensions: vec![ExtensionType::DMLS], ..Default::default() };
        let greased = own.clone().with_grease(&mut rng);
        assert_eq!(greased.cipher_suites.len(), 1);
        assert_eq!(greased.proposals.len(), 1);
        assert_eq!(greased.grease_extensions(&mut rng).iter().count(), 1);
        assert_eq!(greased.without_grease(), own);
    }
}
