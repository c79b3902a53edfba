//! `ListServicesByNamespace`: services in a Cloud Map namespace. None is, until Service Connect exists here.

use gantry_api::{
    Caller, Fault,
    ecs::{ListServicesByNamespaceRequest, ListServicesByNamespaceResponse},
};

use crate::{Control, fault};

pub(crate) async fn run(
    _control: &Control,
    _caller: &Caller,
    input: ListServicesByNamespaceRequest,
) -> Result<ListServicesByNamespaceResponse, Fault> {
    if input.namespace.as_deref().unwrap_or_default().is_empty() {
        return Err(fault::invalid("Namespace cannot be blank."));
    }
    if input.next_token.is_some() {
        return Err(fault::invalid("Invalid token."));
    }
    Ok(ListServicesByNamespaceResponse { service_arns: Some(Vec::new()), next_token: None })
}
