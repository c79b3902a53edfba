//! Event buses.

use gantry_api::events::{
    CreateEventBusRequest, CreateEventBusResponse, DeleteEventBusRequest, DescribeEventBusRequest,
    DescribeEventBusResponse, EventBus, ListEventBusesRequest, ListEventBusesResponse,
};
use gantry_api::{Caller, Empty, Fault, Timestamp};
use gantry_store::Txn;

use super::change::encode;
use super::rows::{BusRow, DEFAULT_BUS, Scope};
use super::{Inner, fault, names, tags};

/// Buses of an account and region, as the real quota has it.
const BUSES_MAX: usize = 100;

pub(super) async fn create_event_bus(
    inner: &Inner,
    caller: &Caller,
    input: CreateEventBusRequest,
) -> Result<CreateEventBusResponse, Fault> {
    let (scope, name) = (Scope::of(caller), input.name.clone().unwrap_or_default());
    check(&input, &name)?;
    let row = BusRow {
        created_at_ms: inner.now_ms(),
        description: input.description.clone(),
        tags: tags::parse(input.tags.as_deref())?,
    };
    inner
        .change(|picture| {
            if picture.has_bus(&scope, &name) {
                return Err(fault::resource_already_exists_exception(format!("Event bus {name} already exists.")));
            }
            if picture.buses.keys().filter(|(of, _)| *of == scope).count() >= BUSES_MAX {
                return Err(fault::too_many("event buses"));
            }
            Ok((Txn::new().require_absent(scope.bus(&name)).put(scope.bus(&name), encode(&row)?), ()))
        })
        .await?;
    Ok(CreateEventBusResponse {
        event_bus_arn: Some(scope.bus_arn(&name)),
        description: input.description,
        ..Default::default()
    })
}

fn check(input: &CreateEventBusRequest, name: &str) -> Result<(), Fault> {
    if name.contains('/') || input.event_source_name.is_some() {
        return Err(fault::not_valid(
            "Name",
            "Event bus name must not contain '/'; there are no partner event sources.",
        ));
    }
    if input.kms_key_identifier.is_some() {
        return Err(fault::not_valid("KmsKeyIdentifier", "There is no KMS."));
    }
    if input.dead_letter_config.as_ref().is_some_and(|config| config.arn.is_some()) {
        return Err(fault::not_valid("DeadLetterConfig", "There is no SQS."));
    }
    let level = input.log_config.as_ref().and_then(|config| config.level.as_ref());
    if level.is_some_and(|level| level.as_str() != "OFF") {
        return Err(fault::not_valid("LogConfig", "Event buses write no logs."));
    }
    Ok(())
}

pub(super) async fn delete_event_bus(
    inner: &Inner,
    caller: &Caller,
    input: DeleteEventBusRequest,
) -> Result<Empty, Fault> {
    let (scope, name) = (Scope::of(caller), input.name.unwrap_or_default());
    if name == DEFAULT_BUS {
        return Err(fault::validation("Cannot delete event bus default."));
    }
    inner
        .change(|picture| {
            if picture.rules_of(&scope, &name).next().is_some() {
                return Err(fault::validation("Event bus can't be deleted since it has rules."));
            }
            Ok((Txn::new().delete(scope.bus(&name)), Empty {}))
        })
        .await
}

pub(super) async fn describe_event_bus(
    inner: &Inner,
    caller: &Caller,
    input: DescribeEventBusRequest,
) -> Result<DescribeEventBusResponse, Fault> {
    let scope = Scope::of(caller);
    let picture = inner.view.read();
    let name = names::existing_bus(&picture, &scope, input.name.as_deref())?;
    let row = picture.buses.get(&(scope.clone(), name.clone())).map(|kept| &kept.row);
    Ok(DescribeEventBusResponse {
        arn: Some(scope.bus_arn(&name)),
        name: Some(name),
        description: row.and_then(|row| row.description.clone()),
        creation_time: row.map(|row| moment(row.created_at_ms)),
        last_modified_time: row.map(|row| moment(row.created_at_ms)),
        ..Default::default()
    })
}

pub(super) async fn list_event_buses(
    inner: &Inner,
    caller: &Caller,
    input: ListEventBusesRequest,
) -> Result<ListEventBusesResponse, Fault> {
    let (scope, prefix) = (Scope::of(caller), input.name_prefix.unwrap_or_default());
    let picture = inner.view.read();
    let own = picture.buses.iter().filter(|((of, _), _)| *of == scope);
    let mut buses: Vec<(String, EventBus)> = own
        .map(|((_, name), kept)| {
            let bus = EventBus {
                arn: Some(scope.bus_arn(name)),
                name: Some(name.clone()),
                description: kept.row.description.clone(),
                creation_time: Some(moment(kept.row.created_at_ms)),
                last_modified_time: Some(moment(kept.row.created_at_ms)),
                ..Default::default()
            };
            (name.clone(), bus)
        })
        .collect();
    let default =
        EventBus { arn: Some(scope.bus_arn(DEFAULT_BUS)), name: Some(DEFAULT_BUS.to_owned()), ..Default::default() };
    buses.push((DEFAULT_BUS.to_owned(), default));
    buses.retain(|(name, _)| name.starts_with(&prefix));
    buses.sort_by(|(one, _), (other, _)| one.cmp(other));
    let page = names::page(&format!("buses {prefix}"), input.limit, input.next_token.as_deref(), buses)?;
    Ok(ListEventBusesResponse { event_buses: Some(page.items), next_token: page.next_token })
}

fn moment(millis: i64) -> Timestamp {
    Timestamp::from_millis(u64::try_from(millis).unwrap_or(0))
}
