//! Custom attributes of container instances: the rules on names and values, and which instance a request means.

use std::collections::BTreeMap;

use gantry_api::{
    Caller, Fault,
    ecs::{Attribute, TargetType},
};
use gantry_domain::{
    arn::{ContainerInstanceId, Name, Scope},
    limits::{ATTRIBUTE_NAME_LENGTH_MAX, ATTRIBUTE_VALUE_LENGTH_MAX, ATTRIBUTES_PER_REQUEST_MAX},
};
use gantry_store::Txn;

use crate::{
    Control, EcsView, Plan,
    control::{active_cluster, cluster_name, scope},
    fault,
    keys::InstanceKey,
    records::{InstanceRecord, SharedRow, encode},
};

/// One attribute of a request, checked.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// As the request spells the instance.
    reference: String,
    id: ContainerInstanceId,
    pub(crate) name: String,
    pub(crate) value: Option<String>,
}

/// Reads the attributes of a request on `cluster`.
fn parse(scope: &Scope, cluster: &Name, attributes: Option<&[Attribute]>) -> Result<Vec<Target>, Fault> {
    let attributes = attributes.unwrap_or_default();
    if !(1..=ATTRIBUTES_PER_REQUEST_MAX).contains(&attributes.len()) {
        return Err(fault::attribute_count());
    }
    attributes.iter().map(|attribute| parse_one(scope, cluster, attribute)).collect()
}

fn parse_one(scope: &Scope, cluster: &Name, attribute: &Attribute) -> Result<Target, Fault> {
    let name = attribute.name.clone().unwrap_or_default();
    if !is_name(&name) {
        return Err(fault::attribute_name(&name));
    }
    if !attribute.value.as_deref().is_none_or(is_value) {
        return Err(fault::attribute_value(&name));
    }
    let reference = attribute.target_id.clone().unwrap_or_default();
    // An ARN says what it is; an id needs to be told.
    let short = !reference.starts_with("arn:");
    if reference.is_empty() || short && attribute.target_type != Some(TargetType::ContainerInstance) {
        return Err(fault::attribute_target(&reference));
    }
    let id = scope.container_instance(cluster.as_str(), &reference).map_err(|_| fault::target_not_found(&reference))?;
    Ok(Target { reference, id, name, value: attribute.value.clone() })
}

/// What the service and the agent use themselves is not for others to set.
fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./\\".contains(&byte);
    let reserved = name.starts_with("ecs.") || name.starts_with("com.amazonaws.");
    (1..=ATTRIBUTE_NAME_LENGTH_MAX).contains(&name.len()) && name.bytes().all(allowed) && !reserved
}

fn is_value(value: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./\\@: ".contains(&byte);
    let length = (1..=ATTRIBUTE_VALUE_LENGTH_MAX).contains(&value.len());
    length && value.bytes().all(allowed) && value.trim() == value
}

/// Changes the attributes of all instances that a request names, together or not at all, and answers with them.
pub(crate) async fn change(
    control: &Control,
    caller: &Caller,
    cluster: Option<&str>,
    attributes: Option<&[Attribute]>,
    act: impl Fn(&mut InstanceRecord, &Target) -> Result<(), Fault>,
) -> Result<Vec<Attribute>, Fault> {
    let scope = scope(caller);
    let cluster = cluster_name(&scope, cluster)?;
    active_cluster(&control.read(), &scope, &cluster)?;
    let targets = parse(&scope, &cluster, attributes)?;
    control
        .transact(|view| {
            active_cluster(view, &scope, &cluster)?;
            let mut changed = BTreeMap::new();
            let mut answer = Vec::new();
            for target in &targets {
                let key = InstanceKey { scope: scope.clone(), cluster: cluster.clone(), id: target.id };
                let row = registered(view, &key).ok_or_else(|| fault::target_not_found(&target.reference))?;
                let (_, record) = changed.entry(target.id).or_insert_with(|| (row.clone(), row.record.clone()));
                act(record, target)?;
                answer.push(wire(&key, &target.name, target.value.as_deref()));
            }
            let mut txn = Txn::new();
            for (id, (row, mut record)) in changed {
                if record == row.record {
                    continue;
                }
                record.version += 1;
                let path = InstanceKey { scope: scope.clone(), cluster: cluster.clone(), id }.path();
                txn = txn.require(&path, row.revision).put(path, encode(&record));
            }
            Ok(if txn.then.is_empty() { Plan::Done(answer) } else { Plan::Commit(txn, answer) })
        })
        .await
}

fn registered<'a>(view: &'a EcsView, key: &InstanceKey) -> Option<&'a SharedRow<InstanceRecord>> {
    view.host(key)?.row.as_ref().filter(|row| row.is_registered())
}

/// An attribute as answers show it.
pub(crate) fn wire(key: &InstanceKey, name: &str, value: Option<&str>) -> Attribute {
    Attribute {
        name: Some(name.to_owned()),
        value: value.map(str::to_owned),
        target_id: Some(key.arn()),
        target_type: Some(TargetType::ContainerInstance),
    }
}
