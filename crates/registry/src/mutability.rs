//! Which tags may be moved. Pure.

use gantry_domain::wildcard;

/// A repository's rule for its tags.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Mutability {
    /// Tags may be moved.
    #[default]
    Mutable,
    /// Tags stay where they are.
    Immutable,
    /// Only tags that match a filter may be moved.
    ImmutableWithExclusion,
    /// Only tags that match no filter may be moved.
    MutableWithExclusion,
}

impl Mutability {
    /// Whether filters go with this mode. They are required then, and forbidden otherwise.
    pub fn takes_filters(self) -> bool {
        matches!(self, Self::ImmutableWithExclusion | Self::MutableWithExclusion)
    }

    /// Whether `tag`, once set, may be moved to another image.
    pub fn allows_moving(self, filters: &[String], tag: &str) -> bool {
        let matches = || filters.iter().any(|filter| wildcard::matches(filter, tag));
        match self {
            Self::Mutable => true,
            Self::Immutable => false,
            Self::ImmutableWithExclusion => matches(),
            Self::MutableWithExclusion => !matches(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_match_whole_tags() {
        let cases = [
            ("latest", "latest", true),
            ("latest", "latest2", false),
            ("lat", "latest", false),
            ("*", "", true),
            ("*", "x", true),
            ("dev-*", "dev-1", true),
            ("dev-*", "xdev-1", false),
            ("*-rc", "1-rc", true),
            ("*-rc", "1-rc1", false),
            ("v*.0", "v1.2.0", true),
            ("v*.0", "v1.2.1", false),
            ("v*.0", "v.", false),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "acb", false),
            ("a.b", "axb", false),
            ("", "x", false),
        ];
        for (filter, tag, expected) in cases {
            let allowed = Mutability::ImmutableWithExclusion.allows_moving(&[filter.to_owned()], tag);
            assert_eq!(allowed, expected, "{filter} against {tag}");
        }
    }

    #[test]
    fn each_mode_moves_the_tags_it_says() {
        let filters = ["dev*".to_owned()];
        let cases = [
            (Mutability::Mutable, [true, true]),
            (Mutability::Immutable, [false, false]),
            (Mutability::ImmutableWithExclusion, [true, false]),
            (Mutability::MutableWithExclusion, [false, true]),
        ];
        for (mode, expected) in cases {
            let allowed = ["dev1", "v1"].map(|tag| mode.allows_moving(&filters, tag));
            assert_eq!(allowed, expected, "{mode:?}");
        }
    }
}
