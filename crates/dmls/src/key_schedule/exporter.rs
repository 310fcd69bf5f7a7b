//! Exported secrets (RFC 9420 s8.5).

use crate::crypto::Suite;

use super::{ExportedSecret, ExporterSecret};

impl ExporterSecret {
    /// `ExpandWithLabel(DeriveSecret(exporter_secret, label), "exported", Hash(context), length)`.
    pub(crate) fn export(&self, suite: &Suite, label: &str, context: &[u8], length: usize) -> ExportedSecret {
        let secret = suite.derive_secret(&self.0, label);
        ExportedSecret(suite.expand_with_label(&secret, "exported", &suite.hash(&[context]), length))
    }
}
