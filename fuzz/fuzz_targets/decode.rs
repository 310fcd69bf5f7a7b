//! Every public decoder: no panic, and what decodes encodes to the same bytes.
#![no_main]

use dmls::codec::{Decode, Encode};
use dmls::extension::{Capabilities, Extensions, ExternalSenders, RequiredCapabilities};
use dmls::framing::{FramedContent, MlsMessage, PrivateMessage, PublicMessage};
use dmls::GroupContext;
use dmls::message::{Commit, GroupInfo, Proposal, Welcome};
use dmls::tree::{LeafNode, ParentNode, UpdatePath};
use dmls::{CommitSummary, Credential, DmlsMessage, KeyPackage, KnownCommit};
use libfuzzer_sys::fuzz_target;

fn decode<T: Decode + Encode>(bytes: &[u8]) {
    if let Ok(value) = T::from_bytes(bytes) {
        assert_eq!(value.to_bytes(), bytes);
    }
}

fuzz_target!(|input: &[u8]| {
    // The first byte says as what, so that the fuzzer learns each format by itself.
    let Some((kind, bytes)) = input.split_first() else { return };
    match kind % 21 {
        0 => decode::<MlsMessage>(bytes),
        1 => decode::<DmlsMessage>(bytes),
        2 => decode::<PublicMessage>(bytes),
        3 => decode::<PrivateMessage>(bytes),
        4 => decode::<Welcome>(bytes),
        5 => decode::<GroupInfo>(bytes),
        6 => decode::<KeyPackage>(bytes),
        7 => decode::<FramedContent>(bytes),
        8 => decode::<Proposal>(bytes),
        9 => decode::<Commit>(bytes),
        10 => decode::<GroupContext>(bytes),
        11 => decode::<LeafNode>(bytes),
        12 => decode::<ParentNode>(bytes),
        13 => decode::<UpdatePath>(bytes),
        14 => decode::<Extensions>(bytes),
        15 => decode::<Capabilities>(bytes),
        16 => decode::<RequiredCapabilities>(bytes),
        17 => decode::<ExternalSenders>(bytes),
        18 => decode::<Credential>(bytes),
        19 => decode::<CommitSummary>(bytes),
        _ => decode::<KnownCommit>(bytes),
    }
});
