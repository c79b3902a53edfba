//! `UpdateCluster`.

use gantry_api::{
    Caller, Fault,
    ecs::{UpdateClusterRequest, UpdateClusterResponse},
};

use crate::Control;

pub(crate) async fn run(
    _control: &Control,
    _caller: &Caller,
    _input: UpdateClusterRequest,
) -> Result<UpdateClusterResponse, Fault> {
    Err(Fault::not_implemented("UpdateCluster"))
}
