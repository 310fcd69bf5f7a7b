//! Bytes of any length, sealed in chunks: nothing of them is written or read but sealed, and nothing can be taken off, put in or put elsewhere.
//!
//! ```text
//! chunk = XChaCha20-Poly1305(key, nonce = number[8] || is last[1] || zeros[15], aad = "", plain[65536, of the last at most])
//! ```
//!
//! The key is of this one stream, so the nonces may count. (STREAM: Hoang, Reyhanitabar, Rogaway and Vizár, "Online Authenticated-Encryption and its
//! Nonce-Reuse Misuse-Resistance", 2015.)

use std::io::{self, BufRead, Read, Write};

use chacha20poly1305::aead::{Aead, KeyInit};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

const CHUNK: usize = 1 << 16;
const TAG: usize = 16;

/// Seals the chunks of one stream, or opens them.
struct Chunks {
    cipher: XChaCha20Poly1305,
    number: u64,
}

impl Chunks {
    fn new(key: &[u8; 32]) -> Self {
        Self { cipher: XChaCha20Poly1305::new(key.into()), number: 0 }
    }

    fn nonce(&mut self, is_last: bool) -> XNonce {
        let mut nonce = [0; 24];
        nonce[..8].copy_from_slice(&self.number.to_be_bytes());
        nonce[8] = is_last.into();
        self.number += 1;
        XNonce::from(nonce)
    }

    fn seal(&mut self, plain: &[u8], is_last: bool) -> io::Result<Vec<u8>> {
        let nonce = self.nonce(is_last);
        self.cipher.encrypt(&nonce, plain).map_err(|_| io::ErrorKind::InvalidInput.into())
    }

    fn open(&mut self, sealed: &[u8], is_last: bool) -> io::Result<Zeroizing<Vec<u8>>> {
        let nonce = self.nonce(is_last);
        let plain = self.cipher.decrypt(&nonce, sealed);
        plain.map(Zeroizing::new).map_err(|_| io::ErrorKind::InvalidData.into())
    }
}

/// Seals what is written to it. Without [`Sealing::finish`] it can't be opened.
pub(crate) struct Sealing<W> {
    inner: W,
    chunks: Chunks,
    plain: Zeroizing<Vec<u8>>,
}

impl<W: Write> Sealing<W> {
    pub(crate) fn new(inner: W, key: &[u8; 32]) -> Self {
        Self { inner, chunks: Chunks::new(key), plain: Zeroizing::new(Vec::with_capacity(CHUNK)) }
    }

    pub(crate) fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            // Only once more comes: the last one is never empty, unless all is.
            if self.plain.len() == CHUNK {
                let sealed = self.chunks.seal(&self.plain, false)?;
                self.inner.write_all(&sealed)?;
                self.plain.clear();
            }
            let (now, later) = bytes.split_at(bytes.len().min(CHUNK - self.plain.len()));
            self.plain.extend_from_slice(now);
            bytes = later;
        }
        Ok(())
    }

    /// Writes the last chunk.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        let sealed = self.chunks.seal(&self.plain, true)?;
        self.inner.write_all(&sealed)?;
        Ok(self.inner)
    }
}

/// Reads what was sealed; [`io::ErrorKind::InvalidData`] if it is anything else.
pub(crate) struct Opening<R> {
    inner: R,
    chunks: Chunks,
    plain: Zeroizing<Vec<u8>>,
    read: usize,
    was_last: bool,
}

impl<R: BufRead> Opening<R> {
    pub(crate) fn new(inner: R, key: &[u8; 32]) -> Self {
        let plain = Zeroizing::new(Vec::new());
        Self { inner, chunks: Chunks::new(key), plain, read: 0, was_last: false }
    }

    /// Whether all was read.
    pub(crate) fn is_at_end(&mut self) -> io::Result<bool> {
        while self.read == self.plain.len() {
            if self.was_last {
                return Ok(true);
            }
            let mut sealed = Vec::new();
            (&mut self.inner).take((CHUNK + TAG) as u64).read_to_end(&mut sealed)?;
            self.was_last = self.inner.fill_buf()?.is_empty();
            self.plain = self.chunks.open(&sealed, self.was_last)?;
            self.read = 0;
        }
        Ok(false)
    }
}

impl<R: BufRead> Read for Opening<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.is_at_end()? {
            return Ok(0);
        }
        let rest = &self.plain[self.read..];
        let length = rest.len().min(out.len());
        out[..length].copy_from_slice(&rest[..length]);
        self.read += length;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::{CHUNK, Opening, Sealing, TAG};

    const KEY: [u8; 32] = [1; 32];

    fn seal(plain: &[u8]) -> Vec<u8> {
        let mut sealing = Sealing::new(Vec::new(), &KEY);
        plain.chunks(1_000).for_each(|some| sealing.write(some).unwrap());
        sealing.finish().unwrap()
    }

    fn open(sealed: &[u8]) -> Option<Vec<u8>> {
        let mut plain = Vec::new();
        Opening::new(sealed, &KEY).read_to_end(&mut plain).ok().map(|_| plain)
    }

    #[test]
    fn any_length_comes_back() {
        for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 7] {
            let plain: Vec<_> = (0..length).map(|n| n as u8).collect();
            let sealed = seal(&plain);
            assert_eq!(sealed.len(), length + length.div_ceil(CHUNK).max(1) * TAG);
            assert_eq!(open(&sealed), Some(plain));
        }
    }

    #[test]
    fn nothing_can_be_taken_off_put_in_or_put_elsewhere() {
        let sealed = seal(&vec![7; 2 * CHUNK + 100]);
        let (whole, rest) = (CHUNK + TAG, 100 + TAG);
        for length in (0..sealed.len()).step_by(997).chain([whole, 2 * whole, sealed.len() - 1]) {
            assert_eq!(open(&sealed[..length]), None, "{length}");
        }
        let (first, second, last) = (&sealed[..whole], &sealed[whole..2 * whole], &sealed[2 * whole..]);
        assert_eq!(last.len(), rest);
        for other in [[first, last].concat(), [second, first, last].concat(), [&sealed[..], b"0"].concat()] {
            assert_eq!(open(&other), None);
        }
        assert_eq!(open(&[&sealed[..], last].concat()), None);
        for at in (0..sealed.len()).step_by(4_999) {
            let mut damaged = sealed.clone();
            damaged[at] ^= 1;
            assert_eq!(open(&damaged), None, "{at}");
        }
    }
}
