//! Which repositories are scanned how often. Pure.

use gantry_domain::wildcard;
use serde::{Deserialize, Serialize};

use super::rows::ScanningRow;

/// How often the images of a repository are scanned. Later ones win over earlier ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Frequency {
    /// When somebody asks.
    Manual,
    /// When an image comes.
    ScanOnPush,
    /// When an image comes, and whenever new advisories do.
    ContinuousScan,
}

/// What a registry's configuration means for one repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effective {
    /// How often.
    pub frequency: Frequency,
    /// The filters that say so.
    pub filters: Vec<String>,
}

impl ScanningRow {
    /// What applies to a repository.
    pub fn effective(&self, repository: &str) -> Effective {
        let mut effective = Effective { frequency: Frequency::Manual, filters: Vec::new() };
        for rule in &self.rules {
            let matching = rule.filters.iter().filter(|filter| matches(filter, repository));
            let filters: Vec<String> = matching.cloned().collect();
            if !filters.is_empty() && rule.frequency > effective.frequency {
                effective = Effective { frequency: rule.frequency, filters };
            }
        }
        effective
    }

    /// Whether an image that is pushed to a repository is scanned. Under BASIC the repository's own switch counts too.
    pub fn scans_on_push(&self, repository: &str, own_switch: bool) -> bool {
        self.effective(repository).frequency > Frequency::Manual || (!self.enhanced && own_switch)
    }

    /// Why this configuration is refused.
    pub fn check(&self) -> Result<(), String> {
        for (index, rule) in self.rules.iter().enumerate() {
            let allowed = match rule.frequency {
                Frequency::ScanOnPush => true,
                Frequency::ContinuousScan => self.enhanced,
                Frequency::Manual => false,
            };
            let (kind, frequency) = (if self.enhanced { "ENHANCED" } else { "BASIC" }, rule.frequency.as_str());
            if !allowed {
                return Err(format!("scan frequency {frequency} is not supported by scan type {kind}"));
            }
            if self.rules[..index].iter().any(|other| other.frequency == rule.frequency) {
                return Err(format!("there is more than one rule with scan frequency {frequency}"));
            }
        }
        Ok(())
    }
}

impl Frequency {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Manual => "MANUAL",
            Self::ScanOnPush => "SCAN_ON_PUSH",
            Self::ContinuousScan => "CONTINUOUS_SCAN",
        }
    }
}

/// A filter without `*` matches every name that contains it; with one, the whole name must match.
fn matches(filter: &str, name: &str) -> bool {
    if filter.contains('*') { wildcard::matches(filter, name) } else { name.contains(filter) }
}

#[cfg(test)]
mod tests {
    use super::super::rows::ScanningRule;
    use super::*;

    fn rule(frequency: Frequency, filters: &[&str]) -> ScanningRule {
        ScanningRule { frequency, filters: filters.iter().map(|filter| (*filter).to_owned()).collect() }
    }

    fn row(enhanced: bool, rules: &[ScanningRule]) -> ScanningRow {
        ScanningRow { enhanced, rules: rules.to_vec() }
    }

    #[test]
    fn filters_match_as_documented() {
        for (filter, name, expected) in [
            ("prod", "repo-prod-repo", true),
            ("prod*", "repo-prod-repo", false),
            ("*prod*", "repo-prod-repo", true),
            ("*", "anything/at/all", true),
            ("team/*", "team/web", true),
            ("team/*", "my-team/web", false),
            ("a*b*c", "a-b-c", true),
            ("a*b*c", "a-c-b", false),
        ] {
            assert_eq!(matches(filter, name), expected, "{filter} {name}");
        }
    }

    #[test]
    fn the_more_frequent_rule_wins() {
        let row = row(true, &[rule(Frequency::ContinuousScan, &["prod"]), rule(Frequency::ScanOnPush, &["*"])]);
        let effective = |name| row.effective(name);
        assert_eq!(effective("prod-a").frequency, Frequency::ContinuousScan);
        assert_eq!(effective("prod-a").filters, ["prod"]);
        assert_eq!(effective("dev").frequency, Frequency::ScanOnPush);
        assert_eq!(ScanningRow::default().effective("dev").frequency, Frequency::Manual);
    }

    #[test]
    fn the_switch_of_a_repository_counts_under_basic_only() {
        assert!(row(false, &[]).scans_on_push("a", true));
        assert!(!row(false, &[]).scans_on_push("a", false));
        assert!(!row(true, &[]).scans_on_push("a", true));
        assert!(row(true, &[rule(Frequency::ScanOnPush, &["a"])]).scans_on_push("a", false));
    }

    #[test]
    fn configurations_that_make_no_sense_are_refused() {
        assert!(row(false, &[rule(Frequency::ScanOnPush, &["*"])]).check().is_ok());
        assert!(
            row(true, &[rule(Frequency::ScanOnPush, &["*"]), rule(Frequency::ContinuousScan, &[])]).check().is_ok()
        );
        for wrong in [
            row(false, &[rule(Frequency::ContinuousScan, &["*"])]),
            row(true, &[rule(Frequency::Manual, &["*"])]),
            row(true, &[rule(Frequency::ScanOnPush, &["a"]), rule(Frequency::ScanOnPush, &["b"])]),
        ] {
            assert!(wrong.check().is_err(), "{wrong:?}");
        }
    }
}
