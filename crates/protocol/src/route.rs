//! Names the service and operation that a request is for, from its head and, for Query, its form.

use gantry_api::{Fault, ServiceInfo};
use http::{HeaderMap, header::CONTENT_TYPE};

/// What a request's head says it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target<'a> {
    /// `X-Amz-Target: PREFIX.OPERATION`.
    Json {
        /// Left of the last dot.
        prefix: &'a str,
        /// Right of it.
        operation: &'a str,
    },
    /// A form with `Action` and `Version`.
    Query,
}

/// The operation of a service that is addressed by paths.
pub fn by_path(service: &ServiceInfo, path: &str) -> Option<&'static str> {
    service.rest.iter().find(|(known, _)| *known == path).map(|(_, operation)| *operation)
}

/// Reads the target; requests that are for no AWS service at all are `None`.
pub fn target(headers: &HeaderMap) -> Option<Target<'_>> {
    if let Some(target) = headers.get("x-amz-target") {
        let (prefix, operation) = target.to_str().ok()?.rsplit_once('.')?;
        return Some(Target::Json { prefix, operation });
    }
    let content_type = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    content_type.starts_with("application/x-www-form-urlencoded").then_some(Target::Query)
}

/// The fault for a target that no mounted service has.
pub fn unknown_service(prefix: &str) -> Fault {
    let shown: String = prefix.chars().take(80).collect();
    Fault::new("UnknownOperationException", 400, format!("Gantry does not serve {shown}."))
}

/// The fault for an operation that the service's model does not have.
pub fn unknown_operation(service: &ServiceInfo, operation: &str) -> Fault {
    let shown: String = operation.chars().take(80).collect();
    if service.query {
        let message = format!("Could not find operation {shown} for version {}", service.api_version);
        return Fault::new("InvalidAction", 400, message);
    }
    Fault::new("UnknownOperationException", 400, format!("{shown} is not an operation of {}.", service.name))
}
