//! Who belongs to a federation: a trust decision, not discovery (federation.md s3). A chain of records, each signed by more than half of the
//! operators of the one before.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use dmls::Suite;
use dmls::crypto::{HashAlgorithm, Signature, SignaturePrivateKey, SignaturePublicKey};

use crate::codec::{bytes32, record, variants};
use crate::ids::ServerId;

/// Everybody probes everybody.
const MOST_OPERATORS: usize = 64;
/// A URL and a key fit.
const LONGEST_FIELD: usize = 512;
/// All records are kept, to tell forks.
const MOST_RECORDS: usize = 4_096;
const LABEL: &str = "DMLSRosterRecord";

bytes32! {
    /// The name of a roster: the hash of its last record, or of its founders.
    pub struct RosterHash;
}

/// A server and who runs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operator {
    /// The server.
    pub id: ServerId,
    /// Where it is found.
    pub address: Vec<u8>,
    /// Of the machine: sessions are pinned to it, and it signs records.
    pub key: SignaturePublicKey,
    /// Kept off the machine: without it nobody changes the other, not even who has the machine.
    pub recovery: SignaturePublicKey,
}

record!(Operator { id, address, key, recovery });

/// What a record changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A server joins, or one that was retired comes back.
    Join {
        /// Who.
        operator: Operator,
    },
    /// A server has another address or other keys. Its recovery key must be among the signatures.
    Rotate {
        /// What it has from now on.
        operator: Operator,
    },
    /// A server is gone for good.
    Retire {
        /// Which.
        server: ServerId,
    },
}

variants!(Change {
    1 => Join { operator },
    2 => Rotate { operator },
    3 => Retire { server },
});

/// An operator's signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval {
    /// Whose.
    pub by: ServerId,
    /// By the recovery key instead of the machine's: only of who rotates.
    pub is_recovery: bool,
    /// SignWithLabel(., "DMLSRosterRecord", number || previous || change).
    pub signature: Signature,
}

record!(Approval { by, is_recovery, signature });

/// A link of the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The founders are 0.
    pub number: u64,
    /// What it stands on.
    pub previous: RosterHash,
    /// What it changes.
    pub change: Change,
    /// Of more than half of the operators before it.
    pub approvals: Vec<Approval>,
}

record!(Record { number, previous, change, approvals });

impl Record {
    /// Without signatures.
    fn body(&self) -> Vec<u8> {
        use dmls::codec::Encode;
        let mut out = Vec::new();
        self.number.encode(&mut out);
        self.previous.encode(&mut out);
        self.change.encode(&mut out);
        out
    }

    /// The name of the roster that it makes, whoever signed.
    pub fn hash(&self) -> RosterHash {
        hash(&self.body())
    }

    /// Adds an operator's signature.
    pub fn approve(
        &mut self,
        suite: &Suite,
        by: ServerId,
        key: &SignaturePrivateKey,
        is_recovery: bool,
    ) -> Result<(), dmls::crypto::CryptoError> {
        let signature = suite.sign_with_label(key, LABEL, &self.body())?;
        self.approvals.push(Approval { by, is_recovery, signature });
        Ok(())
    }
}

fn hash(bytes: &[u8]) -> RosterHash {
    let mut name = [0; 32];
    name.iter_mut().zip(HashAlgorithm::Sha256.hash(&[bytes])).for_each(|(to, from)| *to = from);
    RosterHash(name)
}

/// Why a record is not taken. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BadRecord {
    /// It stands on records that are not here: ask for them first.
    Gap,
    /// It does not stand on the record before it.
    NotNext,
    /// The server belongs to the roster already.
    IsMember,
    /// The server does not belong to the roster.
    NotMember,
    /// The last server can't be retired.
    LastOne,
    /// An address or a key is too long, or there are too many records or servers.
    TooLarge,
    /// A signature is by somebody who does not belong, there twice, by the wrong key or invalid.
    Signature,
    /// More than half of the operators must sign.
    TooFew,
    /// Who rotates keys must sign with the recovery key.
    NoRecovery,
    /// In a roster of two, one retires the other only after 30 days of silence.
    NotSilent,
    /// The server has no roster yet.
    NoRoster,
}

impl fmt::Display for BadRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gap => "records before it are missing: fetch those first",
            Self::NotNext => "the record does not follow the roster that it claims to follow",
            Self::IsMember => "the server is in the roster already: rotate its keys instead",
            Self::NotMember => "the server is not in the roster",
            Self::LastOne => "the last server of a roster can't be retired",
            Self::TooLarge => "the record is larger than a roster allows",
            Self::Signature => "a signature on the record is not valid",
            Self::TooFew => "more than half of the operators must sign the record",
            Self::NoRecovery => "a change of keys must be signed with the recovery key of that server",
            Self::NotSilent => "of two servers one is retired only after 30 days of silence",
            Self::NoRoster => "the server is not connected to a roster",
        })
    }
}

impl std::error::Error for BadRecord {}

/// What taking a record led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It was here.
    Known,
    /// It is the newest one.
    New,
    /// Somebody signed two chains. Ours stays.
    Fork,
    /// Of a roster of two each has retired the other.
    Split,
}

/// A roster, and how it came about.
#[derive(Clone)]
pub struct Roster {
    suite: Suite,
    founders: Vec<Operator>,
    records: Vec<Record>,
    members: BTreeMap<ServerId, Operator>,
    retired: BTreeSet<ServerId>,
    hash: RosterHash,
}

impl Roster {
    /// As it begins: whom to begin with is what an operator decides. Signatures are of the suite's scheme.
    pub fn found(suite: Suite, founders: Vec<Operator>) -> Result<Self, BadRecord> {
        use dmls::codec::Encode;
        founders.iter().try_for_each(check_size)?;
        let members: BTreeMap<_, _> =
            founders.iter().map(|operator| (operator.id, operator.clone())).collect();
        if members.len() != founders.len() {
            return Err(BadRecord::IsMember);
        }
        if members.len() > MOST_OPERATORS || members.is_empty() {
            return Err(BadRecord::TooLarge);
        }
        let hash = hash(&founders.to_bytes());
        Ok(Self { suite, founders, records: Vec::new(), members, retired: BTreeSet::new(), hash })
    }

    /// The servers that belong to it.
    pub fn members(&self) -> impl Iterator<Item = &Operator> {
        self.members.values()
    }

    /// Servers that belonged to it.
    pub fn retired(&self) -> &BTreeSet<ServerId> {
        &self.retired
    }

    /// The number of the last record, and its name: the next one stands on that.
    pub fn position(&self) -> (u64, RosterHash) {
        (self.records.len() as u64, self.hash)
    }

    /// A record that could come next, without signatures.
    pub fn propose(&self, change: Change) -> Record {
        Record { number: self.records.len() as u64 + 1, previous: self.hash, change, approvals: Vec::new() }
    }

    pub(crate) fn ids(&self) -> BTreeSet<ServerId> {
        self.members.keys().copied().collect()
    }

    /// The records from a number on.
    pub(crate) fn records_from(&self, number: u64) -> &[Record] {
        let start = usize::try_from(number.saturating_sub(1)).unwrap_or(usize::MAX);
        self.records.get(start..).unwrap_or_default()
    }

    /// The name that the roster had at a number.
    pub(crate) fn hash_at(&self, number: u64) -> Option<RosterHash> {
        let number = usize::try_from(number).ok()?;
        match number.checked_sub(1) {
            None => self.records.first().map(|record| record.previous).or(Some(self.hash)),
            Some(place) => self.records.get(place).map(Record::hash),
        }
    }

    /// Whether one of two would retire the other by itself.
    pub(crate) fn is_alone(&self, record: &Record) -> bool {
        matches!(record.change, Change::Retire { .. })
            && self.members.len() == 2
            && record.approvals.len() == 1
    }

    /// Takes a record from whoever has it: it proves itself.
    pub(crate) fn take(&mut self, record: &Record) -> Result<Taken, BadRecord> {
        let last = self.records.len() as u64;
        if record.number > last + 1 {
            return Err(BadRecord::Gap);
        }
        if record.number == last + 1 {
            self.check(record)?;
            self.apply(record.clone());
            return Ok(Taken::New);
        }
        if self.hash_at(record.number) == Some(record.hash()) {
            return Ok(Taken::Known);
        }
        let before = self.before(record.number)?;
        before.check(record)?;
        let ours = self.records_from(record.number).first().map(|ours| &ours.change);
        let are_retirements = [Some(&record.change), ours]
            .into_iter()
            .all(|change| matches!(change, Some(Change::Retire { .. })));
        let is_split = before.members.len() == 2 && are_retirements;
        Ok(if is_split { Taken::Split } else { Taken::Fork })
    }

    /// As it was before a record. All were checked when they came.
    fn before(&self, number: u64) -> Result<Self, BadRecord> {
        let mut before = Self::found(self.suite, self.founders.clone())?;
        let count = number.checked_sub(1).ok_or(BadRecord::NotNext)?;
        let records = self.records.iter().take(usize::try_from(count).unwrap_or(usize::MAX));
        records.for_each(|record| before.apply(record.clone()));
        Ok(before)
    }

    fn check(&self, record: &Record) -> Result<(), BadRecord> {
        if record.previous != self.hash || record.number != self.records.len() as u64 + 1 {
            return Err(BadRecord::NotNext);
        }
        if self.records.len() >= MOST_RECORDS {
            return Err(BadRecord::TooLarge);
        }
        let is_member = |server| self.members.contains_key(&server);
        match &record.change {
            Change::Join { operator } if is_member(operator.id) => return Err(BadRecord::IsMember),
            Change::Join { .. } if self.members.len() >= MOST_OPERATORS => return Err(BadRecord::TooLarge),
            Change::Rotate { operator } if !is_member(operator.id) => return Err(BadRecord::NotMember),
            Change::Join { operator } | Change::Rotate { operator } => check_size(operator)?,
            Change::Retire { server } if !is_member(*server) => return Err(BadRecord::NotMember),
            Change::Retire { .. } if self.members.len() == 1 => return Err(BadRecord::LastOne),
            Change::Retire { .. } => {}
        }
        let signed = self.check_signatures(record)?;
        if let Change::Rotate { operator } = &record.change {
            let is_there =
                record.approvals.iter().any(|approval| approval.is_recovery && approval.by == operator.id);
            if !is_there {
                return Err(BadRecord::NoRecovery);
            }
        }
        let is_other = !matches!(record.change, Change::Retire { server } if signed.contains(&server));
        if signed.len() * 2 > self.members.len() || self.is_alone(record) && is_other {
            return Ok(());
        }
        Err(BadRecord::TooFew)
    }

    /// Who signed. No record carries what does not count.
    fn check_signatures(&self, record: &Record) -> Result<BTreeSet<ServerId>, BadRecord> {
        let body = record.body();
        let mut signed = BTreeSet::new();
        for Approval { by, is_recovery, signature } in &record.approvals {
            let operator = self.members.get(by).ok_or(BadRecord::Signature)?;
            let rotates = matches!(&record.change, Change::Rotate { operator } if operator.id == *by);
            let key = if *is_recovery { &operator.recovery } else { &operator.key };
            let is_first = signed.insert(*by);
            if !is_first || *is_recovery && !rotates {
                return Err(BadRecord::Signature);
            }
            let verified = self.suite.verify_with_label(key, LABEL, &body, signature);
            verified.map_err(|_| BadRecord::Signature)?;
        }
        Ok(signed)
    }

    fn apply(&mut self, record: Record) {
        match &record.change {
            Change::Join { operator } | Change::Rotate { operator } => {
                self.retired.remove(&operator.id);
                self.members.insert(operator.id, operator.clone());
            }
            Change::Retire { server } => {
                self.members.remove(server);
                self.retired.insert(*server);
            }
        }
        self.hash = record.hash();
        self.records.push(record);
    }
}

fn check_size(operator: &Operator) -> Result<(), BadRecord> {
    let fields = [&operator.address[..], operator.key.as_bytes(), operator.recovery.as_bytes()];
    if fields.iter().any(|field| field.len() > LONGEST_FIELD) {
        return Err(BadRecord::TooLarge);
    }
    Ok(())
}

impl fmt::Debug for Roster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Roster")
            .field("position", &self.position())
            .field("members", &self.ids())
            .field("retired", &self.retired)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
