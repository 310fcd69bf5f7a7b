//! Transcript hashes (RFC 9420 s8.2).

use crate::codec::Encode;
use crate::crypto::{Suite, Tag};

/// `confirmed_transcript_hash_[n] = Hash(interim_transcript_hash_[n-1] || ConfirmedTranscriptHashInput_[n])`; the input is the
/// commit's wire format, content and signature.
pub(crate) fn confirmed_transcript_hash(suite: &Suite, interim: &[u8], input: &[u8]) -> Vec<u8> {
    suite.hash(&[interim, input])
}

/// `interim_transcript_hash_[n] = Hash(confirmed_transcript_hash_[n] || confirmation_tag)`.
pub(crate) fn interim_transcript_hash(suite: &Suite, confirmed: &[u8], tag: &Tag) -> Vec<u8> {
    suite.hash(&[confirmed, &tag.to_bytes()])
}
