//! Placement strategies: each narrows the instances left by the one before to its best.

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
