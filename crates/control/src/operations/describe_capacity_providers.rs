//! `DescribeCapacityProviders`.

use gantry_api::{
    Caller, Fault,
    ecs::{DescribeCapacityProvidersRequest, DescribeCapacityProvidersResponse},
};

use crate::Control;

pub(crate) async fn run(
    _control: &Control,
    _caller: &Caller,
    _input: DescribeCapacityProvidersRequest,
) -> Result<DescribeCapacityProvidersResponse, Fault> {
    Err(Fault::not_implemented("DescribeCapacityProviders"))
}
