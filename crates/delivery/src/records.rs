//! What a server keeps: plain keys and values, like the library's `Changes`.

use std::collections::BTreeMap;

use dmls::codec::{Decode, DecodeError, Encode};

/// Values to be written by their keys; `None` deletes. They are written together or not at all.
pub type Writes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// Everything that is kept.
pub type Kept = BTreeMap<Vec<u8>, Vec<u8>>;

/// Brings what is kept up to date, for stores in memory.
pub fn replay_into<'w>(
    kept: &mut Kept,
    writes: impl IntoIterator<Item = (&'w Vec<u8>, &'w Option<Vec<u8>>)>,
) {
    for (key, value) in writes {
        match value {
            Some(value) => kept.insert(key.clone(), value.clone()),
            None => kept.remove(key),
        };
    }
}

/// Which record: the kind, and for what it is.
pub(crate) fn key(kind: u8, of: &impl Encode) -> Vec<u8> {
    let mut key = vec![kind];
    of.encode(&mut key);
    key
}

/// Writes under a prefix.
pub(crate) struct Writer<'a> {
    prefix: &'a [u8],
    writes: &'a mut Writes,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(prefix: &'a [u8], writes: &'a mut Writes) -> Self {
        Self { prefix, writes }
    }

    pub(crate) fn put(&mut self, kind: u8, of: &impl Encode, value: &impl Encode) {
        self.write(kind, of, Some(value.to_bytes()));
    }

    pub(crate) fn delete(&mut self, kind: u8, of: &impl Encode) {
        self.write(kind, of, None);
    }

    fn write(&mut self, kind: u8, of: &impl Encode, value: Option<Vec<u8>>) {
        let key = [self.prefix, &key(kind, of)].concat();
        self.writes.insert(key, value);
    }
}

/// What is kept of one kind under a prefix: what each is for, and its value.
pub(crate) fn read<K: Decode, V: Decode>(
    kept: &Kept,
    prefix: &[u8],
    kind: u8,
) -> Result<Vec<(K, V)>, DecodeError> {
    let start = [prefix, &[kind]].concat();
    let records = kept.range(start.clone()..).take_while(|(key, _)| key.starts_with(&start));
    records.map(|(key, value)| Ok((K::from_bytes(&key[start.len()..])?, V::from_bytes(value)?))).collect()
}

/// For records of which there is one.
pub(crate) struct Only;

impl Encode for Only {
    fn encode(&self, _: &mut Vec<u8>) {}
}

impl Decode for Only {
    fn decode(_: &mut dmls::codec::Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self)
    }
}
