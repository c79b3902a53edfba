//! Patterns with `*`, as tag filters and lifecycle rules have them.

/// Whether the whole of `text` matches: `*` stands for any characters, also none, everything else for itself. Takes
/// time proportional to the lengths.
pub fn matches(pattern: &str, text: &str) -> bool {
    pieces_match(pattern.split('*'), text)
}

/// The same for a pattern that was taken apart at its asterisks.
pub(crate) fn pieces_match<'a>(mut pieces: impl Iterator<Item = &'a str>, text: &str) -> bool {
    let Some(rest) = text.strip_prefix(pieces.next().unwrap_or_default()) else { return false };
    let mut rest = rest;
    let mut last = None;
    for piece in pieces {
        // The piece before this one was not the last, so its first occurrence is as good as any.
        if let Some(before) = last.replace(piece) {
            match rest.find(before) {
                Some(at) => rest = &rest[at + before.len()..],
                None => return false,
            }
        }
    }
    match last {
        Some(last) => rest.ends_with(last),
        None => rest.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_texts() {
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
        for (pattern, text, expected) in cases {
            assert_eq!(matches(pattern, text), expected, "{pattern} against {text}");
        }
    }
}
