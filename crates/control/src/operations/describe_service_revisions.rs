//! `DescribeServiceRevisions`.

use gantry_api::{
    Caller, Fault,
    ecs::{DescribeServiceRevisionsRequest, DescribeServiceRevisionsResponse},
};
use gantry_domain::arn::{Arn, Resource};

use crate::{Control, control, failures, fault, keys::ServiceKey, services::wire};

/// A request may ask for so many.
const DESCRIBE_MAX: usize = 20;

pub(crate) async fn run(
    control: &Control,
    caller: &Caller,
    input: DescribeServiceRevisionsRequest,
) -> Result<DescribeServiceRevisionsResponse, Fault> {
    let scope = control::scope(caller);
    let arns = input.service_revision_arns.unwrap_or_default();
    if arns.is_empty() {
        return Err(fault::invalid("Service revisions cannot be empty."));
    }
    if arns.len() > DESCRIBE_MAX {
        return Err(fault::invalid(format!("Service revisions list cannot exceed {DESCRIBE_MAX} elements.")));
    }
    let view = control.read();
    let (mut revisions, mut missing) = (Vec::new(), Vec::new());
    for text in arns {
        let parsed: Arn = text.parse().map_err(|_| fault::arn_invalid())?;
        scope.same_place(&parsed.scope).map_err(|error| fault::elsewhere(&error))?;
        let Resource::ServiceRevision { cluster, service, id } = parsed.resource else {
            return Err(fault::arn_invalid());
        };
        let key = ServiceKey::service(scope.clone(), cluster, service);
        let found = id.parse().ok().and_then(|number| Some((number, wire::revision(&view, &key, number)?)));
        match found {
            Some((number, record)) => revisions.push(wire::service_revision(&view, &key, number, record)),
            None => missing.push(failures::missing(text)),
        }
    }
    Ok(DescribeServiceRevisionsResponse { service_revisions: Some(revisions), failures: Some(missing) })
}
