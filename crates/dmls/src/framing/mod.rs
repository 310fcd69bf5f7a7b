//! Message framing (RFC 9420 s6).

mod content;
mod message;
mod private;
mod public;
mod sender_data;

pub(crate) use content::{AuthenticatedContent, Verified};
pub use content::{Content, ContentType, FramedContent, FramedContentAuthData, Sender};
pub use message::MlsMessage;
pub use private::PrivateMessage;
pub use public::PublicMessage;
pub(crate) use sender_data::SenderData;
#[cfg(feature = "vectors")]
pub(crate) use sender_data::sender_data_keys;
