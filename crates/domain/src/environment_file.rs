//! Environment files: `NAME=value` lines, taken as they are.

use std::collections::BTreeMap;

/// The variables of a file. A line that begins with `#` or has no `=` is none; nothing is trimmed, unquoted or expanded;
/// of a name that stands twice the last line counts, in the place of the first.
pub fn parse(text: &str) -> Vec<(String, String)> {
    // Line of the first, and the last value, by name: a file may have a great many names.
    let mut variables: BTreeMap<&str, (usize, &str)> = BTreeMap::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.starts_with('#')) {
        let Some((name, value)) = line.split_once('=').filter(|(name, _)| !name.is_empty()) else { continue };
        variables.entry(name).or_insert((number, value)).1 = value;
    }
    let mut variables: Vec<_> = variables.into_iter().collect();
    variables.sort_unstable_by_key(|(_, (number, _))| *number);
    variables.into_iter().map(|(name, (_, value))| (name.to_owned(), value.to_owned())).collect()
}

/// Bytes of a bucket's name: as many as old buckets may have.
const BUCKET_BYTES_MAX: usize = 255;

/// Bucket and key of `arn:PARTITION:s3:::BUCKET/KEY`; none for another text, a bucket that is none (a `?` or `%2F` in it
/// would be another object's address), or a key that leaves its place.
pub fn object(arn: &str) -> Option<(&str, &str)> {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let ["arn", _, "s3", "", "", object] = parts[..] else { return None };
    let (bucket, key) = object.split_once('/')?;
    let stays = |part: &str| !matches!(part, "" | "." | "..");
    (is_bucket(bucket) && stays(bucket) && key.split('/').all(stays)).then_some((bucket, key))
}

fn is_bucket(name: &str) -> bool {
    let may_be = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    name.len() <= BUCKET_BYTES_MAX && name.bytes().all(may_be)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_taken_as_they_are() {
        let text = "# comment\nA=1\n B = x y \nno line\n=empty\nURL=a=b?c=\"d\"\r\n #C=3\nEMPTY=\nA=2\n";
        let expected = [("A", "2"), (" B ", " x y "), ("URL", "a=b?c=\"d\""), (" #C", "3"), ("EMPTY", "")];
        let expected: Vec<(String, String)> =
            expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        assert_eq!(parse(text), expected);
    }

    #[test]
    fn an_object_stays_in_its_bucket() {
        for (arn, expected) in [
            ("arn:aws:s3:::conf/prod/web.env", Some(("conf", "prod/web.env"))),
            ("arn:aws-cn:s3:::conf/prod/web.env", Some(("conf", "prod/web.env"))),
            ("arn:aws:s3:::conf/../other/web.env", None),
            ("arn:aws:s3:::../web.env", None),
            ("arn:aws:s3:::conf//web.env", None),
            ("arn:aws:s3:::conf%2Fprod/web.env", None),
            ("arn:aws:s3:::conf?list-type=2&x=/web.env", None),
            ("arn:aws:s3:::conf#/web.env", None),
            ("arn:aws:s3:::two words/web.env", None),
            ("arn:aws:s3:::conf", None),
            ("arn:aws:s3:us-east-1::conf/web.env", None),
            ("s3://conf/web.env", None),
        ] {
            assert_eq!(object(arn), expected, "{arn}");
        }
    }
}
