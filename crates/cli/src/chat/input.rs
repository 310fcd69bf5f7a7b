//! The line in which a person types: a text with a cursor, which may have several lines.

use dmls_client::MAX_TEXT;
use unicode_segmentation::UnicodeSegmentation;

use super::text::{graphemes, visible, width};

/// A text that is being written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Input {
    text: String,
    /// In bytes, between two characters.
    cursor: usize,
}

impl Input {
    /// A text with the cursor behind it.
    pub fn new(text: impl Into<String>) -> Self {
        let text = text.into();
        Self { cursor: text.len(), text }
    }

    /// A text with the cursor within.
    pub fn around(before: String, behind: &str) -> Self {
        Self { cursor: before.len(), text: before + behind }
    }

    /// What is written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What stands before the cursor.
    pub fn before(&self) -> &str {
        &self.text[..self.cursor]
    }

    /// Puts a text at the cursor; false if there is no room, because no message is that long.
    pub fn insert(&mut self, text: &str) -> bool {
        if self.text.len() + text.len() > MAX_TEXT {
            return false;
        }
        self.text.insert_str(self.cursor, text);
        self.cursor += text.len();
        true
    }

    /// Puts what was copied at the cursor, without what nobody can type.
    pub fn paste(&mut self, text: &str) -> bool {
        let text = text.replace("\r\n", "\n").replace('\r', "\n");
        let text: String = text.chars().filter(|c| matches!(c, '\n' | '\t') || !c.is_control()).collect();
        self.insert(&text)
    }

    /// To the left.
    pub fn left(&mut self) {
        self.cursor = self.previous();
    }

    /// To the right.
    pub fn right(&mut self) {
        self.cursor = self.next();
    }

    /// To the beginning of the line.
    pub fn home(&mut self) {
        self.cursor = self.line_start();
    }

    /// To the end of the line.
    pub fn end(&mut self) {
        self.cursor = self.line_end();
    }

    /// To the beginning of the word.
    pub fn word_left(&mut self) {
        self.cursor = self.word_start();
    }

    /// To the end of the word.
    pub fn word_right(&mut self) {
        let rest = &self.text[self.cursor..];
        let word = rest.find(|c: char| !c.is_whitespace()).unwrap_or(rest.len());
        let end = rest[word..].find(char::is_whitespace).map_or(rest.len(), |end| word + end);
        self.cursor += end;
    }

    /// To the line above; false if there is none.
    pub fn up(&mut self) -> bool {
        let start = self.line_start();
        if start == 0 {
            return false;
        }
        let column = self.text[start..self.cursor].graphemes(true).count();
        self.cursor = start - 1;
        self.home();
        self.go_to_column(column);
        true
    }

    /// To the line below; false if there is none.
    pub fn down(&mut self) -> bool {
        let end = self.line_end();
        if end == self.text.len() {
            return false;
        }
        let column = self.text[self.line_start()..self.cursor].graphemes(true).count();
        self.cursor = end + 1;
        self.go_to_column(column);
        true
    }

    /// Deletes what is left of the cursor.
    pub fn backspace(&mut self) {
        self.delete_from(self.previous());
    }

    /// Deletes what is right of the cursor.
    pub fn delete(&mut self) {
        let end = self.next();
        self.text.drain(self.cursor..end);
    }

    /// Deletes the word left of the cursor.
    pub fn delete_word(&mut self) {
        self.delete_from(self.word_start());
    }

    /// Deletes the line left of the cursor.
    pub fn delete_to_start(&mut self) {
        self.delete_from(self.line_start());
    }

    /// Deletes the line right of the cursor.
    pub fn delete_to_end(&mut self) {
        let end = self.line_end();
        self.text.drain(self.cursor..end);
    }

    fn delete_from(&mut self, start: usize) {
        self.text.drain(start..self.cursor);
        self.cursor = start;
    }

    fn previous(&self) -> usize {
        let starts = graphemes(&self.text).map(|grapheme| grapheme.start);
        starts.take_while(|start| *start < self.cursor).last().unwrap_or(0)
    }

    fn next(&self) -> usize {
        graphemes(&self.text)
            .map(|grapheme| grapheme.end)
            .find(|end| *end > self.cursor)
            .unwrap_or(self.text.len())
    }

    fn line_start(&self) -> usize {
        self.before().rfind('\n').map_or(0, |newline| newline + 1)
    }

    fn line_end(&self) -> usize {
        self.text[self.cursor..].find('\n').map_or(self.text.len(), |newline| self.cursor + newline)
    }

    fn word_start(&self) -> usize {
        let before = self.before().trim_end();
        before.char_indices().rfind(|(_, c)| c.is_whitespace()).map_or(0, |(space, c)| space + c.len_utf8())
    }

    /// From the beginning of a line.
    fn go_to_column(&mut self, column: usize) {
        let line = &self.text[self.cursor..self.line_end()];
        self.cursor += line.graphemes(true).take(column).map(str::len).sum::<usize>();
    }

    /// The text in rows of a width, and the column and row of the cursor.
    pub fn rows(&self, columns: usize) -> (Vec<String>, (usize, usize)) {
        let columns = columns.max(2);
        let mut rows = vec![String::new()];
        let (mut column, mut cursor) = (0, None);
        for grapheme in graphemes(&self.text) {
            let is_here = grapheme.end > self.cursor && cursor.is_none();
            if &self.text[grapheme.clone()] == "\n" {
                if is_here {
                    cursor = Some((column, rows.len() - 1));
                }
                rows.push(String::new());
                column = 0;
                continue;
            }
            let text = visible(&self.text[grapheme]);
            let taken = width(&text).min(columns);
            if column + taken > columns {
                rows.push(String::new());
                column = 0;
            }
            if is_here {
                cursor = Some((column, rows.len() - 1));
            }
            column += taken;
            if let Some(row) = rows.last_mut() {
                row.push_str(&text);
            }
        }
        if cursor.is_none() && column >= columns {
            rows.push(String::new());
            column = 0;
        }
        let cursor = cursor.unwrap_or((column, rows.len() - 1));
        (rows, cursor)
    }
}
