//! `ContinueServiceDeployment`: ends a pause of a deployment, one way or the other.

use gantry_api::{
    Caller, Fault,
    ecs::{self, ContinueServiceDeploymentRequest, ContinueServiceDeploymentResponse},
};
use gantry_domain::rollout::{Direction, HookStatus};
use gantry_store::Txn;

use crate::{Control, control, control::Plan, fault, records::encode, services::find};

pub(crate) async fn run(
    control: &Control,
    caller: &Caller,
    input: ContinueServiceDeploymentRequest,
) -> Result<ContinueServiceDeploymentResponse, Fault> {
    let text = input.service_deployment_arn.unwrap_or_default();
    let (key, id) = find::service_deployment(&control::scope(caller), &text)?;
    let hook = input.hook_id.unwrap_or_default();
    let wanted = match input.action {
        Some(ecs::DeploymentLifecycleHookAction::Rollback) => HookStatus::Failed,
        _ => HookStatus::Succeeded,
    };
    control
        .transact(|view| {
            find::history(view, &key, &id)?;
            let row = find::active(view, &key)?;
            let mut record = row.record.clone();
            let rollout = record.rollout.as_mut().filter(|rollout| rollout.service_deployment == id);
            let rollout = rollout.filter(|rollout| rollout.direction == Direction::Forward);
            let rollout = rollout.ok_or_else(fault::service_deployment_not_paused)?;
            let run = rollout.runs.iter_mut().find(|run| run.run().id() == hook);
            let run = run.ok_or_else(|| fault::lifecycle_hook_not_found(&hook))?;
            match run.status {
                HookStatus::AwaitingAction => run.status = wanted,
                // The same was said before.
                status if status == wanted => return Ok(Plan::Done(())),
                _ => return Err(fault::service_deployment_not_paused()),
            }
            Ok(Plan::Commit(Txn::new().require(key.path(), row.revision).put(key.path(), encode(&record)), ()))
        })
        .await?;
    Ok(ContinueServiceDeploymentResponse { service_deployment_arn: Some(text) })
}
