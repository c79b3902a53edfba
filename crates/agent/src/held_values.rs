//! What a task's definition only refers to: secrets, environment files, credentials of registries, options of log
//! drivers, the configuration of a log router. They are asked for when the task starts, are kept in memory for restarts
//! of its containers, and are in no record. A new agent process asks again when it needs them.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use gantry_api::task_values::{LOG_OPTIONS_PATH, TASK_VALUES_PATH, TASK_VALUES_REFUSED, TaskValues};
use parking_lot::Mutex;
use tokio::{
    sync::OnceCell,
    time::{Instant, sleep},
};
use tracing::{info, warn};

use crate::{
    aws::{AwsClient, AwsError},
    firelens, gpus,
    reason::{ContainerReason, chain},
    task::TaskSpec,
};

/// How long a control plane that does not answer is asked again.
const PATIENCE: Duration = Duration::from_secs(120);
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// The longest pause between questions for options without which output waits.
const AGAIN_AFTER_MAX: Duration = Duration::from_secs(60);

/// Variables of the platform, which nothing takes the place of.
const PLATFORM: [&str; 6] = [
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_EXECUTION_ENV",
    "ECS_AGENT_URI",
    "ECS_CONTAINER_METADATA_FILE",
    "ECS_CONTAINER_METADATA_URI",
    "ECS_CONTAINER_METADATA_URI_V4",
];

/// Values by task, asked for once.
type Known = BTreeMap<String, Arc<OnceCell<Arc<TaskValues>>>>;

/// Options of a log driver, and their values.
pub(crate) type LogOptions = Vec<(String, String)>;

/// The values of the tasks of this host.
pub(crate) struct HeldValues {
    client: Option<Arc<AwsClient>>,
    known: Mutex<Known>,
}

impl HeldValues {
    /// Without a client (tests) no task gets any.
    pub(crate) fn new(client: Option<Arc<AwsClient>>) -> Self {
        Self { client, known: Mutex::default() }
    }

    /// The values of a task: asked for, unless they are known.
    pub(crate) async fn of(&self, task: &TaskSpec) -> Result<Arc<TaskValues>, ContainerReason> {
        let cell = Arc::clone(self.known.lock().entry(task.arn.clone()).or_default());
        cell.get_or_try_init(|| self.ask(task)).await.cloned()
    }

    /// The options of a container's log driver, for output that waits for them: asked for as long as it takes, by
    /// themselves, and also when the task has ended. None when the task is known nowhere any more.
    pub(crate) async fn log_options(&self, task: &TaskSpec, index: usize) -> Option<LogOptions> {
        let mut delay = AGAIN_AFTER;
        loop {
            let known = self.known.lock().get(&task.arn).and_then(|cell| cell.get().cloned());
            if let Some(values) = known {
                return Some(log_options(task, index, &values));
            }
            let client = self.client.as_ref()?;
            let error = match client.task_values(LOG_OPTIONS_PATH, task.cluster_name(), task.id()).await {
                Ok(values) => return Some(log_options(task, index, &values)),
                Err(error) => error,
            };
            // A permission may come back, as everything else; a task does not.
            if error.code() == Some("InvalidParameterException") {
                return None;
            }
            warn!(task = task.id(), error = chain(&error), "output waits for options of its log driver");
            sleep(delay).await;
            delay = (delay * 2).min(AGAIN_AFTER_MAX);
        }
    }

    /// Forgets the values of a task that has ended.
    pub(crate) fn forget(&self, task_arn: &str) {
        self.known.lock().remove(task_arn);
    }

    async fn ask(&self, task: &TaskSpec) -> Result<Arc<TaskValues>, ContainerReason> {
        let failed = |message: String| ContainerReason::ResourceInitialization(message);
        let client = self.client.as_ref().ok_or_else(|| failed("there is nobody to ask for secrets".to_owned()))?;
        let (cluster, id) = (task.cluster_name(), task.id());
        let until = Instant::now() + PATIENCE;
        let mut retried = 0;
        loop {
            match client.task_values(TASK_VALUES_PATH, cluster, id).await {
                Ok(values) => return Ok(Arc::new(values)),
                Err(AwsError::Refused { code, message }) if code == TASK_VALUES_REFUSED => return Err(failed(message)),
                Err(error) if error.is_transient() && Instant::now() < until => {
                    info!(task = id, error = chain(&error), "values of the task are asked for again");
                    retried += 1;
                    sleep(AGAIN_AFTER).await;
                }
                Err(error) => {
                    return Err(failed(format!(
                        "unable to pull secrets or registry auth: execution resource retrieval failed: service call has \
                         been retried {retried} time(s): {}",
                        chain(&error)
                    )));
                }
            }
        }
    }
}

/// The options of a container's log driver that are secrets.
pub(crate) fn log_options(task: &TaskSpec, index: usize, values: &TaskValues) -> LogOptions {
    values.containers.get(&task.containers[index].name).map(|own| own.log_options.clone()).unwrap_or_default()
}

/// The variables that a container gets besides those of its definition. The first file that has a name counts, before it
/// the definition, before that the secrets, and those that the configuration of a log router names; the platform's own
/// names are the platform's, and which GPUs a container was given nothing else says.
pub(crate) fn held_environment(task: &TaskSpec, index: usize, values: &TaskValues) -> Vec<(String, String)> {
    let definition = &task.containers[index];
    let own = values.containers.get(&definition.name);
    let mut held: BTreeMap<&str, &str> = BTreeMap::new();
    for (name, value) in own.iter().flat_map(|own| own.files.iter().flatten()) {
        held.entry(name).or_insert(value);
    }
    held.retain(|name, _| definition.environment.iter().all(|(own, _)| own != name));
    held.extend(own.iter().flat_map(|own| &own.secrets).map(|(name, value)| (name.as_str(), value.as_str())));
    let of_router = if definition.firelens.is_some() { router_variables(task, values) } else { Vec::new() };
    held.extend(of_router.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let is_ours =
        |name: &str| PLATFORM.contains(&name) || (name == gpus::VISIBLE_DEVICES && !definition.gpu_ids.is_empty());
    let kept = held.into_iter().filter(|(name, _)| !is_ours(name));
    kept.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// What the configuration of the task's log router names instead of values.
fn router_variables(task: &TaskSpec, values: &TaskValues) -> Vec<(String, String)> {
    let containers = task.containers.iter().enumerate();
    let senders = containers.filter(|(_, container)| container.log.driver == firelens::DRIVER);
    let of_sender = |(index, _)| {
        let options = log_options(task, index, values).into_iter();
        options.map(move |(option, value)| (firelens::variable(&option, index), value))
    };
    senders.flat_map(of_sender).collect()
}

#[cfg(test)]
impl HeldValues {
    /// Values that nobody has to be asked for.
    pub(crate) fn known(task: &TaskSpec, values: TaskValues) -> Self {
        let known = Known::from([(task.arn.clone(), Arc::new(OnceCell::new_with(Some(Arc::new(values)))))]);
        Self { client: None, known: Mutex::new(known) }
    }
}

#[cfg(test)]
mod tests {
    use gantry_api::task_values::ContainerValues;

    use super::*;
    use crate::{
        engine_tests::{container, task},
        task::{ContainerDefinition, Firelens, LogConfiguration, RouterKind},
    };

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    /// Of a task of one container.
    fn held(definition: &ContainerDefinition, values: ContainerValues) -> Vec<(String, String)> {
        let values = TaskValues { containers: [(definition.name.clone(), values)].into() };
        held_environment(&task(vec![definition.clone()]), 0, &values)
    }

    #[test]
    fn secrets_come_before_the_definition_and_that_before_files() {
        let environment = pairs(&[("A", "definition"), ("B", "definition")]);
        let definition = ContainerDefinition { environment, ..container("app") };
        let values = ContainerValues {
            secrets: pairs(&[("B", "secret"), ("AWS_EXECUTION_ENV", "mine"), ("AWS_REGION", "eu-west-1")]),
            files: vec![pairs(&[("A", "file 1"), ("C", "file 1")]), pairs(&[("C", "file 2"), ("D", "file 2")])],
            ..ContainerValues::default()
        };
        let expected = pairs(&[("AWS_REGION", "eu-west-1"), ("B", "secret"), ("C", "file 1"), ("D", "file 2")]);
        assert_eq!(held(&definition, values), expected);
    }

    #[test]
    fn only_a_container_without_gpus_is_told_by_its_secrets_and_files_which_it_sees() {
        let all = pairs(&[(gpus::VISIBLE_DEVICES, "all")]);
        let mut definition = container("app");
        for values in [
            ContainerValues { secrets: all.clone(), ..ContainerValues::default() },
            ContainerValues { files: vec![all.clone()], ..ContainerValues::default() },
        ] {
            definition.gpu_ids = Vec::new();
            assert_eq!(held(&definition, values.clone()), all);
            definition.gpu_ids = vec!["g0".to_owned()];
            assert_eq!(held(&definition, values), []);
        }
    }

    #[test]
    fn a_router_is_told_the_secret_options_of_each_sender_and_nobody_else_is() {
        let sender = |name: &str, driver: &str| ContainerDefinition {
            log: LogConfiguration { driver: driver.to_owned(), ..LogConfiguration::default() },
            ..container(name)
        };
        let router = ContainerDefinition {
            firelens: Some(Firelens {
                kind: RouterKind::Fluentbit,
                metadata: true,
                config_file: None,
                is_fetched: false,
            }),
            ..container("router")
        };
        let containers =
            vec![sender("one", firelens::DRIVER), router, sender("two", firelens::DRIVER), sender("three", "splunk")];
        let options =
            |value: &str| ContainerValues { log_options: pairs(&[("apikey", value)]), ..ContainerValues::default() };
        let values = ["one", "two", "three"].map(|name| (name.to_owned(), options(name)));
        let (task, values) = (task(containers), TaskValues { containers: values.into() });
        assert_eq!(held_environment(&task, 1, &values), pairs(&[("apikey_0", "one"), ("apikey_2", "two")]));
        for sender in [0, 2, 3] {
            assert_eq!(held_environment(&task, sender, &values), []);
        }
    }
}
