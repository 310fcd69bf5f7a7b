//! Extensions (RFC 9420 s13.4), capabilities (s7.2) and GREASE (s13.5); the ruleset of a group (R16), attestations of a leaf (R17).

mod attestation;
mod capabilities;
mod content;
mod grease;
mod ruleset;

pub use attestation::HomeAttestation;
pub use capabilities::{Capabilities, RequiredCapabilities};
pub use content::{Extension, ExtensionContent, Extensions, ExternalPub, ExternalSender, ExternalSenders};
pub use ruleset::{DeliveryKind, ExternalJoins, ForkChoiceRule, HandshakeFormat, Ruleset};
