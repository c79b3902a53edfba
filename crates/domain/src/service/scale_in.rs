//! Which of several equal tasks goes when fewer are wanted: the choice that leaves the best state behind.

use std::collections::BTreeMap;

use super::TaskView;
use crate::capacity::strategy::{self, Item};

/// One rule, from one entry of the placement strategy; the rules apply in order, each among the survivors of the one
/// before. Without a strategy a service spreads over zones, then over instances.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScaleInRule {
    /// From the capacity provider that is furthest ahead of its share of this strategy. The first rule, if it is one.
    Provider(Vec<Item>),
    /// From the value that has most tasks.
    Spread,
    /// From the instance that has most left: it is the one nearest to being empty.
    Binpack,
}

/// At most this many tasks are chosen at once: a transaction does not stop more, and the next plan goes on.
const STOP_BATCH_MAX: u32 = 200;

/// Removes up to `count` tasks from `pool` and returns them. `class` orders tasks before any rule does; lower classes
/// go first. Ties: the older task, then the id.
pub(super) fn choose<'a, C: Ord>(
    pool: &mut Vec<&'a TaskView>,
    rules: &[ScaleInRule],
    count: u32,
    class: impl Fn(&TaskView) -> C,
) -> Vec<&'a TaskView> {
    let mut left: Vec<Candidate<'a, C>> = Vec::new();
    let mut tally = Tally::of(pool, rules);
    if count > 0 {
        let unprotected = pool.iter().enumerate().filter(|(_, task)| !task.protected);
        left.extend(unprotected.map(|(index, task)| Candidate { index, class: class(task), task }));
        // Of equals the first goes.
        left.sort_by(|a, b| {
            let key = |one: &Candidate<'a, C>| (one.task.created_at, &one.task.id);
            a.class.cmp(&b.class).then_with(|| key(a).cmp(&key(b)))
        });
    }
    let mut chosen = Vec::new();
    while chosen.len() < count.min(STOP_BATCH_MAX) as usize && !left.is_empty() {
        let of_class = left.partition_point(|one| one.class <= left[0].class);
        let leaves = tally.provider_that_leaves(&left[..of_class]);
        let mut best = 0;
        for position in 1..of_class {
            let (one, other) = (&left[position], &left[best]);
            if tally.weight(leaves, one.index, one.task).gt(tally.weight(leaves, other.index, other.task)) {
                best = position;
            }
        }
        let one = left.remove(best);
        tally.leave(one.index, one.task);
        chosen.push((one.index, one.task));
    }
    let mut index = 0;
    pool.retain(|_| {
        index += 1;
        !chosen.iter().any(|(gone, _)| gone + 1 == index)
    });
    chosen.into_iter().map(|(_, task)| task).collect()
}

struct Candidate<'a, C> {
    /// In the pool.
    index: usize,
    class: C,
    task: &'a TaskView,
}

/// How many tasks of the pool are where, as far as the rules ask.
struct Tally<'r> {
    rules: &'r [ScaleInRule],
    spreads: Vec<Spread>,
    /// Items and tasks of each.
    providers: Option<(&'r [Item], Vec<u32>)>,
}

impl<'r> Tally<'r> {
    fn of(pool: &[&TaskView], rules: &'r [ScaleInRule]) -> Self {
        let spreads = rules.iter().filter(|rule| **rule == ScaleInRule::Spread).count();
        let providers = rules.iter().find_map(|rule| match rule {
            ScaleInRule::Provider(items) => {
                let placed = |item| super::count(pool.iter().filter(|task| task.provider == Some(item)));
                Some((items.as_slice(), (0..items.len()).map(placed).collect()))
            }
            _ => None,
        });
        Self { rules, spreads: (0..spreads).map(|number| Spread::of(pool, number)).collect(), providers }
    }

    /// The item of the strategy that gives up a task, among those with a task that may go.
    fn provider_that_leaves<C>(&self, candidates: &[Candidate<'_, C>]) -> Option<usize> {
        let (items, placed) = self.providers.as_ref()?;
        let open = |item: &usize| candidates.iter().any(|one| one.task.provider == Some(*item));
        let open: Vec<usize> = (0..items.len()).filter(open).collect();
        strategy::leaves(items, placed, &open)
    }

    /// What the rules say of a task, the first one first: more goes sooner.
    fn weight(&self, leaves: Option<usize>, index: usize, task: &TaskView) -> impl Iterator<Item = u64> {
        let mut spreads = self.spreads.iter();
        let (provider, free) = (task.provider, task.instance_free);
        self.rules.iter().map(move |rule| match rule {
            // Tasks that no item of the strategy started have no share: they go first.
            ScaleInRule::Provider(_) if provider.is_none() => 2,
            ScaleInRule::Provider(_) => u64::from(provider == leaves),
            ScaleInRule::Spread => spreads.next().map_or(0, |spread| u64::from(spread.tasks_beside(index))),
            ScaleInRule::Binpack => free,
        })
    }

    fn leave(&mut self, index: usize, task: &TaskView) {
        self.spreads.iter_mut().for_each(|spread| spread.leave(index));
        let placed = self.providers.as_mut().zip(task.provider).and_then(|((_, placed), item)| placed.get_mut(item));
        if let Some(placed) = placed {
            *placed -= 1;
        }
    }
}

/// How many tasks of the pool have each value of a spread.
struct Spread {
    /// The value of each task, as a number.
    values: Vec<usize>,
    tasks: Vec<u32>,
}

impl Spread {
    fn of(pool: &[&TaskView], number: usize) -> Self {
        let (mut known, mut tasks) = (BTreeMap::new(), Vec::new());
        let mut values = Vec::with_capacity(pool.len());
        for task in pool {
            let text = task.spread.get(number).map_or("", String::as_str);
            let value = *known.entry(text).or_insert(tasks.len());
            if value == tasks.len() {
                tasks.push(0);
            }
            tasks[value] += 1;
            values.push(value);
        }
        Self { values, tasks }
    }

    fn tasks_beside(&self, index: usize) -> u32 {
        self.tasks[self.values[index]]
    }

    fn leave(&mut self, index: usize) {
        self.tasks[self.values[index]] -= 1;
    }
}
