//! `ListTaskDefinitionFamilies`.

use gantry_api::{
    Caller, Fault,
    ecs::{ListTaskDefinitionFamiliesRequest, ListTaskDefinitionFamiliesResponse},
};

use crate::Control;

pub(crate) async fn run(
    _control: &Control,
    _caller: &Caller,
    _input: ListTaskDefinitionFamiliesRequest,
) -> Result<ListTaskDefinitionFamiliesResponse, Fault> {
    Err(Fault::not_implemented("ListTaskDefinitionFamilies"))
}
