//! The secret tree (RFC 9420 s9).

use crate::crypto::Secret;

/// Which of a member's two ratchets.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum RatchetKind {
    Handshake,
    Application,
}

/// The key and nonce of one message.
pub(crate) struct MessageKey {
    pub key: Secret,
    pub nonce: [u8; 12],
}
