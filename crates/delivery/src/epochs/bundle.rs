//! A bundle as it travels (federation.md s2): a commit with all that servers and joiners need of it.
//!
//! ```text
//! uint16 version = 1;
//! opaque commit<V>;               DMLSMessage(PublicMessage)
//! opaque proposals<V><V>;         MLSMessages: those that the commit takes by reference, and no others
//! optional<opaque<V>> welcome;    MLSMessage(Welcome), if the commit adds somebody
//! opaque group_info<V>;           MLSMessage(GroupInfo) of the epoch that the commit makes, without the tree
//! ```
//!
//! Which devices the Welcome is for needs no field: it names KeyPackages, and the commit says whose they are.
//! The limits belong to the version and not to a server, for what one server finds too large all must (J6).

use dmls::Bundle;
use dmls::codec::{Decode, Encode, Reader};
use dmls::framing::MlsMessage;
use dmls::registry::ExtensionType;

use super::invalid::{Invalid, Part};

const VERSION: u16 = 1;

/// Bytes of all of it: a Welcome for thousands with the tree inside is a few MiB, as is an update path in a tree of blank nodes.
pub(super) const BUNDLE_SIZE: usize = 16 << 20;
/// How many proposals: as many as a member of the library stores.
const PROPOSALS: usize = 1 << 10;
/// Bytes of one: a KeyPackage with a chain of certificates is some KiB.
const PROPOSAL_SIZE: usize = 1 << 16;
/// Bytes of the GroupInfo: names, hashes, and the extensions of the group.
const GROUP_INFO_SIZE: usize = 1 << 18;

/// Writes a bundle for the way to a server, if a server would take one of this size.
pub fn encode_bundle(bundle: &Bundle) -> Result<Vec<u8>, Invalid> {
    let Bundle { commit, proposals, welcome, group_info } = bundle;
    let length = [commit, group_info].into_iter().chain(proposals).chain(welcome).map(Vec::len);
    Part::Bundle.check(length.sum(), BUNDLE_SIZE)?;
    let mut out = Vec::new();
    VERSION.encode(&mut out);
    commit.encode(&mut out);
    proposals.encode(&mut out);
    welcome.encode(&mut out);
    group_info.encode(&mut out);
    // The limits of the parts, and what the headers of lengths add.
    decode_bundle(&out)?;
    Ok(out)
}

/// Reads a bundle. What is in its parts is judged where its parent is known.
pub fn decode_bundle(bytes: &[u8]) -> Result<Bundle, Invalid> {
    Part::Bundle.check(bytes.len(), BUNDLE_SIZE)?;
    let mut r = Reader::new(bytes);
    match u16::decode(&mut r)? {
        VERSION => {}
        other => return Err(Invalid::Version(other)),
    }
    let bundle = Bundle {
        commit: Vec::decode(&mut r)?,
        proposals: proposals(&mut r)?,
        welcome: Option::decode(&mut r)?,
        group_info: opaque(&mut r, Part::GroupInfo, GROUP_INFO_SIZE)?,
    };
    r.finish()?;
    Ok(bundle)
}

fn opaque(r: &mut Reader<'_>, part: Part, limit: usize) -> Result<Vec<u8>, Invalid> {
    let mut bytes = r.vector()?;
    part.check(bytes.remaining(), limit)?;
    Ok(bytes.rest().to_vec())
}

fn proposals(r: &mut Reader<'_>) -> Result<Vec<Vec<u8>>, Invalid> {
    let mut items = r.vector()?;
    let mut proposals = Vec::new();
    while !items.is_empty() {
        Part::Proposals.check(proposals.len() + 1, PROPOSALS)?;
        proposals.push(opaque(&mut items, Part::Proposal, PROPOSAL_SIZE)?);
    }
    Ok(proposals)
}

/// Every server has the tree; a bundle that brings it along would grow with the group.
pub(super) fn check_bare(group_info: &[u8]) -> Result<(), Invalid> {
    match MlsMessage::from_bytes(group_info)? {
        MlsMessage::GroupInfo(info) if info.extensions.contains(ExtensionType::RATCHET_TREE) => {
            Err(Invalid::TreeInGroupInfo)
        }
        // Another kind of message is refused with the commit.
        _ => Ok(()),
    }
}
