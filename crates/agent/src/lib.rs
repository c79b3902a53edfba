//! Drives tasks to their desired status on a container instance.
