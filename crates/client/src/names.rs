//! Who is who: people call themselves something, and keys are pinned.

use dmls::{AuthenticationService, Credential, Presented};

use crate::error::Error;

/// Characters of a name, at most.
const MAX_NAME: usize = 64;

/// Whether it can be a name: an error if not.
pub fn check_name(name: &str) -> Result<(), Error> {
    if is_name(name) { Ok(()) } else { Err(Error::Name(name.to_owned())) }
}

/// Whether others can read a name, and tell it from another one that looks the same at first sight.
pub(crate) fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.chars().count() <= MAX_NAME
        && name.trim() == name
        && !name.chars().any(|c| c.is_control() || is_invisible(c))
}

/// Characters that change the direction of what follows, or that nobody sees.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{00ad}')
}

/// The name in a credential.
pub(crate) fn name_in(credential: &Credential) -> String {
    let name = credential.identity().and_then(|identity| std::str::from_utf8(identity).ok());
    name.unwrap_or("?").to_owned()
}

/// Accepts names: whoever is in a group may bring in any. Which key belongs to a name is no question for a whole group, because members know
/// different people: each pins the keys that it has seen, and is told when they differ.
#[derive(Clone, Copy, Debug)]
pub struct Names;

impl AuthenticationService for Names {
    /// A function of what is presented alone, so all members give the same answer.
    fn is_valid(&self, presented: &Presented<'_>) -> bool {
        let identity = presented.credential.identity();
        identity.and_then(|identity| std::str::from_utf8(identity).ok()).is_some_and(is_name)
    }
}

#[cfg(test)]
mod tests {
    use super::is_name;

    #[test]
    fn names_are_what_people_can_read() {
        for good in ["Alice", "bob@example.org", "Ärzte ohne Grenzen", "李", "x"] {
            assert!(is_name(good), "{good:?}");
        }
        let long = "x".repeat(65);
        for bad in
            ["", " Alice", "Alice ", "Al\nice", "\u{1b}[31mAlice", "Ali\u{200b}ce", "\u{202e}ecilA", &long]
        {
            assert!(!is_name(bad), "{bad:?}");
        }
    }
}
