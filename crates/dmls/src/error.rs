//! Errors: whose fault it is, and what to do next.

use std::fmt;

use crate::codec::DecodeError;
use crate::crypto::CryptoError;
use crate::registry::{CipherSuite, CredentialType, ExtensionType, ProtocolVersion};

/// Why an operation was refused. Whatever the reason, nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The bytes are not a message. Drop them; the transport or the sender damaged them.
    Malformed(DecodeError),
    /// The message breaks a rule of the protocol. Drop it; the sender is faulty or hostile.
    Invalid(Rule),
    /// What we asked for would break a rule of the protocol. Ask for something else.
    Refused(Rule),
    /// The message is beyond what this build or this client supports.
    Unsupported(Unsupported),
    /// A limit was reached ([`crate::Limits`]). Raise it, or drop the message.
    Limit(Limit),
    /// The caller asked for something that can't be done now.
    Usage(Usage),
    /// A primitive failed on our own input.
    Crypto(CryptoError),
    /// Stored records don't make a group. Restore them from a backup or rejoin.
    Records(RecordsError),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(e) => write!(f, "malformed message: {e}"),
            Self::Invalid(rule) => write!(f, "invalid message: {rule} [{}]", rule.id()),
            Self::Refused(rule) => write!(f, "not allowed: {rule} [{}]", rule.id()),
            Self::Unsupported(what) => write!(f, "not supported: {what}"),
            Self::Limit(limit) => write!(f, "limit reached: {limit}"),
            Self::Usage(usage) => write!(f, "{usage}"),
            Self::Crypto(e) => write!(f, "cryptography failed: {e}"),
            Self::Records(e) => write!(f, "stored records are not usable: {e}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Malformed(e) => Some(e),
            Self::Crypto(e) => Some(e),
            Self::Records(e) => Some(e),
            Self::Invalid(_) | Self::Refused(_) | Self::Unsupported(_) | Self::Limit(_) | Self::Usage(_) => {
                None
            }
        }
    }
}

impl Error {
    /// The same of what we asked for ourselves.
    pub(crate) fn refused(self) -> Self {
        match self {
            Self::Invalid(rule) => Self::Refused(rule),
            other => other,
        }
    }
}

impl From<DecodeError> for Error {
    fn from(e: DecodeError) -> Self {
        Self::Malformed(e)
    }
}

impl From<Rule> for Error {
    fn from(rule: Rule) -> Self {
        Self::Invalid(rule)
    }
}

impl From<Unsupported> for Error {
    fn from(what: Unsupported) -> Self {
        Self::Unsupported(what)
    }
}

impl From<Limit> for Error {
    fn from(limit: Limit) -> Self {
        Self::Limit(limit)
    }
}

impl From<Usage> for Error {
    fn from(usage: Usage) -> Self {
        Self::Usage(usage)
    }
}

impl From<CryptoError> for Error {
    fn from(e: CryptoError) -> Self {
        Self::Crypto(e)
    }
}

impl From<RecordsError> for Error {
    fn from(e: RecordsError) -> Self {
        Self::Records(e)
    }
}

/// Defines an enum of bare variants, each with a text; [`Rule`] has an id too.
macro_rules! reasons {
    ($(#[$meta:meta])* $name:ident { $($variant:ident $(= $id:literal)? : $text:literal;)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $(#[doc = concat!($($id, ": ",)? $text, ".")] $variant,)*
        }

        impl $name {
            /// Every one of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            reasons!(@id $($variant $($id)?,)*);
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$variant => $text,)* })
            }
        }
    };
    (@id $($variant:ident $id:literal,)+) => {
        /// The section of RFC 9420 (or `dmls` for the draft) and a word.
        pub fn id(self) -> &'static str {
            match self { $(Self::$variant => $id,)* }
        }
    };
    (@id $($variant:ident,)*) => {};
}

reasons! {
    /// The validation rules, each with the section that it comes from. [`Rule::counts_on_receipt`] says which of them are for
    /// receivers.
    Rule {
        // Framing.
        MessageKind = "6:wire-format": "the message is of another kind; dmls::classify tells which";
        GroupId = "6:group-id": "the message belongs to another group";
        Epoch = "6:epoch": "the message belongs to another epoch";
        Sender = "6.1:sender": "the sender's leaf is blank or outside of the tree";
        ContentSignature = "6.1:signature": "the signature of the message does not verify";
        ConfirmationTag = "6.1:confirmation-tag": "the confirmation tag does not match the new epoch";
        MembershipTag = "6.2:membership-tag": "the membership tag does not verify";
        ApplicationInPublic = "6:application": "application data must be encrypted";
        ExternalSender = "12.1.8.1:sender": "the external sender is not in the external_senders extension";
        ExternalSenderCredential = "5.3.1:external-senders": "the authentication service refuses the credential of an external sender";
        ExternalContent = "12.1.8:content": "an external sender may only propose add, remove, psk, reinit or group_context_extensions";
        NewMemberProposal = "6.1:new-member-proposal": "a new member may only propose to add itself";
        NewMemberRefused = "12.1.8:authorization": "the authentication service does not let this client propose itself";
        NewMemberCommit = "6.1:new-member-commit": "a new_member_commit sender must send a commit";
        SenderData = "6.3.2:sender-data": "the sender data do not decrypt";
        Ciphertext = "6.3.1:ciphertext": "the ciphertext does not decrypt";
        Padding = "6.3.1:padding": "the padding is not all zero";
        MessageKeyUsed = "9.2:key-used": "the message key was used already";
        MessageKeyTooOld = "9.2:key-too-old": "the message key was dropped: the message is too old";
        // Leaf nodes.
        LeafCredential = "7.3:credential": "the authentication service refuses the credential";
        LeafSignature = "7.3:signature": "the signature of the leaf node does not verify";
        LeafEncryptionKey = "10:encryption-key": "the encryption_key of the leaf node is not a public key of the cipher suite";
        LeafSignatureKey = "10:signature-key": "the signature_key of the leaf node is not a public key of the cipher suite";
        LeafSuite = "11.1:suite": "the leaf node's capabilities do not list the version or the cipher suite of the group";
        LeafRequiredCapabilities = "7.3:required-capabilities": "the leaf node lacks a required capability";
        LeafGroupExtensions = "13.4:group-extensions": "the leaf node does not support an extension of the group";
        LeafCredentialSupport = "7.3:credential-support": "the credential type of a member is not supported by every member";
        LeafLifetime = "7.3:lifetime": "the leaf node is not valid now";
        LeafLifetimeLength = "7.2:lifetime-length": "the lifetime of the leaf node is longer than we accept";
        LeafExtensions = "7.3:extensions": "the leaf node has an extension that its capabilities do not list";
        LeafOwnCredential = "7.2:own-credential": "the leaf node's capabilities do not list its own credential type";
        LeafSource = "7.3:source": "the leaf node comes from the wrong source";
        LeafKeyUnchanged = "7.3:encryption-key": "the leaf node repeats the encryption key that it replaces";
        DuplicateSignatureKey = "7.3:unique-signature-key": "two members have the same signature key";
        DuplicateEncryptionKey = "7.3:unique-encryption-key": "two nodes have the same encryption key";
        // Key packages.
        KeyPackageVersion = "10.1:version": "the KeyPackage is for another version or cipher suite";
        KeyPackageSignature = "10.1:signature": "the signature of the KeyPackage does not verify";
        KeyPackageInitKey = "10.1:init-key": "the KeyPackage's init_key equals its encryption_key";
        KeyPackageInitKeyForm = "10:init-key": "the KeyPackage's init_key is not a public key of the cipher suite";
        KeyPackageExtensions = "10:extensions": "the KeyPackage has an extension that its leaf's capabilities do not list";
        // Trees.
        TreeStructure = "12.4.3.3:structure": "the ratchet tree is empty, ends in a blank node, or has a node of the wrong kind";
        TreeHash = "12.4.3.1:tree-hash": "the ratchet tree does not have the tree hash of the group";
        ParentKey = "7.1:encryption-key": "the encryption_key of a parent node is not a public key of the cipher suite";
        ParentHash = "7.9.2:parent-hash": "a parent node is not parent-hash valid";
        UnmergedLeaves = "12.4.3.1:unmerged-leaves": "an unmerged leaf is blank, no descendant, unsorted, or missing further down";
        // Update paths.
        PathLength = "7.6:path-length": "the update path does not have one node for each node of the filtered direct path";
        PathCiphertexts = "7.6:ciphertexts": "an update path node does not have one ciphertext for each node of the resolution";
        PathKey = "7.6:encryption-key": "an encryption_key of the update path is not a public key of the cipher suite";
        PathKeyReuse = "12.4.2:path-keys": "a public key of the update path is in the tree already";
        PathParentHash = "7.9:leaf-parent-hash": "the parent hash of the committer's leaf does not match the path";
        PathSecret = "7.5:path-secret": "the path secret does not decrypt";
        PathSecretKey = "7.5:path-key": "a path secret does not lead to the public key of its node";
        // Proposals and commits.
        ProposalUnknown = "12.4:unknown-proposal": "the commit refers to a proposal that we have not seen";
        PathMissing = "12.4:path-missing": "the commit needs an update path and has none";
        UpdateByCommitter = "12.2:own-update": "the commit contains an update of the committer";
        RemoveCommitter = "12.2:remove-committer": "the commit removes its committer";
        RemoveTarget = "12.1.3:target": "a remove proposal names a leaf that is blank or outside of the tree";
        RepeatedLeaf = "12.2:repeated-leaf": "two update or remove proposals concern one leaf";
        RepeatedClient = "12.2:repeated-client": "an add proposal is for a client that is a member or is added twice";
        RepeatedPsk = "12.2:repeated-psk": "two proposals name the same pre-shared key";
        RepeatedGroupContextExtensions = "12.2:repeated-extensions": "the commit contains two group_context_extensions proposals";
        GroupContextExtensions = "12.1.7:support": "a member does not support the new group context extensions";
        ExtensionContent = "13.4:extension-content": "an extension of the group context does not decode or may not be there";
        ReInitAlone = "12.2:reinit": "a reinit proposal must be the only one";
        ReInitVersion = "12.1.5:version": "a reinit proposal goes back to an older version";
        ExternalInitPlace = "12.2:external-init": "an external_init proposal is only allowed in an external commit";
        ExternalInitOnce = "12.2:external-init-once": "an external commit needs exactly one external_init proposal";
        ExternalProposals = "12.2:external-proposals": "an external commit may only contain external_init, one remove and psk proposals";
        ExternalReference = "12.4.3.2:reference": "an external commit may not refer to proposals";
        ExternalRemove = "12.2:external-remove": "an external commit may only remove an earlier self of the joiner";
        PskNonce = "12.1.4:nonce": "the nonce of a pre-shared key does not have the length of a hash";
        PskUsage = "12.1.4:usage": "a resumption psk for reinit or branch is not allowed here";
        PskCount = "8.4:count": "there are more pre-shared keys than PSKLabel can count";
        PskUnknown = "12.4.2:psk": "a pre-shared key is not known";
        GroupEnded = "12.4.2:reinit": "the group was ended by a reinit proposal";
        // Joining.
        WelcomeRecipient = "12.4.3.1:recipient": "the Welcome is not for this KeyPackage";
        WelcomeSecrets = "12.4.3.1:secrets": "the group secrets of the Welcome do not decrypt";
        WelcomeGroupInfo = "12.4.3.1:group-info": "the GroupInfo of the Welcome does not decrypt";
        WelcomePsk = "12.4.3.1:psk": "a reinit or branch psk must be the only one, in epoch 1, and that of the group from which it is joined";
        WelcomeLeaf = "12.4.3.1:own-leaf": "our leaf is not in the tree of the Welcome";
        GroupInfoSigner = "12.4.3.1:signer": "the signer of the GroupInfo is not a member";
        GroupInfoSignature = "12.4.3.1:signature": "the signature of the GroupInfo does not verify";
        GroupInfoSuite = "12.4.3.1:suite": "the GroupInfo has another cipher suite or version";
        GroupInfoExternalPub = "12.4.3.2:external-pub": "the GroupInfo has no usable external_pub extension";
        TreeMissing = "12.4.3.3:missing": "the ratchet tree is neither in the GroupInfo nor given apart";
        SubgroupMembers = "11.3:members": "the new group does not have the members that it must have";
        SubgroupParameters = "11.2:parameters": "the new group does not have the parameters that it must have";
        // The draft.
        KeySchedule = "dmls:key-schedule": "the group uses the other key schedule";
        EpochIdLength = "dmls:epoch-id": "dmls_epoch does not have the length of a hash";
        EpochHeader = "dmls:epoch-header": "the message is not of the epoch that its dmls_epoch names";
        GroupInfoName = "dmls:group-info-name": "the dmls_epoch or the commit_id of the GroupInfo does not have the length of a hash";
        Ruleset = "dmls:ruleset": "the group context extensions add, drop or change the ruleset, or don't require it";
        ExternalJoins = "dmls:external-joins": "the group's ruleset does not let this client join by an external commit";
        HandshakeFormat = "dmls:handshake": "the group's ruleset asks for the other of PublicMessage and PrivateMessage";
        Members = "dmls:members": "the tree would have more leaves than the group's ruleset allows";
        ReInitExtensions = "dmls:reinit": "the successor of a reinit drops the extension of the draft or the ruleset, or does not require it";
        BundleProposals = "dmls:bundle-proposals": "the proposals of the bundle are not those that its commit refers to";
        BundleContext = "dmls:bundle-context": "the GroupInfo of the bundle has another GroupContext than its commit makes";
        BundleTag = "dmls:bundle-tag": "the GroupInfo of the bundle has another confirmation tag than its commit";
        BundleSigner = "dmls:bundle-signer": "the GroupInfo of the bundle is not signed by the committer";
        BundleCommit = "dmls:bundle-commit": "the GroupInfo of the bundle does not name its commit";
        BundleEpoch = "dmls:bundle-epoch": "the GroupInfo of the bundle does not say its dmls_epoch";
        BundleExternalPub = "dmls:bundle-external-pub": "the GroupInfo of the bundle offers external joins, which the group does not allow";
        BundleWelcome = "dmls:bundle-welcome": "the Welcome of the bundle is not for those whom its commit adds";
        Punctured = "dmls:punctured": "the commit was processed in this epoch before";
    }
}

impl Rule {
    /// Whether the rule counts for what others made, or only when we create, add or commit.
    ///
    /// A member who refuses what the others accept is split off. So what others made is judged by what RFC 9420 asks of
    /// receivers, and only three of our rules are addressed to others:
    ///
    /// | | RFC 9420 |
    /// |---|---|
    /// | `11.1:suite` | "all members of the group need to support the cipher suite": s7.3, the list for receivers, does not have it |
    /// | `10:extensions` | what a creator lists; s10.1, the list for receivers, does not have it |
    /// | `7.3:lifetime` | "the client MUST verify" of what it sends; of what it receives, that is "not mandatory", and clocks differ |
    ///
    /// Of the others the RFC says that receivers refuse, but for these, on which all members agree because they depend on
    /// nothing but the message and the group:
    ///
    /// | | |
    /// |---|---|
    /// | `10:init-key`, `10:encryption-key`, `10:signature-key` | s10 says that they MUST be keys of the suite, not who checks it |
    /// | `7.1:encryption-key`, `7.6:encryption-key` | it is silent: without, nobody could commit any more |
    /// | `7.2:lifetime-length`, `12.1.8:authorization`, `12.2:repeated-client`, all credentials | what the application decides, the same in all its clients |
    /// | `13.4:extension-content` | s17.3 says where an extension "may appear" |
    /// | `13.4:group-extensions` | s13.4 asks it of who adds; s7.3 asks receivers for "compatible with the group's parameters" |
    pub fn counts_on_receipt(self) -> bool {
        !matches!(self, Self::LeafSuite | Self::KeyPackageExtensions | Self::LeafLifetime)
    }
}

/// What a message needs and we lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unsupported {
    /// A protocol version other than mls10.
    Version(ProtocolVersion),
    /// A suite without primitives in this build.
    CipherSuite(CipherSuite),
    /// A credential type that can't be decoded.
    Credential(CredentialType),
    /// An extension of the group context that this client does not list in its capabilities.
    Extension(ExtensionType),
    /// A ruleset of the group with a value that this library does not know.
    Ruleset,
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(v) => write!(f, "protocol version {v}"),
            Self::CipherSuite(c) => {
                write!(f, "cipher suite {c}; see Provider::suite for those of this build")
            }
            Self::Credential(c) => write!(f, "credential type {c}"),
            Self::Ruleset => {
                f.write_str("a value of the group's ruleset; a later version of this library may know it")
            }
            Self::Extension(e) => {
                write!(f, "group context extension {e}; list it in the capabilities if you do")
            }
        }
    }
}

reasons! {
    /// Limits against what a peer can make grow (DESIGN s3.6).
    Limit {
        MessageSize: "the message is larger than Limits::message_size";
        TreeSize: "the tree would have more leaves than Limits::members";
        Proposals: "the epoch holds Limits::proposals proposals, or too many of this sender, or this one is too large";
        ForwardRatchet: "the generation is further ahead than Limits::forward_generations";
        Removals: "this committer has sent Limits::children_per_committer commits of this epoch that remove us";
        Verdicts: "there are Limits::known_epochs commits that were called final or blocked already";
        Pending: "the group has Limits::pending own commits that are not confirmed";
        EpochNumber: "there is no epoch after 2^64 - 1; reinitialize the group";
        Held: "there is no room for another held message";
    }
}

reasons! {
    /// What the caller asked for can't be done now.
    Usage {
        UnknownEpoch: "no such epoch is retained; ask for one that Group::epochs lists";
        UnknownCommit: "no such commit is pending; it was confirmed, abandoned or lost with its epoch";
        EpochNotFull: "this epoch can only be read now; commits and messages are made in the head";
        NotMember: "this client was removed from the group; join again with a Welcome or an external commit";
        ForgetsWay: "the way to the head, or a final commit, goes through this epoch, or the way depends on it; forget the oldest first, and what branches off from it";
        DeletesHead: "the head can't be deleted; drop the group if you want to leave it";
        ProposalsPending: "proposals were received in this epoch: commit before sending application data";
        UnknownProposal: "no such proposal is stored in this epoch";
        SenderGenerations: "as many messages were sent as the AEAD allows in one epoch; commit first";
        GroupEnded: "the group was ended by a reinit; create its successor";
        ReInitMissing: "the group was not ended by a reinit";
        NotDmls: "this needs the draft's key schedule";
        SignatureKey: "the signature key is not the one in the KeyPackage";
        ExporterLength: "an exported secret has at most 255 * Nh bytes";
        OwnUpdate: "an update of our own is pending; only another member can commit it";
        OtherHead: "the head has moved since Group::consolidate; ask it again";
        NotToAdd: "nobody with this signature key is to be added again; CommitBuilder::add is for others";
        KeyPackageUsed: "this KeyPackage is used up on a branch that lost; ask for a fresh one";
        RemovesSelf: "a member can't commit its own removal; propose it and let another member commit";
    }
}

/// Stored records that don't fit together.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecordsError {
    /// A record that others refer to is missing.
    Missing(&'static str),
    /// A record does not decode.
    Malformed(&'static str, DecodeError),
    /// Two records disagree.
    Inconsistent(&'static str),
    /// A record is not what was written: bits have changed.
    Damaged(&'static str),
    /// They have the format of another version.
    Format(u16),
    /// The group has the other key schedule than the configuration.
    Schedule,
}

impl std::error::Error for RecordsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Malformed(_, e) => Some(e),
            _ => None,
        }
    }
}

impl fmt::Display for RecordsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(what) => write!(f, "{what} is missing"),
            Self::Malformed(what, e) => write!(f, "{what} does not decode: {e}"),
            Self::Inconsistent(what) => write!(f, "{what} does not fit the other records"),
            Self::Damaged(what) => write!(f, "{what} is damaged"),
            Self::Format(format) => {
                write!(
                    f,
                    "they have format {format}, which this version does not read; use the version that wrote them"
                )
            }
            Self::Schedule => f.write_str("the group has the other key schedule; change Config::schedule"),
        }
    }
}
