//! `UpdateContainerInstancesState`.

use gantry_api::{
    Caller, Fault,
    ecs::{UpdateContainerInstancesStateRequest, UpdateContainerInstancesStateResponse},
};

use crate::Control;

pub(crate) async fn run(
    _control: &Control,
    _caller: &Caller,
    _input: UpdateContainerInstancesStateRequest,
) -> Result<UpdateContainerInstancesStateResponse, Fault> {
    Err(Fault::not_implemented("UpdateContainerInstancesState"))
}
