//! `ListServicesByNamespace`.

use gantry_api::{
    Caller, Fault,
    ecs::{ListServicesByNamespaceRequest, ListServicesByNamespaceResponse},
};

use crate::Control;

pub(crate) async fn run(
    _control: &Control,
    _caller: &Caller,
    _input: ListServicesByNamespaceRequest,
) -> Result<ListServicesByNamespaceResponse, Fault> {
    Err(Fault::not_implemented("ListServicesByNamespace"))
}
