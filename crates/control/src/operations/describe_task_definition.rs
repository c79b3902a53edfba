//! `DescribeTaskDefinition`: one revision, or the latest ACTIVE one of a family.

use gantry_api::{
    Caller, Fault,
    ecs::{DescribeTaskDefinitionRequest, DescribeTaskDefinitionResponse, TaskDefinitionField},
};

use crate::{
    Control,
    control::scope,
    fault, tags,
    task_definition::{find, wire},
};

pub(crate) async fn run(
    control: &Control,
    caller: &Caller,
    input: DescribeTaskDefinitionRequest,
) -> Result<DescribeTaskDefinitionResponse, Fault> {
    let scope = scope(caller);
    let reference = input.task_definition.unwrap_or_default();
    let reference = scope.task_definition(&reference).map_err(|error| fault::task_definition_reference(&error))?;
    let found = find(&control.read(), &scope, &reference);
    let (key, row) = found.ok_or_else(fault::task_definition_unknown)?;
    let with_tags = input.include.unwrap_or_default().contains(&TaskDefinitionField::Tags);
    Ok(DescribeTaskDefinitionResponse {
        task_definition: Some(wire(&scope, &key, &row)),
        tags: Some(if with_tags { tags::wire(&row.tags) } else { Vec::new() }),
    })
}
