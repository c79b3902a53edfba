//! Use and reservation of instances, for CPUReservation and MemoryReservation and for whoever looks.

use gantry_domain::arn::{Name, Scope};

use crate::view::{EcsView, Host};

/// What an instance has, has given away, and what is used of it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct InstanceUse {
    /// CPU units.
    pub cpu: u32,
    /// CPU units taken by tasks.
    pub cpu_reserved: u32,
    /// MiB.
    pub memory: u32,
    /// MiB taken by tasks.
    pub memory_reserved: u32,
}

impl InstanceUse {
    /// Of one host.
    pub fn of(host: &Host) -> Option<Self> {
        let row = host.row.as_ref().filter(|row| row.is_registered())?;
        Some(Self {
            cpu: row.resources.cpu,
            cpu_reserved: host.cpu_reserved(),
            memory: row.resources.memory,
            memory_reserved: host.memory_reserved(),
        })
    }

    /// CPUReservation and MemoryReservation, percent; none of an instance that has nothing.
    pub fn percent(&self) -> (Option<f64>, Option<f64>) {
        let percent = |reserved: u32, all: u32| (all > 0).then(|| 100.0 * f64::from(reserved) / f64::from(all));
        (percent(self.cpu_reserved, self.cpu), percent(self.memory_reserved, self.memory))
    }
}

/// CPUReservation and MemoryReservation of a cluster, percent, over its ACTIVE and DRAINING instances.
pub fn reservations(view: &EcsView, scope: &Scope, cluster: &Name) -> (Option<f64>, Option<f64>) {
    let all = view.hosts_of_cluster(scope, cluster).filter_map(|(_, host)| InstanceUse::of(host));
    let sum = all.fold(InstanceUse::default(), |sum, one| InstanceUse {
        cpu: sum.cpu.saturating_add(one.cpu),
        cpu_reserved: sum.cpu_reserved.saturating_add(one.cpu_reserved),
        memory: sum.memory.saturating_add(one.memory),
        memory_reserved: sum.memory_reserved.saturating_add(one.memory_reserved),
    });
    sum.percent()
}
