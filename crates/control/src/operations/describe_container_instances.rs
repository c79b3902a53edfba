//! `DescribeContainerInstances`.

use gantry_api::{
    Caller, Fault,
    ecs::{DescribeContainerInstancesRequest, DescribeContainerInstancesResponse},
};

use crate::Control;

pub(crate) async fn run(
    _control: &Control,
    _caller: &Caller,
    _input: DescribeContainerInstancesRequest,
) -> Result<DescribeContainerInstancesResponse, Fault> {
    Err(Fault::not_implemented("DescribeContainerInstances"))
}
