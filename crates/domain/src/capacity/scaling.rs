//! Managed scaling: how many instances the group behind a capacity provider should have.
//!
//! Once a minute the number of instances that are needed (`M`) is compared with those that are there (`N`); the metric
//! CapacityProviderReservation is their ratio in percent, and target tracking brings it to the target capacity. A group
//! grows at the first datapoint above the target and shrinks after fifteen below it, by less than half at a time.
//!
//! Groups are names so far: what is needed and the metric are asked for, and what [`decide`] says of a group's size is
//! for whoever starts its machines.

use crate::Timestamp;

/// Datapoints below the target before a group shrinks.
pub const SCALE_IN_DATAPOINTS: usize = 15;

/// What an instance has, or a task needs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Resources {
    /// CPU units.
    pub cpu: u32,
    /// MiB.
    pub memory: u32,
    /// Network interfaces.
    pub interfaces: u32,
    /// Host ports.
    pub ports: u32,
    /// GPUs.
    pub gpus: u32,
}

impl Resources {
    fn each(&self) -> [u32; 5] {
        [self.cpu, self.memory, self.interfaces, self.ports, self.gpus]
    }

    fn fit_into(&self, room: &Self) -> bool {
        self.each().iter().zip(room.each()).all(|(need, has)| *need <= has)
    }

    /// How types are ordered: by CPU, then memory, interfaces, ports and GPUs.
    fn size(&self) -> [u32; 5] {
        self.each()
    }
}

/// Waiting tasks that need the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// What each of them needs.
    pub needs: Resources,
    /// How many.
    pub tasks: u32,
    /// Each on an instance of its own.
    pub distinct: bool,
}

/// A provider's managed scaling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Configuration {
    /// Percent, 1 to 100.
    pub target_capacity: u32,
    /// Of a step out.
    pub step_min: u32,
    /// Of a step out.
    pub step_max: u32,
    /// A new instance takes so long until it counts as warm.
    pub warmup_seconds: u32,
}

/// A group at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Instances that run and are registered.
    pub instances: u32,
    /// Those with at least one task that no daemon started.
    pub busy: u32,
    /// Tasks that wait for an instance.
    pub waiting: Vec<Waiting>,
    /// What the group's instance types have.
    pub types: Vec<Resources>,
}

/// The number of instances that are needed.
pub fn needed(group: &Group, configuration: &Configuration) -> u32 {
    let additional = group.waiting.iter().filter_map(|waiting| additional(waiting, &group.types)).max().unwrap_or(0);
    if additional == 0 {
        return group.busy;
    }
    let step = additional.clamp(configuration.step_min, configuration.step_max.max(configuration.step_min));
    group.instances.saturating_add(step)
}

/// How many instances the tasks need at least; none when they do not fit on the smallest type, for then nobody can say
/// which instance would come.
fn additional(waiting: &Waiting, types: &[Resources]) -> Option<u32> {
    let (smallest, largest) =
        (types.iter().min_by_key(|kind| kind.size())?, types.iter().max_by_key(|kind| kind.size())?);
    if !waiting.needs.fit_into(smallest) || waiting.tasks == 0 {
        return None;
    }
    let bound = |(need, has): (&u32, u32)| match has {
        0 => 0,
        has => (u64::from(*need) * u64::from(waiting.tasks)).div_ceil(u64::from(has)),
    };
    let binpacked = waiting.needs.each().iter().zip(largest.each()).map(bound).max().unwrap_or(0);
    let least = if waiting.distinct { u64::from(waiting.tasks) } else { 1 };
    Some(u32::try_from(binpacked.max(least)).unwrap_or(u32::MAX))
}

/// CapacityProviderReservation: percent of what is there that is needed.
pub fn reservation(instances: u32, needed: u32) -> f64 {
    match (instances, needed) {
        (instances, needed) if instances == needed => 100.0,
        // A cold group first gets two instances.
        (0, _) => 200.0,
        (instances, needed) => 100.0 * f64::from(needed) / f64::from(instances),
    }
}

/// What scaling remembers of a group.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Memory {
    /// Datapoints below the target in a row.
    pub below: usize,
    /// When instances were last asked for.
    pub grown_at: Option<Timestamp>,
}

/// What the next datapoint of a group leads to: the number of instances it should have, within its own bounds, and what
/// to remember.
pub fn decide(
    (instances, metric): (u32, f64),
    (least, most): (u32, u32),
    configuration: &Configuration,
    memory: &Memory,
    now: Timestamp,
) -> (u32, Memory) {
    let target = f64::from(configuration.target_capacity);
    let bounded = |count: u32| count.clamp(least, most.max(least));
    if metric > target {
        let warm = memory
            .grown_at
            .is_none_or(|at| now.millis_since(at) >= i64::from(configuration.warmup_seconds).saturating_mul(1000));
        let wanted = bounded(proportional(instances, metric, target));
        if warm && wanted > instances {
            return (wanted, Memory { below: 0, grown_at: Some(now) });
        }
        return (instances, Memory { below: 0, ..memory.clone() });
    }
    if metric == target {
        return (instances, Memory { below: 0, ..memory.clone() });
    }
    let below = memory.below + 1;
    let memory = Memory { below, ..memory.clone() };
    if below < SCALE_IN_DATAPOINTS {
        return (instances, memory);
    }
    // At least one goes, and fewer than half.
    let half = (instances.saturating_sub(1)) / 2;
    let least_left = instances.saturating_sub(half.max(1));
    let wanted = proportional(instances, metric, target);
    if wanted >= instances {
        return (instances, memory);
    }
    let wanted = wanted.max(least_left);
    (bounded(wanted).min(instances.max(least)), memory)
}

/// `ceil(instances * metric / target)`, computed so that a whole number stays one. An empty group takes the metric for
/// one that has a single instance.
fn proportional(instances: u32, metric: f64, target: f64) -> u32 {
    let wanted = (f64::from(instances.max(1)) * metric / target - 1e-9).ceil();
    // Counts of instances are far below 2^32, and neither factor is negative.
    if wanted >= f64::from(u32::MAX) { u32::MAX } else { wanted.max(0.0) as u32 }
}

#[cfg(test)]
mod tests;
