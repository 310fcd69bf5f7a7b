//! How a group begins at a server: by the GroupInfo of its first epoch.

use std::cell::OnceCell;
use std::fmt;

use dmls::PublicGroup;
use dmls::codec::Decode;
use dmls::extension::{DeliveryKind, ForkChoiceRule, HandshakeFormat, Ruleset};
use dmls::framing::MlsMessage;
use dmls::registry::ExtensionType;

use super::invalid::{Invalid, Part};
use super::roll::Roll;
use super::{GroupEpochs, Loaded, Records, ServerKeys, bundle, config, note};
use crate::commit::Commit;
use crate::ids::GroupName;
use crate::records::Writes;
use crate::server::epochs_prefix;

/// What the ruleset of a group must name for it to be served: the form of bundles, their limits, and the rules of home attestations.
/// Servers that judge in another way need another name.
pub const RULES: &[u8] = b"dmls delivery 1";

/// Why a group can't be served.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unfit {
    /// Its GroupInfo, or a leaf in it, is invalid.
    Invalid(Invalid),
    /// The GroupInfo is not the first of the first epoch: the others could not be asked for what was before.
    NotFirst,
    /// It has no ruleset, or one that does not name [`RULES`].
    Rules,
    /// Its ruleset says that it is delivered by other means.
    Delivery,
    /// Its ruleset says that commits are encrypted: servers could not follow it.
    Handshake,
    /// Its ruleset has a fork choice that is not proven with servers yet.
    ForkChoice,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the group can't be served: ")?;
        f.write_str(match self {
            Self::Invalid(invalid) => return invalid.fmt(f),
            Self::NotFirst => "give the GroupInfo that was made with it",
            Self::Rules => "its ruleset does not name the rules of these servers",
            Self::Delivery => "its ruleset says that it is not for servers",
            Self::Handshake => "its ruleset says that handshakes are encrypted",
            Self::ForkChoice => "its ruleset has a fork choice that servers don't support yet",
        })
    }
}

impl std::error::Error for Unfit {}

impl<E: Into<Invalid>> From<E> for Unfit {
    fn from(error: E) -> Self {
        Self::Invalid(error.into())
    }
}

impl GroupEpochs {
    /// A new group: what it is called, its first commit, and its epochs, for [`crate::Server::create`]. `group_info` is a
    /// MLSMessage(GroupInfo) by which epoch 0 was made known first: its hash is the group's name, so all servers that have one name
    /// have one group. The tree is needed where it is not inside.
    pub fn found(
        group_info: &[u8],
        ratchet_tree: Option<&[u8]>,
        records: Box<dyn Records>,
        keys: Box<dyn ServerKeys>,
    ) -> Result<(GroupName, Commit, Self), Unfit> {
        Part::Bundle.check(group_info.len(), bundle::BUNDLE_SIZE)?;
        // What names the commit that made its epoch is a later one, and could name any.
        match MlsMessage::from_bytes(group_info)? {
            MlsMessage::GroupInfo(info) if info.extensions.contains(ExtensionType::COMMIT_ID) => {
                return Err(Unfit::NotFirst);
            }
            _ => {}
        }
        let founding = PublicGroup::begin(group_info, ratchet_tree, config())?;
        let group = founding.group();
        let head = group.head();
        if head.number() != 0 {
            return Err(Unfit::NotFirst);
        }
        check_ruleset(head.context_extensions().content::<Ruleset>().ok().flatten())?;
        Roll::read(head.members())?.check(&Roll::default(), group.suite())?;
        let id = head.commit_id().clone();
        let mut unwritten = Writes::new();
        note(&mut unwritten, founding.changes());
        let loaded = Loaded::new(founding.apply_unsaved());
        let commit = loaded.describe(&id).ok_or(Unfit::NotFirst)?;
        let name = GroupName::of(&id).ok_or(Unfit::NotFirst)?;
        let prefix = epochs_prefix(&name);
        Ok((name, commit, Self { records, keys, prefix, loaded: OnceCell::from(loaded), unwritten }))
    }
}

fn check_ruleset(ruleset: Option<Ruleset>) -> Result<(), Unfit> {
    let ruleset = ruleset.filter(|ruleset| ruleset.ruleset == RULES).ok_or(Unfit::Rules)?;
    if ruleset.delivery != DeliveryKind::SERVER {
        return Err(Unfit::Delivery);
    }
    if ruleset.handshake != HandshakeFormat::PUBLIC {
        return Err(Unfit::Handshake);
    }
    if ruleset.fork_choice != ForkChoiceRule::HIGHEST_TAG {
        return Err(Unfit::ForkChoice);
    }
    Ok(())
}
