//! Alpine's order: `1.2.3a_rc1_p2~hash-r4`.
//!
//! A part after the first that begins with `0` is a fraction and compared as text. More parts are newer than fewer;
//! `_alpha`, `_beta`, `_pre` and `_rc` are older than none, `_cvs`, `_svn`, `_git`, `_hg` and `_p` newer.

use std::cmp::Ordering;

use super::{compare_digits, take_digits, take_while};

pub(super) fn compare(left: &str, right: &str) -> Ordering {
    match (parse(left.trim()), parse(right.trim())) {
        (Some(left), Some(right)) => left.compare(&right),
        (Some(_), None) => Ordering::Greater,
        (None, Some(_)) => Ordering::Less,
        (None, None) => left.trim().cmp(right.trim()),
    }
}

struct Version<'a> {
    numbers: Vec<&'a str>,
    letter: &'a str,
    suffixes: Vec<(i8, &'a str)>,
    hash: &'a str,
    revision: &'a str,
}

fn parse(text: &str) -> Option<Version<'_>> {
    let (first, mut rest) = take_digits(text);
    if first.is_empty() {
        return None;
    }
    let mut numbers = vec![first];
    while let Some(after) = rest.strip_prefix('.') {
        let (digits, next) = take_digits(after);
        if digits.is_empty() {
            return None;
        }
        numbers.push(digits);
        rest = next;
    }
    let letters = usize::from(rest.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase()));
    let (letter, mut rest) = rest.split_at(letters);
    let mut suffixes = Vec::new();
    while let Some(after) = rest.strip_prefix('_') {
        let (name, after) = take_while(after, |byte| byte.is_ascii_lowercase());
        let (number, next) = take_digits(after);
        suffixes.push((rank(name)?, number));
        rest = next;
    }
    let mut hash = "";
    if let Some(after) = rest.strip_prefix('~') {
        (hash, rest) = take_while(after, |byte| byte.is_ascii_hexdigit());
    }
    let mut revision = "0";
    if let Some(after) = rest.strip_prefix("-r") {
        (revision, rest) = take_digits(after);
    }
    rest.is_empty().then_some(Version { numbers, letter, suffixes, hash, revision })
}

fn rank(suffix: &str) -> Option<i8> {
    Some(match suffix {
        "alpha" => -4,
        "beta" => -3,
        "pre" => -2,
        "rc" => -1,
        "cvs" => 1,
        "svn" => 2,
        "git" => 3,
        "hg" => 4,
        "p" => 5,
        _ => return None,
    })
}

impl Version<'_> {
    fn compare(&self, other: &Self) -> Ordering {
        self.compare_numbers(other)
            .then_with(|| self.letter.cmp(other.letter))
            .then_with(|| self.compare_suffixes(other))
            .then_with(|| self.hash.cmp(other.hash))
            .then_with(|| compare_digits(self.revision, other.revision))
    }

    fn compare_numbers(&self, other: &Self) -> Ordering {
        for (index, (left, right)) in self.numbers.iter().zip(&other.numbers).enumerate() {
            let fraction = index > 0 && (left.starts_with('0') || right.starts_with('0'));
            let order = if fraction { left.cmp(right) } else { compare_digits(left, right) };
            if order.is_ne() {
                return order;
            }
        }
        self.numbers.len().cmp(&other.numbers.len())
    }

    fn compare_suffixes(&self, other: &Self) -> Ordering {
        const NONE: (i8, &str) = (0, "");
        for index in 0..self.suffixes.len().max(other.suffixes.len()) {
            let (left, right) = (self.suffixes.get(index), other.suffixes.get(index));
            let (left, right) = (left.unwrap_or(&NONE), right.unwrap_or(&NONE));
            let order = left.0.cmp(&right.0).then_with(|| compare_digits(left.1, right.1));
            if order.is_ne() {
                return order;
            }
        }
        Ordering::Equal
    }
}

#[cfg(test)]
mod tests {
    use super::super::Scheme::Apk;
    use super::super::tests::{ascending, equal};

    #[test]
    fn the_order_of_alpine_packages_holds() {
        ascending(Apk, &["1.0_alpha", "1.0_alpha2", "1.0_beta", "1.0_pre1", "1.0_rc1", "1.0", "1.0_git20", "1.0_p1"]);
        ascending(Apk, &["1.2.3-r0", "1.2.3-r1", "1.2.3-r10", "1.2.3a", "1.2.3.1", "1.2.10"]);
        ascending(Apk, &["0.9.8", "0.9.9", "1.1.1k-r0", "1.1.1l-r0", "3.0.0"]);
        // A leading zero makes a fraction.
        ascending(Apk, &["1.01", "1.09", "1.1", "1.2", "1.10"]);
        ascending(Apk, &["2.4_rc1", "2.4_rc1_p1", "2.4"]);
    }

    #[test]
    fn a_version_without_revision_is_revision_0() {
        equal(Apk, &[("1.2", "1.2-r0"), ("1.2_rc", "1.2_rc0")]);
    }
}
