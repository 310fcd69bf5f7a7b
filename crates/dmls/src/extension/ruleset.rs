//! GroupContext: the ruleset of a group (DESIGN s3.4, R16; private use). What decides whether a message is accepted must be
//! the same for all members, or one limit splits the group for good.
//!
//! ```text
//! uint16 version = 1;
//! uint8  fork_choice;             0 highest tag, 1 removals first
//! uint8  external_joins;          0 none, 1 resync: must remove an earlier self of the joiner, 2 anyone
//! uint8  delivery;                0 folder, 1 server
//! uint8  handshake;               0 public, 1 private
//! uint16 children_per_committer;
//! uint16 proposals_per_sender;
//! uint32 members;
//! opaque ruleset<V>;
//! ```
//!
//! It never changes in the life of a group; another one takes a reinit. A child is judged by that of its parent.

use crate::codec::{Decode, Reader, code_points, wire_struct};
use crate::error::{Error, Rule, Unsupported};
use crate::registry::ExtensionType;

use super::{ExtensionContent, Extensions};

code_points! {
    /// Which of several children of an epoch the group follows.
    pub struct ForkChoiceRule(u8) {
        /// That with the highest confirmation tag (draft s6.1.2).
        HIGHEST_TAG = 0 => "highest_tag";
        /// Commits that remove somebody go before those of whom they remove.
        REMOVALS_FIRST = 1 => "removals_first";
    }
}

code_points! {
    /// Who may join by an external commit.
    pub struct ExternalJoins(u8) {
        /// Nobody.
        NONE = 0 => "none";
        /// Who removes an earlier self of its own by the same commit.
        RESYNC = 1 => "resync";
        /// Anyone whom the authentication service accepts.
        ANYONE = 2 => "anyone";
    }
}

code_points! {
    /// How the group's messages travel, for as long as it lives.
    pub struct DeliveryKind(u8) {
        /// In a folder, without any service.
        FOLDER = 0 => "folder";
        /// Over a delivery service.
        SERVER = 1 => "server";
    }
}

code_points! {
    /// How members' commits and proposals are framed.
    pub struct HandshakeFormat(u8) {
        /// As PublicMessages: a delivery service can follow the group.
        PUBLIC = 0 => "public";
        /// As PrivateMessages.
        PRIVATE = 1 => "private";
    }
}

/// The rules of a group on which all members agree.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ruleset {
    /// 1.
    pub version: u16,
    /// Which of several children of an epoch the group follows.
    pub fork_choice: ForkChoiceRule,
    /// Who may join by an external commit.
    pub external_joins: ExternalJoins,
    /// How messages travel.
    pub delivery: DeliveryKind,
    /// How members' commits and proposals are framed.
    pub handshake: HandshakeFormat,
    /// Children of one epoch that one committer may always have.
    pub children_per_committer: u16,
    /// Proposals of one epoch that one sender may always have stored.
    pub proposals_per_sender: u16,
    /// The most leaves that the tree may have.
    pub members: u32,
    /// Names what else the delivery services of the group agree on.
    pub ruleset: Vec<u8>,
}

wire_struct!(Ruleset {
    version,
    fork_choice,
    external_joins,
    delivery,
    handshake,
    children_per_committer,
    proposals_per_sender,
    members,
    ruleset,
});

impl ExtensionContent for Ruleset {
    const TYPE: ExtensionType = ExtensionType::RULESET;
}

impl Default for Ruleset {
    fn default() -> Self {
        Self {
            version: Self::VERSION,
            fork_choice: ForkChoiceRule::HIGHEST_TAG,
            external_joins: ExternalJoins::RESYNC,
            delivery: DeliveryKind::FOLDER,
            handshake: HandshakeFormat::PRIVATE,
            children_per_committer: 8,
            proposals_per_sender: 64,
            members: 1 << 16,
            ruleset: Vec::new(),
        }
    }
}

impl Ruleset {
    const VERSION: u16 = 1;

    /// That of a group with the extension of R9, if it has one. Whoever does not know every value of it could not judge as the others do, and does not
    /// join.
    pub(crate) fn of(extensions: &Extensions) -> Result<Option<Self>, Error> {
        // Elsewhere this private-use type means something else, or nothing.
        let is_marked = extensions.contains(ExtensionType::DMLS);
        let Some(data) = extensions.data(Self::TYPE).filter(|_| is_marked) else { return Ok(None) };
        // A later version may have another shape.
        let version = u16::decode(&mut Reader::new(data)).map_err(|_| Rule::ExtensionContent)?;
        if version != Self::VERSION {
            return Err(Unsupported::Ruleset.into());
        }
        let ruleset = Self::from_bytes(data).map_err(|_| Rule::ExtensionContent)?;
        if ruleset.is_known() { Ok(Some(ruleset)) } else { Err(Unsupported::Ruleset.into()) }
    }

    fn is_known(&self) -> bool {
        let names = [
            self.fork_choice.name(),
            self.external_joins.name(),
            self.delivery.name(),
            self.handshake.name(),
        ];
        let quotas = [self.children_per_committer.into(), self.proposals_per_sender.into(), self.members];
        names.iter().all(Option::is_some) && !quotas.contains(&0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Encode;

    #[test]
    fn the_bytes_are_those_of_the_design() {
        let ruleset = Ruleset { ruleset: b"id".to_vec(), ..Ruleset::default() };
        let bytes = [0, 1, 0, 1, 0, 1, 0, 8, 0, 64, 0, 1, 0, 0, 2, b'i', b'd'];
        assert_eq!(ruleset.to_bytes(), bytes);
        assert_eq!(Ruleset::from_bytes(&bytes), Ok(ruleset));
    }

    #[test]
    fn what_is_not_known_is_not_supported() {
        let read = |bytes: Vec<u8>| {
            let mut extensions = Extensions::new();
            extensions.set(ExtensionType::RULESET, bytes);
            assert_eq!(Ruleset::of(&extensions), Ok(None));
            extensions.set(ExtensionType::DMLS, Vec::new());
            Ruleset::of(&extensions)
        };
        let known = Ruleset::default();
        assert_eq!(read(known.to_bytes()), Ok(Some(known.clone())));
        assert_eq!(Ruleset::of(&Extensions::new()), Ok(None));
        for unknown in [
            Ruleset { fork_choice: ForkChoiceRule(2), ..known.clone() },
            Ruleset { external_joins: ExternalJoins(3), ..known.clone() },
            Ruleset { delivery: DeliveryKind(2), ..known.clone() },
            Ruleset { handshake: HandshakeFormat(2), ..known.clone() },
            Ruleset { children_per_committer: 0, ..known.clone() },
            Ruleset { proposals_per_sender: 0, ..known.clone() },
            Ruleset { members: 0, ..known.clone() },
        ] {
            assert_eq!(read(unknown.to_bytes()), Err(Unsupported::Ruleset.into()));
        }
        // A later version, with a field more.
        let later = [Ruleset { version: 2, ..known.clone() }.to_bytes(), vec![1]].concat();
        assert_eq!(read(later), Err(Unsupported::Ruleset.into()));
        for damaged in [vec![], vec![0], vec![0, 1], [known.to_bytes(), vec![0]].concat()] {
            assert_eq!(read(damaged), Err(Rule::ExtensionContent.into()));
        }
    }
}
