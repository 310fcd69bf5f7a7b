//! What a user hands in as a message: its bytes, hex digits or base64, told apart by how a message begins.
//!
//! A message begins with the bytes 0 and 1 (ProtocolVersion mls10), so its hex digits begin with `0001` and its base64 with
//! `AAE`. No text begins with a zero byte.

use std::borrow::Cow;
use std::io::Read;
use std::path::Path;

use data_encoding::{BASE64, BASE64_NOPAD, BASE64URL, BASE64URL_NOPAD, Encoding, HEXLOWER_PERMISSIVE};

/// Why there are no bytes.
pub enum Missing {
    /// It is no file, and does not look like a message.
    NoInput(String),
    /// It can't be read, or is damaged.
    Unreadable(String),
}

/// The bytes that an argument means: a file, `-` for standard input, or a message as text.
pub fn read(input: &str) -> Result<Vec<u8>, Missing> {
    if input == "-" || Path::new(input).exists() {
        let bytes = read_raw(input)?;
        return decode(&bytes).map(Cow::into_owned).map_err(Missing::Unreadable);
    }
    // A mistyped name is often valid base64, too.
    if !["0001", "0x0001", "0X0001", "AAE"].iter().any(|start| input.starts_with(start)) {
        let what = "is neither a file nor hex digits nor base64 of a message";
        return Err(Missing::NoInput(format!("{input:.40} {what}")));
    }
    decode(input.as_bytes()).map(Cow::into_owned).map_err(Missing::Unreadable)
}

/// A file as it is, or standard input.
pub fn read_raw(input: &str) -> Result<Vec<u8>, Missing> {
    let mut bytes = Vec::new();
    let read = match input {
        "-" => std::io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes),
        path => std::fs::read(path),
    };
    read.map_err(|e| Missing::Unreadable(format!("can't be read: {e}")))
}

/// The bytes of a message, out of its bytes or a text of it. White space in texts does not count.
fn decode(bytes: &[u8]) -> Result<Cow<'_, [u8]>, String> {
    let is_text = bytes.iter().all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace());
    let text: Vec<u8> = bytes.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    if !is_text || text.is_empty() {
        return Ok(Cow::Borrowed(bytes));
    }
    let hex = text.strip_prefix(b"0x").or_else(|| text.strip_prefix(b"0X"));
    let (name, encoding, digits) = match hex {
        Some(digits) => ("hex", HEXLOWER_PERMISSIVE, digits),
        None if is_hex(&text) => ("hex", HEXLOWER_PERMISSIVE, &text[..]),
        None => ("base64", base64_of(&text), &text[..]),
    };
    let decoded = encoding.decode(digits).map_err(|e| format!("not a message, and not {name}: {e}"))?;
    Ok(Cow::Owned(decoded))
}

/// Base64 of a message that has hex digits only begins otherwise.
fn is_hex(text: &[u8]) -> bool {
    text.iter().all(u8::is_ascii_hexdigit) && !text.starts_with(b"AAE")
}

/// Of the four base64 encodings of RFC 4648, the one that a text shows signs of.
fn base64_of(text: &[u8]) -> Encoding {
    let is_url = text.iter().any(|byte| matches!(byte, b'-' | b'_'));
    match (is_url, text.ends_with(b"=")) {
        (false, true) => BASE64,
        (false, false) => BASE64_NOPAD,
        (true, true) => BASE64URL,
        (true, false) => BASE64URL_NOPAD,
    }
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXUPPER;
    use rand_chacha::ChaCha20Rng;
    use rand_chacha::rand_core::{Rng, SeedableRng};

    use super::*;

    const BASE64S: [Encoding; 4] = [BASE64, BASE64_NOPAD, BASE64URL, BASE64URL_NOPAD];

    /// Whatever begins like a message comes back from each of its texts, also broken into lines.
    #[test]
    fn every_text_of_a_message_gives_its_bytes() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        for length in 0..300 {
            let mut message = vec![0; length + 2];
            rng.fill_bytes(&mut message[2..]);
            message[1] = 1;
            let mut texts: Vec<String> = BASE64S.iter().map(|base64| base64.encode(&message)).collect();
            for hex in [HEXLOWER_PERMISSIVE.encode(&message), HEXUPPER.encode(&message)] {
                texts.extend([format!("0x{hex}"), format!("0X{hex}"), hex]);
            }
            assert_eq!(decode(&message).unwrap(), message);
            for text in texts {
                assert_eq!(decode(text.as_bytes()).unwrap(), message, "{text}");
                let lines = text.as_bytes().chunks(64).flat_map(|line| [line, b"\r\n"].concat());
                assert_eq!(decode(&Vec::from_iter(lines)).unwrap(), message, "{text}");
            }
        }
    }

    /// All hex digits, and yet base64.
    #[test]
    fn base64_of_hex_digits() {
        let text = b"AAEAAAAA";
        assert_eq!(decode(text).unwrap(), [0, 1, 0, 0, 0, 0].as_slice());
        assert_eq!(decode(b"00010000").unwrap(), [0, 1, 0, 0].as_slice());
    }

    /// Texts that are nearly right are refused, each for one reason.
    #[test]
    fn strict() {
        for text in [
            "0x0001zz", // no hex digit
            "0x000",    // half a byte
            "000",      // the same
            "AAE+AAE_", // both alphabets
            "AAEAAA=",  // too little padding
            "AAEAAA===",
            "AA=EAAAA", // padding in the middle
            "AAEAAB",   // bits behind the end
            "AAE.AAAA", // no letter of it
        ] {
            assert!(decode(text.as_bytes()).is_err(), "{text}");
        }
    }

    /// No bytes make it panic, and what it takes for text says the same again.
    #[test]
    fn any_bytes() {
        let mut rng = ChaCha20Rng::seed_from_u64(2);
        let alphabet = b"0123456789abcdefABCDEFxXzZ+/-_= \n\0\xff";
        for _ in 0..20_000 {
            let length = rng.next_u32() as usize % 24;
            let bytes: Vec<u8> =
                (0..length).map(|_| alphabet[rng.next_u32() as usize % alphabet.len()]).collect();
            let Ok(Cow::Owned(decoded)) = decode(&bytes) else { continue };
            let text = Vec::from_iter(bytes.into_iter().filter(|byte| !byte.is_ascii_whitespace()));
            let text = String::from_utf8(text).unwrap();
            let hex = HEXLOWER_PERMISSIVE.encode(&decoded);
            let is_hex = text.to_lowercase().trim_start_matches("0x") == hex;
            assert!(is_hex || BASE64S.iter().any(|base64| base64.encode(&decoded) == text), "{text}");
        }
    }
}
