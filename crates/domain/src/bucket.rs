//! Objects in buckets of an S3-compatible service, as users name them.

/// Bytes of a bucket's name: as many as old buckets may have.
const BUCKET_BYTES_MAX: usize = 255;

/// Bucket and key of `arn:PARTITION:s3:::BUCKET/KEY`; none for another text and for what [`is_object`] refuses.
pub fn object(arn: &str) -> Option<(&str, &str)> {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let ["arn", _, "s3", "", "", object] = parts[..] else { return None };
    object.split_once('/').filter(|(bucket, key)| is_object(bucket, key))
}

/// Whether there can be such an object: not in a bucket that is none (a `?` or `%2F` in it would be another object's
/// address), and not under a key that leaves its place.
pub fn is_object(bucket: &str, key: &str) -> bool {
    let stays = |part: &str| !matches!(part, "" | "." | "..");
    is_bucket(bucket) && stays(bucket) && key.split('/').all(stays)
}

fn is_bucket(name: &str) -> bool {
    let may_be = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    name.len() <= BUCKET_BYTES_MAX && name.bytes().all(may_be)
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert!(is_object("conf", "logs/a.log"));
        for (bucket, key) in [("conf/logs", "a.log"), ("conf", "/a.log"), ("conf", "../a.log"), ("", "a.log")] {
            assert!(!is_object(bucket, key), "{bucket} {key}");
        }
    }
}
