//! `DiscoverPollEndpoint`: everything is behind the one port.

use gantry_api::{
    Caller, Fault,
    ecs::{DiscoverPollEndpointRequest, DiscoverPollEndpointResponse},
};

use crate::{
    Control,
    control::{active_cluster, cluster_name, scope},
};

pub(crate) async fn run(
    control: &Control,
    caller: &Caller,
    input: DiscoverPollEndpointRequest,
) -> Result<DiscoverPollEndpointResponse, Fault> {
    let scope = scope(caller);
    let cluster = cluster_name(&scope, input.cluster.as_deref())?;
    active_cluster(&control.read(), &scope, &cluster)?;
    let endpoint = Some(control.settings.endpoint.clone());
    Ok(DiscoverPollEndpointResponse {
        endpoint: endpoint.clone(),
        telemetry_endpoint: endpoint.clone(),
        service_connect_endpoint: endpoint,
    })
}
