//! `ListClusters`.

use gantry_api::{
    Caller, Fault,
    ecs::{ListClustersRequest, ListClustersResponse},
};

use crate::Control;

pub(crate) async fn run(
    _control: &Control,
    _caller: &Caller,
    _input: ListClustersRequest,
) -> Result<ListClustersResponse, Fault> {
    Err(Fault::not_implemented("ListClusters"))
}
