//! `ListServices`.

use gantry_api::{
    Caller, Fault,
    ecs::{ListServicesRequest, ListServicesResponse},
};

use crate::Control;

pub(crate) async fn run(
    _control: &Control,
    _caller: &Caller,
    _input: ListServicesRequest,
) -> Result<ListServicesResponse, Fault> {
    Err(Fault::not_implemented("ListServices"))
}
