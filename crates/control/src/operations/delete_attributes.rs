//! `DeleteAttributes`: takes custom attributes away, by name and target. One that is not there is no mistake.

use gantry_api::{
    Caller, Fault,
    ecs::{DeleteAttributesRequest, DeleteAttributesResponse},
};

use crate::{Control, attributes, fault};

pub(crate) async fn run(
    control: &Control,
    caller: &Caller,
    input: DeleteAttributesRequest,
) -> Result<DeleteAttributesResponse, Fault> {
    if input.attributes.iter().flatten().any(|attribute| attribute.value.is_some()) {
        return Err(fault::attribute_value_given());
    }
    let attributes =
        attributes::change(control, caller, input.cluster.as_deref(), input.attributes.as_deref(), |record, target| {
            record.custom_attributes.to_mut().remove(&target.name);
            Ok(())
        })
        .await?;
    Ok(DeleteAttributesResponse { attributes: Some(attributes) })
}
