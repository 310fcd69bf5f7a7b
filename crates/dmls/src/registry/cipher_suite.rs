//! Cipher suites (RFC 9420 s17.1).

use crate::codec::code_points;

code_points! {
    /// A cipher suite (RFC 9420 s17.1).
    pub struct CipherSuite(u16) {
        /// X25519, AES-128-GCM, SHA-256, Ed25519: the suite that every client supports.
        X25519_AES128 = 1 => "MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519";
        /// P-256, AES-128-GCM, SHA-256, ECDSA.
        P256_AES128 = 2 => "MLS_128_DHKEMP256_AES128GCM_SHA256_P256";
        /// X25519, ChaCha20-Poly1305, SHA-256, Ed25519.
        X25519_CHACHA20 = 3 => "MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519";
        /// X448, AES-256-GCM, SHA-512, Ed448.
        X448_AES256 = 4 => "MLS_256_DHKEMX448_AES256GCM_SHA512_Ed448";
        /// P-521, AES-256-GCM, SHA-512, ECDSA.
        P521_AES256 = 5 => "MLS_256_DHKEMP521_AES256GCM_SHA512_P521";
        /// X448, ChaCha20-Poly1305, SHA-512, Ed448.
        X448_CHACHA20 = 6 => "MLS_256_DHKEMX448_CHACHA20POLY1305_SHA512_Ed448";
        /// P-384, AES-256-GCM, SHA-384, ECDSA.
        P384_AES256 = 7 => "MLS_256_DHKEMP384_AES256GCM_SHA384_P384";
    }
}

impl CipherSuite {
    /// Those of RFC 9420.
    pub(crate) const REGISTERED: [Self; 7] = [
        Self::X25519_AES128,
        Self::P256_AES128,
        Self::X25519_CHACHA20,
        Self::X448_AES256,
        Self::P521_AES256,
        Self::X448_CHACHA20,
        Self::P384_AES256,
    ];
}
