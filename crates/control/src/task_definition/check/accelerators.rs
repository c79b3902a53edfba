//! GPUs and other accelerators.

use gantry_api::ecs::{ResourceRequirement, ResourceType};

use crate::task_definition::document::{Container, Document, list, text};
use crate::task_definition::gpus;
use crate::task_definition::invalid::Invalid;

pub(super) fn check(container: Container<'_>) -> Result<(), Invalid> {
    let requirements = list(&container.definition.resource_requirements);
    for requirement in requirements {
        container.ensure(is_valid(container.document, requirement), "resourceRequirements")?;
    }
    let gpus = requirements.iter().filter(|requirement| requirement.r#type == Some(ResourceType::Gpu)).count();
    container.ensure(gpus <= 1, "resourceRequirements")
}

fn is_valid(document: Document<'_>, requirement: &ResourceRequirement) -> bool {
    let value = requirement.value.as_deref();
    match &requirement.r#type {
        Some(ResourceType::Gpu) => match (value, &requirement.sharing_strategy) {
            (Some("ALL"), None) => true,
            (Some(count), None) => gpus::number(count).is_some(),
            (None, Some(sharing)) => sharing.nvidia_mps.as_ref().is_some_and(|mps| {
                mps.memory.is_some_and(|memory| memory >= 1)
                    && mps.max_compute_percent.is_none_or(|percent| (1..=100).contains(&percent))
            }),
            _ => false,
        },
        Some(ResourceType::NeuronDevice) => value == Some("ALL") && requirement.sharing_strategy.is_none(),
        Some(ResourceType::InferenceAccelerator) => {
            let devices = list(&document.task.inference_accelerators);
            value.is_some_and(|name| devices.iter().any(|device| text(&device.device_name) == name))
        }
        None | Some(ResourceType::Unknown(_)) => false,
    }
}

/// Which form of GPU sharing, or how many Neuron users, is a matter of the whole task.
pub(super) fn check_together(document: Document<'_>) -> Result<(), Invalid> {
    let requirements = || document.containers().flat_map(|one| list(&one.definition.resource_requirements));
    let gpus = || requirements().filter(|requirement| requirement.r#type == Some(ResourceType::Gpu));
    let shared = gpus().filter(|requirement| requirement.sharing_strategy.is_some()).count();
    if shared > 0 && shared < gpus().count() {
        return Err(Invalid::MixedGpu);
    }
    let neuron = requirements().filter(|requirement| requirement.r#type == Some(ResourceType::NeuronDevice)).count();
    if neuron > 1 { Err(Invalid::TwoNeuron) } else { Ok(()) }
}
