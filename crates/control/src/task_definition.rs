//! Task definitions as pure functions over the wire document: what may be registered and in which words it is refused,
//! what the service fills in and works out, what decisions read of it, and what stands in the way of running it.
//!
//! The registered document is kept in its wire form, so a member that nothing here uses still comes back intact.

mod attributes;
mod check;
mod compatibility;
mod defaults;
mod document;
pub(crate) mod gpus;
mod invalid;
mod refusals;
mod requirements;
mod wire;

#[cfg(test)]
mod tests;

use gantry_api::ecs::{RegisterTaskDefinitionRequest, TaskDefinition};
use gantry_domain::arn::{Revision, Scope, TaskDefinitionKey, TaskDefinitionReference};
use gantry_domain::limits::TASK_DEFINITION_BYTES_MAX;

use crate::{
    EcsView,
    keys::ServiceKind,
    records::{SharedRow, TaskDefinitionRecord},
};

pub use invalid::Invalid;
pub use refusals::{Refusal, refusals};
pub use requirements::requirements;
pub(crate) use wire::{complete, wire};

use document::Document;

/// Checks a registration and completes it: defaults, `compatibilities`, `requiresAttributes`. What only the operation
/// knows (ARN, revision, status, who and when) and the tags are left out.
///
/// # Errors
/// The first rule that the document breaks.
pub fn prepare(request: RegisterTaskDefinitionRequest) -> Result<TaskDefinition, Invalid> {
    let mut task = defaults::document(request);
    check_length(&task)?;
    check::check(Document { task: &task })?;
    defaults::fill(&mut task);
    let document = Document { task: &task };
    let can = compatibility::compatibilities(document);
    compatibility::check_required(document, &can)?;
    let required = attributes::required(document);
    task.requires_attributes = Some(attributes::wire(&required));
    task.compatibilities = Some(can);
    Ok(task)
}

/// The revision a reference means: the one it names, whatever its status, or the family's latest ACTIVE one.
pub(crate) fn find(
    view: &EcsView,
    scope: &Scope,
    reference: &TaskDefinitionReference,
) -> Option<(TaskDefinitionKey, SharedRow<TaskDefinitionRecord>)> {
    find_of(view, scope, ServiceKind::Service, reference)
}

/// The same among task definitions, or daemon task definitions.
pub(crate) fn find_of(
    view: &EcsView,
    scope: &Scope,
    kind: ServiceKind,
    reference: &TaskDefinitionReference,
) -> Option<(TaskDefinitionKey, SharedRow<TaskDefinitionRecord>)> {
    let family = view.namespace(scope)?.families_of(kind).get(&reference.family)?;
    let (revision, row) = match reference.revision {
        Some(revision) => (revision, family.revisions().get(&revision.get())?),
        None => {
            let (number, row) = family.latest_active()?;
            (Revision::new(number)?, row)
        }
    };
    Some((TaskDefinitionKey { family: reference.family.clone(), revision }, row.clone()))
}

/// The bound is on what the client sent: defaults must not push a document over it.
fn check_length(task: &TaskDefinition) -> Result<(), Invalid> {
    let mut length = Length(0);
    // Counting cannot fail, and wire documents have string keys only.
    let _ = serde_json::to_writer(&mut length, task);
    if length.0 > TASK_DEFINITION_BYTES_MAX { Err(Invalid::TooLarge { bytes: length.0 }) } else { Ok(()) }
}

/// Counts bytes instead of keeping them.
struct Length(usize);

impl std::io::Write for Length {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
