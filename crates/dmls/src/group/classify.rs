//! What arrived: tells the kinds of messages apart without deciding anything.

use crate::codec::Decode;
use crate::error::Error;
use crate::framing::MlsMessage;
use crate::key_schedule::EpochId;

use super::DmlsMessage;

/// What some bytes are. Nothing of it is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MessageKind {
    /// For whoever wants to add its owner: [`crate::KeyPackage::from_message`].
    KeyPackage,
    /// An invitation: [`crate::Group::join`].
    Welcome,
    /// For those who join by themselves: [`crate::Group::join_external`].
    GroupInfo {
        /// The group.
        group_id: Vec<u8>,
        /// The number of its epoch.
        number: u64,
    },
    /// A message of a group: [`crate::Group::receive`].
    Message {
        /// The group.
        group_id: Vec<u8>,
        /// The number of its epoch.
        number: u64,
        /// The name of its epoch, in a DMLSMessage.
        epoch: Option<EpochId>,
    },
}

/// Tells what some bytes are. They may be a MLSMessage or a DMLSMessage.
pub fn classify(bytes: &[u8]) -> Result<MessageKind, Error> {
    let (message, epoch) = match MlsMessage::from_bytes(bytes) {
        Ok(message) => (message, None),
        Err(e) => match DmlsMessage::from_bytes(bytes) {
            Ok(wrapped) => (wrapped.message, Some(wrapped.dmls_epoch)),
            Err(_) => return Err(e.into()),
        },
    };
    let place = message.group_and_epoch().map(|(group_id, number)| (group_id.to_vec(), number));
    Ok(match (message, place) {
        (MlsMessage::GroupInfo(_), Some((group_id, number))) => MessageKind::GroupInfo { group_id, number },
        (_, Some((group_id, number))) => MessageKind::Message { group_id, number, epoch },
        (MlsMessage::KeyPackage(_), None) => MessageKind::KeyPackage,
        (_, None) => MessageKind::Welcome,
    })
}
