//! `dmls inspect`: what is in a message.

mod describe;
mod field;

use std::io::Read;
use std::path::Path;

use serde_json::json;

use crate::Failure;
use crate::term::{Look, write};

/// See what is in a message.
///
/// Decodes an MLSMessage of RFC 9420 (PublicMessage, PrivateMessage, Welcome, GroupInfo, KeyPackage), or a DMLSMessage,
/// and prints it as a tree: offset and size in bytes, the names of fields and their types as in the RFC, values. What is
/// encrypted stays encrypted. Signatures are not checked.
///
/// If the input is not a message, the error says at which byte, and what should have stood there.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// A file with the bytes or with hex digits, hex digits themselves, or - for standard input
    #[arg(value_name = "FILE|-|HEX", default_value = "-")]
    input: String,
    /// One JSON object: structs as objects, bytes as hex
    #[arg(long)]
    json: bool,
    /// Long byte strings in full
    #[arg(long)]
    full: bool,
    /// No colours, and ASCII only
    #[arg(long)]
    plain: bool,
}

/// Reads, decodes, prints.
pub fn run(args: &Args) -> Result<(), Failure> {
    let bytes = read(&args.input)?;
    let message = describe::message(&bytes)
        .map_err(|e| Failure::Failed(format!("not a message ({} bytes): {e}", bytes.len())))?;
    debug_assert_eq!(message.size, bytes.len(), "the fields fill the message");
    if args.json {
        let mut object = json!({ "type": message.kind, "size": message.size });
        if let (Some(object), serde_json::Value::Object(fields)) = (object.as_object_mut(), message.json()) {
            object.extend(fields);
        }
        return write(&format!("{object:#}\n"));
    }
    write(&message.draw(Look::of_stdout(args.plain), args.full))
}

/// The bytes that are meant.
fn read(input: &str) -> Result<Vec<u8>, Failure> {
    let failed = |e: std::io::Error| Failure::Failed(format!("can't read {input}: {e}"));
    if input == "-" {
        let mut bytes = Vec::new();
        std::io::stdin().lock().read_to_end(&mut bytes).map_err(failed)?;
        return Ok(from_hex(&bytes).unwrap_or(bytes));
    }
    if Path::new(input).exists() {
        let bytes = std::fs::read(input).map_err(failed)?;
        return Ok(from_hex(&bytes).unwrap_or(bytes));
    }
    let missing = || Failure::Usage(format!("{input:.40} is neither a file nor hex digits"));
    from_hex(input.as_bytes()).ok_or_else(missing)
}

/// Hex digits with any white space between; `None` if it is something else. A message begins with a zero byte, so it is
/// never taken for hex digits itself.
fn from_hex(text: &[u8]) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text
        .iter()
        .filter(|byte| !byte.is_ascii_whitespace())
        .map(|byte| char::from(*byte).to_digit(16).map(|digit| digit as u8))
        .collect();
    let digits = digits.filter(|digits| !digits.is_empty() && digits.len() % 2 == 0)?;
    Some(digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}
