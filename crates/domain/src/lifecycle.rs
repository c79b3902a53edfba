//! Lifecycle policies of repositories: the document, and which images it acts on.
//!
//! [`Policy::parse`] checks a document and says what is wrong in the real service's words. A [`Census`] sees every
//! image once and becomes an [`Evaluation`], which then decides image by image: memory grows with 16 bytes and a bit
//! per counting rule for each image, not with what is known of it.
//!
//! What a policy may not know stays outside: that a list needs an image, that a task runs it.

mod document;
mod evaluation;

#[cfg(test)]
mod tests;

use crate::Timestamp;
use crate::wildcard;

pub use document::PolicyError;
pub use evaluation::{Census, Evaluation};

/// Rules of one policy.
pub const RULES_MAX: usize = 50;
/// `*` in one pattern.
pub const WILDCARDS_PER_PATTERN_MAX: usize = 4;
/// Fewest days after which an archived image may expire.
pub const DAYS_ARCHIVED_MIN: u32 = 90;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// A checked policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// In the order of their priorities.
    rules: Vec<Rule>,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Lower is applied first; unique.
    pub priority: i32,
    /// Which tags an image has that the rule looks at.
    pub tags: TagSelection,
    /// Where such an image is kept.
    pub class: StorageClass,
    /// Which of those images it marks.
    pub criterion: Criterion,
    /// What happens to them.
    pub action: Action,
}

/// Selection by tags.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum TagSelection {
    /// Every image.
    Any,
    /// Images without a tag.
    Untagged,
    /// Images that have, for every one of these patterns, a tag that matches it.
    Tagged(Vec<String>),
}

/// Where an image is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StorageClass {
    /// Ready to be pulled.
    Standard,
    /// Archived.
    Archive,
}

/// Which of the selected images a rule marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Criterion {
    /// All but the youngest so many.
    ImageCountMoreThan(u32),
    /// Pushed more than so many days ago.
    SinceImagePushed(u32),
    /// Last pulled, or pushed if never pulled, more than so many days ago.
    SinceImagePulled(u32),
    /// Archived more than so many days ago.
    SinceImageTransitioned(u32),
}

/// What a rule does with the images it marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Deletes them.
    Expire,
    /// Archives them.
    Archive,
}

/// What a rule may know of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image<'a> {
    /// Tells images that were pushed at the same time apart, the same way every time: part of the digest.
    pub tie: u64,
    /// Its tags.
    pub tags: Vec<&'a str>,
    /// When it was pushed.
    pub pushed_at: Timestamp,
    /// When it was last pulled.
    pub pulled_at: Option<Timestamp>,
    /// When it was last archived.
    pub archived_at: Option<Timestamp>,
    /// Where it is kept.
    pub class: StorageClass,
}

/// What a policy does with an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// Of the rule that decided.
    pub priority: i32,
    /// What happens.
    pub action: Action,
}

impl Policy {
    /// The rules, in the order of their priorities.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }
}

impl Rule {
    /// Whether the rule looks at the image.
    pub fn selects(&self, image: &Image<'_>) -> bool {
        self.class == image.class
            && match &self.tags {
                TagSelection::Any => true,
                TagSelection::Untagged => image.tags.is_empty(),
                TagSelection::Tagged(patterns) => {
                    let has = |pattern: &String| image.tags.iter().any(|tag| wildcard::matches(pattern, tag));
                    patterns.iter().all(has)
                }
            }
    }

    /// Whether the rule marks an image by its age; no answer when it counts.
    fn marks_by_age(&self, image: &Image<'_>, now: Timestamp) -> Option<bool> {
        let (since, days) = match self.criterion {
            Criterion::ImageCountMoreThan(_) => return None,
            Criterion::SinceImagePushed(days) => (Some(image.pushed_at), days),
            Criterion::SinceImagePulled(days) => (Some(image.pulled_at.unwrap_or(image.pushed_at)), days),
            Criterion::SinceImageTransitioned(days) => (image.archived_at, days),
        };
        Some(since.is_some_and(|since| now.millis_since(since) > i64::from(days).saturating_mul(DAY_MS)))
    }
}
