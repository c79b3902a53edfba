//! Activations: an id and a code with which machines outside join as managed instances, with a role.

use std::collections::BTreeMap;

use gantry_api::ssm::{
    Activation, CreateActivationRequest, CreateActivationResult, DeleteActivationRequest, DeleteActivationResult,
    DescribeActivationsFilterKeys, DescribeActivationsRequest, DescribeActivationsResult,
};
use gantry_api::{Caller, Fault, Timestamp};
use gantry_domain::paging::Pager;
use gantry_domain::tags::Tags;
use gantry_store::Txn;

use super::{Ssm, fault, tags};
use crate::machines::{ActivationRow, activation_key, hash, random_text};

/// Who assumes the roles of managed instances.
const SERVICE: &str = "ssm.amazonaws.com";
const DAY_MS: u64 = 24 * 3600 * 1000;
const EXPIRATION_DAYS_DEFAULT: u64 = 1;
const EXPIRATION_DAYS_MAX: u64 = 30;
const LIMIT_DEFAULT: i32 = 1;
/// Activations of an account and region at a time.
const ACTIVATIONS_MAX: usize = 1000;
const PAGE_SIZE_MAX: i32 = 50;

pub(super) async fn create_activation(
    ssm: &Ssm,
    caller: &Caller,
    input: CreateActivationRequest,
) -> Result<CreateActivationResult, Fault> {
    let role = role(ssm, caller, input.iam_role.as_deref().unwrap_or_default())?;
    let now = ssm.machines.now();
    let expires_at = match input.expiration_date {
        None => now + EXPIRATION_DAYS_DEFAULT * DAY_MS,
        Some(date) => {
            let at = date.as_millis();
            if at <= now || at > now + EXPIRATION_DAYS_MAX * DAY_MS {
                return Err(fault::expiration());
            }
            at
        }
    };
    let given = input.tags.iter().flatten().map(|tag| (tag.key.as_deref(), tag.value.as_deref()));
    let tags: BTreeMap<String, String> =
        Tags::parse(given).map_err(|error| fault::validation(error.to_string()))?.into();
    let limit = input.registration_limit.unwrap_or(LIMIT_DEFAULT).max(1);
    let code = random_text(32)?;
    let row = ActivationRow {
        hash: hash(&code),
        role,
        description: input.description.unwrap_or_default(),
        default_instance_name: input.default_instance_name.unwrap_or_default(),
        limit: u32::try_from(limit).unwrap_or(1),
        registrations: 0,
        created_at: now,
        expires_at,
        tags,
    };
    let id = uuid::Uuid::new_v4().to_string();
    let key = activation_key(&caller.account, &caller.region, &id);
    let value = serde_json::to_vec(&row).map_err(fault::internal)?;
    let here = (caller.account.clone(), caller.region.clone());
    let create = ssm.machines.change(|picture| {
        if picture.activations.values().filter(|kept| kept.scope == here).count() >= ACTIVATIONS_MAX {
            return Err(fault::too_many_activations());
        }
        Ok((Txn::new().require_absent(key.clone()).put(key.clone(), value.clone()), ()))
    });
    create.await?;
    Ok(CreateActivationResult { activation_id: Some(id), activation_code: Some(code) })
}

/// The name of a role that managed instances can have.
pub(super) fn role(ssm: &Ssm, caller: &Caller, given: &str) -> Result<String, Fault> {
    let name = given.rsplit('/').next().unwrap_or_default();
    let iam = ssm.machines.iam();
    let role = iam.role_named(&caller.account, name).ok_or_else(|| fault::no_role(given))?;
    if iam.trusts(&role, SERVICE, None) { Ok(role.name) } else { Err(fault::untrusting_role(given)) }
}

pub(super) async fn delete_activation(
    ssm: &Ssm,
    caller: &Caller,
    input: DeleteActivationRequest,
) -> Result<DeleteActivationResult, Fault> {
    let id = input.activation_id.unwrap_or_default();
    let here = (caller.account.clone(), caller.region.clone());
    let delete = ssm.machines.change(|picture| {
        let kept = picture.activations.get(&id).filter(|kept| kept.scope == here);
        let kept = kept.ok_or_else(|| fault::no_activation(&id))?;
        let key = activation_key(&here.0, &here.1, &id);
        Ok((Txn::new().require(&key, kept.revision).delete(key), ()))
    });
    delete.await?;
    Ok(DeleteActivationResult {})
}

pub(super) async fn describe_activations(
    ssm: &Ssm,
    caller: &Caller,
    input: DescribeActivationsRequest,
) -> Result<DescribeActivationsResult, Fault> {
    let here = (caller.account.clone(), caller.region.clone());
    let now = ssm.machines.now();
    let filters = input.filters.clone().unwrap_or_default();
    let size = usize::try_from(input.max_results.unwrap_or(PAGE_SIZE_MAX)).unwrap_or(1);
    let question = format!("DescribeActivations {filters:?}");
    let pager = Pager::new(&question, size);
    let after = pager.after(input.next_token.as_deref()).map_err(|_| fault::bad_token())?;
    let matches = |id: &str, row: &ActivationRow| {
        filters.iter().all(|filter| {
            let value = match &filter.filter_key {
                Some(DescribeActivationsFilterKeys::ActivationIds) => id,
                Some(DescribeActivationsFilterKeys::DefaultInstanceName) => &row.default_instance_name,
                _ => &row.role,
            };
            filter.filter_values.iter().flatten().any(|wanted| wanted == value)
        })
    };
    let page = ssm.machines.look(|picture| {
        let own = picture.activations.iter().filter(|(id, kept)| kept.scope == here && matches(id, &kept.row));
        let rest = own.filter(|(id, _)| after.as_ref().is_none_or(|after| *id > after));
        let shown = rest.map(|(id, kept)| (id.clone(), activation(id, &kept.row, now)));
        pager.page(shown, |(id, _)| id.clone())
    });
    Ok(DescribeActivationsResult {
        activation_list: Some(page.items.into_iter().map(|(_, item)| item).collect()),
        next_token: page.next_token,
    })
}

fn activation(id: &str, row: &ActivationRow, now: u64) -> Activation {
    let count = |count: u32| Some(i32::try_from(count).unwrap_or(i32::MAX));
    Activation {
        activation_id: Some(id.to_owned()),
        created_date: Some(Timestamp::from_millis(row.created_at)),
        default_instance_name: Some(row.default_instance_name.clone()).filter(|name| !name.is_empty()),
        description: Some(row.description.clone()).filter(|text| !text.is_empty()),
        expiration_date: Some(Timestamp::from_millis(row.expires_at)),
        expired: Some(row.expires_at <= now),
        iam_role: Some(row.role.clone()),
        registration_limit: count(row.limit),
        registrations_count: count(row.registrations),
        tags: Some(tags::wire(&row.tags)),
    }
}
