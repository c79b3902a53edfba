//! Which of several equal tasks goes when fewer are wanted: the choice that leaves the best state behind.

use std::collections::BTreeMap;

use super::TaskView;
use crate::capacity::strategy::{self, Item};

/// One rule, from one entry of the placement strategy; the rules apply in order, each among the survivors of the one
/// before. Without a strategy a service spreads over zones, then over instances.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScaleInRule {
    /// From the capacity provider that is furthest ahead of its share of this strategy.
    Provider(Vec<Item>),
    /// From the value that has most tasks.
    Spread,
    /// From the instance that has most left: it is the one nearest to being empty.
    Binpack,
}

/// Removes up to `count` tasks from `pool` and returns them. `class` orders tasks before any rule does; lower classes
/// go first. Ties: the older task, then the id.
pub(super) fn choose<'a, C: Ord>(
    pool: &mut Vec<&'a TaskView>,
    rules: &[ScaleInRule],
    count: u32,
    class: impl Fn(&TaskView) -> C,
) -> Vec<&'a TaskView> {
    let mut chosen = Vec::new();
    while chosen.len() < count as usize {
        let candidates: Vec<usize> = (0..pool.len()).filter(|&index| !pool[index].protected).collect();
        let Some(lowest) = candidates.iter().map(|&index| class(pool[index])).min() else { break };
        let mut candidates: Vec<usize> = candidates.into_iter().filter(|&index| class(pool[index]) == lowest).collect();
        let mut spread_index = 0;
        for rule in rules {
            candidates = match rule {
                ScaleInRule::Spread => {
                    spread_index += 1;
                    fullest(pool, &candidates, spread_index - 1)
                }
                ScaleInRule::Provider(items) => furthest_ahead(pool, &candidates, items),
                ScaleInRule::Binpack => most_free(pool, &candidates),
            };
        }
        let oldest = candidates.into_iter().min_by_key(|&index| (pool[index].created_at, &pool[index].id));
        let Some(oldest) = oldest else { break };
        chosen.push(pool.remove(oldest));
    }
    chosen
}

fn fullest(pool: &[&TaskView], candidates: &[usize], spread_index: usize) -> Vec<usize> {
    let value = |index: usize| pool[index].spread.get(spread_index).map_or("", String::as_str);
    let mut tasks: BTreeMap<&str, usize> = BTreeMap::new();
    for index in 0..pool.len() {
        *tasks.entry(value(index)).or_default() += 1;
    }
    let most = candidates.iter().map(|&index| tasks[value(index)]).max();
    candidates.iter().copied().filter(|&index| Some(tasks[value(index)]) == most).collect()
}

fn furthest_ahead(pool: &[&TaskView], candidates: &[usize], items: &[Item]) -> Vec<usize> {
    let placed = |index: usize| super::count(pool.iter().filter(|task| task.provider == Some(index)));
    let placed: Vec<u32> = (0..items.len()).map(placed).collect();
    let open = |index: &usize| candidates.iter().any(|&candidate| pool[candidate].provider == Some(*index));
    let open: Vec<usize> = (0..items.len()).filter(open).collect();
    // Tasks that no item of the strategy started have no share: they go first.
    let strangers: Vec<usize> = candidates.iter().copied().filter(|&index| pool[index].provider.is_none()).collect();
    if !strangers.is_empty() {
        return strangers;
    }
    let leaves = strategy::leaves(items, &placed, &open);
    candidates.iter().copied().filter(|&index| leaves.is_none() || pool[index].provider == leaves).collect()
}

fn most_free(pool: &[&TaskView], candidates: &[usize]) -> Vec<usize> {
    let most = candidates.iter().map(|&index| pool[index].instance_free).max();
    candidates.iter().copied().filter(|&index| Some(pool[index].instance_free) == most).collect()
}
