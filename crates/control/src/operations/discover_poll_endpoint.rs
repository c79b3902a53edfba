//! `DiscoverPollEndpoint`.

use gantry_api::{
    Caller, Fault,
    ecs::{DiscoverPollEndpointRequest, DiscoverPollEndpointResponse},
};

use crate::Control;

pub(crate) async fn run(
    _control: &Control,
    _caller: &Caller,
    _input: DiscoverPollEndpointRequest,
) -> Result<DiscoverPollEndpointResponse, Fault> {
    Err(Fault::not_implemented("DiscoverPollEndpoint"))
}
