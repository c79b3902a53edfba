//! Limits as the kernel wants them written: plain functions from our units to (file, value) pairs.

use super::{
    super::{Limits, TaskLimits},
    Version,
};

/// Scheduling period of hard CPU limits, microseconds. Docker's and the kernel's default.
pub(in crate::container) const CPU_PERIOD_US: u64 = 100_000;

/// CPU units of one vCPU.
const UNITS_PER_VCPU: u64 = 1024;

/// The kernel refuses quotas below 1 ms.
const CPU_QUOTA_MIN_US: u64 = 1000;

/// Smallest and largest `cpu.shares` that the kernel accepts.
const CPU_SHARES: std::ops::RangeInclusive<u64> = 2..=262_144;

/// One value to write into a cgroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::container) struct Setting {
    pub(super) file: &'static str,
    pub(super) value: String,
    /// Whether the limit is void without it. Swap accounting is not: many kernels have it off.
    pub(super) required: bool,
}

impl Setting {
    fn required(file: &'static str, value: impl ToString) -> Self {
        Self { file, value: value.to_string(), required: true }
    }

    fn optional(file: &'static str, value: impl ToString) -> Self {
        Self { file, value: value.to_string(), required: false }
    }

    /// Older kernels count a child's memory against its parent's limit only where this is set.
    pub(super) fn hierarchical_memory() -> Self {
        Self::optional("memory.use_hierarchy", 1)
    }

    pub(super) fn controller(&self) -> &str {
        self.file.split('.').next().unwrap_or_default()
    }
}

/// Of the cgroup above a task's containers.
pub(in crate::container) fn task_settings(version: Version, limits: &TaskLimits) -> Vec<Setting> {
    container_settings(
        version,
        &Limits {
            cpu_quota_units: limits.cpu_units,
            memory_bytes: limits.memory_bytes,
            // A task's limit is on memory alone; what its containers may swap is said on them.
            memory_swap_bytes: limits.memory_bytes.map(|_| u64::MAX),
            pids: limits.pids,
            ..Limits::default()
        },
    )
}

/// Of a container's cgroup.
pub(in crate::container) fn container_settings(version: Version, limits: &Limits) -> Vec<Setting> {
    let mut settings = Vec::new();
    if let Some(units) = limits.cpu_quota_units {
        let quota = quota_us(units);
        match version {
            Version::V1 => {
                settings.push(Setting::required("cpu.cfs_period_us", CPU_PERIOD_US));
                settings.push(Setting::required("cpu.cfs_quota_us", quota));
            }
            Version::V2 => settings.push(Setting::required("cpu.max", format!("{quota} {CPU_PERIOD_US}"))),
        }
    }
    if let Some(shares) = limits.cpu_shares {
        let shares = clamp_shares(shares);
        settings.push(match version {
            Version::V1 => Setting::required("cpu.shares", shares),
            Version::V2 => Setting::required("cpu.weight", weight_of_shares(shares)),
        });
    }
    memory_settings(version, limits, &mut settings);
    if let Some(pids) = limits.pids {
        settings.push(Setting::required("pids.max", pids));
    }
    settings
}

fn memory_settings(version: Version, limits: &Limits, settings: &mut Vec<Setting>) {
    if let Some(bytes) = limits.memory_bytes {
        // Memory and swap together; a caller that names no sum gets as much swap as memory, as Docker does.
        let with_swap = limits.memory_swap_bytes.unwrap_or(bytes.saturating_mul(2));
        match version {
            Version::V1 => {
                // Lowering the memory limit of a cgroup that is started again must not stumble over the old sum.
                settings.push(Setting::optional("memory.memsw.limit_in_bytes", "-1"));
                settings.push(Setting::required("memory.limit_in_bytes", bytes));
                if with_swap != u64::MAX {
                    settings.push(Setting::optional("memory.memsw.limit_in_bytes", with_swap.max(bytes)));
                }
            }
            Version::V2 => {
                settings.push(Setting::required("memory.max", bytes));
                let swap = if with_swap == u64::MAX {
                    "max".to_owned()
                } else {
                    (with_swap.saturating_sub(bytes)).to_string()
                };
                settings.push(Setting::optional("memory.swap.max", swap));
            }
        }
    }
    if let Some(bytes) = limits.memory_reservation_bytes {
        settings.push(match version {
            Version::V1 => Setting::required("memory.soft_limit_in_bytes", bytes),
            Version::V2 => Setting::required("memory.low", bytes),
        });
    }
    if let (Version::V1, Some(swappiness)) = (version, limits.swappiness) {
        settings.push(Setting::optional("memory.swappiness", swappiness.min(100)));
    }
}

/// Microseconds of each period.
pub(in crate::container) fn quota_us(units: u64) -> u64 {
    (units.saturating_mul(CPU_PERIOD_US) / UNITS_PER_VCPU).max(CPU_QUOTA_MIN_US)
}

pub(in crate::container) fn clamp_shares(shares: u64) -> u64 {
    shares.clamp(*CPU_SHARES.start(), *CPU_SHARES.end())
}

/// The OCI runtimes' conversion of version 1 shares to a version 2 weight.
fn weight_of_shares(shares: u64) -> u64 {
    1 + (shares.saturating_sub(2) * 9999) / 262_142
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(settings: &[Setting]) -> Vec<String> {
        settings.iter().map(|setting| format!("{}={}", setting.file, setting.value)).collect()
    }

    #[test]
    fn shares_become_weights_as_in_other_runtimes() {
        for (shares, weight) in [(2, 1), (256, 10), (1024, 39), (262_144, 10_000), (0, 1)] {
            assert_eq!(weight_of_shares(shares), weight, "{shares}");
        }
    }

    #[test]
    fn a_full_set_of_container_limits() {
        let limits = Limits {
            cpu_shares: Some(1024),
            cpu_quota_units: Some(512),
            memory_bytes: Some(64 << 20),
            memory_reservation_bytes: Some(32 << 20),
            memory_swap_bytes: None,
            swappiness: Some(10),
            pids: Some(50),
        };
        assert_eq!(
            lines(&container_settings(Version::V1, &limits)),
            [
                "cpu.cfs_period_us=100000",
                "cpu.cfs_quota_us=50000",
                "cpu.shares=1024",
                "memory.memsw.limit_in_bytes=-1",
                "memory.limit_in_bytes=67108864",
                "memory.memsw.limit_in_bytes=134217728",
                "memory.soft_limit_in_bytes=33554432",
                "memory.swappiness=10",
                "pids.max=50",
            ]
        );
        assert_eq!(
            lines(&container_settings(Version::V2, &limits)),
            [
                "cpu.max=50000 100000",
                "cpu.weight=39",
                "memory.max=67108864",
                "memory.swap.max=67108864",
                "memory.low=33554432",
                "pids.max=50",
            ]
        );
    }

    #[test]
    fn no_swap_means_the_sum_is_the_memory() {
        let limits = Limits { memory_bytes: Some(1 << 20), memory_swap_bytes: Some(1 << 20), ..Limits::default() };
        assert!(
            lines(&container_settings(Version::V1, &limits)).contains(&"memory.memsw.limit_in_bytes=1048576".into())
        );
        assert!(lines(&container_settings(Version::V2, &limits)).contains(&"memory.swap.max=0".into()));
    }

    #[test]
    fn odd_values_are_brought_into_the_kernels_range() {
        let limits = Limits { cpu_shares: Some(0), cpu_quota_units: Some(1), ..Limits::default() };
        assert_eq!(
            lines(&container_settings(Version::V1, &limits)),
            ["cpu.cfs_period_us=100000", "cpu.cfs_quota_us=1000", "cpu.shares=2"]
        );
    }

    #[test]
    fn a_task_without_limits_sets_nothing() {
        assert!(task_settings(Version::V1, &TaskLimits::default()).is_empty());
        assert!(task_settings(Version::V2, &TaskLimits::default()).is_empty());
    }

    #[test]
    fn a_task_limits_memory_not_swap() {
        let limits = TaskLimits { cpu_units: Some(2048), memory_bytes: Some(1 << 30), pids: None };
        assert_eq!(
            lines(&task_settings(Version::V2, &limits)),
            ["cpu.max=200000 100000", "memory.max=1073741824", "memory.swap.max=max"]
        );
    }
}
