//! The names of packaging worlds: those of OSV, those of `/etc/os-release`, and the one key both lead to.
//!
//! A key is what advisories are stored under and looked up by: `Debian:12`, `Ubuntu:22.04`, `Alpine:v3.19`,
//! `Red Hat:9`, `SUSE:15.5`, `PyPI`. Where publishers split a release finer than an image can tell (Red Hat's
//! repositories, SUSE's modules), the key is the release.

use crate::version::Scheme;

/// The key of an OSV ecosystem; none for one whose packages the inventory does not read.
pub fn of_osv(name: &str) -> Option<String> {
    let (base, suffix) = name.split_once(':').unwrap_or((name, ""));
    let first = suffix.split(':').next().unwrap_or_default();
    match base {
        "PyPI" | "npm" | "Go" | "crates.io" | "Wolfi" | "Chainguard" => Some(base.to_owned()),
        "Debian" | "Alpine" if !suffix.is_empty() => Some(name.to_owned()),
        // `Ubuntu:22.04:LTS`; `Ubuntu:Pro:16.04:LTS` fixes what only subscribers get.
        "Ubuntu" if first.bytes().next()?.is_ascii_digit() => Some(format!("Ubuntu:{first}")),
        "Rocky Linux" | "AlmaLinux" if !suffix.is_empty() => Some(format!("{base}:{}", major(first))),
        // `Red Hat:enterprise_linux:9::baseos`
        "Red Hat" if first == "enterprise_linux" => {
            let release = suffix.split(':').nth(1).filter(|release| !release.is_empty())?;
            Some(format!("Red Hat:{}", major(release)))
        }
        "openSUSE" => match suffix.split_once(' ') {
            Some(("Leap", release)) => Some(format!("openSUSE:{}", release.split(' ').next()?)),
            _ if suffix.starts_with("Tumbleweed") => Some("openSUSE:Tumbleweed".to_owned()),
            _ => None,
        },
        // `SUSE:Linux Enterprise Module for Basesystem 15 SP5`
        "SUSE" => suse_release(suffix).map(|release| format!("SUSE:{release}")),
        _ => None,
    }
}

fn major(release: &str) -> &str {
    release.split('.').next().unwrap_or(release)
}

/// `… 15 SP5` → `15.5`, `… 15` → `15`; the last number and service pack of the text.
fn suse_release(text: &str) -> Option<String> {
    let words: Vec<&str> = text.split([' ', '-']).collect();
    let at = words.iter().rposition(|word| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit()))?;
    let pack = words.get(at + 1).and_then(|word| word.strip_prefix("SP"));
    Some(match pack {
        Some(pack) => format!("{}.{pack}", words[at]),
        None => words[at].to_owned(),
    })
}

/// How versions of an ecosystem are ordered.
pub fn scheme(key: &str) -> Scheme {
    match key.split_once(':').map_or(key, |(base, _)| base) {
        "Debian" | "Ubuntu" => Scheme::Dpkg,
        "Alpine" | "Wolfi" | "Chainguard" => Scheme::Apk,
        "PyPI" => Scheme::Pep440,
        "npm" | "Go" | "crates.io" => Scheme::Semver,
        _ => Scheme::Rpm,
    }
}

/// The name a package is looked up by. PyPI folds case and `-_.` (PEP 503).
pub fn package_name(key: &str, name: &str) -> String {
    if key != "PyPI" {
        return name.to_owned();
    }
    let mut folded = String::with_capacity(name.len());
    for part in name.split(['-', '_', '.']).filter(|part| !part.is_empty()) {
        if !folded.is_empty() {
            folded.push('-');
        }
        folded.push_str(&part.to_ascii_lowercase());
    }
    folded
}

/// What `/etc/os-release` says.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Distribution {
    /// `ID`: `debian`.
    pub id: String,
    /// `VERSION_ID`: `12`; empty for rolling releases.
    pub version: String,
    /// `VERSION_CODENAME`: `bookworm`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub codename: String,
}

impl Distribution {
    /// Reads an os-release file; none when it names no `ID`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut found = Self::default();
        for line in text.lines() {
            let Some((key, value)) = line.trim().split_once('=') else { continue };
            let value = value.trim().trim_matches(['"', '\'']);
            let value: String = value.chars().take(64).collect();
            match key.trim() {
                "ID" => found.id = value.to_ascii_lowercase(),
                "VERSION_ID" => found.version = value,
                "VERSION_CODENAME" => found.codename = value,
                _ => {}
            }
        }
        (!found.id.is_empty()).then_some(found)
    }

    /// The key under which advisories of its packages are found; none when nobody publishes any in OSV.
    pub fn ecosystem(&self) -> Option<String> {
        let version = self.version.as_str();
        let versioned = |base: &str, release: &str| (!release.is_empty()).then(|| format!("{base}:{release}"));
        match self.id.as_str() {
            "debian" => versioned("Debian", if version.is_empty() { self.debian_release() } else { major(version) }),
            "ubuntu" => versioned("Ubuntu", version),
            // 3.19.1 belongs to v3.19; `edge` has a version with a date and no advisories of its own.
            "alpine" => {
                let mut parts = version.split(['.', '_']);
                let (major, minor) = (parts.next()?, parts.next()?);
                Some(if version.contains('_') { "Alpine:edge".to_owned() } else { format!("Alpine:v{major}.{minor}") })
            }
            "wolfi" => Some("Wolfi".to_owned()),
            "chainguard" => Some("Chainguard".to_owned()),
            "rhel" | "centos" => versioned("Red Hat", major(version)),
            "rocky" => versioned("Rocky Linux", major(version)),
            "almalinux" => versioned("AlmaLinux", major(version)),
            "opensuse-leap" => versioned("openSUSE", version),
            "opensuse-tumbleweed" => Some("openSUSE:Tumbleweed".to_owned()),
            "sles" | "sled" | "sle_hpc" | "sles_sap" => versioned("SUSE", version),
            _ => None,
        }
    }

    /// Testing has a code name before it has a number.
    fn debian_release(&self) -> &'static str {
        match self.codename.as_str() {
            "buster" => "10",
            "bullseye" => "11",
            "bookworm" => "12",
            "trixie" => "13",
            "forky" => "14",
            "duke" => "15",
            _ => "",
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn osv_names_lead_to_keys() {
        for (name, key) in [
            ("Debian:12", Some("Debian:12")),
            ("Debian", None),
            ("Ubuntu:22.04:LTS", Some("Ubuntu:22.04")),
            ("Ubuntu:23.10", Some("Ubuntu:23.10")),
            ("Ubuntu:Pro:16.04:LTS", None),
            ("Alpine:v3.19", Some("Alpine:v3.19")),
            ("Red Hat:enterprise_linux:9::baseos", Some("Red Hat:9")),
            ("Red Hat:rhel_eus:9.2::baseos", None),
            ("Rocky Linux:9", Some("Rocky Linux:9")),
            ("AlmaLinux:8", Some("AlmaLinux:8")),
            ("openSUSE:Leap 15.5", Some("openSUSE:15.5")),
            ("openSUSE:Tumbleweed", Some("openSUSE:Tumbleweed")),
            ("SUSE:Linux Enterprise Module for Basesystem 15 SP5", Some("SUSE:15.5")),
            ("SUSE:Linux Enterprise Server 12 SP5-LTSS", Some("SUSE:12.5")),
            ("PyPI", Some("PyPI")),
            ("crates.io", Some("crates.io")),
            ("Maven", None),
            ("", None),
            ("Ubuntu:", None),
        ] {
            assert_eq!(of_osv(name).as_deref(), key, "{name}");
        }
    }

    #[test]
    fn images_lead_to_the_same_keys() {
        for (text, key) in [
            ("ID=debian\nVERSION_ID=\"12\"\n", Some("Debian:12")),
            ("ID=debian\nVERSION_CODENAME=trixie\n", Some("Debian:13")),
            ("ID=ubuntu\nVERSION_ID=\"22.04\"\n", Some("Ubuntu:22.04")),
            ("ID=alpine\nVERSION_ID=3.19.1\n", Some("Alpine:v3.19")),
            ("ID=alpine\nVERSION_ID=3.21_alpha20240923\n", Some("Alpine:edge")),
            ("ID=\"rhel\"\nVERSION_ID=\"9.3\"", Some("Red Hat:9")),
            ("ID='rocky'\nVERSION_ID='8.9'", Some("Rocky Linux:8")),
            ("ID=\"opensuse-leap\"\nVERSION_ID=\"15.5\"", Some("openSUSE:15.5")),
            ("ID=\"sles\"\nVERSION_ID=\"15.5\"", Some("SUSE:15.5")),
            ("ID=amzn\nVERSION_ID=2023", None),
        ] {
            assert_eq!(Distribution::parse(text).unwrap().ecosystem().as_deref(), key, "{text}");
        }
        assert_eq!(Distribution::parse("NAME=x"), None);
    }

    #[test]
    fn names_of_pypi_are_folded() {
        assert_eq!(package_name("PyPI", "Zope.Interface__x"), "zope-interface-x");
        assert_eq!(package_name("npm", "JSONStream"), "JSONStream");
    }
}
