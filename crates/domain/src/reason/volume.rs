//! Why a volume could not be made for a task: an attachment's `statusReason`, and the reason of the task's end.

use std::fmt;

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VolumeFailure {
    /// The disk has too little room.
    NoRoom {
        /// The volume's size.
        gib: u64,
        /// What the disk has left for volumes.
        free_mib: u64,
    },
    /// The machine cannot make file systems of this kind.
    NoProgram(String),
    /// Anything else, as the machine said it.
    Other(String),
}

impl fmt::Display for VolumeFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ECS failed to set up the EBS volume. Encountered ")?;
        match self {
            Self::NoRoom { gib, free_mib } => write!(
                f,
                "InsufficientVolumeCapacity; \"A volume of {gib} GiB does not fit on the machine, which has {free_mib} MiB \
                 left for volumes.\""
            ),
            Self::NoProgram(program) => {
                write!(f, "UnsupportedOperation; \"{program} is not installed on the machine.\"")
            }
            Self::Other(message) => write!(f, "InternalError; \"{message}\""),
        }
    }
}
