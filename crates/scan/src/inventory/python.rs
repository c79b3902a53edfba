//! Python: metadata of installed distributions, and the files that pin versions.

use serde::Deserialize;

use super::{Manager, PACKAGES_PER_FILE_MAX, Package};

/// `*.dist-info/METADATA`, `*.egg-info/PKG-INFO`, `*.egg-info`: the header fields before the first empty line.
pub(super) fn metadata(text: &str, path: &str) -> Vec<Package> {
    let field = |key: &str| {
        let lines = text.lines().take_while(|line| !line.trim().is_empty());
        let mut fields = lines.filter_map(|line| line.split_once(':'));
        fields.find(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, value)| value.trim().to_owned())
    };
    match (field("Name"), field("Version")) {
        (Some(name), Some(version)) => vec![Package::new(Manager::Python, name, version, path)],
        _ => Vec::new(),
    }
}

/// `requirements.txt`: only `name==version` says what is installed.
pub(super) fn requirements(text: &str, path: &str) -> Vec<Package> {
    let line = |line: &str| {
        let line = line.split(['#', ';']).next()?.trim().trim_end_matches('\\').trim();
        let (name, version) = line.split_once("==")?;
        let name = name.split('[').next()?.trim();
        let version = version.trim_start_matches('=').split([' ', ',']).next()?.trim();
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        (name.bytes().all(plain) && !version.contains('*')).then(|| Package::new(Manager::Python, name, version, path))
    };
    text.lines().filter_map(line).take(PACKAGES_PER_FILE_MAX).collect()
}

#[derive(Deserialize)]
struct Lock {
    #[serde(default)]
    package: Vec<Locked>,
}

#[derive(Deserialize)]
struct Locked {
    name: String,
    #[serde(default)]
    version: String,
}

/// `poetry.lock` and `uv.lock`.
pub(super) fn toml_lock(text: &str, path: &str) -> Option<Vec<Package>> {
    let lock: Lock = toml::from_str(text).ok()?;
    Some(lock.package.into_iter().map(|each| Package::new(Manager::Python, each.name, each.version, path)).collect())
}

#[derive(Deserialize)]
struct Pipfile {
    #[serde(default)]
    default: std::collections::BTreeMap<String, PipfilePackage>,
}

#[derive(Deserialize)]
struct PipfilePackage {
    #[serde(default)]
    version: String,
}

/// `Pipfile.lock`; what only development needs is left out.
pub(super) fn pipfile_lock(text: &str, path: &str) -> Option<Vec<Package>> {
    let lock: Pipfile = serde_json::from_str(text).ok()?;
    let package = |(name, each): (String, PipfilePackage)| {
        Package::new(Manager::Python, name, each.version.trim_start_matches('='), path)
    };
    Some(lock.default.into_iter().map(package).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn named(packages: Vec<Package>) -> Vec<(String, String)> {
        packages.into_iter().map(|package| (package.name, package.version)).collect()
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, version)| ((*name).to_owned(), (*version).to_owned())).collect()
    }

    #[test]
    fn every_form_yields_names_and_versions() {
        let text = "Metadata-Version: 2.1\nName: Jinja2\nVersion: 3.1.2\n\nName: not this\n";
        assert_eq!(named(metadata(text, "p")), pairs(&[("Jinja2", "3.1.2")]));
        let text =
            "# x\nrequests[socks]==2.31.0 ; python_version > '3'\nflask>=2\nidna==3.4 \\\n  --hash=sha256:0\na==1.*\n";
        assert_eq!(named(requirements(text, "p")), pairs(&[("requests", "2.31.0"), ("idna", "3.4")]));
        let text =
            "version = 1\n[[package]]\nname = \"certifi\"\nversion = \"2023.7.22\"\n[package.source]\na = \"b\"\n";
        assert_eq!(named(toml_lock(text, "p").unwrap()), pairs(&[("certifi", "2023.7.22")]));
        let text =
            r#"{"default":{"urllib3":{"version":"==2.0.4","hashes":[]}},"develop":{"pytest":{"version":"==7"}}}"#;
        assert_eq!(named(pipfile_lock(text, "p").unwrap()), pairs(&[("urllib3", "2.0.4")]));
        assert!(toml_lock("]", "p").is_none() && pipfile_lock("]", "p").is_none());
    }
}
