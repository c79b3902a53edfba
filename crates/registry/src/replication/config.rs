//! The replication configuration: what goes where. Pure.

use std::collections::{BTreeMap, BTreeSet};

use gantry_domain::arn::Scope;
use serde::{Deserialize, Serialize};

use crate::fault::RegistryError;
use crate::name::RepositoryName;

/// Most rules, as the real service documents it.
pub const RULES_MAX: usize = 10;
/// Most distinct destinations in all rules.
pub const DESTINATIONS_MAX: usize = 25;

/// A registry's replication configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicationRow {
    /// The rules, in the order they were given.
    pub rules: Vec<Rule>,
}

/// One rule.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Where images go.
    pub destinations: Vec<Destination>,
    /// Beginnings of the names of repositories it is for; none: it is for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prefixes: Vec<String>,
    /// `deleteReplication`, when it was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletes: Option<bool>,
}

/// A registry that images are copied to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Destination {
    /// Its region.
    pub region: String,
    /// Its account.
    pub account: String,
}

impl Destination {
    /// The registry.
    pub fn scope(&self) -> Scope {
        Scope::new(&*self.account, &*self.region)
    }

    /// `REGION/ACCOUNT`, the end of a key.
    pub(crate) fn key(&self) -> String {
        format!("{}/{}", self.region, self.account)
    }

    /// The destination at the end of a key.
    pub(crate) fn from_key(text: &str) -> Option<Self> {
        let (region, account) = text.split_once('/')?;
        Some(Self { region: region.to_owned(), account: account.to_owned() })
    }
}

impl ReplicationRow {
    /// Refuses what the model does not know to be wrong.
    ///
    /// # Errors
    /// [`RegistryError::Parameter`] for the source itself as a destination, and beyond the bounds.
    pub fn check(&self, source: &Scope) -> Result<(), RegistryError> {
        let refuse =
            |constraint: String| Err(RegistryError::Parameter { member: "replicationConfiguration", constraint });
        if self.rules.len() > RULES_MAX {
            return refuse(format!("Member must have at most {RULES_MAX} rules"));
        }
        let all: BTreeSet<&Destination> = self.rules.iter().flat_map(|rule| &rule.destinations).collect();
        if all.len() > DESTINATIONS_MAX {
            return refuse(format!("Member must have at most {DESTINATIONS_MAX} unique destinations"));
        }
        if all.iter().any(|destination| destination.scope() == *source) {
            return refuse("Replication destination cannot be the same as the source registry".to_owned());
        }
        Ok(())
    }

    /// Where images of a repository go, and whether deletions go there too.
    pub fn destinations_of(&self, name: &RepositoryName) -> BTreeMap<Destination, bool> {
        let mut destinations = BTreeMap::new();
        for rule in self.rules.iter().filter(|rule| rule.covers(name)) {
            for destination in &rule.destinations {
                *destinations.entry(destination.clone()).or_default() |= rule.deletes.unwrap_or(false);
            }
        }
        destinations
    }

    /// Whether some rule has this destination.
    pub fn has(&self, destination: &Destination) -> bool {
        self.rules.iter().any(|rule| rule.destinations.contains(destination))
    }
}

impl Rule {
    fn covers(&self, name: &RepositoryName) -> bool {
        self.prefixes.is_empty() || self.prefixes.iter().any(|prefix| name.as_str().starts_with(prefix.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(region: &str) -> Destination {
        Destination { region: region.to_owned(), account: "000000000000".to_owned() }
    }

    fn rule(regions: &[&str], prefixes: &[&str], deletes: Option<bool>) -> Rule {
        let destinations = regions.iter().map(|region| to(region)).collect();
        Rule { destinations, prefixes: prefixes.iter().map(|prefix| (*prefix).to_owned()).collect(), deletes }
    }

    #[test]
    fn rules_add_up() {
        let row = ReplicationRow {
            rules: vec![
                rule(&["eu-west-1"], &[], None),
                rule(&["eu-west-1", "eu-north-1"], &["prod"], Some(true)),
                rule(&["ap-east-1"], &["prod/web", "dev/"], Some(false)),
            ],
        };
        let cases: [(&str, &[(&str, bool)]); 4] = [
            ("other", &[("eu-west-1", false)]),
            ("production", &[("eu-north-1", true), ("eu-west-1", true)]),
            ("prod/web/api", &[("ap-east-1", false), ("eu-north-1", true), ("eu-west-1", true)]),
            ("dev/x", &[("ap-east-1", false), ("eu-west-1", false)]),
        ];
        for (name, expected) in cases {
            let Ok(name) = name.parse() else { panic!("parses") };
            let expected: BTreeMap<_, _> = expected.iter().map(|(region, deletes)| (to(region), *deletes)).collect();
            assert_eq!(row.destinations_of(&name), expected, "{name}");
        }
    }

    #[test]
    fn a_registry_is_not_its_own_destination_and_there_are_bounds() {
        let source = Scope::new("000000000000", "us-east-1");
        let regions: Vec<String> = (0..26).map(|number| format!("r-{number}")).collect();
        let regions: Vec<&str> = regions.iter().map(String::as_str).collect();
        let cases = [
            (vec![], true),
            (vec![rule(&["eu-west-1", "us-east-1"], &[], None)], false),
            (vec![rule(&regions[..25], &[], None); 10], true),
            (vec![rule(&regions, &[], None)], false),
            (vec![rule(&["eu-west-1"], &[], None); 11], false),
        ];
        for (rules, allowed) in cases {
            assert_eq!(ReplicationRow { rules: rules.clone() }.check(&source).is_ok(), allowed, "{rules:?}");
        }
        let elsewhere = Destination { region: "us-east-1".to_owned(), account: "111111111111".to_owned() };
        let rules = vec![Rule { destinations: vec![elsewhere], ..Rule::default() }];
        assert!(ReplicationRow { rules }.check(&source).is_ok());
    }
}
