//! `Range` of downloads and `Content-Range` of upload chunks. Pure.

use std::ops::Range;

/// What a `Range` header asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Asked {
    /// Everything: no header, or one we need not honour (other units, several ranges).
    Whole,
    /// A part that exists.
    Part(Range<u64>),
    /// A part that cannot be served: 416.
    Unsatisfiable,
}

/// Reads a `Range` header for a blob of `size` bytes.
pub(super) fn asked(header: Option<&str>, size: u64) -> Asked {
    let Some(spec) = header.and_then(|header| header.trim().strip_prefix("bytes=")) else { return Asked::Whole };
    let Some((first, last)) = spec.trim().split_once('-') else { return Asked::Whole };
    if last.contains(',') {
        return Asked::Whole;
    }
    let number = |text: &str| text.trim().parse::<u64>().ok();
    match (first.trim(), last.trim()) {
        ("", suffix) => match number(suffix) {
            Some(length) if length > 0 && size > 0 => Asked::Part(size.saturating_sub(length)..size),
            Some(_) => Asked::Unsatisfiable,
            None => Asked::Whole,
        },
        (first, "") => match number(first) {
            Some(first) if first < size => Asked::Part(first..size),
            Some(_) => Asked::Unsatisfiable,
            None => Asked::Whole,
        },
        (first, last) => match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last && first < size => {
                Asked::Part(first..last.saturating_add(1).min(size))
            }
            (Some(_), Some(_)) => Asked::Unsatisfiable,
            _ => Asked::Whole,
        },
    }
}

/// Reads the `Content-Range` of a chunk, `<first>-<last>` inclusive; the forms with a unit and a total are taken too.
pub(super) fn chunk(header: &str) -> Option<Range<u64>> {
    let text = header.trim();
    let text = text.strip_prefix("bytes").map_or(text, |rest| rest.trim_start_matches(['=', ' ']));
    let (text, _total) = text.split_once('/').unwrap_or((text, ""));
    let (first, last) = text.split_once('-')?;
    let (first, last) = (first.trim().parse::<u64>().ok()?, last.trim().parse::<u64>().ok()?);
    let end = last.checked_add(1)?;
    (first < end).then_some(first..end)
}

/// The `Range` header of an upload that has received `received` bytes. Nothing at all cannot be expressed; `0-0` is
/// what everybody sends then.
pub(super) fn received(received: u64) -> String {
    format!("0-{}", received.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn download_ranges() {
        let cases = [
            (None, Asked::Whole),
            (Some("bytes=0-0"), Asked::Part(0..1)),
            (Some("bytes=2-4"), Asked::Part(2..5)),
            (Some("bytes=2-"), Asked::Part(2..10)),
            (Some("bytes=-3"), Asked::Part(7..10)),
            (Some("bytes=-30"), Asked::Part(0..10)),
            (Some("bytes=2-400"), Asked::Part(2..10)),
            (Some("bytes=2-18446744073709551615"), Asked::Part(2..10)),
            (Some("bytes=10-"), Asked::Unsatisfiable),
            (Some("bytes=10-12"), Asked::Unsatisfiable),
            (Some("bytes=4-2"), Asked::Unsatisfiable),
            (Some("bytes=-0"), Asked::Unsatisfiable),
            (Some("bytes=0-1,3-4"), Asked::Whole),
            (Some("bytes=x-y"), Asked::Whole),
            (Some("lines=1-2"), Asked::Whole),
            (Some("bytes"), Asked::Whole),
        ];
        for (header, expected) in cases {
            assert_eq!(asked(header, 10), expected, "{header:?}");
        }
        assert_eq!(asked(Some("bytes=0-"), 0), Asked::Unsatisfiable);
        assert_eq!(asked(Some("bytes=-1"), 0), Asked::Unsatisfiable);
    }

    #[test]
    fn chunk_ranges() {
        let cases = [
            ("0-99", Some(0..100)),
            ("bytes 5-9/10", Some(5..10)),
            ("bytes=5-9", Some(5..10)),
            ("9-5", None),
            ("0-18446744073709551615", None),
            ("x", None),
            ("", None),
        ];
        for (header, expected) in cases {
            assert_eq!(chunk(header), expected, "{header:?}");
        }
    }
}
