//! Semantic Versioning 2.0.0 section 11, read tolerantly: `v1.2.3`, `1.2` and four numbers are versions too, and
//! build metadata does not count. Go's pseudo-versions and `+incompatible` follow from this.

use std::cmp::Ordering;

use super::{compare_digits, take_digits};

pub(super) fn compare(left: &str, right: &str) -> Ordering {
    let (left, right) = (left.trim(), right.trim());
    match (parse(left), parse(right)) {
        (Some(l), Some(r)) => l.compare(&r),
        (Some(_), None) => Ordering::Greater,
        (None, Some(_)) => Ordering::Less,
        (None, None) => left.cmp(right),
    }
}

struct Version<'a> {
    numbers: Vec<&'a str>,
    /// None: a release.
    pre: Option<&'a str>,
}

fn parse(text: &str) -> Option<Version<'_>> {
    let text = text.strip_prefix(['v', 'V', '=']).unwrap_or(text);
    let text = text.split_once('+').map_or(text, |(version, _build)| version);
    let (core, pre) = match text.split_once('-') {
        Some((core, pre)) => (core, Some(pre)),
        None => (text, None),
    };
    let mut numbers = Vec::with_capacity(3);
    for part in core.split('.') {
        let (digits, rest) = take_digits(part);
        if digits.is_empty() || !rest.is_empty() {
            return None;
        }
        numbers.push(digits);
    }
    // `1.2` is `1.2.0`, and `1.2.3.0` is `1.2.3`.
    while numbers.last().is_some_and(|number| number.bytes().all(|digit| digit == b'0')) {
        numbers.pop();
    }
    Some(Version { numbers, pre })
}

impl Version<'_> {
    fn compare(&self, other: &Self) -> Ordering {
        for (left, right) in self.numbers.iter().zip(&other.numbers) {
            let order = compare_digits(left, right);
            if order.is_ne() {
                return order;
            }
        }
        self.numbers.len().cmp(&other.numbers.len()).then_with(|| match (self.pre, other.pre) {
            (None, None) => Ordering::Equal,
            (None, Some(_)) => Ordering::Greater,
            (Some(_), None) => Ordering::Less,
            (Some(left), Some(right)) => compare_pre(left, right),
        })
    }
}

fn compare_pre(left: &str, right: &str) -> Ordering {
    let (mut left, mut right) = (left.split('.'), right.split('.'));
    loop {
        let (l, r) = match (left.next(), right.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some(l), Some(r)) => (l, r),
        };
        let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let order = match (number(l), number(r)) {
            (true, true) => compare_digits(l, r),
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
            (false, false) => l.cmp(r),
        };
        if order.is_ne() {
            return order;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Scheme::Semver;
    use super::super::tests::{ascending, equal};

    #[test]
    fn the_example_of_the_specification_holds() {
        ascending(
            Semver,
            &[
                "1.0.0-alpha",
                "1.0.0-alpha.1",
                "1.0.0-alpha.beta",
                "1.0.0-beta",
                "1.0.0-beta.2",
                "1.0.0-beta.11",
                "1.0.0-rc.1",
                "1.0.0",
                "2.0.0",
                "2.1.0",
                "2.1.1",
            ],
        );
    }

    #[test]
    fn modules_of_go_are_ordered() {
        ascending(
            Semver,
            &["v0.0.0-20190308221718-c2843e01d9a2", "v0.0.0-20220314234659-1baeb1ce4c0b", "v0.1.0", "v0.17.0"],
        );
        ascending(Semver, &["1.20.0-0", "1.20.0-rc.1", "1.20.0", "1.20.12", "1.21.0-0"]);
        equal(Semver, &[("v2.0.0+incompatible", "2.0.0"), ("1.2", "1.2.0"), ("0", "0.0.0")]);
    }
}
