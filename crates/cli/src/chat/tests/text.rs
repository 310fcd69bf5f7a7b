//! What others wrote, on a screen.

use ratatui::text::Span;

use crate::chat::text::{clean, clean_lines, cut, width, wrap};

fn wrapped(text: &str, width: usize, indent: usize) -> Vec<String> {
    wrap(&[Span::raw(text.to_owned())], width, indent).iter().map(ToString::to_string).collect()
}

#[test]
fn nothing_moves_the_cursor_or_hides() {
    assert_eq!(clean("\u{1b}[2J\u{7}\r\n"), "␛[2J␇␍␊");
    assert_eq!(clean("evil\u{202e}txt.exe\u{2066}\u{200b}\u{9b}"), "evil�txt.exe���");
    assert_eq!(clean("a\tb\u{7f}"), "a    b␡");
    assert_eq!(clean_lines("a\r\nb\nc\u{2028}d\re"), "a\nb\nc\nd␍e");
    let marks = format!("a{}b", "\u{301}".repeat(1000));
    assert_eq!(clean(&marks).chars().count(), 17);
}

#[test]
fn what_people_write_stays() {
    for text in ["Ärzte", "李小龍", "می‌خواهم", "👩‍👩‍👧 👍🏽 🇺🇦 ❤️", "e\u{301}", "नमस्ते"]
    {
        assert_eq!(clean(text), text);
    }
}

#[test]
fn words_stay_whole_where_there_is_room() {
    assert_eq!(wrapped("one two three", 8, 0), ["one two ", "three"]);
    assert_eq!(wrapped("one two three", 9, 2), ["one two ", "  three"]);
    assert_eq!(wrapped("one two three four", 7, 0), ["one two", "three ", "four"]);
    assert_eq!(wrapped("abcdefghij", 4, 0), ["abcd", "efgh", "ij"]);
    assert_eq!(wrapped("a\n\nb", 4, 1), ["a", " ", " b"]);
    assert_eq!(wrapped("日本語日本語", 5, 0), ["日本", "語日", "本語"]);
    assert_eq!(wrapped("", 5, 2), [""]);
}

#[test]
fn no_line_is_wider_than_the_screen() {
    let text = "日本 an👩‍👩‍👧d e\u{301}\u{301}x 語 a longer-than-that-word, 日本語日本語日本語 end ";
    for columns in 1..40 {
        for indent in [0, 2, 6] {
            for line in wrapped(text, columns, indent) {
                assert!(width(&line) <= columns, "{columns} {indent} {line:?}");
            }
        }
        assert!(width(&cut(text, columns)) <= columns);
    }
    assert_eq!(cut("日本語", 5), "日本…");
    assert_eq!(cut("abc", 0), "");
}
