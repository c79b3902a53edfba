//! `DescribeServiceDeployments`.

use gantry_api::{
    Caller, Fault,
    ecs::{DescribeServiceDeploymentsRequest, DescribeServiceDeploymentsResponse},
};

use crate::Control;

pub(crate) async fn run(
    _control: &Control,
    _caller: &Caller,
    _input: DescribeServiceDeploymentsRequest,
) -> Result<DescribeServiceDeploymentsResponse, Fault> {
    Err(Fault::not_implemented("DescribeServiceDeployments"))
}
