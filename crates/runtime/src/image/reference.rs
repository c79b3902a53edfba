//! Image references as Docker writes them: `[HOST[:PORT]/]NAME[:TAG][@DIGEST]`.
//!
//! Pure. What a short name means (`busybox` is `docker.io/library/busybox:latest`) is decided here and nowhere else.

use std::fmt;

use super::ImageError;

/// Longest host + `/` + name that Docker accepts.
const NAME_LENGTH_MAX: usize = 255;
const DEFAULT_REGISTRY: &str = "docker.io";
/// The name that serves `docker.io`.
const DEFAULT_REGISTRY_HOST: &str = "registry-1.docker.io";

/// A reference taken apart and completed. `Display` writes the canonical form.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reference {
    /// Host with its port, for example `docker.io` or `localhost:4566`.
    pub registry: String,
    /// Repository path within the registry.
    pub repository: String,
    /// Given tag, or `latest` when there is neither tag nor digest.
    pub tag: Option<String>,
    /// `sha256:…` or `sha512:…`; wins over the tag.
    pub digest: Option<String>,
}

impl Reference {
    /// Parses what a task definition calls `image`.
    ///
    /// # Errors
    /// [`ImageError::InvalidReference`] with the text as given.
    pub fn parse(text: &str) -> Result<Self, ImageError> {
        parse(text).ok_or_else(|| ImageError::InvalidReference(text.to_owned()))
    }

    /// Host and port to connect to.
    #[must_use]
    pub fn host(&self) -> &str {
        if self.registry == DEFAULT_REGISTRY { DEFAULT_REGISTRY_HOST } else { &self.registry }
    }

    /// Whether plain HTTP is the default: Docker treats every loopback registry as insecure.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        let host = match self.registry.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or_default(),
            None => self.registry.split(':').next().unwrap_or_default(),
        };
        host == "localhost"
            || host.ends_with(".localhost")
            || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }

    /// What stands at the end of a manifest URL: the digest if there is one, else the tag.
    #[must_use]
    pub fn manifest_name(&self) -> &str {
        self.digest.as_deref().or(self.tag.as_deref()).unwrap_or("latest")
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

fn parse(text: &str) -> Option<Reference> {
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) if is_digest(digest) => (rest, Some(digest.to_owned())),
        Some(_) => return None,
        None => (text, None),
    };
    // A colon after the last slash starts a tag; one before it belongs to the port.
    let name_start = rest.rfind('/').map_or(0, |slash| slash + 1);
    let (name, tag) = match rest[name_start..].find(':') {
        Some(colon) => {
            let tag = &rest[name_start + colon + 1..];
            if !is_tag(tag) {
                return None;
            }
            (&rest[..name_start + colon], Some(tag.to_owned()))
        }
        None => (rest, None),
    };
    let (registry, repository) = split_registry(name)?;
    if registry.len() + 1 + repository.len() > NAME_LENGTH_MAX || !repository.split('/').all(is_component) {
        return None;
    }
    let tag = if tag.is_none() && digest.is_none() { Some("latest".to_owned()) } else { tag };
    Some(Reference { registry, repository, tag, digest })
}

/// Docker's rule: the first component is a host if it has a dot, a colon or an upper-case letter, or is `localhost`.
fn split_registry(name: &str) -> Option<(String, String)> {
    if let Some((first, rest)) = name.split_once('/')
        && (first == "localhost" || first.contains(['.', ':', '[']) || first.chars().any(|c| c.is_ascii_uppercase()))
    {
        if !is_host(first) {
            return None;
        }
        if matches!(first, "docker.io" | "index.docker.io" | "registry-1.docker.io") {
            let repository = if rest.contains('/') { rest.to_owned() } else { format!("library/{rest}") };
            return Some((DEFAULT_REGISTRY.to_owned(), repository));
        }
        return Some((first.to_owned(), rest.to_owned()));
    }
    // 64 hex digits alone would be an image id, which only Docker's own store understands.
    if name.len() == 64 && name.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let repository = if name.contains('/') { name.to_owned() } else { format!("library/{name}") };
    Some((DEFAULT_REGISTRY.to_owned(), repository))
}

fn is_host(text: &str) -> bool {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let Some((address, after)) = rest.split_once(']') else { return false };
        if address.parse::<std::net::Ipv6Addr>().is_err() {
            return false;
        }
        match after.strip_prefix(':') {
            Some(port) => ("v6", Some(port)),
            None if after.is_empty() => ("v6", None),
            None => return false,
        }
    } else {
        match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        }
    };
    let label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    host.split('.').all(label) && port.is_none_or(|port| port.parse::<u16>().is_ok())
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_component(text: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    if !bytes.first().copied().is_some_and(alphanumeric) || !bytes.last().copied().is_some_and(alphanumeric) {
        return false;
    }
    bytes
        .split(|b| alphanumeric(*b))
        .all(|separator| matches!(separator, b"" | b"." | b"_" | b"__") || separator.iter().all(|b| *b == b'-'))
}

fn is_tag(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    text.len() <= 128
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|b| word(b) || b == b'.' || b == b'-')
}

/// `sha256:` and 64, or `sha512:` and 128, lower-case hex digits.
pub(super) fn is_digest(text: &str) -> bool {
    let hex = |hex: &str, length| {
        hex.len() == length && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    match text.split_once(':') {
        Some(("sha256", rest)) => hex(rest, 64),
        Some(("sha512", rest)) => hex(rest, 128),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const D: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn references_are_completed_as_docker_does() {
        let check = |given: &str, canonical: &str| {
            assert_eq!(Reference::parse(given).unwrap().to_string(), canonical, "{given}");
        };
        check("busybox", "docker.io/library/busybox:latest");
        check("busybox:1.36", "docker.io/library/busybox:1.36");
        check("docker.io/busybox", "docker.io/library/busybox:latest");
        check("index.docker.io/a/b", "docker.io/a/b:latest");
        check("amazon/amazon-ecs-sample", "docker.io/amazon/amazon-ecs-sample:latest");
        check("localhost/x", "localhost/x:latest");
        check("localhost:4566/x", "localhost:4566/x:latest");
        check("localhost:4566/team/x:v1", "localhost:4566/team/x:v1");
        check("[::1]:4566/x", "[::1]:4566/x:latest");
        check("public.ecr.aws/nginx/nginx:stable", "public.ecr.aws/nginx/nginx:stable");
        check(
            "000000000000.dkr.ecr.us-east-1.amazonaws.com/app:1",
            "000000000000.dkr.ecr.us-east-1.amazonaws.com/app:1",
        );
        check(&format!("x@{D}"), &format!("docker.io/library/x@{D}"));
        check(&format!("h.io/x:1@{D}"), &format!("h.io/x:1@{D}"));
        check("a__b/c--d/e.f", "docker.io/a__b/c--d/e.f:latest");
    }

    #[test]
    fn bad_references_are_refused() {
        let long = "a".repeat(256);
        let hex = "a".repeat(64);
        for bad in [
            "",
            ":",
            "/",
            "a/",
            "/a",
            "A",
            "a:",
            "a:-x",
            "a b",
            "a@",
            "a@sha256:12",
            "a..b",
            "a___b",
            "-a",
            "a-",
            "a//b",
            "host:port/x",
            "host:99999/x",
            "[::1/x",
            "x:t@y",
            "http://x/y",
            "../x",
            "a/../b",
            "a\0b",
            "é",
            &long,
            &hex,
        ] {
            assert!(matches!(Reference::parse(bad), Err(ImageError::InvalidReference(_))), "{bad:?}");
        }
    }

    #[test]
    fn loopback_registries_are_plain_http() {
        for (reference, expected) in [
            ("localhost:4566/x", true),
            ("127.0.0.1/x", true),
            ("127.8.0.1:5000/x", true),
            ("[::1]:1/x", true),
            ("a.localhost:5/x", true),
            ("busybox", false),
            ("10.0.0.1:5000/x", false),
            ("localhost.evil.com/x", false),
        ] {
            assert_eq!(Reference::parse(reference).unwrap().is_loopback(), expected, "{reference}");
        }
    }

    #[test]
    fn docker_hub_is_served_by_another_name() {
        assert_eq!(Reference::parse("busybox").unwrap().host(), "registry-1.docker.io");
        assert_eq!(Reference::parse("h:1/busybox").unwrap().host(), "h:1");
    }
}
