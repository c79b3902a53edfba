//! `DescribeTaskDefinition`.

use gantry_api::{
    Caller, Fault,
    ecs::{DescribeTaskDefinitionRequest, DescribeTaskDefinitionResponse},
};

use crate::Control;

pub(crate) async fn run(
    _control: &Control,
    _caller: &Caller,
    _input: DescribeTaskDefinitionRequest,
) -> Result<DescribeTaskDefinitionResponse, Fault> {
    Err(Fault::not_implemented("DescribeTaskDefinition"))
}
