//! `PutAttributes`: sets custom attributes of container instances.

use gantry_api::{
    Caller, Fault,
    ecs::{PutAttributesRequest, PutAttributesResponse},
};
use gantry_domain::limits::ATTRIBUTES_PER_RESOURCE_MAX;

use crate::{Control, attributes, fault};

pub(crate) async fn run(
    control: &Control,
    caller: &Caller,
    input: PutAttributesRequest,
) -> Result<PutAttributesResponse, Fault> {
    let attributes =
        attributes::change(control, caller, input.cluster.as_deref(), input.attributes.as_deref(), |record, target| {
            record.custom_attributes.to_mut().insert(target.name.clone(), target.value.clone());
            if record.custom_attributes.len() > ATTRIBUTES_PER_RESOURCE_MAX {
                return Err(fault::attribute_limit());
            }
            Ok(())
        })
        .await?;
    Ok(PutAttributesResponse { attributes: Some(attributes) })
}
