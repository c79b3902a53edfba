//! `DescribeServices`.

use gantry_api::{
    Caller, Fault,
    ecs::{DescribeServicesRequest, DescribeServicesResponse},
};

use crate::Control;

pub(crate) async fn run(
    _control: &Control,
    _caller: &Caller,
    _input: DescribeServicesRequest,
) -> Result<DescribeServicesResponse, Fault> {
    Err(Fault::not_implemented("DescribeServices"))
}
