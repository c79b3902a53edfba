//! Paths under `/v2/`. Pure.
//!
//! Repository names contain slashes and may contain the words that routes are made of, so a path is read from its
//! right end. A name or digest that does not parse is refused here; nothing else of a path is ever used.

use percent_encoding::percent_decode_str;

use crate::digest::Digest;
use crate::fault::RegistryError;
use crate::name::RepositoryName;

/// What a path names.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Resource {
    pub(super) route: Route,
    /// The repository; none for the routes of the whole registry.
    pub(super) name: Option<RepositoryName>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Route {
    Base,
    Catalog,
    Tags,
    /// Tag or digest, unparsed: what a bad one means depends on the method.
    Manifest(String),
    Blob(Digest),
    Uploads,
    Upload(String),
    Referrers(Digest),
    /// An extension of ours, for our agents.
    Prepared(Digest),
    /// How far that is, for people.
    Preparation(Digest),
}

impl Route {
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Catalog => "catalog",
            Self::Tags => "tags",
            Self::Manifest(_) => "manifest",
            Self::Blob(_) => "blob",
            Self::Uploads => "uploads",
            Self::Upload(_) => "upload",
            Self::Referrers(_) => "referrers",
            Self::Prepared(_) => "prepared",
            Self::Preparation(_) => "preparation",
        }
    }
}

pub(super) fn parse(path: &str) -> Result<Resource, RegistryError> {
    let decoded = percent_decode_str(path).decode_utf8().map_err(|_| RegistryError::NameInvalid(path.to_owned()))?;
    let rest = decoded.strip_prefix("/v2").ok_or(RegistryError::Unsupported)?;
    match rest {
        "" | "/" => return Ok(Resource { route: Route::Base, name: None }),
        "/_catalog" => return Ok(Resource { route: Route::Catalog, name: None }),
        _ => {}
    }
    let segments: Vec<&str> = rest.trim_start_matches('/').split('/').collect();
    let (name, route) = match segments.as_slice() {
        [name @ .., "blobs", "uploads"] | [name @ .., "blobs", "uploads", ""] => (name, Route::Uploads),
        [name @ .., "blobs", "uploads", id] => (name, Route::Upload((*id).to_owned())),
        [name @ .., "blobs", digest] => (name, Route::Blob(parse_digest(digest)?)),
        [name @ .., "manifests", reference] => (name, Route::Manifest((*reference).to_owned())),
        [name @ .., "tags", "list"] => (name, Route::Tags),
        [name @ .., "_gantry", "prepared", digest] => (name, Route::Prepared(parse_digest(digest)?)),
        [name @ .., "_gantry", "preparation", digest] => (name, Route::Preparation(parse_digest(digest)?)),
        [name @ .., "referrers", digest] => (name, Route::Referrers(parse_digest(digest)?)),
        _ => return Err(RegistryError::Unsupported),
    };
    let name = name.join("/");
    let name = name.parse().map_err(|_| RegistryError::NameInvalid(name))?;
    Ok(Resource { route, name: Some(name) })
}

pub(super) fn parse_digest(text: &str) -> Result<Digest, RegistryError> {
    text.parse().map_err(|_| RegistryError::DigestInvalid(text.to_owned()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn a_path_is_read_from_its_right_end() {
        let digest: Digest = DIGEST.parse().unwrap();
        let encoded = DIGEST.replace(':', "%3A");
        let cases = [
            ("/v2".to_owned(), None, Route::Base),
            ("/v2/".to_owned(), None, Route::Base),
            ("/v2/_catalog".to_owned(), None, Route::Catalog),
            ("/v2/app/tags/list".to_owned(), Some("app"), Route::Tags),
            ("/v2/a/b/c1/manifests/latest".to_owned(), Some("a/b/c1"), Route::Manifest("latest".to_owned())),
            (format!("/v2/app/blobs/{DIGEST}"), Some("app"), Route::Blob(digest.clone())),
            (format!("/v2/app/blobs/{encoded}"), Some("app"), Route::Blob(digest.clone())),
            (format!("/v2/blobs/blobs/{DIGEST}"), Some("blobs"), Route::Blob(digest.clone())),
            (format!("/v2/app/referrers/{DIGEST}"), Some("app"), Route::Referrers(digest.clone())),
            (format!("/v2/a/b/_gantry/prepared/{DIGEST}"), Some("a/b"), Route::Prepared(digest.clone())),
            (format!("/v2/a/b/_gantry/preparation/{DIGEST}"), Some("a/b"), Route::Preparation(digest.clone())),
            ("/v2/app/blobs/uploads".to_owned(), Some("app"), Route::Uploads),
            ("/v2/app/blobs/uploads/".to_owned(), Some("app"), Route::Uploads),
            ("/v2/app/blobs/uploads/x".to_owned(), Some("app"), Route::Upload("x".to_owned())),
            (
                "/v2/blobs/uploads/manifests/tags/manifests/list".to_owned(),
                Some("blobs/uploads/manifests/tags"),
                Route::Manifest("list".to_owned()),
            ),
            ("/v2/a%2Fb1/manifests/x".to_owned(), None, Route::Base),
        ];
        for (path, name, route) in cases {
            let parsed = parse(&path);
            if path.contains("%2F") {
                // A slash stays a slash however it is written.
                assert_eq!(parsed.unwrap().name.unwrap().as_str(), "a/b1");
                continue;
            }
            let name = name.map(|name| name.parse().unwrap());
            assert_eq!(parsed.unwrap(), Resource { route, name }, "{path}");
        }
    }

    #[test]
    fn tricks_are_refused() {
        for path in [
            "/v2/../etc/passwd",
            "/v2/../../manifests/x",
            "/v2/%2e%2e/manifests/x",
            "/v2/app/../other/manifests/x",
            "/v2/app%00/manifests/x",
            "/v2/%ff/manifests/x",
            "/v2/App/manifests/x",
            "/v2//manifests/x",
            "/v2/manifests/x",
            "/v2/app//tags/list",
            "/v2/app/blobs/sha256:..%2F..%2Fetc",
            "/v2/app/blobs/sha256:abc",
            "/v2/app/blobs/md5:d41d8cd98f00b204e9800998ecf8427e",
            "/v2/app/unknown",
            "/v2/app",
        ] {
            assert!(parse(path).is_err(), "{path}");
        }
    }
}
