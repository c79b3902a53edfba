//! Which images a policy acts on.
//!
//! All rules look at the same picture. An image belongs to the first rule that selects it, whether or not that rule
//! marks it, so no later rule acts on it; but rules count images that belong to others.

use super::{Criterion, Image, Policy, Verdict};
use crate::Timestamp;

/// Orders images from the youngest on: later pushed first.
type Age = (std::cmp::Reverse<i64>, u64);

fn age(image: &Image<'_>) -> Age {
    (std::cmp::Reverse(image.pushed_at.as_millis()), image.tie)
}

/// Sees every image of a repository once, for the rules that count.
#[derive(Debug)]
pub struct Census<'a> {
    policy: &'a Policy,
    ages: Vec<Age>,
    /// For each rule that counts, which images it selects: a bit per image.
    selected: Vec<Option<Vec<u64>>>,
}

impl<'a> Census<'a> {
    /// A census that has seen nothing.
    pub fn new(policy: &'a Policy) -> Self {
        let counts = |rule: &super::Rule| matches!(rule.criterion, Criterion::ImageCountMoreThan(_));
        let selected = policy.rules.iter().map(|rule| counts(rule).then(Vec::new)).collect();
        Self { policy, ages: Vec::new(), selected }
    }

    /// Whether a census is needed: without rules that count, nothing is kept.
    pub fn is_needed(&self) -> bool {
        self.selected.iter().any(Option::is_some)
    }

    /// Counts an image.
    pub fn add(&mut self, image: &Image<'_>) {
        if !self.is_needed() {
            return;
        }
        let (word, bit) = (self.ages.len() / 64, self.ages.len() % 64);
        for (rule, selected) in self.policy.rules.iter().zip(&mut self.selected) {
            let Some(selected) = selected else { continue };
            selected.resize(word + 1, 0);
            if rule.selects(image) {
                selected[word] |= 1 << bit;
            }
        }
        self.ages.push(age(image));
    }

    /// The decisions, as of `now`.
    pub fn finish(self, now: Timestamp) -> Evaluation<'a> {
        let Self { policy, ages, selected } = self;
        let mut order: Vec<u32> = (0..u32::try_from(ages.len()).unwrap_or(u32::MAX)).collect();
        order.sort_unstable_by_key(|index| ages[*index as usize]);
        let youngest_kept = |selected: &Vec<u64>, count: u32| {
            let is_selected = |index: &&u32| selected[**index as usize / 64] >> (**index % 64) & 1 == 1;
            let mut selected = order.iter().filter(is_selected);
            // The last one kept; everything older is marked.
            let last = selected.nth(count.saturating_sub(1) as usize)?;
            Some(ages[*last as usize])
        };
        let kept = policy.rules.iter().zip(&selected).map(|(rule, selected)| match (rule.criterion, selected) {
            (Criterion::ImageCountMoreThan(count), Some(selected)) => youngest_kept(selected, count),
            _ => None,
        });
        Evaluation { policy, oldest_kept: kept.collect(), now }
    }
}

/// Decides image by image.
#[derive(Debug)]
pub struct Evaluation<'a> {
    policy: &'a Policy,
    /// For each rule that counts, the oldest image it keeps; none when it keeps all.
    oldest_kept: Vec<Option<Age>>,
    now: Timestamp,
}

impl Evaluation<'_> {
    /// What happens to an image. One that came after the census is younger than all that were counted, so it is kept
    /// by the rules that count.
    pub fn verdict(&self, image: &Image<'_>) -> Option<Verdict> {
        let (rule, oldest_kept) =
            self.policy.rules.iter().zip(&self.oldest_kept).find(|(rule, _)| rule.selects(image))?;
        let marked = rule
            .marks_by_age(image, self.now)
            .unwrap_or_else(|| oldest_kept.is_some_and(|oldest_kept| age(image) > oldest_kept));
        marked.then_some(Verdict { priority: rule.priority, action: rule.action })
    }
}
