//! The epochs of a group, drawn: what happened after the network was split, for people who use a messenger.
//!
//! [`GraphView::of`] takes what is to be told out of a group, as plain data in words. It can then be drawn:
//!
//! | | |
//! |---|---|
//! | [`lines()`] | for a terminal, or a panel of one |
//! | [`svg()`] | a picture in one file |
//! | [`dot()`] | for Graphviz |
//! | [`json()`] | for programs |
//!
//! `layout.rs` says what stands in which row and lane, once for the terminal and the picture. `words.rs` has what is told in words.
//! Names come from other people: `text.rs` is what they pass before they are anywhere.

mod dot;
mod json;
mod layout;
mod svg;
mod terminal;
#[cfg(test)]
mod tests;
pub mod text;
mod view;
pub mod words;

pub use dot::dot;
pub use json::json;
pub use svg::svg;
pub use terminal::{Detail, Drawing, Line, lines};
pub use view::{EpochView, GraphView, Side};
