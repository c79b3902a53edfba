//! `ListServiceDeployments`.

use gantry_api::{
    Caller, Fault,
    ecs::{ListServiceDeploymentsRequest, ListServiceDeploymentsResponse},
};

use crate::Control;

pub(crate) async fn run(
    _control: &Control,
    _caller: &Caller,
    _input: ListServiceDeploymentsRequest,
) -> Result<ListServiceDeploymentsResponse, Fault> {
    Err(Fault::not_implemented("ListServiceDeployments"))
}
