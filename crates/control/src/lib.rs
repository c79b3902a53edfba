//! The ECS control plane.
