//! The GPUs that a container asks for, in a task definition or in an override.

use gantry_api::ecs::{ResourceRequirement, ResourceType};

/// How many are asked for by number.
pub(crate) fn count(requirements: &[ResourceRequirement]) -> u32 {
    let gpu = requirements.iter().find(|requirement| requirement.r#type == Some(ResourceType::Gpu));
    gpu.and_then(|gpu| number(gpu.value.as_deref()?)).map_or(0, u32::from)
}

/// The number that a requirement's value is.
pub(super) fn number(value: &str) -> Option<u16> {
    value.parse().ok().filter(|count| *count > 0)
}

/// What of a requirement cannot be honoured: everything but a number of GPUs that are the container's alone.
pub(crate) fn refused(requirement: &ResourceRequirement) -> Option<String> {
    let what = match &requirement.r#type {
        Some(ResourceType::Gpu) if requirement.sharing_strategy.is_some() => "type 'GPU' with sharingStrategy",
        Some(ResourceType::Gpu) if requirement.value.as_deref() == Some("ALL") => "type 'GPU' value 'ALL'",
        Some(ResourceType::Gpu) => return None,
        other => {
            return Some(format!("resourceRequirements type '{}'", other.as_ref().map_or("", ResourceType::as_str)));
        }
    };
    Some(format!("resourceRequirements {what}"))
}
