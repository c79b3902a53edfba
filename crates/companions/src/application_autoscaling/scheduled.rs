//! Scheduled actions: limits that change at a time.

use gantry_api::application_autoscaling::{
    DeleteScheduledActionRequest, DeleteScheduledActionResponse, DescribeScheduledActionsRequest,
    DescribeScheduledActionsResponse, PutScheduledActionRequest, PutScheduledActionResponse, ScalableDimension,
    ScheduledAction, ServiceNamespace,
};
use gantry_api::{Caller, Fault};
use gantry_domain::Timestamp;
use gantry_domain::autoscaling::schedule::{Schedule, Zone};

use super::change::Change;
use super::rows::{Scheduled, ServiceId};
use super::targets::{capacity, check_namespace, service_of};
use super::{AutoScaling, fault, paging, wire_time};

/// Scheduled actions of a target.
const ACTIONS_MAX: usize = 200;
const PAGE_SIZE_MAX: usize = 50;

impl AutoScaling {
    pub(super) async fn put_scheduled(
        &self,
        caller: &Caller,
        input: PutScheduledActionRequest,
    ) -> Result<PutScheduledActionResponse, Fault> {
        let id = service_of!(caller, input)?;
        let name = input.scheduled_action_name.clone().unwrap_or_default();
        let (uuid, now) = (uuid::Uuid::new_v4().to_string(), self.now());
        if let Some(zone) = input.timezone.as_deref().filter(|zone| Zone::parse(zone).is_none()) {
            return Err(fault::invalid(format!("Invalid timezone: {zone}")));
        }
        self.change(&id, |_, before| {
            let mut target = before.ok_or_else(|| fault::not_registered(&id))?.clone();
            let known = target.scheduled.get(&name);
            if known.is_none() && target.scheduled.len() >= ACTIONS_MAX {
                return Err(fault::limit("scheduled actions"));
            }
            let action = scheduled(&input, known, uuid.clone(), now)?;
            target.scheduled.insert(name.clone(), action);
            Ok((Change::Put(target.into()), ()))
        })
        .await?;
        Ok(PutScheduledActionResponse {})
    }

    pub(super) async fn delete_scheduled(
        &self,
        caller: &Caller,
        input: DeleteScheduledActionRequest,
    ) -> Result<DeleteScheduledActionResponse, Fault> {
        let id = service_of!(caller, input)?;
        let name = input.scheduled_action_name.unwrap_or_default();
        self.change(&id, |_, before| {
            let mut target = before.ok_or_else(|| fault::no_scheduled_action(&id))?.clone();
            target.scheduled.remove(&name).ok_or_else(|| fault::no_scheduled_action(&id))?;
            Ok((Change::Put(target.into()), ()))
        })
        .await?;
        Ok(DeleteScheduledActionResponse {})
    }

    pub(super) fn describe_scheduled(
        &self,
        caller: &Caller,
        input: &DescribeScheduledActionsRequest,
    ) -> Result<DescribeScheduledActionsResponse, Fault> {
        check_namespace(input.service_namespace.as_ref())?;
        let picture = self.inner.view.read();
        let own = picture.targets_of(&caller.account, &caller.region);
        let asked = |id: &ServiceId| input.resource_id.as_ref().is_none_or(|asked| *asked == id.resource_id());
        let names = &input.scheduled_action_names;
        let named = |name: &String| names.as_ref().is_none_or(|names| names.is_empty() || names.contains(name));
        let all = own.filter(|(id, _)| asked(id)).flat_map(|(id, kept)| {
            kept.row.scheduled.iter().filter(|(name, _)| named(name)).map(move |(name, action)| (id, name, action))
        });
        let question = format!("scheduled {:?} {names:?}", input.resource_id);
        let (page, next_token) = paging::page(
            &question,
            (input.max_results, PAGE_SIZE_MAX),
            input.next_token.as_deref(),
            all,
            |(id, name, _)| format!("{} {name}", id.resource_id()),
        )?;
        let actions = page.into_iter().map(|(id, name, action)| wire(id, name, action)).collect();
        Ok(DescribeScheduledActionsResponse { scheduled_actions: Some(actions), next_token })
    }
}

/// What the request makes of the action; what it does not name stays.
fn scheduled(
    input: &PutScheduledActionRequest,
    known: Option<&Scheduled>,
    uuid: String,
    now: Timestamp,
) -> Result<Scheduled, Fault> {
    let schedule = input.schedule.clone().or_else(|| known.map(|known| known.schedule.clone()));
    let schedule = schedule.ok_or_else(|| fault::invalid("Schedule is required."))?;
    Schedule::parse(&schedule).map_err(|_| fault::invalid(format!("Invalid schedule expression: {schedule}")))?;
    let action = input.scalable_target_action.clone().or_else(|| known.map(|known| known.action.clone()));
    let action = action.ok_or_else(|| fault::invalid("ScalableTargetAction is required."))?;
    if action.min_capacity.is_none() && action.max_capacity.is_none() {
        return Err(fault::invalid("ScalableTargetAction must have MinCapacity or MaxCapacity."));
    }
    let (min, max) = (capacity(action.min_capacity, 0)?, capacity(action.max_capacity, u32::MAX)?);
    if max < min {
        return Err(fault::invalid("Maximum capacity cannot be less than minimum capacity"));
    }
    let millis = |time: Option<gantry_api::Timestamp>| time.and_then(|time| i64::try_from(time.as_millis()).ok());
    Ok(Scheduled {
        uuid: known.map_or(uuid, |known| known.uuid.clone()),
        created_ms: known.map_or(now.as_millis(), |known| known.created_ms),
        schedule,
        timezone: input.timezone.clone().or_else(|| known.and_then(|known| known.timezone.clone())),
        start_ms: millis(input.start_time).or(known.and_then(|known| known.start_ms)),
        end_ms: millis(input.end_time).or(known.and_then(|known| known.end_ms)),
        action,
        looked_ms: now.as_millis(),
    })
}

/// When an action is due next, by what was looked at already; none when it never is again.
pub(super) fn due(action: &Scheduled) -> Option<Timestamp> {
    let schedule = Schedule::parse(&action.schedule).ok()?;
    let begin = action.start_ms.map_or(action.looked_ms, |start| (start - 1).max(action.looked_ms));
    let begin = Timestamp::from_millis(begin);
    let due = match action.timezone.as_deref().and_then(Zone::parse) {
        Some(zone) => schedule.next_in(zone, begin)?,
        None => schedule.next(begin)?,
    };
    action.end_ms.is_none_or(|end| due.as_millis() <= end).then_some(due)
}

fn wire(id: &ServiceId, name: &str, action: &Scheduled) -> ScheduledAction {
    let ServiceId { account, region, .. } = id;
    let resource = id.resource_id();
    let arn = format!(
        "arn:aws:autoscaling:{region}:{account}:scheduledAction:{}:resource/ecs/{resource}:scheduledActionName/{name}",
        action.uuid
    );
    ScheduledAction {
        scheduled_action_name: Some(name.to_owned()),
        scheduled_action_arn: Some(arn),
        service_namespace: Some(ServiceNamespace::Ecs),
        resource_id: Some(resource),
        scalable_dimension: Some(ScalableDimension::EcsServiceDesiredCount),
        schedule: Some(action.schedule.clone()),
        timezone: action.timezone.clone(),
        start_time: action.start_ms.map(wire_time),
        end_time: action.end_ms.map(wire_time),
        scalable_target_action: Some(action.action.clone()),
        creation_time: Some(wire_time(action.created_ms)),
    }
}
