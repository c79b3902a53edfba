//! RPM's order: epoch, version, release, the last two by `rpmvercmp` with `~` (older than the end) and `^` (newer
//! than the end, older than anything else).

use std::cmp::Ordering;

use super::{compare_digits, take_digits, take_while};

pub(super) fn compare(left: &str, right: &str) -> Ordering {
    let (left, right) = (split(left.trim()), split(right.trim()));
    compare_digits(left.0, right.0)
        .then_with(|| compare_part(left.1, right.1))
        .then_with(|| compare_part(left.2, right.2))
}

fn split(version: &str) -> (&str, &str, &str) {
    let (epoch, rest) = match version.split_once(':') {
        Some((epoch, rest)) if epoch.bytes().all(|byte| byte.is_ascii_digit()) => (epoch, rest),
        _ => ("0", version),
    };
    let (version, release) = rest.rsplit_once('-').unwrap_or((rest, ""));
    (epoch, version, release)
}

fn compare_part(mut left: &str, mut right: &str) -> Ordering {
    let is_separator = |byte: u8| !byte.is_ascii_alphanumeric() && byte != b'~' && byte != b'^';
    loop {
        (_, left) = take_while(left, is_separator);
        (_, right) = take_while(right, is_separator);
        match (left.strip_prefix('~'), right.strip_prefix('~')) {
            (Some(l), Some(r)) => {
                (left, right) = (l, r);
                continue;
            }
            (Some(_), None) => return Ordering::Less,
            (None, Some(_)) => return Ordering::Greater,
            (None, None) => {}
        }
        match (left.strip_prefix('^'), right.strip_prefix('^')) {
            (Some(l), Some(r)) => {
                (left, right) = (l, r);
                continue;
            }
            (Some(_), None) => return if right.is_empty() { Ordering::Greater } else { Ordering::Less },
            (None, Some(_)) => return if left.is_empty() { Ordering::Less } else { Ordering::Greater },
            (None, None) => {}
        }
        if left.is_empty() || right.is_empty() {
            return left.is_empty().cmp(&right.is_empty()).reverse();
        }
        let (left_digits, left_rest) = take_digits(left);
        let (right_digits, right_rest) = take_digits(right);
        let (order, rests) = match (left_digits.is_empty(), right_digits.is_empty()) {
            (false, false) => (compare_digits(left_digits, right_digits), (left_rest, right_rest)),
            // Numbers are newer than letters.
            (false, true) => return Ordering::Greater,
            (true, false) => return Ordering::Less,
            (true, true) => {
                let (left_letters, left_rest) = take_while(left, |byte| byte.is_ascii_alphabetic());
                let (right_letters, right_rest) = take_while(right, |byte| byte.is_ascii_alphabetic());
                (left_letters.cmp(right_letters), (left_rest, right_rest))
            }
        };
        if order.is_ne() {
            return order;
        }
        (left, right) = rests;
    }
}

#[cfg(test)]
mod tests {
    use super::super::Scheme::Rpm;
    use super::super::tests::{ascending, equal};

    #[test]
    fn the_examples_of_rpm_hold() {
        // From rpm's own tests/rpmvercmp.at.
        ascending(Rpm, &["1.0", "2.0"]);
        ascending(Rpm, &["2.0", "2.0.1", "2.0.1a"]);
        ascending(Rpm, &["5.5p1", "5.5p2", "5.5p10"]);
        ascending(Rpm, &["10xyz", "10.1xyz"]);

        ascending(Rpm, &["xyz.4", "2"]);
        ascending(Rpm, &["5.5p2", "5.6p1"]);
        ascending(Rpm, &["6.0", "6.0.rc1"]);
        ascending(Rpm, &["10a2", "10b2"]);
        ascending(Rpm, &["1.0~rc1~git123", "1.0~rc1", "1.0", "1.0^git1", "1.0^git2", "1.01"]);
        ascending(Rpm, &["1.0^git1~pre", "1.0^git1"]);
        ascending(Rpm, &["20101121", "20101122"]);
    }

    #[test]
    fn epochs_come_first_and_releases_last() {
        ascending(Rpm, &["3.0.7-16.el9", "3.0.7-24.el9", "1:1.1.1k-6.el8", "1:3.0.7-1.el9"]);
        equal(Rpm, &[("1.0", "0:1.0"), ("1_0", "1.0"), ("1.01", "1.1")]);
    }
}
