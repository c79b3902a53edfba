//! What the registry reads of a manifest. Pure.
//!
//! The bytes of a manifest are its identity: they are stored and served as they came, and this module only looks at
//! them. Unknown members are legal and ignored here.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::digest::Digest;

/// Largest manifest, in bytes.
pub const MANIFEST_SIZE_MAX: usize = 4 * 1024 * 1024;
/// Most blobs or manifests one manifest may refer to. Container runtimes stop at 127 layers; the bound keeps the
/// transaction that records the references within the store's.
pub const REFERENCES_MAX: usize = 480;

/// Media type of an OCI index, also what the referrers API answers with.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Media type of an OCI image manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Media type of a Docker image manifest.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Media type of a Docker manifest list.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// Why a manifest is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// Larger than [`MANIFEST_SIZE_MAX`].
    #[error("manifest is larger than {MANIFEST_SIZE_MAX} bytes")]
    TooLarge,
    /// Not JSON of the right shape.
    #[error("manifest is not valid JSON: {0}")]
    Json(String),
    /// No media type in the request or the manifest.
    #[error("image manifest mediatype not provided in manifest or parameter")]
    MediaTypeMissing,
    /// The request and the manifest disagree.
    #[error("media type {declared} of the request differs from {own} in the manifest")]
    MediaTypeMismatch {
        /// What the request says.
        declared: String,
        /// What the manifest says.
        own: String,
    },
    /// Not a type of manifest that is accepted.
    #[error("manifest media type {0} is not supported")]
    MediaTypeUnsupported(String),
    /// `schemaVersion` is not 2.
    #[error("manifest schema version must be 2")]
    SchemaVersion,
    /// An image manifest without `config`.
    #[error("image manifest has no config")]
    ConfigMissing,
    /// A descriptor is malformed.
    #[error("descriptor {0} is not valid")]
    Descriptor(String),
    /// More references than [`REFERENCES_MAX`].
    #[error("manifest refers to more than {REFERENCES_MAX} objects")]
    TooManyReferences,
    /// A descriptor's size is not that of the stored object.
    #[error("descriptor of {digest} says {declared} bytes but the object has {stored}")]
    DescriptorSize {
        /// The object.
        digest: Digest,
        /// What the manifest says.
        declared: u64,
        /// What is stored.
        stored: u64,
    },
}

/// A checked manifest.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// Its media type.
    pub media_type: String,
    /// What it is made of.
    pub content: Content,
    /// The manifest that this one is about (a signature's image).
    pub subject: Option<Digest>,
    /// `artifactType`, when the manifest has one.
    pub artifact_type: Option<String>,
    /// `annotations`.
    pub annotations: BTreeMap<String, String>,
}

/// The two kinds of manifests.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// An image or artifact: a configuration and layers.
    Image {
        /// The configuration blob.
        config: Descriptor,
        /// The layers.
        layers: Vec<Descriptor>,
    },
    /// A list of manifests.
    Index {
        /// Its entries.
        manifests: Vec<Descriptor>,
    },
}

/// A reference to an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    /// The object's media type.
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
}

/// What a reference must point at for the manifest to be accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReferenceKind {
    /// A blob of the repository.
    Blob,
    /// A manifest of the repository.
    Manifest,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    schema_version: Option<i64>,
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<RawDescriptor>,
    layers: Option<Vec<RawDescriptor>>,
    manifests: Option<Vec<RawDescriptor>>,
    subject: Option<RawDescriptor>,
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawDescriptor {
    media_type: Option<String>,
    digest: Option<String>,
    size: Option<i64>,
}

impl Manifest {
    /// Reads a manifest that was sent with the media type `declared`.
    pub fn parse(bytes: &[u8], declared: Option<&str>) -> Result<Self, ManifestError> {
        if bytes.len() > MANIFEST_SIZE_MAX {
            return Err(ManifestError::TooLarge);
        }
        let document: Document =
            serde_json::from_slice(bytes).map_err(|error| ManifestError::Json(error.to_string()))?;
        let media_type = media_type(declared, &document)?;
        if document.schema_version != Some(2) {
            return Err(ManifestError::SchemaVersion);
        }
        let subject = document.subject.map(|subject| subject.check("subject")).transpose()?;
        let manifest = Self {
            content: match media_type.as_str() {
                OCI_INDEX | DOCKER_LIST => {
                    Content::Index { manifests: check_all("manifests", document.manifests.unwrap_or_default())? }
                }
                _ => Content::Image {
                    config: document.config.ok_or(ManifestError::ConfigMissing)?.check("config")?,
                    layers: check_all("layers", document.layers.unwrap_or_default())?,
                },
            },
            media_type,
            subject: subject.map(|subject| subject.digest),
            artifact_type: document.artifact_type.filter(|artifact_type| !artifact_type.is_empty()),
            annotations: document.annotations.unwrap_or_default(),
        };
        if manifest.references().len() > REFERENCES_MAX {
            return Err(ManifestError::TooManyReferences);
        }
        Ok(manifest)
    }

    /// The objects that must be in the repository, each once. Layers that may not be distributed are left out, and so
    /// is the subject: both are allowed to be absent.
    pub fn references(&self) -> BTreeMap<&Digest, (ReferenceKind, u64)> {
        let blob = |descriptor| (descriptor, ReferenceKind::Blob);
        let descriptors: Vec<(&Descriptor, ReferenceKind)> = match &self.content {
            Content::Image { config, layers } => {
                let kept = layers.iter().filter(|layer| !layer.is_foreign());
                std::iter::once(config).chain(kept).map(blob).collect()
            }
            Content::Index { manifests } => {
                let kind = |entry: &Descriptor| match is_manifest_type(&entry.media_type) {
                    true => ReferenceKind::Manifest,
                    false => ReferenceKind::Blob,
                };
                manifests.iter().map(|entry| (entry, kind(entry))).collect()
            }
        };
        descriptors.into_iter().map(|(descriptor, kind)| (&descriptor.digest, (kind, descriptor.size))).collect()
    }

    /// Sum of the sizes of configuration and layers; none for an index, whose size is that of its largest child.
    pub fn content_size(&self) -> Option<u64> {
        match &self.content {
            Content::Image { config, layers } => {
                Some(layers.iter().fold(config.size, |sum, layer| sum.saturating_add(layer.size)))
            }
            Content::Index { .. } => None,
        }
    }

    /// What kind of artifact this is: `artifactType`, else the configuration's media type; none for a plain index.
    pub fn effective_artifact_type(&self) -> Option<&str> {
        self.artifact_type.as_deref().or(match &self.content {
            Content::Image { config, .. } => Some(config.media_type.as_str()),
            Content::Index { .. } => None,
        })
    }
}

impl Descriptor {
    /// A layer that registries may be unable to hold; it is fetched from elsewhere.
    fn is_foreign(&self) -> bool {
        self.media_type.contains("nondistributable") || self.media_type.contains("rootfs.foreign.diff")
    }
}

impl RawDescriptor {
    fn check(self, place: &str) -> Result<Descriptor, ManifestError> {
        let invalid = || ManifestError::Descriptor(place.to_owned());
        Ok(Descriptor {
            media_type: self.media_type.filter(|media_type| !media_type.is_empty()).ok_or_else(invalid)?,
            digest: self.digest.and_then(|digest| digest.parse().ok()).ok_or_else(invalid)?,
            size: self.size.and_then(|size| u64::try_from(size).ok()).ok_or_else(invalid)?,
        })
    }
}

fn check_all(place: &str, descriptors: Vec<RawDescriptor>) -> Result<Vec<Descriptor>, ManifestError> {
    let numbered = descriptors.into_iter().enumerate();
    numbered.map(|(index, descriptor)| descriptor.check(&format!("{place}[{index}]"))).collect()
}

fn is_manifest_type(media_type: &str) -> bool {
    matches!(media_type, OCI_MANIFEST | OCI_INDEX | DOCKER_MANIFEST | DOCKER_LIST)
}

/// The type to store: the request's, which must agree with the manifest's own; guessed only when neither is there.
fn media_type(declared: Option<&str>, document: &Document) -> Result<String, ManifestError> {
    let declared = declared.map(essence).filter(|declared| !declared.is_empty());
    let own = document.media_type.as_deref().filter(|own| !own.is_empty());
    let media_type = match (declared, own) {
        (Some(declared), Some(own)) if declared != own => {
            return Err(ManifestError::MediaTypeMismatch { declared: declared.to_owned(), own: own.to_owned() });
        }
        (Some(media_type), _) | (None, Some(media_type)) => media_type,
        (None, None) if document.manifests.is_some() => OCI_INDEX,
        (None, None) if document.config.is_some() && document.layers.is_some() => OCI_MANIFEST,
        (None, None) => return Err(ManifestError::MediaTypeMissing),
    };
    if is_manifest_type(media_type) {
        Ok(media_type.to_owned())
    } else {
        Err(ManifestError::MediaTypeUnsupported(media_type.to_owned()))
    }
}

/// A media type without its parameters.
fn essence(media_type: &str) -> &str {
    media_type.split(';').next().unwrap_or_default().trim()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn image(extra: &str) -> String {
        format!(
            r#"{{"schemaVersion":2,"config":{{"mediaType":"c","digest":"{EMPTY}","size":3}},
            "layers":[{{"mediaType":"l","digest":"{EMPTY}","size":4}}]{extra}}}"#
        )
    }

    #[test]
    fn the_request_decides_the_type_and_must_not_contradict_the_manifest() {
        let own = format!(r#","mediaType":"{OCI_MANIFEST}""#);
        let cases = [
            (Some(OCI_MANIFEST), image(""), Ok(OCI_MANIFEST)),
            (Some("application/vnd.oci.image.manifest.v1+json; charset=utf-8"), image(&own), Ok(OCI_MANIFEST)),
            (None, image(&own), Ok(OCI_MANIFEST)),
            (None, image(""), Ok(OCI_MANIFEST)),
            (None, r#"{"schemaVersion":2,"manifests":[]}"#.to_owned(), Ok(OCI_INDEX)),
            (None, r#"{"schemaVersion":2}"#.to_owned(), Err(ManifestError::MediaTypeMissing)),
            (
                Some(DOCKER_MANIFEST),
                image(&own),
                Err(ManifestError::MediaTypeMismatch {
                    declared: DOCKER_MANIFEST.to_owned(),
                    own: OCI_MANIFEST.to_owned(),
                }),
            ),
            (
                Some("application/vnd.docker.distribution.manifest.v1+json"),
                image(""),
                Err(ManifestError::MediaTypeUnsupported(
                    "application/vnd.docker.distribution.manifest.v1+json".to_owned(),
                )),
            ),
        ];
        for (declared, document, expected) in cases {
            let parsed = Manifest::parse(document.as_bytes(), declared).map(|manifest| manifest.media_type);
            assert_eq!(parsed, expected.map(str::to_owned), "{declared:?} {document}");
        }
    }

    #[test]
    fn references_are_counted_once_and_foreign_layers_not_at_all() {
        let foreign = Digest::of(b"foreign");
        let document = format!(
            r#"{{"schemaVersion":2,"config":{{"mediaType":"c","digest":"{EMPTY}","size":0}},"layers":[
            {{"mediaType":"l","digest":"{EMPTY}","size":0}},
            {{"mediaType":"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip","digest":"{foreign}","size":9}}],
            "subject":{{"mediaType":"x","digest":"{}","size":1}}}}"#,
            Digest::of(b"subject")
        );
        let manifest = Manifest::parse(document.as_bytes(), Some(OCI_MANIFEST)).unwrap();
        let references: Vec<_> = manifest.references().into_keys().map(Digest::as_str).collect();
        assert_eq!(references, [EMPTY]);
        assert_eq!(manifest.content_size(), Some(9));
        assert_eq!(manifest.subject, Some(Digest::of(b"subject")));
    }

    #[test]
    fn malformed_manifests_are_refused_by_what_is_wrong() {
        let descriptor = |digest: &str, size: &str| {
            format!(
                r#"{{"schemaVersion":2,"layers":[],"config":{{"mediaType":"c","digest":"{digest}","size":{size}}}}}"#
            )
        };
        let cases = [
            (descriptor("sha256:zz", "1"), ManifestError::Descriptor("config".to_owned())),
            (descriptor(EMPTY, "-1"), ManifestError::Descriptor("config".to_owned())),
            (r#"{"schemaVersion":2,"layers":[]}"#.to_owned(), ManifestError::ConfigMissing),
            (image("").replace(":2,", ":1,"), ManifestError::SchemaVersion),
        ];
        for (document, expected) in cases {
            assert_eq!(Manifest::parse(document.as_bytes(), Some(OCI_MANIFEST)), Err(expected), "{document}");
        }
        for garbage in ["", "[]", "null", "{", "\"x\"", &"[".repeat(100_000)] {
            let parsed = Manifest::parse(garbage.as_bytes(), Some(OCI_MANIFEST));
            assert!(matches!(parsed, Err(ManifestError::Json(_))), "{garbage:.20}");
        }
        let large = vec![b' '; MANIFEST_SIZE_MAX + 1];
        assert_eq!(Manifest::parse(&large, Some(OCI_MANIFEST)), Err(ManifestError::TooLarge));
    }
}
