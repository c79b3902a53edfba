//! Placement as the reference describes it: for each task look at every instance, then let each strategy narrow what is
//! left. Slow, and the measure of what [`super::place`] must answer.

use std::collections::BTreeMap;

use super::{Field, GroupKey, Instance, Needs, Placement, Random, Resource, Strategy, lacks, rejections};

/// What [`super::place`] answers.
pub(super) fn place(needs: &Needs, instances: &mut [Instance<'_>], count: usize, seed: u64) -> Placement {
    let mut placement = Placement::default();
    let mut random = Random(seed);
    for placed in 0..count {
        let best = best(needs, instances);
        let Some(chosen) = random.below(best.len()).map(|number| best[number]) else {
            placement.unplaced = count - placed;
            placement.rejections = rejections(needs, instances);
            break;
        };
        instances[chosen].take(&needs.resources, &needs.group);
        placement.chosen.push(chosen);
    }
    placement
}

/// The instances that may take the next task and than which none is better, in the order of the input.
pub(super) fn best(needs: &Needs, instances: &[Instance<'_>]) -> Vec<usize> {
    let fitting: Vec<usize> =
        (0..instances.len()).filter(|&index| lacks(needs, &instances[index]).is_empty()).collect();
    narrow(needs, instances, fitting)
}

/// The best of `fitting` (indexes into `instances`) by the strategies.
fn narrow(needs: &Needs, instances: &[Instance<'_>], fitting: Vec<usize>) -> Vec<usize> {
    needs.strategies.iter().fold(fitting, |left, strategy| match strategy {
        Strategy::Random => left,
        Strategy::Binpack(Resource::Cpu) => keep_least(left, |index| instances[index].cpu_free),
        Strategy::Binpack(Resource::Memory) => keep_least(left, |index| instances[index].memory_free),
        Strategy::Spread(Field::Instance) => {
            keep_least(left, |index| instances[index].tasks_in_group(GroupKey::new(&needs.group)))
        }
        Strategy::Spread(Field::Attribute(name)) => spread(left, instances, &needs.group, name),
    })
}

/// Tasks are counted on every instance that has the value, also on full ones: a full zone is not an empty zone.
fn spread(left: Vec<usize>, instances: &[Instance<'_>], group: &str, attribute: &str) -> Vec<usize> {
    let mut tasks: BTreeMap<Option<Option<&str>>, u32> = BTreeMap::new();
    for instance in instances {
        *tasks.entry(instance.attribute(attribute)).or_default() += instance.tasks_in_group(GroupKey::new(group));
    }
    keep_least(left, |index| tasks.get(&instances[index].attribute(attribute)).copied().unwrap_or(0))
}

fn keep_least(left: Vec<usize>, cost: impl Fn(usize) -> u32) -> Vec<usize> {
    // Each cost once: looking attributes up is most of the work on a large cluster.
    let costs: Vec<u32> = left.iter().map(|&index| cost(index)).collect();
    let least = costs.iter().copied().min();
    left.into_iter().zip(costs).filter(|(_, cost)| Some(*cost) == least).map(|(index, _)| index).collect()
}
