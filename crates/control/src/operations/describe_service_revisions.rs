//! `DescribeServiceRevisions`.

use gantry_api::{
    Caller, Fault,
    ecs::{DescribeServiceRevisionsRequest, DescribeServiceRevisionsResponse},
};

use crate::Control;

pub(crate) async fn run(
    _control: &Control,
    _caller: &Caller,
    _input: DescribeServiceRevisionsRequest,
) -> Result<DescribeServiceRevisionsResponse, Fault> {
    Err(Fault::not_implemented("DescribeServiceRevisions"))
}
