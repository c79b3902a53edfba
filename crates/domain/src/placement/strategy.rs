//! Placement strategies: each narrows the instances left by the one before to its best.

use std::collections::BTreeMap;

use super::{Instance, Needs};

/// A way to choose among instances that may take a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Strategy {
    /// Any.
    Random,
    /// The value of the field with the fewest tasks of the group.
    Spread(Field),
    /// The instance with the least of the resource left.
    Binpack(Resource),
}

/// What tasks are spread over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Field {
    /// Every instance is its own value.
    Instance,
    /// Instances with the same value of the attribute; those without it are one value of their own.
    Attribute(String),
}

/// What instances are filled by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// CPU units.
    Cpu,
    /// MiB.
    Memory,
}

/// The best of `fitting` (indexes into `instances`) by the strategies.
pub(super) fn narrow(needs: &Needs, instances: &[Instance<'_>], fitting: Vec<usize>) -> Vec<usize> {
    needs.strategies.iter().fold(fitting, |left, strategy| match strategy {
        Strategy::Random => left,
        Strategy::Binpack(Resource::Cpu) => keep_least(left, |index| instances[index].cpu_free),
        Strategy::Binpack(Resource::Memory) => keep_least(left, |index| instances[index].memory_free),
        Strategy::Spread(Field::Instance) => keep_least(left, |index| instances[index].tasks_in_group(&needs.group)),
        Strategy::Spread(Field::Attribute(name)) => spread(left, instances, &needs.group, name),
    })
}

/// Tasks are counted on every instance that has the value, also on full ones: a full zone is not an empty zone.
fn spread(left: Vec<usize>, instances: &[Instance<'_>], group: &str, attribute: &str) -> Vec<usize> {
    let mut tasks: BTreeMap<Option<Option<&str>>, u32> = BTreeMap::new();
    for instance in instances {
        *tasks.entry(instance.attribute(attribute)).or_default() += instance.tasks_in_group(group);
    }
    keep_least(left, |index| tasks.get(&instances[index].attribute(attribute)).copied().unwrap_or(0))
}

fn keep_least(left: Vec<usize>, cost: impl Fn(usize) -> u32) -> Vec<usize> {
    // Each cost once: looking attributes up is most of the work on a large cluster.
    let costs: Vec<u32> = left.iter().map(|&index| cost(index)).collect();
    let least = costs.iter().copied().min();
    left.into_iter().zip(costs).filter(|(_, cost)| Some(*cost) == least).map(|(index, _)| index).collect()
}
