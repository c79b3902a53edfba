//! `DescribeClusters`, deleted ones included for as long as they are remembered.

use gantry_api::{
    Caller, Fault,
    ecs::{DescribeClustersRequest, DescribeClustersResponse},
};
use gantry_domain::limits::DESCRIBE_MAX;

use crate::{
    Control,
    clusters::{Include, wire},
    control::{cluster_name, scope},
    failures, fault,
};

pub(crate) async fn run(
    control: &Control,
    caller: &Caller,
    input: DescribeClustersRequest,
) -> Result<DescribeClustersResponse, Fault> {
    let scope = scope(caller);
    let references = input.clusters.filter(|list| !list.is_empty()).unwrap_or_else(|| vec!["default".to_owned()]);
    if references.len() > DESCRIBE_MAX {
        return Err(fault::describe_too_many("Clusters"));
    }
    let include = Include::asked(input.include.as_deref().unwrap_or_default());
    let mut names = Vec::with_capacity(references.len());
    for reference in &references {
        let name = cluster_name(&scope, Some(reference))?;
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let view = control.read();
    let (mut clusters, mut failures) = (Vec::new(), Vec::new());
    for name in &names {
        let known = view.cluster(&scope, name);
        match known.and_then(|known| known.row()) {
            Some(row) => clusters.push(wire(&scope, name, row, known, include)),
            None => failures.push(failures::missing(scope.cluster_arn(name.as_str()))),
        }
    }
    Ok(DescribeClustersResponse { clusters: Some(clusters), failures: Some(failures) })
}
