//! What decisions read of a task definition.
