//! `dmls inspect`: what is in a message, or in a stored group.

mod describe;
pub mod exposure;
mod field;
mod input;
mod records;

use std::time::{SystemTime, UNIX_EPOCH};

use dmls::codec::DecodeError;
use dmls::{MessageKind, Time, classify};
use serde_json::{Value, json};

use crate::Failure;
use crate::term::{Look, write};
use input::Missing;

/// See what is in messages, or in a stored group.
///
/// Decodes MLSMessages of RFC 9420 (PublicMessage, PrivateMessage, Welcome, GroupInfo, KeyPackage), and DMLSMessages, and
/// prints each as a tree: offset and size in bytes, the names of fields and their types as in the RFC, values. What is
/// encrypted stays encrypted. Signatures are not checked.
///
/// If an input is not a message, the error says at which byte, and what should have stood there; the other inputs are
/// printed, and the exit code is 1.
///
/// With --records it draws the graph of the epochs of one group, from the records that the application stored. The
/// dump is text: on each line a record, its key and its value in hex digits with a blank between (nothing for an empty
/// value); empty lines, and lines that begin with #, don't count. The dump holds secrets, of which none is printed.
///
/// With --exposure it tells what whoever takes these records learns, epoch by epoch, and why each is kept. The records don't
/// say by which rule: it is the default one (`Retention::default`) that is told.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Files with the bytes, with hex digits (also with 0x) or base64 (standard or URL-safe, padded or not), such
    /// texts themselves, or - for standard input
    #[arg(value_name = "FILE|-|TEXT", default_value = "-")]
    inputs: Vec<String>,
    /// Draw the epochs of the group in this dump of its records
    #[arg(long, value_name = "FILE", conflicts_with = "inputs")]
    records: Option<String>,
    /// What a thief of these records learns, instead of the drawing
    #[arg(long, requires = "records")]
    exposure: bool,
    /// The time, in seconds since 1970, instead of the clock's
    #[arg(long, value_name = "SECONDS", requires = "records")]
    now: Option<u64>,
    /// JSON, one object for each input: structs as objects, bytes as hex, errors as `error`
    #[arg(long)]
    json: bool,
    /// Long byte strings in full
    #[arg(long)]
    full: bool,
    /// No colours, and ASCII only
    #[arg(long)]
    plain: bool,
}

/// Why an input can't be shown.
struct Problem {
    text: String,
    /// Where the message is wrong.
    at: Option<DecodeError>,
    code: u8,
}

impl From<Missing> for Problem {
    fn from(missing: Missing) -> Self {
        match missing {
            Missing::NoInput(text) => Self { text, at: None, code: 2 },
            Missing::Unreadable(text) => Self { text, at: None, code: 1 },
        }
    }
}

/// Reads, decodes, prints; goes on after an input that is wrong.
pub fn run(args: &Args) -> Result<(), Failure> {
    let mut code = 0;
    let inputs = args.records.as_ref().map_or(&args.inputs[..], std::slice::from_ref);
    for (place, input) in inputs.iter().enumerate() {
        let shown = match args.records {
            Some(_) => show_records(args, input),
            None => show_message(args, input),
        };
        let problem = match shown {
            Ok(text) => {
                write(&heading(args, input, place))?;
                write(&text)?;
                continue;
            }
            Err(problem) => problem,
        };
        code = code.max(problem.code);
        if args.json {
            write(&format!("{:#}\n", problem.json(input)))?;
        } else {
            eprintln!("dmls: {input:.80}: {}", problem.text);
        }
    }
    if code == 0 { Ok(()) } else { Err(Failure::Told(code)) }
}

/// Which input this is, if there are several.
fn heading(args: &Args, input: &str, place: usize) -> String {
    if args.json || args.inputs.len() < 2 {
        return String::new();
    }
    let blank = if place > 0 { "\n" } else { "" };
    format!("{blank}{input:.80}:\n")
}

fn show_message(args: &Args, input: &str) -> Result<String, Problem> {
    let bytes = input::read(input)?;
    let message = describe::message(&bytes).map_err(|at| Problem {
        text: format!("not a message ({} bytes): {at}", bytes.len()),
        at: Some(at),
        code: 1,
    })?;
    debug_assert_eq!(message.size, bytes.len(), "the fields fill the message");
    if !args.json {
        return Ok(message.draw(Look::of_stdout(args.plain), args.full));
    }
    let kind = classify(&bytes).ok().map(|kind| kind_name(&kind));
    Ok(object(
        json!({ "input": input, "type": message.kind, "kind": kind, "size": message.size }),
        message.json(),
    ))
}

fn show_records(args: &Args, input: &str) -> Result<String, Problem> {
    let dump = input::read_raw(input)?;
    let group = records::load(&dump).map_err(|text| Problem { text, at: None, code: 1 })?;
    let clock = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let now = Time(args.now.unwrap_or_else(clock));
    if args.exposure {
        let report = group.exposure_report(now);
        return Ok(match args.json {
            true => object(json!({ "input": input }), exposure::json(&report)),
            false => report.to_string(),
        });
    }
    Ok(match args.json {
        true => object(json!({ "input": input }), records::json(&group)),
        false => records::draw(&group, now, Look::of_stdout(args.plain)),
    })
}

/// One object of the fields of two, as text.
fn object(mut first: Value, second: Value) -> String {
    if let (Some(first), Value::Object(second)) = (first.as_object_mut(), second) {
        first.extend(second);
    }
    format!("{first:#}\n")
}

/// What a message is for.
fn kind_name(kind: &MessageKind) -> &'static str {
    match kind {
        MessageKind::KeyPackage => "key_package",
        MessageKind::Welcome => "welcome",
        MessageKind::GroupInfo { .. } => "group_info",
        MessageKind::Message { .. } => "group_message",
        _ => "other",
    }
}

impl Problem {
    fn json(&self, input: &str) -> Value {
        let at = self.at.as_ref();
        json!({
            "input": input,
            "error": {
                "message": self.text,
                "offset": at.map(|e| e.offset),
                "expected": at.map(|e| e.expected),
                "field": at.and_then(|e| e.field),
            },
        })
    }
}
