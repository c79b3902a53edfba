//! `ListContainerInstances`.

use gantry_api::{
    Caller, Fault,
    ecs::{ListContainerInstancesRequest, ListContainerInstancesResponse},
};

use crate::Control;

pub(crate) async fn run(
    _control: &Control,
    _caller: &Caller,
    _input: ListContainerInstancesRequest,
) -> Result<ListContainerInstancesResponse, Fault> {
    Err(Fault::not_implemented("ListContainerInstances"))
}
