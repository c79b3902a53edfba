//! `DescribeTasks`.

use gantry_api::{
    Caller, Fault,
    ecs::{DescribeTasksRequest, DescribeTasksResponse},
};

use crate::Control;

pub(crate) async fn run(
    _control: &Control,
    _caller: &Caller,
    _input: DescribeTasksRequest,
) -> Result<DescribeTasksResponse, Fault> {
    Err(Fault::not_implemented("DescribeTasks"))
}
