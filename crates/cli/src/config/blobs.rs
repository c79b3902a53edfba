//! Where the registry keeps its blobs: keys of the table `[registry]`. Each has a variable `GANTRY_REGISTRY_` in
//! capitals, but for the credentials: those are the variables of the AWS SDKs.

use std::time::Duration;

use gantry_registry::blobs::S3Config;
use serde::Deserialize;

use super::upstreams::RegistryFile;

/// Where blobs are kept.
#[derive(Debug, Clone)]
pub(crate) enum Blobs {
    /// Below the data directory.
    Disk,
    /// In a bucket.
    S3(S3Config),
}

/// A text that is nobody's business.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub(crate) struct Secret(String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(secret)")
    }
}

/// How long the registry keeps what no image needs, in seconds: a day unless told otherwise. A push must be done within
/// it, from its first layer to its manifest, so a minute is the least.
const GRACE_SECONDS: std::ops::RangeInclusive<u64> = 60..=30 * 24 * 60 * 60;
const GRACE_SECONDS_DEFAULT: u64 = 24 * 60 * 60;

/// The grace period of what no image needs.
pub(crate) fn grace(
    file: &RegistryFile,
    variable: impl Fn(&str) -> Option<String>,
    mistakes: &mut Vec<String>,
) -> Duration {
    let allowed = (GRACE_SECONDS, GRACE_SECONDS_DEFAULT);
    Duration::from_secs(super::number("registry.grace_seconds", variable, file.grace_seconds, allowed, mistakes))
}

/// What was said, checked; mistakes are added to `mistakes`.
pub(crate) fn build(
    file: &RegistryFile,
    variable: impl Fn(&str) -> Option<String>,
    mistakes: &mut Vec<String>,
) -> Blobs {
    let said =
        |name: &str, file: &Option<String>| variable(&format!("GANTRY_REGISTRY_{name}")).or_else(|| file.clone());
    let bucket = said("BUCKET", &file.bucket);
    let prefix = said("PREFIX", &file.prefix);
    let endpoint = said("ENDPOINT", &file.endpoint);
    if let Some(endpoint) = endpoint.as_ref().filter(|endpoint| !super::is_url(endpoint)) {
        mistakes.push(format!("registry: the endpoint '{endpoint}' is not a URL"));
    }
    let region = said("REGION", &file.region);
    let credentials = credentials("registry", file.access_key_id.clone(), file.secret_access_key.clone(), mistakes);
    let nothing_else = prefix.is_none() && endpoint.is_none() && credentials.is_none();
    match (said("BLOBS", &file.blobs).as_deref(), bucket) {
        (Some("s3"), Some(bucket)) => {
            let prefix = prefix.unwrap_or_default();
            return Blobs::S3(S3Config { bucket, prefix, endpoint, region, credentials });
        }
        (Some("s3"), None) => mistakes.push("registry: blobs = \"s3\" needs a bucket".into()),
        (None | Some("disk"), None) if nothing_else => {}
        (None | Some("disk"), _) => mistakes.push("registry: a bucket is used only with blobs = \"s3\"".into()),
        (Some(other), _) => {
            mistakes.push(format!("registry: blobs are kept on \"disk\" or in \"s3\", not in '{other}'"));
        }
    }
    Blobs::Disk
}

/// The keys `access_key_id` and `secret_access_key` of a table.
pub(super) fn credentials(
    table: &str,
    id: Option<String>,
    secret: Option<Secret>,
    mistakes: &mut Vec<String>,
) -> Option<(String, String)> {
    match (id, secret) {
        (Some(id), Some(Secret(secret))) => Some((id, secret)),
        (None, None) => None,
        _ => {
            mistakes.push(format!("{table}: access_key_id and secret_access_key go together"));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::File;
    use super::Blobs;

    #[test]
    fn blobs_go_to_a_bucket_when_the_file_or_the_variables_say_so() {
        let build = |text: &str, variables: &[(&str, &str)]| {
            let file: File = toml::from_str(text).expect("is TOML");
            assert!(!format!("{file:?}").contains("the-secret"));
            let mut mistakes = Vec::new();
            let get =
                |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.to_string());
            (super::build(&file.registry, get, &mut mistakes), mistakes)
        };
        assert!(matches!(build("", &[]), (Blobs::Disk, mistakes) if mistakes.is_empty()));
        let text = "[registry]\nblobs = \"s3\"\nbucket = \"images\"\nprefix = \"p\"\nendpoint = \"http://s3.internal\"\n\
                    access_key_id = \"id\"\nsecret_access_key = \"the-secret\"\n";
        let (blobs, mistakes) = build(text, &[("GANTRY_REGISTRY_PREFIX", "other")]);
        let Blobs::S3(config) = blobs else { panic!("{mistakes:?}") };
        assert_eq!((config.bucket.as_str(), config.prefix.as_str()), ("images", "other"));
        assert!(config.credentials.is_some());
        assert!(!format!("{config:?}").contains("the-secret"));
        for (text, part) in [
            ("[registry]\nblobs = \"s3\"\n", "needs a bucket"),
            ("[registry]\nbucket = \"images\"\n", "only with blobs"),
            ("[registry]\nblobs = \"tape\"\n", "not in 'tape'"),
            ("[registry]\nblobs = \"s3\"\nbucket = \"b\"\naccess_key_id = \"id\"\n", "go together"),
        ] {
            let (_, mistakes) = build(text, &[]);
            assert!(mistakes.iter().any(|mistake| mistake.contains(part)), "{text}: {mistakes:?}");
        }
    }
}
