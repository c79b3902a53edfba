//! Passwords out of random numbers.

/// Characters a password has unless it is said otherwise.
pub const LENGTH: usize = 32;

const LOWERCASE: &str = "abcdefghijklmnopqrstuvwxyz";
const UPPERCASE: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const NUMBERS: &str = "0123456789";
const PUNCTUATION: &str = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";
const SPACE: &str = " ";

/// What a password is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PasswordRules {
    /// Characters.
    pub length: usize,
    /// Characters that it may not have.
    pub excluded: String,
    /// Small letters.
    pub lowercase: bool,
    /// Capital letters.
    pub uppercase: bool,
    /// Digits.
    pub numbers: bool,
    /// Punctuation.
    pub punctuation: bool,
    /// The space.
    pub space: bool,
    /// At least one of each kind.
    pub each_kind: bool,
}

/// Why there is no such password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// No character is left.
    #[error("every character is excluded")]
    NoCharacters,
    /// It is shorter than there are kinds of which it must have one.
    #[error("shorter than the number of kinds it must have")]
    TooShort,
}

impl PasswordRules {
    /// A password by these rules; every one is equally likely when `random` gives independent, uniform numbers.
    ///
    /// # Errors
    /// When no password fits.
    pub fn password(&self, mut random: impl FnMut() -> u32) -> Result<String, PasswordError> {
        let kinds = [
            (self.lowercase, LOWERCASE),
            (self.uppercase, UPPERCASE),
            (self.numbers, NUMBERS),
            (self.punctuation, PUNCTUATION),
            (self.space, SPACE),
        ];
        let left = |kind: &str| kind.chars().filter(|one| !self.excluded.contains(*one)).collect::<Vec<char>>();
        let kinds: Vec<Vec<char>> =
            kinds.iter().filter(|(on, _)| *on).map(|(_, kind)| left(kind)).filter(|kind| !kind.is_empty()).collect();
        let all: Vec<char> = kinds.iter().flatten().copied().collect();
        if all.is_empty() {
            return Err(PasswordError::NoCharacters);
        }
        if self.each_kind && kinds.len() > self.length {
            return Err(PasswordError::TooShort);
        }
        // Thrown again as a whole until every kind is there: replacing single characters would favour some passwords.
        // A password of five of five kinds needs some hundred throws; more than this many would be a broken source.
        for _ in 0..100_000 {
            let thrown: Vec<char> = (0..self.length).filter_map(|_| pick(&all, &mut random)).collect();
            let has = |kind: &Vec<char>| thrown.iter().any(|one| kind.contains(one));
            if !self.each_kind || kinds.iter().all(has) {
                return Ok(thrown.into_iter().collect());
            }
        }
        Err(PasswordError::TooShort)
    }
}

/// One of the characters, each as likely as the others.
fn pick(characters: &[char], random: &mut impl FnMut() -> u32) -> Option<char> {
    let count = u32::try_from(characters.len()).ok().filter(|count| *count > 0)?;
    let fair = u32::MAX - u32::MAX % count;
    // A source that never gives a fair number would be no source; the bound keeps it from holding a request.
    let number = (0..64).map(|_| random()).find(|number| *number < fair).unwrap_or_else(&mut *random);
    characters.get(usize::try_from(number % count).ok()?).copied()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn rules() -> PasswordRules {
        PasswordRules {
            length: LENGTH,
            excluded: String::new(),
            lowercase: true,
            uppercase: true,
            numbers: true,
            punctuation: true,
            space: false,
            each_kind: true,
        }
    }

    /// A small generator, so that a failure repeats.
    fn seeded(mut state: u64) -> impl FnMut() -> u32 {
        move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as u32 ^ (state >> 13) as u32
        }
    }

    #[test]
    fn a_password_has_its_length_and_every_kind() {
        for seed in 0..500 {
            let password = PasswordRules { length: 4, ..rules() }.password(seeded(seed)).unwrap();
            assert_eq!(password.len(), 4);
            for kind in [LOWERCASE, UPPERCASE, NUMBERS, PUNCTUATION] {
                assert!(password.contains(|one| kind.contains(one)), "{password} has none of {kind}");
            }
        }
    }

    #[test]
    fn excluded_characters_and_kinds_do_not_occur() {
        let digits = PasswordRules { lowercase: false, uppercase: false, punctuation: false, length: 500, ..rules() };
        let without = PasswordRules { excluded: "02468".into(), ..digits }.password(seeded(1)).unwrap();
        assert!(without.chars().all(|one| "13579".contains(one)), "{without}");
        let spaced = PasswordRules { space: true, length: 2000, ..rules() }.password(seeded(2)).unwrap();
        assert!(spaced.contains(' '));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let none = PasswordRules { lowercase: false, uppercase: false, numbers: false, punctuation: false, ..rules() };
        assert_eq!(none.password(seeded(1)), Err(PasswordError::NoCharacters));
        assert_eq!(PasswordRules { length: 3, ..rules() }.password(seeded(1)), Err(PasswordError::TooShort));
    }
}
