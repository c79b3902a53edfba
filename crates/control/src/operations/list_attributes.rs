//! `ListAttributes`: by instance, then by name; the agent's own attributes as well as custom ones.

use gantry_api::{
    Caller, Fault,
    ecs::{ListAttributesRequest, ListAttributesResponse},
};
use gantry_domain::limits::PAGE_SIZE_MAX;

use crate::{
    Control, EcsView, attributes,
    control::{active_cluster, cluster_name, scope},
    fault,
    keys::InstanceKey,
    paging::Listing,
};

pub(crate) async fn run(
    control: &Control,
    caller: &Caller,
    input: ListAttributesRequest,
) -> Result<ListAttributesResponse, Fault> {
    let scope = scope(caller);
    let cluster = cluster_name(&scope, input.cluster.as_deref())?;
    let (name, value) = (input.attribute_name.as_deref(), input.attribute_value.as_deref());
    if value.is_some() && name.is_none() {
        return Err(fault::attribute_value_without_name());
    }
    let question = format!("ListAttributes {cluster} {name:?} {value:?}");
    let listing =
        Listing::new(question, input.next_token.as_deref(), input.max_results, (PAGE_SIZE_MAX, PAGE_SIZE_MAX))?;
    let after = listing.after().and_then(|after| after.split_once(' '));
    let view = control.read();
    active_cluster(&view, &scope, &cluster)?;
    let hosts = view.hosts_of_cluster(&scope, &cluster);
    let hosts = hosts.filter(|(key, _)| after.is_none_or(|(id, _)| key.id.to_string().as_str() >= id));
    let all = hosts.flat_map(|(key, _)| of_instance(&view, key, name, value));
    let rest = all.filter(|(key, name, _)| after.is_none_or(|after| (key.id.to_string().as_str(), *name) > after));
    let (page, next_token) = listing.page(rest, |(key, name, _)| format!("{} {name}", key.id));
    let attributes = page.into_iter().map(|(key, name, value)| attributes::wire(key, name, value)).collect();
    Ok(ListAttributesResponse { attributes: Some(attributes), next_token })
}

type Found<'a> = (&'a InstanceKey, &'a str, Option<&'a str>);

/// The attributes of a registered instance that the filters let through, in the order of their names.
fn of_instance<'a>(view: &'a EcsView, key: &'a InstanceKey, name: Option<&str>, value: Option<&str>) -> Vec<Found<'a>> {
    let row = view.host(key).and_then(|host| host.row.as_ref()).filter(|row| row.is_registered());
    let Some(row) = row else { return Vec::new() };
    let mut found: Vec<Found<'a>> = match name {
        Some(name) => {
            row.all_attributes().filter(|(known, _)| *known == name).map(|(name, value)| (key, name, value)).collect()
        }
        None => row.all_attributes().map(|(name, value)| (key, name, value)).collect(),
    };
    found.retain(|(_, _, known)| value.is_none_or(|wanted| *known == Some(wanted)));
    found.sort_unstable_by_key(|(_, name, _)| *name);
    found
}
