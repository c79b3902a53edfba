//! `DescribeClusters`.

use gantry_api::{
    Caller, Fault,
    ecs::{DescribeClustersRequest, DescribeClustersResponse},
};

use crate::Control;

pub(crate) async fn run(
    _control: &Control,
    _caller: &Caller,
    _input: DescribeClustersRequest,
) -> Result<DescribeClustersResponse, Fault> {
    Err(Fault::not_implemented("DescribeClusters"))
}
