//! Advisories in the OSV format (version 1.x): what a record says, reduced to what a scan needs.
//!
//! Ranges of type `GIT` are left out: an image tells versions, not commits. A withdrawn record yields nothing.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ecosystem;
use crate::severity::{Cvss, Severity};
use crate::version::Scheme;

/// Characters of a description that are kept: findings are stored per image.
const DESCRIPTION_CHARS_MAX: usize = 600;
/// Links that are kept.
const REFERENCES_MAX: usize = 10;
/// Longest identifier; longer ones are no identifiers.
const ID_BYTES_MAX: usize = 100;
/// CVE names one advisory may stand for.
const CVES_MAX: usize = 200;

/// Why a record was not taken.
#[derive(Debug, thiserror::Error)]
pub enum OsvError {
    /// Not the JSON of a record.
    #[error("not an OSV record")]
    Json(#[from] serde_json::Error),
    /// An id of unreasonable length, or none.
    #[error("the record has no usable id")]
    Id,
}

/// What an advisory says, apart from which versions it is about.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Advisory {
    /// `GHSA-…`, `DSA-…`, `CVE-…`.
    pub id: String,
    /// The CVE names it stands for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cves: Vec<String>,
    /// Summary and details, shortened.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// What its publisher, and nobody's formula, calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vendor_severity: Option<Severity>,
    /// Its vectors, scored.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cvss: Vec<Cvss>,
    /// RFC 3339.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub published: String,
    /// RFC 3339.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub modified: String,
    /// Links.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<String>,
}

/// The versions of one package that an advisory is about.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Affected {
    /// Any of these is enough.
    #[serde(default, rename = "r", skip_serializing_if = "Vec::is_empty")]
    pub ranges: Vec<Range>,
    /// Versions named one by one which no range has.
    #[serde(default, rename = "v", skip_serializing_if = "Vec::is_empty")]
    pub versions: Vec<String>,
    /// The severity for this package, where it differs.
    #[serde(default, rename = "s", skip_serializing_if = "Option::is_none")]
    pub vendor_severity: Option<Severity>,
    /// Vectors for this package, where they differ.
    #[serde(default, rename = "c", skip_serializing_if = "Vec::is_empty")]
    pub cvss: Vec<Cvss>,
}

/// A line of versions with marks on it, in the order of the versions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// The marks.
    #[serde(rename = "e")]
    pub events: Vec<Event>,
    /// The range ends before the largest of these.
    #[serde(default, rename = "m", skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<String>,
}

/// A mark.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// Affected from here.
    #[serde(rename = "i")]
    Introduced(String),
    /// Not affected from here.
    #[serde(rename = "f")]
    Fixed(String),
    /// Not affected after this one.
    #[serde(rename = "l")]
    LastAffected(String),
}

/// A record, ready to be stored: the advisory, and per ecosystem key and package name what it affects.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// What it says.
    pub advisory: Advisory,
    /// (ecosystem key, package name as looked up) → versions.
    pub affected: BTreeMap<(String, String), Affected>,
}

/// What came of a text that is a record.
#[derive(Debug, Clone, PartialEq)]
pub enum Parsed {
    /// It says something a scan needs.
    Kept(Box<Record>),
    /// It is withdrawn, or about nothing the inventory reads.
    LeftOut {
        /// Its id.
        id: String,
        /// When it was last modified, RFC 3339.
        modified: String,
    },
}

impl Record {
    /// Reads one record.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(json: &[u8]) -> Result<Parsed, OsvError> {
        let wire: wire::Record = serde_json::from_slice(json)?;
        if wire.id.is_empty() || wire.id.len() > ID_BYTES_MAX {
            return Err(OsvError::Id);
        }
        if wire.withdrawn.is_some() {
            return Ok(wire.left_out());
        }
        let mut affected: BTreeMap<(String, String), Affected> = BTreeMap::new();
        for entry in &wire.affected {
            let Some(package) = &entry.package else { continue };
            let Some(key) = ecosystem::of_osv(&package.ecosystem) else { continue };
            let name = ecosystem::package_name(&key, &package.name);
            if name.is_empty() || name.len() > crate::inventory::NAME_BYTES_MAX {
                continue;
            }
            let scheme = ecosystem::scheme(&key);
            let slot = affected.entry((key, name)).or_default();
            slot.add(entry, scheme);
        }
        affected.retain(|_, each| !each.ranges.is_empty() || !each.versions.is_empty());
        if affected.is_empty() {
            return Ok(wire.left_out());
        }
        // These name the CVEs of an update only as related.
        let is_rpm = affected.keys().any(|(key, _)| ecosystem::scheme(key) == Scheme::Rpm);
        Ok(Parsed::Kept(Box::new(Self { advisory: wire.advisory(is_rpm), affected })))
    }
}

impl Affected {
    fn add(&mut self, entry: &wire::Affected, scheme: Scheme) {
        for range in &entry.ranges {
            if range.kind == "GIT" {
                continue;
            }
            let range = range.sorted(scheme);
            if !range.events.is_empty() && !self.ranges.contains(&range) {
                self.ranges.push(range);
            }
        }
        // Publishers repeat by name what a range says already, thousands of times in the largest ecosystems.
        let named = entry
            .versions
            .iter()
            .filter(|version| !version.is_empty() && !self.ranges.iter().any(|range| range.contains(scheme, version)));
        self.versions.extend(named.cloned());
        let urgency = entry.ecosystem_specific.as_ref().and_then(|specific| specific.urgency.as_deref());
        let severity = entry.severity.iter().filter(|each| !each.is_cvss()).find_map(wire::Severity::word);
        self.vendor_severity = self.vendor_severity.or(severity).or_else(|| urgency.and_then(Severity::of_word));
        self.cvss.extend(entry.severity.iter().filter_map(wire::Severity::cvss));
    }

    /// Whether a version is affected.
    pub fn contains(&self, scheme: Scheme, version: &str) -> bool {
        self.versions.iter().any(|named| named == version || scheme.compare(named, version).is_eq())
            || self.ranges.iter().any(|range| range.contains(scheme, version))
    }

    /// The oldest version newer than `version` that is fixed.
    pub fn fixed_in(&self, scheme: Scheme, version: &str) -> Option<&str> {
        let fixed = self.ranges.iter().filter(|range| range.contains(scheme, version)).flat_map(|range| &range.events);
        let newer = fixed.filter_map(|event| match event {
            Event::Fixed(fixed) if scheme.compare(fixed, version).is_gt() => Some(fixed.as_str()),
            _ => None,
        });
        newer.min_by(|left, right| scheme.compare(left, right))
    }
}

impl Range {
    /// OSV's evaluation: walk the marks in order and see what the last one at or before the version says.
    pub fn contains(&self, scheme: Scheme, version: &str) -> bool {
        if !self.limits.is_empty() && !self.limits.iter().any(|limit| limit == "*" || before(scheme, version, limit)) {
            return false;
        }
        let mut affected = false;
        for event in &self.events {
            match event {
                Event::Introduced(mark) if !before(scheme, version, mark) => affected = true,
                Event::Fixed(mark) if !before(scheme, version, mark) => affected = false,
                Event::LastAffected(mark) if scheme.compare(version, mark).is_gt() => affected = false,
                _ => {}
            }
        }
        affected
    }
}

/// `0` stands for the beginning of all versions.
fn before(scheme: Scheme, version: &str, mark: &str) -> bool {
    mark != "0" && scheme.compare(version, mark).is_lt()
}

fn order(scheme: Scheme, left: &Event, right: &Event) -> Ordering {
    let key = |event: &Event| match event {
        Event::Introduced(mark) => (mark.clone(), 0),
        Event::LastAffected(mark) => (mark.clone(), 1),
        Event::Fixed(mark) => (mark.clone(), 2),
    };
    let ((left, left_rank), (right, right_rank)) = (key(left), key(right));
    let marks = match (left == "0", right == "0") {
        (true, true) => Ordering::Equal,
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
        (false, false) => scheme.compare(&left, &right),
    };
    marks.then(left_rank.cmp(&right_rank))
}

/// The parts of the published schema that are read.
mod wire {
    use serde::Deserialize;

    use super::{CVES_MAX, DESCRIPTION_CHARS_MAX, Event, ID_BYTES_MAX, REFERENCES_MAX, Scheme, order};
    use crate::severity::{self, Cvss};

    #[derive(Deserialize)]
    pub(super) struct Record {
        pub(super) id: String,
        #[serde(default)]
        pub(super) withdrawn: Option<String>,
        #[serde(default)]
        aliases: Option<Vec<String>>,
        #[serde(default)]
        upstream: Option<Vec<String>>,
        #[serde(default)]
        related: Option<Vec<String>>,
        #[serde(default)]
        summary: Option<String>,
        #[serde(default)]
        details: Option<String>,
        #[serde(default)]
        published: Option<String>,
        #[serde(default)]
        modified: Option<String>,
        #[serde(default, deserialize_with = "or_default")]
        severity: Vec<Severity>,
        #[serde(default, deserialize_with = "or_default")]
        references: Vec<Reference>,
        #[serde(default, deserialize_with = "or_default")]
        pub(super) affected: Vec<Affected>,
        #[serde(default)]
        database_specific: Option<Specific>,
    }

    #[derive(Deserialize)]
    pub(super) struct Affected {
        #[serde(default)]
        pub(super) package: Option<Package>,
        #[serde(default, deserialize_with = "or_default")]
        pub(super) ranges: Vec<Range>,
        #[serde(default, deserialize_with = "or_default")]
        pub(super) versions: Vec<String>,
        #[serde(default, deserialize_with = "or_default")]
        pub(super) severity: Vec<Severity>,
        #[serde(default)]
        pub(super) ecosystem_specific: Option<Specific>,
    }

    #[derive(Deserialize)]
    pub(super) struct Package {
        pub(super) ecosystem: String,
        pub(super) name: String,
    }

    #[derive(Deserialize)]
    pub(super) struct Range {
        #[serde(rename = "type")]
        pub(super) kind: String,
        #[serde(default)]
        events: Vec<Mark>,
    }

    #[derive(Deserialize)]
    struct Mark {
        introduced: Option<String>,
        fixed: Option<String>,
        last_affected: Option<String>,
        limit: Option<String>,
    }

    #[derive(Deserialize)]
    pub(super) struct Severity {
        #[serde(rename = "type")]
        kind: String,
        #[serde(default)]
        score: String,
    }

    #[derive(Deserialize)]
    struct Reference {
        #[serde(default)]
        url: String,
    }

    /// Free-form objects: members of another type than expected are as good as absent.
    #[derive(Deserialize)]
    pub(super) struct Specific {
        #[serde(default, deserialize_with = "text")]
        pub(super) urgency: Option<String>,
        #[serde(default, deserialize_with = "text")]
        severity: Option<String>,
    }

    fn text<'de, D: serde::Deserializer<'de>>(input: D) -> Result<Option<String>, D::Error> {
        let value = serde_json::Value::deserialize(input)?;
        Ok(value.as_str().map(str::to_owned))
    }

    fn or_default<'de, D: serde::Deserializer<'de>, T: Deserialize<'de>>(input: D) -> Result<Vec<T>, D::Error> {
        Ok(Option::<Vec<T>>::deserialize(input)?.unwrap_or_default())
    }

    impl Range {
        /// The marks in the order of their versions.
        pub(super) fn sorted(&self, scheme: Scheme) -> super::Range {
            let mut range = super::Range::default();
            for mark in &self.events {
                range.events.extend(mark.introduced.clone().map(Event::Introduced));
                range.events.extend(mark.fixed.clone().map(Event::Fixed));
                range.events.extend(mark.last_affected.clone().map(Event::LastAffected));
                range.limits.extend(mark.limit.clone());
            }
            range.events.sort_by(|left, right| order(scheme, left, right));
            range
        }
    }

    impl Severity {
        pub(super) fn is_cvss(&self) -> bool {
            self.kind.starts_with("CVSS_")
        }

        pub(super) fn cvss(&self) -> Option<Cvss> {
            if self.is_cvss() { Cvss::parse(&self.score) } else { None }
        }

        pub(super) fn word(&self) -> Option<severity::Severity> {
            severity::Severity::of_word(&self.score)
        }
    }

    impl Record {
        pub(super) fn left_out(self) -> super::Parsed {
            super::Parsed::LeftOut { modified: time(self.modified), id: self.id }
        }

        pub(super) fn advisory(self, with_related: bool) -> super::Advisory {
            let cves = self.cves(with_related);
            let word = self.severity.iter().filter(|each| !each.is_cvss()).find_map(Severity::word);
            let specific = self.database_specific.as_ref().and_then(|specific| specific.severity.as_deref());
            super::Advisory {
                cves,
                description: shorten(self.summary.as_deref(), self.details.as_deref()),
                vendor_severity: word.or_else(|| specific.and_then(severity::Severity::of_word)),
                cvss: self.severity.iter().filter_map(Severity::cvss).collect(),
                published: time(self.published),
                modified: time(self.modified),
                references: self
                    .references
                    .into_iter()
                    .map(|reference| reference.url)
                    .filter(|url| url.len() <= 500 && (url.starts_with("https://") || url.starts_with("http://")))
                    .take(REFERENCES_MAX)
                    .collect(),
                id: self.id,
            }
        }

        /// Its own id, its aliases, what it was made from; if those name none, what is related.
        fn cves(&self, with_related: bool) -> Vec<String> {
            let is_cve = |id: &&String| id.starts_with("CVE-") && id.len() <= ID_BYTES_MAX;
            let named = std::iter::once(&self.id)
                .chain(self.aliases.iter().flatten())
                .chain(self.upstream.iter().flatten())
                .filter(is_cve);
            let mut cves: Vec<String> = named.cloned().collect();
            if cves.is_empty() && with_related {
                cves = self.related.iter().flatten().filter(is_cve).cloned().collect();
            }
            cves.sort();
            cves.dedup();
            cves.truncate(CVES_MAX);
            cves
        }
    }

    /// A time as it was written; nothing that is longer, or of several lines, is one.
    fn time(text: Option<String>) -> String {
        text.unwrap_or_default().chars().take_while(|one| !one.is_control()).take(40).collect()
    }

    fn shorten(summary: Option<&str>, details: Option<&str>) -> String {
        let (summary, details) = (summary.unwrap_or_default().trim(), details.unwrap_or_default().trim());
        let text = if summary.is_empty() { details } else { summary };
        let mut short: String = text.chars().take(DESCRIPTION_CHARS_MAX).collect();
        if short.len() < text.len() {
            short.push('…');
        }
        short
    }
}

#[cfg(test)]
mod tests;
