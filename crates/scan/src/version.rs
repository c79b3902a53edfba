//! Which of two versions is newer, by the rules of the packaging system they belong to.
//!
//! Every order here is total: text that is no version sorts before all versions and by its bytes, so that a range
//! check always has an answer. Numbers of any length are compared as digits, never as machine integers.

mod apk;
mod dpkg;
mod pep440;
mod rpm;
mod semver;

use std::cmp::Ordering;

/// The rules by which versions are ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    /// Debian policy 5.6.12.
    Dpkg,
    /// Alpine's `apk version -t`.
    Apk,
    /// `rpmvercmp` over epoch, version, release.
    Rpm,
    /// Python's PEP 440.
    Pep440,
    /// Semantic Versioning 2.0.0, as npm, Go and Cargo use it; a leading `v` and missing parts are accepted.
    Semver,
}

impl Scheme {
    /// Compares two versions.
    pub fn compare(self, left: &str, right: &str) -> Ordering {
        match self {
            Self::Dpkg => dpkg::compare(left, right),
            Self::Apk => apk::compare(left, right),
            Self::Rpm => rpm::compare(left, right),
            Self::Pep440 => pep440::compare(left, right),
            Self::Semver => semver::compare(left, right),
        }
    }
}

/// Compares runs of decimal digits by value, whatever their length.
fn compare_digits(left: &str, right: &str) -> Ordering {
    let (left, right) = (left.trim_start_matches('0'), right.trim_start_matches('0'));
    left.len().cmp(&right.len()).then_with(|| left.cmp(right))
}

/// Splits off the longest prefix whose bytes satisfy `is`, which must only accept ASCII.
fn take_while(text: &str, is: impl Fn(u8) -> bool) -> (&str, &str) {
    let end = text.bytes().position(|byte| !is(byte)).unwrap_or(text.len());
    text.split_at(end)
}

fn take_digits(text: &str) -> (&str, &str) {
    take_while(text, |byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(super) fn ascending(scheme: Scheme, versions: &[&str]) {
        for (i, left) in versions.iter().enumerate() {
            for (j, right) in versions.iter().enumerate() {
                assert_eq!(scheme.compare(left, right), i.cmp(&j), "{scheme:?}: {left} and {right}");
            }
        }
    }

    pub(super) fn equal(scheme: Scheme, pairs: &[(&str, &str)]) {
        for (left, right) in pairs {
            assert_eq!(scheme.compare(left, right), Ordering::Equal, "{scheme:?}: {left} and {right}");
        }
    }

    fn any_version() -> impl Strategy<Value = String> {
        prop_oneof![
            "[0-9]{1,2}(\\.[0-9]{1,2}){0,2}([a-z~^+_:-][a-z0-9~.]{0,4}){0,2}",
            "v?[0-9]\\.[0-9](\\.[0-9])?(-(rc|alpha|0)(\\.[0-9])?)?(\\+[a-z]{1,2})?",
            "[0-9]\\.[0-9](a|b|rc|\\.post|\\.dev)[0-9]",
            "[0-9]\\.0?[0-9][a-c]?(_(alpha|rc|p|git)[0-9]?)?(-r[0-9])?",
            "[ -~]{0,6}",
            "\\PC{0,4}",
        ]
    }

    proptest! {
        #[test]
        fn every_order_is_total(a in any_version(), b in any_version(), c in any_version()) {
            for scheme in [Scheme::Dpkg, Scheme::Apk, Scheme::Rpm, Scheme::Pep440, Scheme::Semver] {
                prop_assert_eq!(scheme.compare(&a, &a), Ordering::Equal);
                prop_assert_eq!(scheme.compare(&a, &b), scheme.compare(&b, &a).reverse(), "{:?}", scheme);
                let mut three = [a.as_str(), b.as_str(), c.as_str()];
                three.sort_by(|left, right| scheme.compare(left, right));
                let [low, mid, high] = three;
                prop_assert!(scheme.compare(low, mid).is_le(), "{:?} {:?}", scheme, three);
                prop_assert!(scheme.compare(mid, high).is_le(), "{:?} {:?}", scheme, three);
                prop_assert!(scheme.compare(low, high).is_le(), "{:?} {:?}", scheme, three);
                if scheme.compare(&a, &b).is_eq() {
                    prop_assert_eq!(scheme.compare(&a, &c), scheme.compare(&b, &c), "{:?}", scheme);
                }
            }
        }
    }
}
