//! `DescribeDaemonRevisions`.

use gantry_api::{
    Caller, Fault,
    ecs::{DescribeDaemonRevisionsRequest, DescribeDaemonRevisionsResponse},
};

use crate::{
    Control, control,
    daemons::{find, wire},
    failures, fault,
    services::wire as service_wire,
};

/// A request may ask for so many.
const DESCRIBE_MAX: usize = 20;

pub(crate) async fn run(
    control: &Control,
    caller: &Caller,
    input: DescribeDaemonRevisionsRequest,
) -> Result<DescribeDaemonRevisionsResponse, Fault> {
    let scope = control::scope(caller);
    let arns = input.daemon_revision_arns.unwrap_or_default();
    if arns.is_empty() || arns.len() > DESCRIBE_MAX {
        return Err(fault::invalid(format!("daemonRevisionArns must have 1 to {DESCRIBE_MAX} elements.")));
    }
    let view = control.read();
    let (mut revisions, mut missing) = (Vec::new(), Vec::new());
    for text in arns {
        let (key, id) = find::revision(&scope, &text)?;
        let found = id.parse().ok().and_then(|number| Some((number, service_wire::revision(&view, &key, number)?)));
        match found {
            Some((number, record)) => revisions.push(wire::daemon_revision(&view, &key, number, record)),
            None => missing.push(failures::missing(text)),
        }
    }
    Ok(DescribeDaemonRevisionsResponse { daemon_revisions: Some(revisions), failures: Some(missing) })
}
