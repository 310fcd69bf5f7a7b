//! Text that may come from anybody: what of it is shown, and how wide it is.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Columns of a name. The credential of a member has up to a KiB.
const NAME: usize = 32;

/// More marks than this on one character, and they grow over the lines above and below.
const MARKS: usize = 2;

/// For what can't be shown.
const REPLACEMENT: char = '\u{fffd}';

/// What can be shown of a text, in one line: no control characters, none that turn the direction of what follows, none that nobody
/// sees. They are replaced, not dropped: two names that differ must not look alike.
pub fn safe(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let (mut before, mut marks) = (' ', 0);
    for next in text.chars() {
        let next = match Kind::of(next) {
            Kind::Blank => ' ',
            Kind::Hidden => REPLACEMENT,
            // They belong to emoji and to several scripts.
            Kind::Joiner if before.is_ascii() => REPLACEMENT,
            Kind::Mark if before == ' ' => REPLACEMENT,
            Kind::Mark if marks == MARKS => continue,
            Kind::Mark => {
                marks += 1;
                shown.push(next);
                continue;
            }
            Kind::Joiner | Kind::Plain => next,
        };
        (before, marks) = (next, 0);
        shown.push(next);
    }
    shown
}

/// What can be shown of a name.
pub fn name(name: &str) -> String {
    // As many blanks as somebody likes would push away what stands behind.
    let words: Vec<&str> = name.split_whitespace().collect();
    match cut(&safe(&words.join(" ")), NAME, "…") {
        name if name.is_empty() => "?".into(),
        name => name,
    }
}

/// The text in ASCII, the rest by code points: a terminal of another encoding takes some bytes of UTF-8 for controls.
pub fn ascii(text: &str) -> String {
    let one = |c: char| match c {
        '…' => "..".to_owned(),
        '·' => "-".to_owned(),
        c if c.is_ascii() => c.to_string(),
        c => c.escape_unicode().to_string(),
    };
    text.chars().map(one).collect()
}

/// How many columns a text takes.
pub fn width(text: &str) -> usize {
    text.width()
}

/// The text with blanks up to so many columns.
pub fn fill(text: &str, columns: usize) -> String {
    format!("{text}{}", " ".repeat(columns.saturating_sub(width(text))))
}

/// The text, or as much of it as fits into so many columns, with a sign that something is missing.
pub fn cut(text: &str, columns: usize, sign: &str) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let sign = if width(sign) > columns { "" } else { sign };
    let (mut end, mut taken) = (0, 0);
    let room = columns - width(sign);
    for (place, next) in text.char_indices() {
        taken += next.width().unwrap_or(0);
        if taken > room {
            break;
        }
        end = place + next.len_utf8();
    }
    format!("{}{sign}", text[..end].trim_end())
}

/// The text in lines of at most so many columns, parted at blanks; a word that is too long is cut.
pub fn wrap(text: &str, columns: usize, sign: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let word = cut(word, columns.max(1), sign);
        match lines.last_mut() {
            Some(line) if line.is_empty() => *line = word,
            Some(line) if width(line) + 1 + width(&word) <= columns => {
                line.push(' ');
                line.push_str(&word);
            }
            _ => lines.push(word),
        }
    }
    lines
}

/// What a character does to those around it.
enum Kind {
    Plain,
    Blank,
    /// It stands on the character before.
    Mark,
    /// It changes how its neighbours look, and is not seen itself.
    Joiner,
    /// It does what no name should, or can't be seen.
    Hidden,
}

impl Kind {
    fn of(c: char) -> Self {
        match c {
            ' '..='~' => Self::Plain,
            '\u{200c}' | '\u{200d}' | '\u{fe00}'..='\u{fe0f}' => Self::Joiner,
            // Letters and a symbol that are blank.
            '\u{115f}' | '\u{1160}' | '\u{2800}' | '\u{3164}' | '\u{ffa0}' => Self::Hidden,
            // The separators of lines and paragraphs among them.
            c if c.is_whitespace() => Self::Blank,
            // The standard library knows what is printable, and escapes marks only where they stand first.
            c => {
                let is_kept = |text: &str| text.escape_debug().eq(text.chars());
                match (is_kept(&format!("a{c}")), is_kept(&c.to_string())) {
                    (false, _) => Self::Hidden,
                    (true, false) => Self::Mark,
                    (true, true) => Self::Plain,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dangerous_is_replaced_and_what_is_foreign_is_not() {
        for kept in
            ["Zoë", "O'Brien \"Bob\" \\ <&>", "李小龍", "שרה", "علی\u{200c}رضا", "👩\u{200d}🚀", "e\u{301}"]
        {
            assert_eq!(safe(kept), kept);
        }
        for (hostile, shown) in [
            ("a\x1b[31mb", "a\u{fffd}[31mb"),
            ("a\u{9b}31mb", "a\u{fffd}31mb"),
            ("a\0\u{7f}\u{202e}b\u{2066}\u{feff}", "a\u{fffd}\u{fffd}\u{fffd}b\u{fffd}\u{fffd}"),
            ("Bo\u{200b}b", "Bo\u{fffd}b"),
            ("Bob\u{200d}", "Bob\u{fffd}"),
            ("\u{301}a", "\u{fffd}a"),
            ("\u{3164}", "\u{fffd}"),
            ("a\n\tb\u{2028}c", "a  b c"),
            ("\u{e000}\u{fffe}", "\u{fffd}\u{fffd}"),
        ] {
            assert_eq!(safe(hostile), shown, "{hostile:?}");
        }
        assert_eq!(safe(&format!("a{}", "\u{301}".repeat(90))), "a\u{301}\u{301}");
    }

    #[test]
    fn names_are_short_and_never_empty() {
        assert_eq!(name(" a  \n\n  b "), "a b");
        assert_eq!((name(""), name(" \n")), ("?".into(), "?".into()));
        assert_eq!(width(&name(&"long".repeat(99))), NAME);
        assert_eq!(ascii("Zoë\u{db}…"), "Zo\\u{eb}\\u{db}..");
    }

    #[test]
    fn columns_are_counted_as_a_terminal_does() {
        assert_eq!((width("李小龍"), width("e\u{301}"), fill("李", 4)), (6, 1, "李  ".into()));
        assert_eq!((cut("李小龍", 5, "…"), cut("李小龍", 6, "…")), ("李小…".into(), "李小龍".into()));
        assert_eq!((cut("abc", 1, ".."), cut("abc", 0, "…")), ("a".into(), String::new()));
        assert_eq!(wrap("one two  three", 7, "…"), ["one two", "three"]);
        assert_eq!(wrap("abcdefghij k", 5, "…"), ["abcd…", "k"]);
    }
}
