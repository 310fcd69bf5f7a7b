//! Colours, where they are wanted.

use ratatui::style::{Color, Modifier, Style};

use crate::term::Ink;

/// How things look. Without colours, what matters still differs: bold, dim, and always in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Theme {
    /// Whether colours are wanted.
    pub color: bool,
}

impl Theme {
    /// The style of a kind of text: the same colours as in the other commands.
    pub fn style(self, ink: Ink) -> Style {
        let color = |color| if self.color { Style::new().fg(color) } else { Style::new() };
        match ink {
            Ink::Plain => Style::new(),
            Ink::Title => Style::new().add_modifier(Modifier::BOLD),
            Ink::Faint => Style::new().add_modifier(Modifier::DIM),
            Ink::Left => color(Color::Cyan),
            Ink::Right => color(Color::Magenta),
            Ink::Good => color(Color::Green),
            Ink::Bad => color(Color::Red).add_modifier(Modifier::BOLD),
            Ink::Note => color(Color::Yellow),
        }
    }

    /// What is chosen.
    pub fn chosen(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    /// The name of somebody: each has a colour, though several may have the same.
    pub fn name(self, name: &str) -> Style {
        const COLORS: [Color; 6] =
            [Color::Cyan, Color::Magenta, Color::Blue, Color::LightGreen, Color::LightRed, Color::LightBlue];
        let bold = Style::new().add_modifier(Modifier::BOLD);
        let sum = name.bytes().fold(0usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(byte)));
        if self.color { bold.fg(COLORS[sum % COLORS.len()]) } else { bold }
    }
}
