//! Manifests, indexes and image configurations: parsed, checked, and the one for this host chosen. Pure.
//!
//! Documents come from a registry and are believed in nothing but their digest, which the caller has checked.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{ImageConfig, reference::is_digest};

/// Registries must accept manifests of 4 MiB; nobody needs more.
pub(super) const MANIFEST_BYTES_MAX: u64 = 4 << 20;
/// A configuration holds the build history too, so it may be larger than one expects.
pub(super) const CONFIG_BYTES_MAX: u64 = 8 << 20;
/// overlayfs takes at most 500 lower directories; Docker stops at 127.
pub(super) const LAYERS_MAX: usize = 400;

/// What to ask for, most wanted first.
pub(super) const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json";

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum ManifestError {
    #[error("not valid JSON: {0}")]
    Json(String),
    #[error("manifest schema version 1 is not supported")]
    SchemaOne,
    #[error("neither an image manifest nor an index")]
    Unknown,
    #[error("media type {0} is not a container image")]
    NotAnImage(String),
    #[error("invalid digest {0:?}")]
    Digest(String),
    #[error("{0} layers are more than {LAYERS_MAX}")]
    TooManyLayers(usize),
    #[error("{layers} layers but {diff_ids} diff ids")]
    LayerCount { layers: usize, diff_ids: usize },
}

/// A blob as a manifest names it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    #[serde(default)]
    pub(super) media_type: String,
    pub(super) digest: String,
    pub(super) size: u64,
    #[serde(default)]
    pub(super) platform: Option<Platform>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Platform {
    #[serde(default)]
    pub(super) os: String,
    #[serde(default)]
    pub(super) architecture: String,
    #[serde(default)]
    pub(super) variant: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Document {
    Image { config: Descriptor, layers: Vec<Descriptor> },
    Index(Vec<Descriptor>),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    #[serde(default)]
    schema_version: u64,
    #[serde(default)]
    media_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
}

/// Reads a manifest or index. The document's own shape decides which it is: media types are missing or wrong often
/// enough, and the digest covers the body only.
pub(super) fn parse(bytes: &[u8]) -> Result<Document, ManifestError> {
    let raw: Raw = serde_json::from_slice(bytes).map_err(|error| ManifestError::Json(error.to_string()))?;
    let media_type = raw.media_type.unwrap_or_default();
    if raw.schema_version == 1 || media_type.contains("manifest.v1+") && media_type.contains("docker") {
        return Err(ManifestError::SchemaOne);
    }
    match (raw.config, raw.layers, raw.manifests) {
        (Some(config), Some(layers), None) => image(config, layers),
        (None, None, Some(manifests)) => {
            check_digests(&manifests)?;
            Ok(Document::Index(manifests))
        }
        _ => Err(ManifestError::Unknown),
    }
}

fn image(config: Descriptor, layers: Vec<Descriptor>) -> Result<Document, ManifestError> {
    const CONFIGS: [&str; 3] = [
        "application/vnd.oci.image.config.v1+json",
        "application/vnd.docker.container.image.v1+json",
        "application/octet-stream",
    ];
    if !config.media_type.is_empty() && !CONFIGS.contains(&config.media_type.as_str()) {
        return Err(ManifestError::NotAnImage(config.media_type));
    }
    if layers.len() > LAYERS_MAX {
        return Err(ManifestError::TooManyLayers(layers.len()));
    }
    check_digests(std::slice::from_ref(&config))?;
    check_digests(&layers)?;
    Ok(Document::Image { config, layers })
}

fn check_digests(descriptors: &[Descriptor]) -> Result<(), ManifestError> {
    match descriptors.iter().find(|descriptor| !is_digest(&descriptor.digest)) {
        Some(bad) => Err(ManifestError::Digest(bad.digest.clone())),
        None => Ok(()),
    }
}

/// This host's architecture in OCI spelling.
pub(super) fn host_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        other => other,
    }
}

/// The entry of an index that runs on linux/`architecture`: the plainest variant first, and one without any
/// platform only when nothing else fits. Attestations call themselves unknown/unknown and never match.
pub(super) fn choose<'a>(manifests: &'a [Descriptor], architecture: &str) -> Option<&'a Descriptor> {
    let rank = |descriptor: &Descriptor| match &descriptor.platform {
        None => Some(9),
        Some(platform) if platform.os != "linux" || platform.architecture != architecture => None,
        Some(platform) => match (architecture, platform.variant.as_str()) {
            (_, "") | ("amd64", "v1") | ("arm64", "v8") | ("arm", "v7") => Some(0),
            ("arm", "v6") => Some(1),
            ("arm", "v5") => Some(2),
            // A higher micro-architecture level may use instructions that this processor does not have.
            _ => Some(5),
        },
    };
    manifests.iter().filter_map(|d| rank(d).map(|rank| (rank, d))).min_by_key(|(rank, _)| *rank).map(|(_, d)| d)
}

/// An image configuration as far as a host cares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Configuration {
    pub(super) os: String,
    pub(super) config: ImageConfig,
    pub(super) diff_ids: Vec<String>,
}

#[derive(Deserialize, Default)]
struct RawConfiguration {
    #[serde(default)]
    os: Option<String>,
    #[serde(default)]
    config: Option<RawRunConfig>,
    #[serde(default)]
    rootfs: Option<RawRootfs>,
}

#[derive(Deserialize, Default)]
struct RawRootfs {
    #[serde(default)]
    diff_ids: Option<Vec<String>>,
}

/// Every member may be missing or null: builders differ.
#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct RawRunConfig {
    user: Option<String>,
    env: Option<Vec<String>>,
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    volumes: Option<BTreeMap<String, serde_json::Value>>,
    working_dir: Option<String>,
    labels: Option<BTreeMap<String, String>>,
    stop_signal: Option<String>,
    healthcheck: Option<RawHealthcheck>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct RawHealthcheck {
    test: Option<Vec<String>>,
}

/// Reads a configuration that belongs to a manifest with `layers` layers.
pub(super) fn parse_configuration(bytes: &[u8], layers: usize) -> Result<Configuration, ManifestError> {
    let raw: RawConfiguration =
        serde_json::from_slice(bytes).map_err(|error| ManifestError::Json(error.to_string()))?;
    let diff_ids = raw.rootfs.and_then(|rootfs| rootfs.diff_ids).unwrap_or_default();
    if diff_ids.len() != layers {
        return Err(ManifestError::LayerCount { layers, diff_ids: diff_ids.len() });
    }
    if let Some(bad) = diff_ids.iter().find(|diff_id| !is_digest(diff_id)) {
        return Err(ManifestError::Digest(bad.clone()));
    }
    let run = raw.config.unwrap_or_default();
    Ok(Configuration {
        os: raw.os.unwrap_or_default(),
        config: ImageConfig {
            env: run.env.unwrap_or_default(),
            entrypoint: run.entrypoint.unwrap_or_default(),
            cmd: run.cmd.unwrap_or_default(),
            user: run.user.unwrap_or_default(),
            working_dir: run.working_dir.unwrap_or_default(),
            labels: run.labels.unwrap_or_default(),
            stop_signal: run.stop_signal.unwrap_or_default(),
            volumes: run.volumes.unwrap_or_default().into_keys().collect(),
            healthcheck_test: run.healthcheck.and_then(|check| check.test).unwrap_or_default(),
        },
        diff_ids,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    fn digest(digit: char) -> String {
        format!("sha256:{}", digit.to_string().repeat(64))
    }

    fn entry(digit: char, os: &str, architecture: &str, variant: &str) -> Descriptor {
        Descriptor {
            media_type: String::new(),
            digest: digest(digit),
            size: 1,
            platform: Some(Platform { os: os.into(), architecture: architecture.into(), variant: variant.into() }),
        }
    }

    #[test]
    fn the_shape_decides_what_a_document_is() {
        let descriptor =
            json!({"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest('a'), "size": 2});
        let check = |document: serde_json::Value| parse(document.to_string().as_bytes());
        assert!(matches!(
            check(json!({"schemaVersion": 2, "config": descriptor, "layers": []})),
            Ok(Document::Image { layers, .. }) if layers.is_empty()
        ));
        assert!(matches!(
            check(json!({"schemaVersion": 2, "manifests": [descriptor]})),
            Ok(Document::Index(manifests)) if manifests.len() == 1
        ));
        let refused = [
            (json!({"schemaVersion": 1, "fsLayers": []}), ManifestError::SchemaOne),
            (
                json!({"schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v1+prettyjws"}),
                ManifestError::SchemaOne,
            ),
            (json!({"schemaVersion": 2}), ManifestError::Unknown),
            (json!({"config": descriptor, "layers": [], "manifests": []}), ManifestError::Unknown),
            (
                json!({"config": {"mediaType": "application/vnd.cncf.helm.config.v1+json", "digest": digest('a'), "size": 1}, "layers": []}),
                ManifestError::NotAnImage("application/vnd.cncf.helm.config.v1+json".into()),
            ),
            (
                json!({"config": descriptor, "layers": [{"digest": "sha256:../../x", "size": 1}]}),
                ManifestError::Digest("sha256:../../x".into()),
            ),
            (
                json!({"config": descriptor, "layers": vec![json!({"digest": digest('b'), "size": 1}); 401]}),
                ManifestError::TooManyLayers(401),
            ),
        ];
        for (document, expected) in refused {
            assert_eq!(check(document.clone()).unwrap_err(), expected, "{document}");
        }
        for garbage in
            [&b""[..], b"[]", b"{\"config\":{\"digest\":1}}", b"\xff", b"{\"config\":{\"digest\":\"x\",\"size\":-1}}"]
        {
            assert!(matches!(parse(garbage), Err(ManifestError::Json(_))), "{garbage:?}");
        }
    }

    #[test]
    fn the_plainest_fitting_platform_is_chosen() {
        let check = |entries: &[Descriptor], architecture: &str, expected: Option<char>| {
            assert_eq!(choose(entries, architecture).map(|d| d.digest.clone()), expected.map(digest));
        };
        let entries = [
            entry('0', "unknown", "unknown", ""),
            entry('1', "windows", "amd64", ""),
            entry('2', "linux", "amd64", "v3"),
            entry('3', "linux", "amd64", ""),
            entry('4', "linux", "arm", "v5"),
            entry('5', "linux", "arm", "v7"),
            entry('6', "linux", "arm64", "v8"),
        ];
        check(&entries, "amd64", Some('3'));
        check(&entries, "arm64", Some('6'));
        check(&entries, "arm", Some('5'));
        check(&entries, "riscv64", None);
        check(&entries[..3], "amd64", Some('2'));
        check(&[Descriptor { platform: None, ..entry('7', "", "", "") }], "amd64", Some('7'));
        check(&[], "amd64", None);
    }

    #[test]
    fn a_configuration_may_leave_everything_out() {
        let parsed =
            parse_configuration(b"{\"rootfs\":{\"type\":\"layers\",\"diff_ids\":null},\"config\":{\"Cmd\":null}}", 0);
        assert_eq!(parsed.unwrap().config, ImageConfig::default());
        let full = json!({
            "architecture": "amd64", "os": "linux", "rootfs": {"diff_ids": [digest('a')]},
            "config": {"User": "app", "Env": ["A=1", "B=2"], "Entrypoint": ["/e"], "Cmd": ["c"], "WorkingDir": "/w",
                "Volumes": {"/data": {}}, "Labels": {"k": "v"}, "StopSignal": "SIGINT", "ExposedPorts": {"80/tcp": {}},
                "Healthcheck": {"Test": ["CMD", "true"], "Interval": 1}}
        });
        let parsed = parse_configuration(full.to_string().as_bytes(), 1).unwrap();
        assert_eq!(parsed.diff_ids, [digest('a')]);
        assert_eq!(parsed.config.env, ["A=1", "B=2"]);
        assert_eq!(parsed.config.volumes, ["/data"]);
        assert_eq!(parsed.config.healthcheck_test, ["CMD", "true"]);
        assert_eq!(
            parse_configuration(full.to_string().as_bytes(), 2).unwrap_err(),
            ManifestError::LayerCount { layers: 2, diff_ids: 1 }
        );
    }
}
