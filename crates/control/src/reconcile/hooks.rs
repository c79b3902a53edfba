//! Calls the lifecycle hooks of deployments: a URL is asked, a task is run, and the answer is written down.
//!
//! A hook that is due is called at least once: after a crash in the middle of a call it is called again. A task is
//! started once, because its start compares and writes the service's row, and it is found again by who started it.
//! What an answer means is decided in [`gantry_domain::rollout`].

use std::convert::Infallible;

use futures_util::future::join_all;
use gantry_api::Fault;
use gantry_domain::{
    Timestamp,
    arn::TaskDefinitionKey,
    rollout::{ALL, Answer, CALL_BACK_MS_DEFAULT, HookStatus},
    task::LastStatus,
};
use gantry_store::Txn;
use serde::Deserialize;
use serde_json::json;

use super::{Reconciler, Wake};
use crate::{
    Control,
    control::Plan,
    hook_caller::{HOOK_CALL_TIMEOUT, HookResponse},
    keys::ServiceKey,
    launch::LaunchError,
    records::{HookRunRecord, RolloutRecord, ServiceStatus, encode},
    services::{
        find,
        hooks::{self, HookTarget},
        start, wire,
    },
    view::{Change, EcsView, Phase},
};

/// How often the task of a hook is looked at.
const TASK_LOOK_MS: i64 = 2_000;
/// How soon after a failure of our own a hook is seen to again.
const TRY_AGAIN_MS: i64 = 5_000;
/// The longest delay that a hook may ask for before it is called again.
const CALL_BACK_SECONDS_MAX: u32 = 3_600;

/// The reconciler of lifecycle hooks.
#[derive(Debug)]
pub struct Hooks {
    control: Control,
}

impl Hooks {
    /// The reconciler over `control`.
    pub fn new(control: Control) -> Self {
        Self { control }
    }
}

/// A hook that is due.
struct Due {
    rollout: RolloutRecord,
    run: HookRunRecord,
    target: HookTarget,
}

impl Reconciler for Hooks {
    type Key = ServiceKey;
    /// Faults are each hook's own: the others go on as they would.
    type Error = Infallible;

    const NAME: &'static str = "hooks";

    fn keys(&self) -> Vec<ServiceKey> {
        let view = self.control.read();
        let mut keys = Vec::new();
        for (scope, space) in view.namespaces() {
            for (cluster, cluster_view) in space.clusters() {
                let open = cluster_view.services().iter().filter(|(_, row)| row.rollout.is_some());
                let key = |service| ServiceKey::service(scope.clone(), cluster.clone(), service);
                keys.extend(open.map(|(service, _)| key(service.clone())));
            }
        }
        keys
    }

    fn keys_of(&self, change: &Change) -> Vec<ServiceKey> {
        match change {
            Change::Service(key) => vec![key.clone()],
            _ => Vec::new(),
        }
    }

    async fn reconcile(&self, key: &ServiceKey) -> Result<Wake, Infallible> {
        let now = self.control.now();
        let (due, mut wake_at) = look(&self.control.read(), key, now);
        // All at once: their time-outs run at the same time too.
        let answers = join_all(due.iter().map(|hook| self.ask(key, hook))).await;
        let mut answered = false;
        for (hook, answer) in due.iter().zip(answers) {
            let said = match answer {
                Ok(Some(answer)) => self.write_down(key, hook, &answer).await.map(|()| true),
                Ok(None) => Ok(false),
                Err(fault) => Err(fault),
            };
            let look_again = match said {
                Ok(true) => {
                    answered = true;
                    continue;
                }
                Ok(false) if matches!(hook.target, HookTarget::Task(_)) => TASK_LOOK_MS,
                Ok(false) => continue,
                Err(fault) => {
                    let run = hook.run.run().id();
                    tracing::warn!(cluster = %key.cluster, service = %key.service, run, %fault, "a lifecycle hook is tried again");
                    TRY_AGAIN_MS
                }
            };
            let look_again = now.plus_millis(look_again);
            wake_at = Some(wake_at.map_or(look_again, |at| at.min(look_again)));
        }
        Ok(if answered { Wake::Again } else { Wake::from(wake_at) })
    }
}

/// The hooks that are due, the one that waits for longest first, and when the next one will be.
fn look(view: &EcsView, key: &ServiceKey, now: Timestamp) -> (Vec<Due>, Option<Timestamp>) {
    let row = find::row(view, key).filter(|row| row.status == ServiceStatus::Active);
    let Some(rollout) = row.and_then(|row| row.rollout.as_ref()) else { return (Vec::new(), None) };
    let configured = rollout.configuration.lifecycle_hooks.as_deref().unwrap_or_default();
    let mut called: Vec<_> = rollout.runs.iter().filter(|run| run.status == HookStatus::InProgress).collect();
    called.sort_by_key(|run| run.call_at);
    let (due, later) = called.split_at(called.partition_point(|run| run.call_at <= now));
    let due = due.iter().filter_map(|run| {
        // Checked when the configuration was accepted.
        let target = configured.get(run.hook).and_then(|hook| hooks::target(hook).ok())?;
        Some(Due { rollout: rollout.clone(), run: (*run).clone(), target })
    });
    (due.collect(), later.first().map(|run| run.call_at))
}

impl Hooks {
    /// What a hook says; none when it does not say anything yet.
    async fn ask(&self, key: &ServiceKey, hook: &Due) -> Result<Option<Answer>, Fault> {
        match &hook.target {
            HookTarget::Pause => Ok(None),
            HookTarget::Url(url) => Ok(Some(self.call(key, hook, url).await)),
            HookTarget::Task(definition) => self.run_task(key, hook, definition).await,
        }
    }

    async fn call(&self, key: &ServiceKey, due: &Due, url: &str) -> Answer {
        let body = payload(&self.control.read(), key, due).to_string().into_bytes();
        let called = tokio::time::timeout(HOOK_CALL_TIMEOUT, self.control.hooks.call(url, body)).await;
        let response = called.unwrap_or_else(|_| Err("it took too long".to_owned()));
        match response {
            Ok(response) => answer(&response),
            Err(error) => {
                tracing::warn!(cluster = %key.cluster, service = %key.service, url, error, "a lifecycle hook did not answer");
                Answer::None
            }
        }
    }

    /// Starts the task of a hook, or looks how it went; none while it runs.
    async fn run_task(
        &self,
        key: &ServiceKey,
        due: &Due,
        definition: &TaskDefinitionKey,
    ) -> Result<Option<Answer>, Fault> {
        let started_by = format!("{}/{}", due.rollout.green, due.run.run().id());
        let launch = {
            let view = self.control.read();
            if let Some(went) = how_it_went(&view, key, &started_by) {
                return Ok(went);
            }
            start::launch_hook(&view, key, due.rollout.green, definition, &started_by)
        };
        // The task definition is gone, or cannot be launched as the service is.
        let Some(launch) = launch else { return Ok(Some(Answer::Failed)) };
        match self.control.launch(launch).await {
            Ok(_) | Err(LaunchError::Overtaken { .. }) => Ok(None),
            Err(error @ LaunchError::Role(_)) => {
                tracing::warn!(cluster = %key.cluster, service = %key.service, ?error, "a lifecycle hook's task was not started");
                Ok(Some(Answer::Failed))
            }
            Err(LaunchError::Fault(fault)) => Err(fault),
        }
    }

    /// Writes the answer into the deployment, unless it has moved on meanwhile.
    async fn write_down(&self, key: &ServiceKey, due: &Due, answer: &Answer) -> Result<(), Fault> {
        let now = self.control.now();
        self.control
            .transact(|view| {
                let Some(row) = find::row(view, key) else { return Ok(Plan::Done(())) };
                let mut record = row.record.clone();
                let same = |rollout: &&mut RolloutRecord| rollout.green == due.rollout.green;
                let runs = record.rollout.as_mut().filter(same).map(|rollout| &mut rollout.runs);
                let run = runs.and_then(|runs| runs.iter_mut().find(|run| run.number == due.run.number));
                let Some(run) = run.filter(|run| run.status == HookStatus::InProgress) else {
                    return Ok(Plan::Done(()));
                };
                *run = HookRunRecord::of(&run.run().answered(now, answer));
                Ok(Plan::Commit(Txn::new().require(key.path(), row.revision).put(key.path(), encode(&record)), ()))
            })
            .await
    }
}

/// What a URL is told.
fn payload(view: &EcsView, key: &ServiceKey, due: &Due) -> serde_json::Value {
    let Due { rollout, run, .. } = due;
    let record = find::row(view, key);
    let arn = |id| {
        let deployments = record.map(|row| row.deployments.as_slice()).unwrap_or_default();
        let found = deployments.iter().find(|deployment| Some(deployment.id) == id);
        found.map(|deployment| wire::revision_arn(key, deployment.revision))
    };
    let (green, blue) = (arn(Some(rollout.green)), arn(rollout.blue));
    let weights = |share: u32| {
        let sides = [(&blue, ALL - share.min(ALL)), (&green, share)];
        let entry = |(arn, share): (&Option<String>, u32)| Some((arn.clone()?, json!(f64::from(share) / 10.0)));
        sides.into_iter().filter_map(entry).collect::<serde_json::Map<_, _>>()
    };
    let hook = rollout.configuration.lifecycle_hooks.as_deref().unwrap_or_default().get(run.hook);
    json!({
        "serviceArn": key.arn(),
        "serviceDeploymentArn": key.deployment_arn(&rollout.service_deployment),
        "targetServiceRevisionArn": green,
        "lifecycleStage": rollout.stage.as_str(),
        "hookId": run.run().id(),
        "testTrafficWeights": weights(rollout.test),
        "productionTrafficWeights": weights(rollout.production),
        "hookDetails": hook.and_then(|hook| hook.hook_details.clone()),
    })
}

/// The answer of a URL: what a Lambda function would return.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HookAnswer {
    hook_status: String,
    call_back_delay: Option<u32>,
}

fn answer(response: &HookResponse) -> Answer {
    match response.status {
        200..=299 => {}
        429 | 500..=599 => return Answer::None,
        _ => return Answer::Failed,
    }
    let Ok(said) = serde_json::from_slice::<HookAnswer>(&response.body) else { return Answer::Failed };
    match said.hook_status.as_str() {
        "SUCCEEDED" => Answer::Succeeded,
        "IN_PROGRESS" => Answer::InProgress {
            call_back_ms: said
                .call_back_delay
                .map_or(CALL_BACK_MS_DEFAULT, |seconds| i64::from(seconds.clamp(1, CALL_BACK_SECONDS_MAX)) * 1000),
        },
        _ => Answer::Failed,
    }
}

/// How the task of a hook went: none when there is no such task, none inside while it runs.
fn how_it_went(view: &EcsView, key: &ServiceKey, started_by: &str) -> Option<Option<Answer>> {
    let tasks = view.cluster(&key.scope, &key.cluster)?.tasks();
    let group = tasks.started_by(started_by)?;
    let task = tasks.walk(group, &[Phase::Wanted, Phase::Stopping, Phase::Stopped], None).next()?;
    if task.life.last_status != LastStatus::Stopped {
        return Some(None);
    }
    let definition = task.definition.as_ref().and_then(|row| row.document.container_definitions.as_deref());
    let essential = |name: &str| {
        let container = definition.unwrap_or_default().iter().find(|container| container.name.as_deref() == Some(name));
        container.is_none_or(|container| container.essential != Some(false))
    };
    let mut containers = task.containers.iter().filter(|container| essential(&container.name)).peekable();
    let good = containers.peek().is_some() && containers.all(|container| container.exit_code == Some(0));
    Some(Some(if good { Answer::Succeeded } else { Answer::Failed }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use futures_util::future::BoxFuture;
    use gantry_api::{Caller, ecs::Ecs};
    use gantry_store::Memory;

    use super::*;
    use crate::{EcsService, Settings, SystemClock, control, hook_caller::HookCaller, keys};

    #[test]
    fn an_answer_says_how_it_went() {
        let check = |status: u16, body: &str, expected: Answer| {
            let response = HookResponse { status, body: body.as_bytes().to_vec() };
            assert_eq!(answer(&response), expected, "{status} {body}");
        };
        check(200, r#"{"hookStatus":"SUCCEEDED","hookDetails":{"a":1}}"#, Answer::Succeeded);
        check(201, r#"{"hookStatus":"FAILED"}"#, Answer::Failed);
        check(200, r#"{"hookStatus":"IN_PROGRESS","callBackDelay":5}"#, Answer::InProgress { call_back_ms: 5_000 });
        check(200, r#"{"hookStatus":"IN_PROGRESS"}"#, Answer::InProgress { call_back_ms: 30_000 });
        check(200, r#"{"hookStatus":"IN_PROGRESS","callBackDelay":0}"#, Answer::InProgress { call_back_ms: 1_000 });
        check(200, r#"{"hookStatus":"MAYBE"}"#, Answer::Failed);
        check(200, "{}", Answer::Failed);
        check(200, "", Answer::Failed);
        check(404, r#"{"hookStatus":"SUCCEEDED"}"#, Answer::Failed);
        check(302, r#"{"hookStatus":"SUCCEEDED"}"#, Answer::Failed);
        check(503, "", Answer::None);
        check(429, "", Answer::None);
    }

    /// Answers every call that it went well.
    #[derive(Debug)]
    struct Content;

    impl HookCaller for Content {
        fn call<'a>(&'a self, _: &'a str, _: Vec<u8>) -> BoxFuture<'a, Result<HookResponse, String>> {
            let body = br#"{"hookStatus":"SUCCEEDED"}"#.to_vec();
            Box::pin(async { Ok(HookResponse { status: 200, body }) })
        }
    }

    #[tokio::test]
    async fn the_answer_of_a_hook_is_kept_when_another_one_fails() {
        let control = Control::open(Memory::store(), Arc::new(SystemClock), Settings::default()).await.unwrap();
        let control = control.with_hooks(Arc::new(Content));
        let (ecs, caller) = (EcsService::new(control.clone()), Caller::root("000000000000", "us-east-1"));
        ecs.create_cluster(&caller, Default::default()).await.unwrap();
        let container = json!({"name": "app", "image": "a", "memory": 6});
        let definition = json!({"family": "web", "containerDefinitions": [container]});
        ecs.register_task_definition(&caller, serde_json::from_value(definition).unwrap()).await.unwrap();
        let service = json!({"serviceName": "web", "taskDefinition": "web", "desiredCount": 1});
        ecs.create_service(&caller, serde_json::from_value(service).unwrap()).await.unwrap();

        let key = ServiceKey::service(control::scope(&caller), "default".parse().unwrap(), "web".parse().unwrap());
        let hook = |target: &str| json!({"hookTargetArn": target, "lifecycleStages": ["PRE_SCALE_UP"]});
        let task = hook("arn:aws:ecs:us-east-1:000000000000:task-definition/web:1");
        let run = |number: u32| {
            let expires_at = control.now().plus_seconds(60).as_millis();
            json!({"number": number, "hook": number, "status": "IN_PROGRESS", "call_at": 0, "expires_at": expires_at})
        };
        let mut record = find::row(&control.read(), &key).unwrap().record.clone();
        let rollout = json!({"configuration": {"lifecycleHooks": [task, hook("http://checks/ok")]},
            "service_deployment": "d", "green": record.deployments[0].id.to_string(), "direction": "FORWARD",
            "stage": "PRE_SCALE_UP", "since": 0, "production": 0, "test": 0, "runs": [run(0), run(1)], "runs_made": 2});
        record.rollout = Some(serde_json::from_value(rollout).unwrap());
        // Without a cluster no task can be launched.
        let cluster = keys::cluster(&key.scope, key.cluster.as_str());
        control.commit(Txn::new().put(key.path(), encode(&record)).delete(cluster)).await.unwrap();

        let hooks = Hooks::new(control.clone());
        assert_eq!(hooks.reconcile(&key).await.unwrap(), Wake::Again);
        let begin = control.now();
        let Wake::At(again) = hooks.reconcile(&key).await.unwrap() else { panic!("the one that fails is tried again") };
        assert!((begin.plus_millis(TRY_AGAIN_MS)..=control.now().plus_millis(TRY_AGAIN_MS)).contains(&again));
        let view = control.read();
        let rollout = find::row(&view, &key).unwrap().rollout.clone().unwrap();
        let statuses: Vec<_> = rollout.runs.iter().map(|run| run.status).collect();
        assert_eq!(statuses, [HookStatus::InProgress, HookStatus::Succeeded]);
    }
}
