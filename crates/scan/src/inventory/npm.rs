//! Node packages: installed ones, and lock files of npm, yarn and pnpm.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Manager, Package};

#[derive(Deserialize)]
struct Manifest {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    version: Option<String>,
}

/// `node_modules/…/package.json`.
pub(super) fn package_json(text: &str, path: &str) -> Option<Vec<Package>> {
    let manifest: Manifest = serde_json::from_str(text).ok()?;
    let (Some(name), Some(version)) = (manifest.name, manifest.version) else { return Some(Vec::new()) };
    Some(vec![Package::new(Manager::Npm, name, version, path)])
}

#[derive(Deserialize)]
struct Lock {
    #[serde(default)]
    packages: Option<BTreeMap<String, Locked>>,
    #[serde(default)]
    dependencies: Option<BTreeMap<String, Dependency>>,
}

#[derive(Deserialize)]
struct Locked {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    version: Option<String>,
    #[serde(default)]
    link: bool,
}

#[derive(Deserialize)]
struct Dependency {
    #[serde(default)]
    version: Option<String>,
    #[serde(default)]
    dependencies: Option<BTreeMap<String, Dependency>>,
}

/// `package-lock.json` of versions 1 to 3. serde_json bounds the nesting.
pub(super) fn package_lock(text: &str, path: &str) -> Option<Vec<Package>> {
    let lock: Lock = serde_json::from_str(text).ok()?;
    let mut found = Vec::new();
    if let Some(packages) = lock.packages {
        for (place, each) in packages {
            let Some((_, name)) = place.rsplit_once("node_modules/") else { continue };
            let (Some(version), false) = (each.version, each.link) else { continue };
            found.push(Package::new(Manager::Npm, each.name.unwrap_or_else(|| name.to_owned()), version, path));
        }
    } else {
        collect(lock.dependencies.unwrap_or_default(), path, &mut found);
    }
    Some(found)
}

fn collect(dependencies: BTreeMap<String, Dependency>, path: &str, found: &mut Vec<Package>) {
    for (name, each) in dependencies {
        if let Some(version) = each.version.filter(|version| is_version(version)) {
            found.push(Package::new(Manager::Npm, name, version, path));
        }
        collect(each.dependencies.unwrap_or_default(), path, found);
    }
}

fn is_version(text: &str) -> bool {
    text.bytes().next().is_some_and(|byte| byte.is_ascii_digit())
}

/// `yarn.lock`: version 1 (`name@range:` then `  version "1"`) and Berry (`"name@npm:range":`, `  version: 1`).
pub(super) fn yarn_lock(text: &str, path: &str) -> Vec<Package> {
    let (mut found, mut name) = (Vec::new(), None);
    for line in text.lines() {
        if line.starts_with('#') || line.trim().is_empty() {
            continue;
        }
        if !line.starts_with(' ') {
            let first = line.trim_end_matches(':').split(',').next().unwrap_or_default().trim().trim_matches('"');
            // A scope begins with `@`, so the range begins at a later one.
            name = first.get(1..).and_then(|rest| rest.find('@')).map(|at| first[..=at].to_owned());
            continue;
        }
        let field =
            line.strip_prefix("  ").filter(|rest| !rest.starts_with(' ')).and_then(|rest| rest.strip_prefix("version"));
        if let Some(version) = field
            && let Some(name) = name.take()
        {
            let version = version.trim_start_matches(':').trim().trim_matches('"');
            if is_version(version) {
                found.push(Package::new(Manager::Npm, name, version, path));
            }
        }
    }
    found
}

/// `pnpm-lock.yaml`: the keys of `packages:`, `/name/1.0.0`, `/name@1.0.0(peer@2)` or `name@1.0.0`.
pub(super) fn pnpm_lock(text: &str, path: &str) -> Vec<Package> {
    let (mut found, mut inside) = (Vec::new(), false);
    for line in text.lines() {
        if !line.starts_with(' ') && !line.trim().is_empty() {
            inside = line.trim_end() == "packages:";
            continue;
        }
        let Some(key) = line.strip_prefix("  ").filter(|rest| inside && !rest.starts_with(' ')) else { continue };
        let Some(key) = key.trim_end().strip_suffix(':') else { continue };
        let key = key.trim_matches(['\'', '"']);
        let old = key.starts_with('/');
        let key = key.trim_start_matches('/').split(['(', '_']).next().unwrap_or_default();
        let split = key.rfind('@').filter(|at| *at > 0).or_else(|| key.rfind('/').filter(|_| old));
        if let Some(at) = split
            && is_version(&key[at + 1..])
        {
            found.push(Package::new(Manager::Npm, &key[..at], &key[at + 1..], path));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn check(packages: Vec<Package>, expected: &[(&str, &str)]) {
        let found: Vec<_> = packages.iter().map(|package| (package.name.as_str(), package.version.as_str())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn lock_files_of_every_version_are_read() {
        let text = r#"{"lockfileVersion":3,"packages":{"":{"name":"me","version":"1.0.0"},
            "node_modules/lodash":{"version":"4.17.20"},"node_modules/a/node_modules/@s/b":{"version":"2.0.0"},
            "node_modules/linked":{"link":true,"resolved":"x"}}}"#;
        check(package_lock(text, "p").unwrap(), &[("@s/b", "2.0.0"), ("lodash", "4.17.20")]);
        let text = r#"{"dependencies":{"a":{"version":"1.0.0","dependencies":{"b":{"version":"2.0.0"}}},
            "c":{"version":"git+ssh://x"}}}"#;
        check(package_lock(text, "p").unwrap(), &[("a", "1.0.0"), ("b", "2.0.0")]);
        let text = "# yarn lockfile v1\n\n\"@babel/core@^7.0.0\", \"@babel/core@^7.1.0\":\n  version \"7.22.0\"\n  \
            dependencies:\n    version \"9\"\n\nlodash@^4:\n  version \"4.17.20\"\n";
        check(yarn_lock(text, "p"), &[("@babel/core", "7.22.0"), ("lodash", "4.17.20")]);
        let text = "__metadata:\n  version: 6\n\n\"semver@npm:^7.3\":\n  version: 7.3.5\n  resolution: \"x\"\n";
        check(yarn_lock(text, "p"), &[("semver", "7.3.5")]);
        let text = "lockfileVersion: '6.0'\n\npackages:\n\n  /lodash@4.17.20:\n    resolution: {}\n\n  \
            /@s/b@1.0.0(react@18.0.0):\n    dev: false\n\n  '@new/x@2.0.0':\n    a: b\n  /old/3.0.0:\n    a: b\nsnapshots:\n  z@1.0.0:\n";
        check(pnpm_lock(text, "p"), &[("lodash", "4.17.20"), ("@s/b", "1.0.0"), ("@new/x", "2.0.0"), ("old", "3.0.0")]);
    }

    #[test]
    fn what_is_not_json_is_not_a_lock_file() {
        assert!(package_lock("{", "p").is_none());
        assert!(package_lock(&"[".repeat(100_000), "p").is_none());
        let deep = format!("{}{}", r#"{"dependencies":{"a":"#.repeat(5_000), "1");
        assert!(package_lock(&deep, "p").is_none());
    }
}
