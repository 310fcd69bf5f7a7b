//! The line in which people type.

use crate::chat::input::Input;

#[test]
fn letters_are_what_people_see() {
    let mut input = Input::new("a👩‍👩‍👧e\u{301}");
    input.backspace();
    assert_eq!(input.text(), "a👩‍👩‍👧");
    input.left();
    assert_eq!(input.before(), "a");
    input.delete();
    assert_eq!(input.text(), "a");
}

#[test]
fn words_and_lines_go_at_once() {
    let mut input = Input::new("one two  \nthree four");
    input.delete_word();
    assert_eq!(input.text(), "one two  \nthree ");
    input.home();
    assert_eq!(input.before(), "one two  \n");
    input.delete_to_end();
    assert_eq!(input.text(), "one two  \n");
    input.word_left();
    assert_eq!(input.before(), "one ");
    input.word_right();
    assert_eq!(input.before(), "one two");
    input.delete_to_start();
    assert_eq!(input.text(), "  \n");
}

#[test]
fn up_and_down_stay_in_the_column() {
    let mut input = Input::new("öne\nlonger\nx");
    assert!(!input.down());
    assert!(input.up());
    assert_eq!(input.before(), "öne\nl");
    input.end();
    assert!(input.up());
    assert_eq!(input.before(), "öne");
    assert!(!input.up());
}

#[test]
fn what_is_pasted_is_one_text_without_commands() {
    let mut input = Input::default();
    assert!(input.paste("one\r\ntwo\rthree\u{1b}[31m\u{7}"));
    assert_eq!(input.text(), "one\ntwo\nthree[31m");
    assert!(!input.paste(&"x".repeat(dmls_client::MAX_TEXT)));
    assert_eq!(input.text(), "one\ntwo\nthree[31m");
}

#[test]
fn the_cursor_is_where_the_next_letter_comes() {
    let rows = |text: &str, columns| Input::new(text).rows(columns);
    assert_eq!(rows("", 5), (vec![String::new()], (0, 0)));
    assert_eq!(rows("abc", 5).1, (3, 0));
    assert_eq!(rows("abcde", 5), (vec!["abcde".to_owned(), String::new()], (0, 1)));
    assert_eq!(rows("日本語", 5), (vec!["日本".to_owned(), "語".to_owned()], (2, 1)));
    assert_eq!(rows("a\n", 5).1, (0, 1));
    let mut input = Input::new("ab\ncd");
    input.home();
    assert_eq!(input.rows(5).1, (0, 1));
    input.left();
    assert_eq!(input.rows(5).1, (2, 0));
}
