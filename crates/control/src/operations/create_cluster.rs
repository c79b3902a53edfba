//! `CreateCluster`.

use gantry_api::{
    Caller, Fault,
    ecs::{CreateClusterRequest, CreateClusterResponse},
};

use crate::Control;

pub(crate) async fn run(
    _control: &Control,
    _caller: &Caller,
    _input: CreateClusterRequest,
) -> Result<CreateClusterResponse, Fault> {
    Err(Fault::not_implemented("CreateCluster"))
}
