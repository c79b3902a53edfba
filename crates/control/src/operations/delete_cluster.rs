//! `DeleteCluster`.

use gantry_api::{
    Caller, Fault,
    ecs::{DeleteClusterRequest, DeleteClusterResponse},
};

use crate::Control;

pub(crate) async fn run(
    _control: &Control,
    _caller: &Caller,
    _input: DeleteClusterRequest,
) -> Result<DeleteClusterResponse, Fault> {
    Err(Fault::not_implemented("DeleteCluster"))
}
