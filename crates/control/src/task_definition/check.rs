//! Every rule a task definition must obey, over the wire document, one file per part of the document. Model constraints
//! (required members, enums) were checked when the request was decoded; what stands here is what the model cannot say.

mod accelerators;
mod container;
mod dependencies;
mod environment;
mod fargate;
mod kernel;
mod logging;
mod ports;
mod size;
mod task;
mod volumes;

pub(super) use fargate::check as fargate;
pub(super) use size::units as task_size;

use gantry_api::ecs::Compatibility;

use super::document::Document;
use super::invalid::Invalid;

/// Checks a document.
///
/// # Errors
/// The first rule broken: the document itself first, then each container, then what relates containers to each other.
pub(super) fn check(document: Document<'_>) -> Result<(), Invalid> {
    task::check_identity(document)?;
    for container in document.containers() {
        container::check_identity(container)?;
    }
    container::check_unique(document)?;
    size::check(document)?;
    task::check(document)?;
    volumes::check(document)?;
    for container in document.containers() {
        container::check(container)?;
        ports::check(container)?;
        environment::check(container)?;
        kernel::check(container)?;
        logging::check(container)?;
        volumes::check_mounts(container)?;
        accelerators::check(container)?;
    }
    ports::check_names(document)?;
    dependencies::check(document)?;
    logging::check_firelens(document)?;
    accelerators::check_together(document)?;
    if document.requires(&Compatibility::Fargate) { fargate(document) } else { Ok(()) }
}
