//! `RegisterDaemonTaskDefinition`.

use gantry_api::{
    Caller, Fault,
    ecs::{RegisterDaemonTaskDefinitionRequest, RegisterDaemonTaskDefinitionResponse},
};

use super::register_task_definition::register;
use crate::{Control, control::scope, daemons::definition, keys::ServiceKind, tags};

pub(crate) async fn run(
    control: &Control,
    caller: &Caller,
    mut input: RegisterDaemonTaskDefinitionRequest,
) -> Result<RegisterDaemonTaskDefinitionResponse, Fault> {
    let tags = tags::parse(input.tags.take().as_deref())?;
    let document = definition::document(input)?;
    let (key, _) = register(control, caller, (ServiceKind::Daemon, &document), tags).await?;
    let arn = scope(caller).daemon_task_definition_arn(&key);
    Ok(RegisterDaemonTaskDefinitionResponse { daemon_task_definition_arn: Some(arn) })
}
