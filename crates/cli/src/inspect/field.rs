//! A decoded message as a tree of fields, each with its place in the bytes.

use dmls::codec::Encode;
use serde_json::{Map, Value as Json};

use crate::term::{Ink, Look, hex};

/// A field of a struct, or an item of a vector.
pub struct Field {
    pub name: String,
    /// The type as the RFC writes it.
    pub kind: &'static str,
    pub offset: usize,
    pub size: usize,
    pub value: Value,
    /// What follows from it.
    pub note: Option<String>,
}

/// What is in a field.
pub enum Value {
    Struct(Vec<Field>),
    List(Vec<Field>),
    Bytes(Vec<u8>),
    Number(u64),
    /// A code point with its name, if it has one.
    Code(u64, Option<&'static str>),
    /// `optional<T>` without a value.
    Absent,
}

/// Puts fields one behind the other. What was decoded has one encoding only, so places follow from sizes.
pub struct Builder {
    offset: usize,
    fields: Vec<Field>,
}

/// Bytes of a vector's length header (RFC 9420 s2.1.2).
fn header(length: usize) -> usize {
    match length {
        0..=0x3f => 1,
        0x40..=0x3fff => 2,
        _ => 4,
    }
}

impl Builder {
    /// The one field that everything is in.
    pub fn root<E>(kind: &'static str, fill: impl FnOnce(&mut Self) -> Result<(), E>) -> Result<Field, E> {
        let mut builder = Self { offset: 0, fields: Vec::new() };
        fill(&mut builder)?;
        let (size, value) = (builder.offset, Value::Struct(builder.fields));
        Ok(Field { name: String::new(), kind, offset: 0, size, value, note: None })
    }

    /// Where the next field begins.
    pub fn offset(&self) -> usize {
        self.offset
    }

    fn push(&mut self, name: impl Into<String>, kind: &'static str, size: usize, value: Value) -> &mut Field {
        let field = Field { name: name.into(), kind, offset: self.offset, size, value, note: None };
        self.offset += size;
        self.fields.push(field);
        self.fields.last_mut().expect("a field was pushed")
    }

    /// `opaque name<V>`.
    pub fn opaque(&mut self, name: impl Into<String>, kind: &'static str, bytes: &[u8]) {
        self.push(name, kind, header(bytes.len()) + bytes.len(), Value::Bytes(bytes.to_vec()));
    }

    /// An integer.
    pub fn number(
        &mut self,
        name: impl Into<String>,
        kind: &'static str,
        size: usize,
        number: u64,
    ) -> &mut Field {
        self.push(name, kind, size, Value::Number(number))
    }

    /// A code point.
    pub fn code(
        &mut self,
        name: impl Into<String>,
        kind: &'static str,
        size: usize,
        number: u64,
        text: Option<&'static str>,
    ) {
        self.push(name, kind, size, Value::Code(number, text));
    }

    /// A struct.
    pub fn nested<E>(
        &mut self,
        name: impl Into<String>,
        kind: &'static str,
        fill: impl FnOnce(&mut Self) -> Result<(), E>,
    ) -> Result<&mut Field, E> {
        let mut inner = Self { offset: self.offset, fields: Vec::new() };
        fill(&mut inner)?;
        let size = inner.offset - self.offset;
        Ok(self.push(name, kind, size, Value::Struct(inner.fields)))
    }

    /// `T name<V>`: the items are filled in behind the header.
    pub fn vector<T: Encode, E>(
        &mut self,
        name: impl Into<String>,
        kind: &'static str,
        items: &[T],
        each: impl FnMut(&mut Self, usize, &T) -> Result<(), E>,
    ) -> Result<(), E> {
        let length = items.iter().map(|item| item.to_bytes().len()).sum();
        self.counted(name, kind, length, items, each)
    }

    /// A vector whose content has a known length.
    pub fn counted<T, E>(
        &mut self,
        name: impl Into<String>,
        kind: &'static str,
        length: usize,
        items: &[T],
        mut each: impl FnMut(&mut Self, usize, &T) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut inner = Self { offset: self.offset + header(length), fields: Vec::new() };
        for (place, item) in items.iter().enumerate() {
            each(&mut inner, place, item)?;
        }
        let size = inner.offset - self.offset;
        self.push(name, kind, size, Value::List(inner.fields));
        Ok(())
    }

    /// Fields inside an `opaque name<V>` that holds an encoding.
    pub fn inside<E>(
        &mut self,
        name: &'static str,
        kind: &'static str,
        length: usize,
        fill: impl FnOnce(&mut Self) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut inner = Self { offset: self.offset + header(length), fields: Vec::new() };
        fill(&mut inner)?;
        self.push(name, kind, header(length) + length, Value::Struct(inner.fields));
        Ok(())
    }

    /// `optional<T> name`: the byte in front belongs to the field.
    pub fn optional<T, E>(
        &mut self,
        name: impl Into<String>,
        kind: &'static str,
        value: Option<&T>,
        fill: impl FnOnce(&mut Self, &T) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(value) = value else {
            self.push(name, kind, 1, Value::Absent);
            return Ok(());
        };
        let mut inner = Self { offset: self.offset + 1, fields: Vec::new() };
        fill(&mut inner, value)?;
        let size = inner.offset - self.offset;
        self.push(name, kind, size, Value::Struct(inner.fields));
        Ok(())
    }
}

impl Field {
    /// The value for `--json`: structs are objects, bytes are hex.
    pub fn json(&self) -> Json {
        match &self.value {
            Value::Struct(fields) => {
                Json::Object(Map::from_iter(fields.iter().map(|field| (field.name.clone(), field.json()))))
            }
            Value::List(items) => Json::Array(items.iter().map(Field::json).collect()),
            Value::Bytes(bytes) => hex(bytes).into(),
            Value::Number(number) => (*number).into(),
            Value::Code(number, name) => name.map_or_else(|| format!("{number:#06x}"), str::to_owned).into(),
            Value::Absent => Json::Null,
        }
    }

    /// The lines of the tree: offset, size, name, type, value.
    pub fn draw(&self, look: Look, full: bool) -> String {
        let title = format!("{:>7} {:>7}  ", "offset", "size");
        let mut out = look.paint(Ink::Faint, &title).trim_end().to_owned() + "\n";
        self.draw_into(look, full, "", "", &mut out);
        out
    }

    fn draw_into(&self, look: Look, full: bool, first: &str, rest: &str, out: &mut String) {
        let place = look.paint(Ink::Faint, &format!("{:>7} {:>7}", self.offset, self.size));
        let name = look.paint(Ink::Title, &self.name);
        let colon = if self.name.is_empty() { "" } else { ": " };
        let kind = look.paint(if self.name.is_empty() { Ink::Title } else { Ink::Left }, self.kind);
        let value = self.text(full).map(|(ink, text)| format!(" = {}", look.paint(ink, &text)));
        let note = self.note.as_ref().map(|note| look.paint(Ink::Note, &format!("  ({note})")));
        out.push_str(&format!(
            "{place}  {}{name}{colon}{kind}{}{}\n",
            look.paint(Ink::Faint, first),
            value.unwrap_or_default(),
            note.unwrap_or_default(),
        ));
        let (Value::Struct(fields) | Value::List(fields)) = &self.value else { return };
        if self.codes(fields).is_some() {
            return;
        }
        for (place, field) in fields.iter().enumerate() {
            let last = place + 1 == fields.len();
            let (branch, below) = match last {
                false => (look.sign("├─ ", "|- "), look.sign("│  ", "|  ")),
                true => (look.sign("└─ ", "`- "), "   "),
            };
            field.draw_into(look, full, &format!("{rest}{branch}"), &format!("{rest}{below}"), out);
        }
    }

    /// A list of code points fits in one line.
    fn codes(&self, items: &[Field]) -> Option<String> {
        let text = |item: &Field| match &item.value {
            Value::Code(number, name) => Some(code_text(*number, *name)),
            _ => None,
        };
        let is_list = matches!(self.value, Value::List(_)) && !items.is_empty();
        let codes = items.iter().map(text).collect::<Option<Vec<_>>>().filter(|_| is_list)?;
        Some(format!("[{}]", codes.join(", ")))
    }

    fn text(&self, full: bool) -> Option<(Ink, String)> {
        Some(match &self.value {
            Value::Struct(_) => return None,
            Value::List(items) if items.is_empty() => (Ink::Faint, "[]".into()),
            Value::List(items) => match self.codes(items) {
                Some(codes) => (Ink::Good, codes),
                None => (Ink::Faint, format!("[{}]", items.len())),
            },
            Value::Bytes(bytes) => (Ink::Good, bytes_text(bytes, full)),
            Value::Number(number) => (Ink::Good, number.to_string()),
            Value::Code(number, Some(name)) => (Ink::Good, format!("{name} ({number})")),
            Value::Code(number, None) if is_grease(*number) => {
                (Ink::Faint, format!("GREASE ({number:#06x})"))
            }
            Value::Code(number, None) => (Ink::Good, format!("unknown ({number:#06x})")),
            Value::Absent => (Ink::Faint, "absent".into()),
        })
    }
}

fn code_text(number: u64, name: Option<&str>) -> String {
    match name {
        Some(name) if number > 0xff => format!("{name} ({number:#06x})"),
        Some(name) => format!("{name} ({number})"),
        None if is_grease(number) => format!("GREASE ({number:#06x})"),
        None => format!("unknown ({number:#06x})"),
    }
}

/// The reserved values of RFC 9420 s13.5: 0x0A0A, 0x1A1A, .., 0xEAEA.
fn is_grease(code: u64) -> bool {
    code <= 0xeaea && code & 0x0f0f == 0x0a0a && code >> 8 == code & 0xff
}

fn bytes_text(bytes: &[u8], full: bool) -> String {
    const SHOWN: usize = 24;
    let is_text = bytes.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ');
    match (bytes.len(), is_text) {
        (0, _) => "empty".into(),
        (_, true) => format!("{:?}", String::from_utf8_lossy(bytes)),
        (length, false) if length > SHOWN && !full => {
            format!("{}.. ({length} bytes)", hex(&bytes[..SHOWN - 8]))
        }
        (_, false) => hex(bytes),
    }
}
