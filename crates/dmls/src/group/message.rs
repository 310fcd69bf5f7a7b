//! DMLSMessage (draft s3).

use crate::codec::wire_struct;
use crate::framing::MlsMessage;
use crate::key_schedule::EpochId;

/// A message with the name of the epoch in which it was sent. Only PublicMessage and PrivateMessage are wrapped (R8).
///
/// The name is not authenticated: it routes, and nothing more (R12).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DmlsMessage {
    /// The message.
    pub message: MlsMessage,
    /// The epoch in which it was sent; of a commit, the parent.
    pub dmls_epoch: EpochId,
}

wire_struct!(DmlsMessage { message, dmls_epoch });
