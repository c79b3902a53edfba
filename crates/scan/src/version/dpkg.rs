//! Debian's order: epoch, upstream version, revision; `~` sorts before the end, letters before everything else.

use std::cmp::Ordering;

use super::{compare_digits, take_digits, take_while};

pub(super) fn compare(left: &str, right: &str) -> Ordering {
    let (left, right) = (split(left.trim()), split(right.trim()));
    compare_digits(left.epoch, right.epoch)
        .then_with(|| compare_part(left.upstream, right.upstream))
        .then_with(|| compare_part(left.revision, right.revision))
}

struct Parts<'a> {
    epoch: &'a str,
    upstream: &'a str,
    revision: &'a str,
}

fn split(version: &str) -> Parts<'_> {
    let (epoch, rest) = match version.split_once(':') {
        Some((epoch, rest)) if !epoch.is_empty() && epoch.bytes().all(|byte| byte.is_ascii_digit()) => (epoch, rest),
        _ => ("0", version),
    };
    // An absent revision is the same as revision 0.
    let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, "0"));
    Parts { epoch, upstream, revision }
}

/// Alternating runs of non-digits, by character, and digits, by value.
fn compare_part(mut left: &str, mut right: &str) -> Ordering {
    loop {
        let (left_text, left_rest) = take_text(left);
        let (right_text, right_rest) = take_text(right);
        let (left_digits, left_rest) = take_digits(left_rest);
        let (right_digits, right_rest) = take_digits(right_rest);
        let order = compare_text(left_text, right_text).then_with(|| compare_digits(left_digits, right_digits));
        if order.is_ne() || (left_rest.is_empty() && right_rest.is_empty()) {
            return order;
        }
        (left, right) = (left_rest, right_rest);
    }
}

fn take_text(text: &str) -> (&str, &str) {
    take_while(text, |byte| !byte.is_ascii_digit())
}

fn compare_text(left: &str, right: &str) -> Ordering {
    let (mut left, mut right) = (left.bytes(), right.bytes());
    loop {
        let (l, r) = (left.next(), right.next());
        match weight(l).cmp(&weight(r)) {
            Ordering::Equal if l.is_none() => return Ordering::Equal,
            Ordering::Equal => {}
            order => return order,
        }
    }
}

/// `~`, then the end, then letters, then the rest.
fn weight(byte: Option<u8>) -> i32 {
    match byte {
        Some(b'~') => -1,
        None => 0,
        Some(byte) if byte.is_ascii_alphabetic() => i32::from(byte),
        Some(byte) => 256 + i32::from(byte),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Scheme::Dpkg;
    use super::super::tests::{ascending, equal};

    #[test]
    fn the_examples_of_debian_policy_hold() {
        // Policy 5.6.12: "~~, ~~a, ~, the empty part, a".
        ascending(Dpkg, &["1~~", "1~~a", "1~", "1", "1a"]);
        ascending(Dpkg, &["1.0~beta1~svn1245", "1.0~beta1", "1.0", "1.0-1", "1.0-1ubuntu1", "1.0.1", "1:0.1"]);
        ascending(Dpkg, &["2.31-13+deb11u2", "2.31-13+deb11u5", "2.31-13+deb11u10", "2.36-9"]);
        ascending(Dpkg, &["9", "10", "123456789012345678901234567890"]);
        ascending(Dpkg, &["1.2.3~rc1", "1.2.3", "1.2.3+dfsg", "1.2.3-1-1"]);
    }

    #[test]
    fn what_is_written_differently_can_be_the_same() {
        equal(Dpkg, &[("1.0", "1.0-0"), ("0:1", "1"), ("1.01", "1.1"), ("1.0-00", "1.0"), ("a", "a0")]);
    }
}
