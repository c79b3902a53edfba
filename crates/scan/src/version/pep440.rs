//! Python's order, PEP 440: `N!1.2.3{a|b|rc}N.postN.devN+local`.

use std::cmp::Ordering;

use super::{compare_digits, take_digits, take_while};

pub(super) fn compare(left: &str, right: &str) -> Ordering {
    let (left, right) = (left.trim().to_ascii_lowercase(), right.trim().to_ascii_lowercase());
    match (parse(&left), parse(&right)) {
        (Some(l), Some(r)) => l.compare(&r),
        (Some(_), None) => Ordering::Greater,
        (None, Some(_)) => Ordering::Less,
        (None, None) => left.cmp(&right),
    }
}

struct Version<'a> {
    epoch: &'a str,
    release: Vec<&'a str>,
    /// `a` 0, `b` 1, `rc` 2.
    pre: Option<(u8, &'a str)>,
    post: Option<&'a str>,
    dev: Option<&'a str>,
    local: Option<&'a str>,
}

fn parse(text: &str) -> Option<Version<'_>> {
    let text = text.strip_prefix('v').unwrap_or(text);
    let (text, local) = match text.split_once('+') {
        Some((text, local)) => (text, Some(local)),
        None => (text, None),
    };
    let (epoch, text) = match text.split_once('!') {
        Some((epoch, text)) if !epoch.is_empty() && take_digits(epoch).1.is_empty() => (epoch, text),
        Some(_) => return None,
        None => ("0", text),
    };
    let (mut release, mut rest) = (Vec::new(), text);
    loop {
        let (digits, after) = take_digits(rest);
        if digits.is_empty() {
            return None;
        }
        release.push(digits);
        rest = after;
        match rest.strip_prefix('.') {
            Some(after) if after.bytes().next().is_some_and(|byte| byte.is_ascii_digit()) => rest = after,
            _ => break,
        }
    }
    while release.last().is_some_and(|number| number.bytes().all(|digit| digit == b'0')) {
        release.pop();
    }
    let mut version = Version { epoch, release, pre: None, post: None, dev: None, local };
    while !rest.is_empty() {
        rest = version.take_suffix(rest)?;
    }
    Some(version)
}

impl<'a> Version<'a> {
    /// Takes one of `a1`, `.post2`, `-3`, `.dev4`.
    fn take_suffix(&mut self, text: &'a str) -> Option<&'a str> {
        // `1.0-3` is a post release.
        if let Some(after) = text.strip_prefix('-')
            && let (digits, rest) = take_digits(after)
            && !digits.is_empty()
        {
            return (self.post.replace(digits).is_none() && self.dev.is_none()).then_some(rest);
        }
        let text = text.strip_prefix(['.', '-', '_']).unwrap_or(text);
        let (name, rest) = take_while(text, |byte| byte.is_ascii_lowercase());
        let rest = match rest.strip_prefix(['.', '-', '_']) {
            Some(after) if after.bytes().next().is_some_and(|byte| byte.is_ascii_digit()) => after,
            _ => rest,
        };
        let (number, rest) = take_digits(rest);
        let free = self.dev.is_none();
        let fresh = match name {
            "a" | "alpha" => self.post.is_none() && self.pre.replace((0, number)).is_none(),
            "b" | "beta" => self.post.is_none() && self.pre.replace((1, number)).is_none(),
            "c" | "rc" | "pre" | "preview" => self.post.is_none() && self.pre.replace((2, number)).is_none(),
            "post" | "rev" | "r" => self.post.replace(number).is_none(),
            "dev" => self.dev.replace(number).is_none(),
            _ => false,
        };
        (fresh && free).then_some(rest)
    }

    fn compare(&self, other: &Self) -> Ordering {
        compare_digits(self.epoch, other.epoch)
            .then_with(|| self.compare_release(other))
            .then_with(|| {
                let ((left, left_number), (right, right_number)) = (self.pre_key(), other.pre_key());
                left.cmp(&right).then_with(|| compare_digits(left_number, right_number))
            })
            .then_with(|| match (self.post, other.post) {
                (None, None) => Ordering::Equal,
                (None, Some(_)) => Ordering::Less,
                (Some(_), None) => Ordering::Greater,
                (Some(left), Some(right)) => compare_digits(left, right),
            })
            .then_with(|| match (self.dev, other.dev) {
                (None, None) => Ordering::Equal,
                (None, Some(_)) => Ordering::Greater,
                (Some(_), None) => Ordering::Less,
                (Some(left), Some(right)) => compare_digits(left, right),
            })
            .then_with(|| compare_local(self.local, other.local))
    }

    fn compare_release(&self, other: &Self) -> Ordering {
        for (left, right) in self.release.iter().zip(&other.release) {
            let order = compare_digits(left, right);
            if order.is_ne() {
                return order;
            }
        }
        self.release.len().cmp(&other.release.len())
    }

    /// `1.0.dev1` comes before `1.0a1`; a release comes after its candidates.
    fn pre_key(&self) -> (u8, &'a str) {
        match self.pre {
            Some((kind, number)) => (kind + 1, number),
            None if self.post.is_none() && self.dev.is_some() => (0, ""),
            None => (4, ""),
        }
    }
}

fn compare_local(left: Option<&str>, right: Option<&str>) -> Ordering {
    let (Some(left), Some(right)) = (left, right) else { return left.is_some().cmp(&right.is_some()) };
    let (mut left, mut right) = (left.split(['.', '-', '_']), right.split(['.', '-', '_']));
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
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            (false, false) => l.cmp(r),
        };
        if order.is_ne() {
            return order;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Scheme::Pep440;
    use super::super::tests::{ascending, equal};

    #[test]
    fn the_examples_of_the_pep_hold() {
        ascending(
            Pep440,
            &[
                "1.dev0",
                "1.0.dev456",
                "1.0a1",
                "1.0a2.dev456",
                "1.0a12.dev456",
                "1.0a12",
                "1.0b1.dev456",
                "1.0b2",
                "1.0b2.post345.dev456",
                "1.0b2.post345",
                "1.0rc1.dev456",
                "1.0rc1",
                "1.0",
                "1.0+abc.5",
                "1.0+abc.7",
                "1.0+5",
                "1.0.post456.dev34",
                "1.0.post456",
                "1.0.15",
                "1.1.dev1",
                "1!0.1",
            ],
        );
        ascending(Pep440, &["2.9", "2.10", "2.31.0"]);
    }

    #[test]
    fn spellings_are_normalized() {
        equal(
            Pep440,
            &[
                ("1.0", "1"),
                ("1.1.a1", "1.1alpha1"),
                ("1.0-RC.1", "1.0rc1"),
                ("1.0-1", "1.0.post1"),
                ("v1.0", "1.0"),
                ("1.0c1", "1.0rc1"),
                ("1.0+ubuntu-1", "1.0+ubuntu.1"),
                ("1.2rev3", "1.2.post3"),
            ],
        );
        ascending(Pep440, &["not-a-version", "0.dev0"]);
    }
}
