//! A capacity provider strategy: how the tasks of a request, or of a deployment, are shared among providers.
//!
//! The base comes first; what is above it is shared by weight, each task going where the share is furthest behind, and
//! leaving from where it is furthest ahead. There is no fail-over: a provider without room does not hand its tasks on.

/// One item of a strategy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Item {
    /// So many tasks first. At most one item has one.
    pub base: u32,
    /// Share of the tasks above the base.
    pub weight: u32,
}

/// Why a strategy cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// More than one item has a base.
    #[error("more than one item has a base")]
    Bases,
    /// There are several items and none has a weight.
    #[error("no item has a weight")]
    Weights,
}

/// Whether tasks can be shared by this strategy.
///
/// # Errors
/// [`Invalid`].
pub fn check(items: &[Item]) -> Result<(), Invalid> {
    if items.iter().filter(|item| item.base > 0).count() > 1 {
        return Err(Invalid::Bases);
    }
    if items.len() > 1 && items.iter().all(|item| item.weight == 0) {
        return Err(Invalid::Weights);
    }
    Ok(())
}

/// The item that gets the next task, when each has `placed` tasks already.
pub fn next(items: &[Item], placed: &[u32]) -> Option<usize> {
    let below_base = (0..items.len()).find(|&index| placed_at(placed, index) < items[index].base);
    if below_base.is_some() {
        return below_base;
    }
    // A single item takes everything, whatever its weight.
    if let [_] = items {
        return Some(0);
    }
    let shares = Shares::of(items, placed);
    let open = (0..items.len()).filter(|&index| items[index].weight > 0);
    // The furthest behind; the earlier one of equals.
    open.max_by_key(|&index| (shares.behind(index, shares.sum + 1), std::cmp::Reverse(index)))
}

/// Shares `count` more tasks; the item of each, in turn. Shorter when no item may take more.
pub fn share(items: &[Item], placed: &[u32], count: usize) -> Vec<usize> {
    let mut placed: Vec<u32> = (0..items.len()).map(|index| placed_at(placed, index)).collect();
    let mut chosen = Vec::with_capacity(count);
    while chosen.len() < count {
        let Some(index) = next(items, &placed) else { break };
        placed[index] += 1;
        chosen.push(index);
    }
    chosen
}

/// Among `open`, the item that gives up a task when one is too many: the furthest ahead of its share. The base stays
/// while another item has tasks above its own.
pub fn leaves(items: &[Item], placed: &[u32], open: &[usize]) -> Option<usize> {
    let shares = Shares::of(items, placed);
    let open: Vec<usize> =
        open.iter().copied().filter(|&index| index < items.len() && placed_at(placed, index) > 0).collect();
    let above_base = open.iter().copied().filter(|&index| shares.counted[index] > 0);
    // The furthest ahead; the later one of equals, so that tasks leave in the reverse order of their coming.
    let ahead = above_base.min_by_key(|&index| (shares.behind(index, shares.sum - 1), std::cmp::Reverse(index)));
    ahead.or_else(|| open.last().copied())
}

fn placed_at(placed: &[u32], index: usize) -> u32 {
    placed.get(index).copied().unwrap_or(0)
}

/// What is above the bases.
struct Shares<'a> {
    items: &'a [Item],
    counted: Vec<i64>,
    sum: i64,
    weights: i64,
}

impl<'a> Shares<'a> {
    fn of(items: &'a [Item], placed: &[u32]) -> Self {
        let above = |(index, item): (usize, &Item)| i64::from(placed_at(placed, index).saturating_sub(item.base));
        let counted: Vec<i64> = items.iter().enumerate().map(above).collect();
        let sum = counted.iter().sum();
        Self { items, counted, sum, weights: items.iter().map(|item| i64::from(item.weight)).sum() }
    }

    /// How far an item is behind its share of `total` tasks, times the sum of the weights.
    fn behind(&self, index: usize, total: i64) -> i64 {
        i64::from(self.items[index].weight) * total - self.counted[index] * self.weights
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Base and weight of each item.
    type Given = &'static [(u32, u32)];
    /// How many tasks each item has, or which items may give one up.
    type Counts = &'static [u32];
    type Open = &'static [usize];

    fn items(items: &[(u32, u32)]) -> Vec<Item> {
        items.iter().map(|&(base, weight)| Item { base, weight }).collect()
    }

    fn shared(given: &[(u32, u32)], placed: &[u32], count: usize) -> String {
        share(&items(given), placed, count).into_iter().map(|index| char::from(b'A' + index as u8)).collect()
    }

    #[test]
    fn tasks_are_shared_by_base_and_weight() {
        let table: [(Given, Counts, usize, &str); 11] = [
            (&[(0, 1)], &[], 3, "AAA"),
            (&[(0, 1), (0, 1)], &[], 4, "ABAB"),
            (&[(0, 1), (0, 1)], &[], 3, "ABA"),
            (&[(2, 0), (0, 1)], &[], 5, "AABBB"),
            (&[(2, 1), (0, 3)], &[], 10, "AABABBBABB"),
            // The base may stand anywhere.
            (&[(0, 1), (1, 0)], &[], 3, "BAA"),
            (&[(9, 1)], &[], 2, "AA"),
            // A single item needs no weight, and one with a base and no weight has only its base beside others.
            (&[(0, 0)], &[], 2, "AA"),
            (&[(1, 0), (0, 2)], &[1, 0], 2, "BB"),
            // What is there counts.
            (&[(0, 1), (0, 1)], &[3, 1], 3, "BBA"),
            (&[], &[], 2, ""),
        ];
        for (given, placed, count, expected) in table {
            assert_eq!(shared(given, placed, count), expected, "{given:?} with {placed:?}");
        }
    }

    #[test]
    fn a_base_of_two_and_weights_one_to_three_put_four_and_six_of_ten_tasks() {
        let all = share(&items(&[(2, 1), (0, 3)]), &[], 10);
        assert_eq!([0, 1].map(|index| all.iter().filter(|&&chosen| chosen == index).count()), [4, 6]);
    }

    #[test]
    fn weights_are_kept_exactly_at_every_multiple_of_their_sum() {
        for weights in [[1, 1, 1], [1, 2, 5], [7, 0, 3]] {
            let given = items(&weights.map(|weight| (0, weight)));
            let sum: u32 = weights.iter().sum();
            let all = share(&given, &[], 3 * sum as usize);
            for (index, weight) in weights.iter().enumerate() {
                assert_eq!(all.iter().filter(|&&chosen| chosen == index).count(), 3 * *weight as usize, "{weights:?}");
            }
        }
    }

    #[test]
    fn tasks_leave_from_where_there_are_too_many_and_the_base_last() {
        let table: [(Given, Counts, Open, Option<usize>); 7] = [
            (&[(2, 1), (0, 3)], &[4, 6], &[0, 1], Some(1)),
            (&[(2, 1), (0, 3)], &[4, 5], &[0, 1], Some(1)),
            (&[(0, 1), (0, 1)], &[3, 1], &[0, 1], Some(0)),
            // The base stays while the other has tasks.
            (&[(2, 1), (0, 3)], &[2, 1], &[0, 1], Some(1)),
            (&[(2, 1), (0, 3)], &[2, 0], &[0, 1], Some(0)),
            // Where all others are protected, the base goes after all.
            (&[(2, 1), (0, 3)], &[2, 1], &[0], Some(0)),
            (&[(0, 1)], &[0], &[0], None),
        ];
        for (given, placed, open, expected) in table {
            assert_eq!(leaves(&items(given), placed, open), expected, "{given:?} with {placed:?}");
        }
    }

    #[test]
    fn going_out_and_in_again_ends_where_it_began() {
        let given = items(&[(2, 1), (0, 3), (0, 2)]);
        let mut placed = [0_u32; 3];
        let mut history = vec![placed];
        for _ in 0..40 {
            placed[next(&given, &placed).unwrap_or_default()] += 1;
            history.push(placed);
        }
        while let Some(before) = history.pop() {
            assert_eq!(placed.iter().sum::<u32>(), before.iter().sum::<u32>());
            assert!(placed.iter().zip(&before).all(|(a, b)| a.abs_diff(*b) <= 1), "{placed:?} and {before:?}");
            let Some(index) = leaves(&given, &placed, &[0, 1, 2]) else { break };
            placed[index] -= 1;
        }
        assert_eq!(placed, [0; 3]);
    }

    #[test]
    fn what_cannot_be_shared_is_told() {
        assert_eq!(check(&items(&[(1, 1), (1, 1)])), Err(Invalid::Bases));
        assert_eq!(check(&items(&[(1, 0), (0, 0)])), Err(Invalid::Weights));
        assert_eq!(check(&items(&[(0, 0)])), Ok(()));
        assert_eq!(check(&items(&[(1, 0), (0, 1)])), Ok(()));
    }
}
