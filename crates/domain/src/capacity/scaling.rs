//! Managed scaling: how many instances the group behind a capacity provider should have. The metric
//! CapacityProviderReservation is the ratio of the instances that are needed to those that are there, in percent.

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
    /// Of a step out.
    pub step_min: u32,
    /// Of a step out.
    pub step_max: u32,
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

#[cfg(test)]
mod tests;
