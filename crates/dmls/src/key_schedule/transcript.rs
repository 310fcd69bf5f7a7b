//! Transcript hashes (RFC 9420 s8.2).

use crate::codec::Encode;
use crate::crypto::{Signature, Suite, Tag};
use crate::framing::FramedContent;
use crate::registry::WireFormat;

/// `confirmed_transcript_hash_[n] = Hash(interim_transcript_hash_[n-1] || wire_format || content || signature)`.
pub(crate) fn confirmed_transcript_hash(
    suite: &Suite,
    interim: &[u8],
    wire_format: WireFormat,
    content: &FramedContent,
    signature: &Signature,
) -> Vec<u8> {
    let mut input = wire_format.to_bytes();
    content.encode(&mut input);
    signature.encode(&mut input);
    suite.hash(&[interim, &input])
}

/// `interim_transcript_hash_[n] = Hash(confirmed_transcript_hash_[n] || confirmation_tag)`.
pub(crate) fn interim_transcript_hash(suite: &Suite, confirmed: &[u8], tag: &Tag) -> Vec<u8> {
    suite.hash(&[confirmed, &tag.to_bytes()])
}
