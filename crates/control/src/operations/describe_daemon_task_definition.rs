//! `DescribeDaemonTaskDefinition`: one revision, or the latest ACTIVE one of a family. Of a deleted one it is known that
//! it was there.

use gantry_api::{
    Caller, Fault,
    ecs::{DescribeDaemonTaskDefinitionRequest, DescribeDaemonTaskDefinitionResponse},
};
use gantry_domain::arn::TaskDefinitionKey;

use crate::{Control, control::scope, daemons::definition, fault};

pub(crate) async fn run(
    control: &Control,
    caller: &Caller,
    input: DescribeDaemonTaskDefinitionRequest,
) -> Result<DescribeDaemonTaskDefinitionResponse, Fault> {
    let scope = scope(caller);
    let reference = input.daemon_task_definition.unwrap_or_default();
    let reference =
        scope.daemon_task_definition(&reference).map_err(|error| fault::task_definition_reference(&error))?;
    let view = control.read();
    let shown = match definition::find(&view, &scope, &reference) {
        Some((key, row)) => definition::wire(&scope, &key, &row),
        None => {
            let revision = definition::was_deleted(&view, &scope, &reference);
            let revision = revision.ok_or_else(fault::daemon_task_definition_unknown)?;
            definition::deleted(&scope, &TaskDefinitionKey { family: reference.family, revision })
        }
    };
    Ok(DescribeDaemonTaskDefinitionResponse { daemon_task_definition: Some(shown) })
}
