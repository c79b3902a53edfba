//! Rust: `Cargo.lock`, and the list that `cargo auditable` builds into programs.

use serde::Deserialize;

use super::{Manager, Package};

#[derive(Deserialize)]
struct Lock {
    #[serde(default)]
    package: Vec<Locked>,
}

#[derive(Deserialize)]
struct Locked {
    name: String,
    version: String,
    #[serde(default)]
    source: Option<String>,
    /// Of the embedded list: `build` for what is not in the program.
    #[serde(default)]
    kind: Option<String>,
}

/// `Cargo.lock`: what comes from a registry.
pub(super) fn lock(text: &str, path: &str) -> Option<Vec<Package>> {
    let lock: Lock = toml::from_str(text).ok()?;
    let packages = lock.package.into_iter().filter(|each| each.source.is_some());
    Some(packages.map(|each| Package::new(Manager::Cargo, each.name, each.version, path)).collect())
}

#[derive(Deserialize)]
struct Embedded {
    packages: Vec<Locked>,
}

/// The JSON of `.dep-v0`, inflated.
pub(super) fn embedded(json: &[u8], path: &str) -> Option<Vec<Package>> {
    let list: Embedded = serde_json::from_slice(json).ok()?;
    let from_registry = |each: &Locked| {
        each.source.as_deref().is_some_and(|source| source == "crates.io" || source == "registry")
            && each.kind.as_deref() != Some("build")
    };
    let packages = list.packages.into_iter().filter(from_registry);
    Some(packages.map(|each| Package::new(Manager::Cargo, each.name, each.version, path)).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn crates_of_a_registry_count() {
        let text = "version = 3\n[[package]]\nname = \"time\"\nversion = \"0.1.40\"\nsource = \"registry+x\"\n\
            [[package]]\nname = \"mine\"\nversion = \"0.1.0\"\n";
        let found = lock(text, "p").unwrap();
        assert_eq!((found.len(), found[0].name.as_str()), (1, "time"));
        let json = br#"{"packages":[{"name":"time","version":"0.1.40","source":"crates.io"},
            {"name":"cc","version":"1.0.0","source":"crates.io","kind":"build"},{"name":"me","version":"1.0.0","source":"local","root":true}]}"#;
        let found = embedded(json, "p").unwrap();
        assert_eq!((found.len(), found[0].version.as_str()), (1, "0.1.40"));
    }
}
