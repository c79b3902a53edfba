//! `PutClusterCapacityProviders`.

use gantry_api::{
    Caller, Fault,
    ecs::{PutClusterCapacityProvidersRequest, PutClusterCapacityProvidersResponse},
};

use crate::Control;

pub(crate) async fn run(
    _control: &Control,
    _caller: &Caller,
    _input: PutClusterCapacityProvidersRequest,
) -> Result<PutClusterCapacityProvidersResponse, Fault> {
    Err(Fault::not_implemented("PutClusterCapacityProviders"))
}
