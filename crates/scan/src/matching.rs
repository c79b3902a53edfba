//! Which advisories speak of the packages of an image.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::database::{Database, DatabaseError};
use crate::ecosystem;
use crate::inventory::{Inventory, Manager, Package};
use crate::osv::{Advisory, Affected};
use crate::severity::{self, Cvss, Severity};

/// A weakness of a package of an image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// The CVE name, or the advisory's id where it has none.
    pub name: String,
    /// The advisory that says so.
    pub advisory: String,
    /// How bad it is.
    pub severity: Severity,
    /// What it says.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Vectors and their scores.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cvss: Vec<Cvss>,
    /// Links.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<String>,
    /// RFC 3339.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub published: String,
    /// RFC 3339.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub modified: String,
    /// Under which key the advisory was found: `Debian:12`.
    pub ecosystem: String,
    /// The package.
    pub package: Package,
    /// The first version without the weakness; none when there is none yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fixed_in: Option<String>,
}

impl Finding {
    /// Findings of an image in this order are sorted: worst first, then by name and package. No two have the same.
    pub fn sort_key(&self) -> String {
        let rank = Severity::ALL.iter().position(|severity| *severity == self.severity).unwrap_or(Severity::ALL.len());
        let Package { manager, name, version, .. } = &self.package;
        format!("{rank}|{}|{name}|{version}|{manager:?}", self.name)
    }
}

/// What a comparison of an inventory with a database comes to.
#[derive(Debug, Clone, PartialEq)]
pub enum Matched {
    /// The database knows the distribution, if the image has one, or at least one of its other ecosystems.
    Findings {
        /// Sorted by [`Finding::sort_key`].
        findings: Vec<Finding>,
        /// Ecosystems of the image of which the database has nothing, with how many packages they have.
        uncovered: BTreeMap<String, usize>,
        /// Whether there were more than [`FINDINGS_MAX`], and the rest was not looked for.
        cut: bool,
    },
    /// The time given was over.
    TimedOut,
    /// The database can say nothing about this image.
    Uncovered {
        /// The ecosystems it would have to have.
        ecosystems: BTreeSet<String>,
    },
    /// The image has nothing that advisories are published for.
    Unsupported {
        /// Its distribution, as it calls itself.
        distribution: String,
    },
}

/// Findings of one image that are kept.
pub const FINDINGS_MAX: usize = 20_000;

/// Compares. Time and memory grow with the packages and findings of the image, not with the database; `expired` is
/// asked for every package.
pub fn find(inventory: &Inventory, database: &Database, expired: &dyn Fn() -> bool) -> Result<Matched, DatabaseError> {
    let distribution = inventory.distribution.as_ref();
    let system = distribution.and_then(|distribution| distribution.ecosystem());
    let has_system_packages = inventory.packages.iter().any(|package| package.manager.is_system());
    let other = inventory.packages.iter().any(|package| !package.manager.is_system());
    if (has_system_packages && system.is_none()) || (system.is_none() && !other) {
        return Ok(Matched::Unsupported {
            distribution: distribution.map(|found| format!("{} {}", found.id, found.version)).unwrap_or_default(),
        });
    }
    let mut packages: BTreeMap<String, Vec<&Package>> = BTreeMap::new();
    for package in &inventory.packages {
        if let Some(key) = key(package.manager, system.as_deref()) {
            packages.entry(key).or_default().push(package);
        }
    }
    if let Some(system) = &system {
        packages.entry(system.clone()).or_default();
    }
    let covers = |key: &String| database.summary().ecosystems.contains_key(key);
    let system_uncovered = system.as_ref().is_some_and(|system| !covers(system));
    if system_uncovered || !packages.keys().any(covers) {
        let ecosystems = packages.into_keys().filter(|key| !covers(key)).collect();
        return Ok(Matched::Uncovered { ecosystems });
    }
    let mut findings = BTreeMap::new();
    let mut uncovered = BTreeMap::new();
    for (key, packages) in packages {
        if !covers(&key) {
            uncovered.insert(key, packages.len());
            continue;
        }
        // Many binary packages come from one source package: its advisories are read once.
        let mut by_name: BTreeMap<String, Vec<&Package>> = BTreeMap::new();
        for package in packages {
            let name = ecosystem::package_name(&key, looked_up(&key, package).0);
            by_name.entry(name).or_default().push(package);
        }
        for (name, packages) in by_name {
            let advisories = database.affected(&key, &name)?;
            for package in packages {
                if expired() {
                    return Ok(Matched::TimedOut);
                }
                find_package(&key, package, &advisories, database, &mut findings)?;
            }
        }
    }
    let cut = findings.len() >= FINDINGS_MAX;
    let mut findings: Vec<Finding> = findings.into_values().collect();
    findings.sort_by_cached_key(Finding::sort_key);
    Ok(Matched::Findings { findings, uncovered, cut })
}

fn key(manager: Manager, system: Option<&str>) -> Option<String> {
    match manager {
        Manager::Dpkg | Manager::Apk | Manager::Rpm => system.map(str::to_owned),
        Manager::Python => Some("PyPI".to_owned()),
        Manager::Npm => Some("npm".to_owned()),
        Manager::Go => Some("Go".to_owned()),
        Manager::Cargo => Some("crates.io".to_owned()),
    }
}

/// Under which names and versions a distribution publishes. Debian, Ubuntu, Alpine and SUSE speak of source packages,
/// Red Hat and its relatives of binary ones.
fn looked_up<'a>(key: &str, package: &'a Package) -> (&'a str, &'a str) {
    let by_source = ["Debian:", "Ubuntu:", "Alpine:", "Wolfi", "Chainguard", "openSUSE:", "SUSE:"];
    match &package.source {
        Some((name, version)) if by_source.iter().any(|prefix| key.starts_with(prefix)) => (name, version),
        _ => (&package.name, &package.version),
    }
}

type Findings = BTreeMap<(String, Manager, String, String), Finding>;

fn find_package(
    key: &str,
    package: &Package,
    advisories: &[(String, Affected)],
    database: &Database,
    findings: &mut Findings,
) -> Result<(), DatabaseError> {
    let (_, version) = looked_up(key, package);
    let scheme = ecosystem::scheme(key);
    for (id, affected) in advisories {
        if findings.len() >= FINDINGS_MAX {
            return Ok(());
        }
        if !affected.contains(scheme, version) {
            continue;
        }
        let fixed_in = affected.fixed_in(scheme, version).map(str::to_owned);
        // Streams of a module live side by side: the fix of one says nothing about a package of none.
        if fixed_in.as_ref().is_some_and(|fixed| fixed.contains(".module") != version.contains(".module")) {
            continue;
        }
        let Some(advisory) = database.advisory(id)? else { continue };
        let names = if advisory.cves.is_empty() { vec![id.clone()] } else { advisory.cves.clone() };
        for name in names {
            let finding = finding(name, key, package, &advisory, affected, fixed_in.clone());
            let slot = (finding.name.clone(), package.manager, package.name.clone(), package.version.clone());
            match findings.get_mut(&slot) {
                None => drop(findings.insert(slot, finding)),
                Some(known) if is_better(&finding, known) => *known = finding,
                Some(_) => {}
            }
        }
    }
    Ok(())
}

/// Several advisories may name one CVE: the one that says most about it counts.
fn is_better(new: &Finding, known: &Finding) -> bool {
    let says = |finding: &Finding| {
        (finding.severity != Severity::Undefined, finding.fixed_in.is_some(), !finding.cvss.is_empty())
    };
    match says(new).cmp(&says(known)) {
        Ordering::Equal => new.advisory < known.advisory,
        order => order.is_gt(),
    }
}

fn finding(
    name: String,
    key: &str,
    package: &Package,
    advisory: &Advisory,
    affected: &Affected,
    fixed_in: Option<String>,
) -> Finding {
    let cvss = if affected.cvss.is_empty() { &advisory.cvss } else { &affected.cvss };
    Finding {
        name,
        advisory: advisory.id.clone(),
        severity: rate(advisory, affected),
        description: advisory.description.clone(),
        cvss: cvss.clone(),
        references: advisory.references.clone(),
        published: advisory.published.clone(),
        modified: advisory.modified.clone(),
        ecosystem: key.to_owned(),
        package: package.clone(),
        fixed_in,
    }
}

/// The distribution's word for its own package; else the score; else the publisher's word.
fn rate(advisory: &Advisory, affected: &Affected) -> Severity {
    let cvss = severity::best(&affected.cvss).or_else(|| severity::best(&advisory.cvss));
    affected
        .vendor_severity
        .or_else(|| cvss.map(|cvss| Severity::of_score(cvss.score)))
        .or(advisory.vendor_severity)
        .unwrap_or(Severity::Undefined)
}

#[cfg(test)]
mod tests;
