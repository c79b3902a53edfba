//! What a task's definition only refers to: secrets, environment files, credentials of registries. They are asked for
//! when the task starts, are kept in memory for restarts of its containers, and are in no record. A new agent process
//! asks again when it needs them.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use gantry_api::task_values::{ContainerValues, TASK_VALUES_REFUSED, TaskValues};
use parking_lot::Mutex;
use tokio::{
    sync::OnceCell,
    time::{Instant, sleep},
};
use tracing::info;

use crate::{
    aws::{AwsClient, AwsError},
    gpus,
    reason::{ContainerReason, chain},
    task::{ContainerDefinition, TaskSpec},
};

/// How long a control plane that does not answer is asked again.
const PATIENCE: Duration = Duration::from_secs(120);
const AGAIN_AFTER: Duration = Duration::from_secs(1);

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
type Known = BTreeMap<String, Arc<OnceCell<TaskValues>>>;

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

    /// Asks for the values of a task, unless they are known.
    pub(crate) async fn of(&self, task: &TaskSpec) -> Result<(), ContainerReason> {
        let cell = Arc::clone(self.known.lock().entry(task.arn.clone()).or_default());
        cell.get_or_try_init(|| self.ask(task)).await.map(drop)
    }

    /// The values of a container.
    pub(crate) async fn of_container(&self, task: &TaskSpec, index: usize) -> Result<ContainerValues, ContainerReason> {
        let cell = Arc::clone(self.known.lock().entry(task.arn.clone()).or_default());
        let values = cell.get_or_try_init(|| self.ask(task)).await?;
        Ok(values.containers.get(&task.containers[index].name).cloned().unwrap_or_default())
    }

    /// Forgets the values of a task that has ended.
    pub(crate) fn forget(&self, task_arn: &str) {
        self.known.lock().remove(task_arn);
    }

    async fn ask(&self, task: &TaskSpec) -> Result<TaskValues, ContainerReason> {
        let failed = |message: String| ContainerReason::ResourceInitialization(message);
        let client = self.client.as_ref().ok_or_else(|| failed("there is nobody to ask for secrets".to_owned()))?;
        let (cluster, id) = (task.cluster_name(), task.id());
        let until = Instant::now() + PATIENCE;
        let mut retried = 0;
        loop {
            match client.task_values(cluster, id).await {
                Ok(values) => return Ok(values),
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

/// The variables that a container gets besides those of its definition. The first file that has a name counts, before it
/// the definition, before that the secrets; the platform's own names are the platform's, and which GPUs a container
/// was given nothing else says.
pub(crate) fn held_environment(definition: &ContainerDefinition, values: &ContainerValues) -> Vec<(String, String)> {
    let mut held: BTreeMap<&str, &str> = BTreeMap::new();
    for (name, value) in values.files.iter().flatten() {
        held.entry(name).or_insert(value);
    }
    held.retain(|name, _| definition.environment.iter().all(|(own, _)| own != name));
    held.extend(values.secrets.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let is_ours =
        |name: &str| PLATFORM.contains(&name) || (name == gpus::VISIBLE_DEVICES && !definition.gpu_ids.is_empty());
    let kept = held.into_iter().filter(|(name, _)| !is_ours(name));
    kept.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn secrets_come_before_the_definition_and_that_before_files() {
        let definition = ContainerDefinition {
            environment: pairs(&[("A", "definition"), ("B", "definition")]),
            ..ContainerDefinition::default()
        };
        let values = ContainerValues {
            secrets: pairs(&[("B", "secret"), ("AWS_EXECUTION_ENV", "mine"), ("AWS_REGION", "eu-west-1")]),
            files: vec![pairs(&[("A", "file 1"), ("C", "file 1")]), pairs(&[("C", "file 2"), ("D", "file 2")])],
            registry: None,
        };
        let expected = pairs(&[("AWS_REGION", "eu-west-1"), ("B", "secret"), ("C", "file 1"), ("D", "file 2")]);
        assert_eq!(held_environment(&definition, &values), expected);
    }

    #[test]
    fn only_a_container_without_gpus_is_told_by_its_secrets_and_files_which_it_sees() {
        let all = pairs(&[(gpus::VISIBLE_DEVICES, "all")]);
        let mut definition = ContainerDefinition::default();
        for values in [
            ContainerValues { secrets: all.clone(), ..ContainerValues::default() },
            ContainerValues { files: vec![all.clone()], ..ContainerValues::default() },
        ] {
            definition.gpu_ids = Vec::new();
            assert_eq!(held_environment(&definition, &values), all);
            definition.gpu_ids = vec!["g0".to_owned()];
            assert_eq!(held_environment(&definition, &values), []);
        }
    }
}
