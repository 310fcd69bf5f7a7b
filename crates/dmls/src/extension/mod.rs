//! Extensions (RFC 9420 s13.4), capabilities (s7.2) and GREASE (s13.5).

mod capabilities;
mod content;
mod grease;

pub use capabilities::{Capabilities, RequiredCapabilities};
pub use content::{Extension, ExtensionContent, Extensions, ExternalPub, ExternalSender, ExternalSenders};
