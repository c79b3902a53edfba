//! Which EBS volumes can be asked for: sizes, operations and throughput of each type. The sentences are EC2's.

use std::ops::RangeInclusive;

/// The type of a volume that names none.
pub const TYPE_DEFAULT: &str = "gp3";

/// What is asked of a volume.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Asked<'a> {
    /// `gp3` and so on.
    pub volume_type: Option<&'a str>,
    /// GiB.
    pub size: Option<i32>,
    /// Operations a second.
    pub iops: Option<i32>,
    /// MiB a second.
    pub throughput: Option<i32>,
    /// It is for a task on Fargate.
    pub fargate: bool,
}

/// Why there is no such volume.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// There is no such type.
    #[error("Invalid volume type: {0}. Valid types are gp2, gp3, io1, io2, sc1, st1 and standard.")]
    Type(String),
    /// Fargate has no magnetic disks.
    #[error("The volume type standard is not supported for tasks that use the Fargate launch type.")]
    Fargate,
    /// Nothing says how large it is.
    #[error("Either sizeInGiB or snapshotId must be specified.")]
    NoSize,
    /// It is too small for its type.
    #[error("Volume of {size}GiB is too small for volume type {kind}; minimum is {min}GiB.")]
    TooSmall {
        /// What was asked.
        size: i32,
        /// The type.
        kind: &'static str,
        /// The smallest.
        min: i32,
    },
    /// It is too large for its type.
    #[error("Volume of {size}GiB is too large for volume type {kind}; maximum is {max}GiB.")]
    TooLarge {
        /// What was asked.
        size: i32,
        /// The type.
        kind: &'static str,
        /// The largest.
        max: i32,
    },
    /// The type has no such setting.
    #[error("The parameter {parameter} is not supported for {kind} volumes.")]
    NotSupported {
        /// `iops` or `throughput`.
        parameter: &'static str,
        /// The type.
        kind: &'static str,
    },
    /// The type needs it.
    #[error("The parameter iops must be specified for {0} volumes.")]
    NoIops(&'static str),
    /// Too little.
    #[error("Volume {parameter} of {value} is too low; minimum is {min}.")]
    TooLow {
        /// `iops` or `throughput`.
        parameter: &'static str,
        /// What was asked.
        value: i32,
        /// The least.
        min: i32,
    },
    /// Too much.
    #[error("Volume {parameter} of {value} is too high; maximum is {max}.")]
    TooHigh {
        /// `iops` or `throughput`.
        parameter: &'static str,
        /// What was asked.
        value: i32,
        /// The most.
        max: i32,
    },
    /// Too many operations for so small a volume.
    #[error("Iops to volume size ratio of {iops}:{size} is too high; maximum is {max}:1.")]
    IopsRatio {
        /// Operations a second.
        iops: i32,
        /// GiB.
        size: i32,
        /// The most operations for a GiB.
        max: i32,
    },
}

/// What one type can do.
struct Type {
    name: &'static str,
    size: RangeInclusive<i32>,
    /// None for types on which it cannot be set.
    iops: Option<RangeInclusive<i32>>,
    /// Operations for each GiB.
    iops_ratio_max: i32,
    iops_required: bool,
    throughput: Option<RangeInclusive<i32>>,
}

const fn plain(name: &'static str, size: RangeInclusive<i32>) -> Type {
    Type { name, size, iops: None, iops_ratio_max: 0, iops_required: false, throughput: None }
}

const TYPES: [Type; 7] = [
    plain("gp2", 1..=16_384),
    Type { iops: Some(3000..=16_000), iops_ratio_max: 500, throughput: Some(125..=1000), ..plain("gp3", 1..=16_384) },
    Type { iops: Some(100..=64_000), iops_ratio_max: 50, iops_required: true, ..plain("io1", 4..=16_384) },
    Type { iops: Some(100..=256_000), iops_ratio_max: 1000, iops_required: true, ..plain("io2", 4..=16_384) },
    plain("sc1", 125..=16_384),
    plain("st1", 125..=16_384),
    plain("standard", 1..=1024),
];

/// The size of the volume, GiB.
///
/// # Errors
/// There is no such volume.
pub fn check(asked: &Asked<'_>) -> Result<u32, Invalid> {
    let name = asked.volume_type.unwrap_or(TYPE_DEFAULT);
    let kind = TYPES.iter().find(|kind| kind.name == name).ok_or_else(|| Invalid::Type(name.to_owned()))?;
    if asked.fargate && kind.name == "standard" {
        return Err(Invalid::Fargate);
    }
    let size = asked.size.ok_or(Invalid::NoSize)?;
    let (min, max) = (*kind.size.start(), *kind.size.end());
    if size < min {
        return Err(Invalid::TooSmall { size, kind: kind.name, min });
    }
    if size > max {
        return Err(Invalid::TooLarge { size, kind: kind.name, max });
    }
    match asked.iops {
        None if kind.iops_required => return Err(Invalid::NoIops(kind.name)),
        None => {}
        Some(iops) => {
            within("iops", iops, kind.iops.as_ref(), kind.name)?;
            // The least that a type has is more than so many for a GiB on the smallest volumes.
            let least = kind.iops.as_ref().map_or(0, |range| *range.start());
            if iops > least && i64::from(iops) > i64::from(size) * i64::from(kind.iops_ratio_max) {
                return Err(Invalid::IopsRatio { iops, size, max: kind.iops_ratio_max });
            }
        }
    }
    if let Some(throughput) = asked.throughput {
        within("throughput", throughput, kind.throughput.as_ref(), kind.name)?;
    }
    // At least 1 by the type's range.
    u32::try_from(size).map_err(|_| Invalid::NoSize)
}

fn within(
    parameter: &'static str,
    value: i32,
    range: Option<&RangeInclusive<i32>>,
    kind: &'static str,
) -> Result<(), Invalid> {
    let range = range.ok_or(Invalid::NotSupported { parameter, kind })?;
    match value {
        value if value < *range.start() => Err(Invalid::TooLow { parameter, value, min: *range.start() }),
        value if value > *range.end() => Err(Invalid::TooHigh { parameter, value, max: *range.end() }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn asked(volume_type: &str, size: i32) -> Asked<'_> {
        Asked { volume_type: Some(volume_type), size: Some(size), ..Asked::default() }
    }

    #[test]
    fn every_type_has_its_sizes() {
        for (kind, min, max) in [
            ("gp2", 1, 16_384),
            ("gp3", 1, 16_384),
            ("io1", 4, 16_384),
            ("io2", 4, 16_384),
            ("sc1", 125, 16_384),
            ("st1", 125, 16_384),
            ("standard", 1, 1024),
        ] {
            let iops = kind.starts_with("io").then_some(100);
            let check = |size| check(&Asked { iops, ..asked(kind, size) });
            assert_eq!(check(min), Ok(min.unsigned_abs()), "{kind}");
            assert_eq!(check(max), Ok(max.unsigned_abs()), "{kind}");
            assert_eq!(check(min - 1), Err(Invalid::TooSmall { size: min - 1, kind, min }));
            assert_eq!(check(max + 1), Err(Invalid::TooLarge { size: max + 1, kind, max }));
        }
        assert_eq!(check(&Asked { size: Some(7), ..Asked::default() }), Ok(7));
        assert_eq!(check(&Asked::default()), Err(Invalid::NoSize));
        assert_eq!(check(&asked("gp9", 1)), Err(Invalid::Type("gp9".to_owned())));
        assert_eq!(check(&Asked { fargate: true, ..asked("standard", 1) }), Err(Invalid::Fargate));
    }

    #[test]
    fn operations_and_throughput_are_for_the_types_that_have_them() {
        let with = |kind, size, iops, throughput| check(&Asked { iops, throughput, ..asked(kind, size) });
        assert_eq!(with("gp3", 1, Some(3000), Some(125)), Ok(1));
        assert_eq!(with("gp3", 100, Some(16_000), Some(1000)), Ok(100));
        assert_eq!(with("io2", 256, Some(256_000), None), Ok(256));
        for (kind, size, iops, throughput, sentence) in [
            ("gp2", 1, Some(3000), None, "The parameter iops is not supported for gp2 volumes."),
            ("st1", 125, None, Some(125), "The parameter throughput is not supported for st1 volumes."),
            ("io1", 4, None, None, "The parameter iops must be specified for io1 volumes."),
            ("gp3", 1, Some(2999), None, "Volume iops of 2999 is too low; minimum is 3000."),
            ("gp3", 100, Some(16_001), None, "Volume iops of 16001 is too high; maximum is 16000."),
            ("gp3", 1, None, Some(1001), "Volume throughput of 1001 is too high; maximum is 1000."),
            ("io1", 4, Some(201), None, "Iops to volume size ratio of 201:4 is too high; maximum is 50:1."),
        ] {
            assert_eq!(with(kind, size, iops, throughput).unwrap_err().to_string(), sentence);
        }
    }
}
