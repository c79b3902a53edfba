//! Gives tasks the values that they refer to: the control plane knows the task, the companions have the values, and the
//! task's execution role must be allowed to read them.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use futures_util::{FutureExt, future::BoxFuture};
use gantry_api::{
    Caller,
    agent::DesiredTask,
    ecs::{ContainerDefinition, Secret},
    ssm::{GetParametersRequest, GetParametersResult, Parameter},
    task_values::{ContainerValues, RegistryLogin, TaskValues},
};
use gantry_companions::{iam::Iam, secretsmanager::SecretsManager};
use gantry_control::door::ValuesOfTasks;
use gantry_domain::reason::{ServiceError, ValuesFailure};
use gantry_domain::secret::value_from::ValueFrom;
use gantry_protocol::inside::Inside;
use serde::Deserialize;

use super::task_files::TaskFiles;

/// Parameters of one request.
const PARAMETERS_AT_A_TIME: usize = 10;

/// IAM, Secrets Manager, Parameter Store and buckets.
pub(crate) struct ValuesOfCompanions {
    pub(crate) iam: Iam,
    pub(crate) secrets: SecretsManager,
    pub(crate) ssm: Inside,
    pub(crate) files: TaskFiles,
}

impl ValuesOfTasks for ValuesOfCompanions {
    fn values<'a>(&'a self, task: &'a DesiredTask) -> BoxFuture<'a, Result<TaskValues, ValuesFailure>> {
        self.find(task).boxed()
    }
}

/// What was read, by what it was referred to with: each once.
type Read = BTreeMap<String, String>;

impl ValuesOfCompanions {
    async fn find(&self, task: &DesiredTask) -> Result<TaskValues, ValuesFailure> {
        let caller = self.execution_role(task)?;
        let containers = containers(task);
        let wanted: BTreeSet<&str> = containers.iter().flat_map(references).collect();
        let read = self.read(&caller, wanted).await?;
        let mut values = TaskValues::default();
        for container in &containers {
            let of_container = ContainerValues {
                secrets: list(&container.secrets).iter().filter_map(|secret| variable(secret, &read)).collect(),
                files: self.files_of(&caller, container).await?,
                registry: registry_login(container, &read)?,
            };
            if of_container != ContainerValues::default() {
                values.containers.insert(container.name.clone().unwrap_or_default(), of_container);
            }
        }
        Ok(values)
    }

    /// The execution role as the task acts in it.
    fn execution_role(&self, task: &DesiredTask) -> Result<Caller, ValuesFailure> {
        let own = task.task_definition.execution_role_arn.as_deref();
        let role = task.overrides.execution_role_arn.as_deref().or(own).filter(|role| !role.is_empty());
        let role = role.ok_or(ValuesFailure::NoRole)?;
        let not_assumed = || ValuesFailure::NotAssumed { role: role.to_owned() };
        self.iam.task_role_caller(role, &task.task_arn).ok_or_else(not_assumed)
    }

    async fn read(&self, caller: &Caller, wanted: BTreeSet<&str>) -> Result<Read, ValuesFailure> {
        let mut read = Read::new();
        let mut parameters: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for text in wanted {
            match ValueFrom::parse(text, &caller.region).map_err(ValuesFailure::Reference)? {
                ValueFrom::Secret { text, region } => {
                    let value = self.secrets.value_of(caller, &text).await.map_err(|fault| ValuesFailure::Secret {
                        region,
                        reference: text.clone(),
                        error: ServiceError { code: fault.code.to_owned(), message: fault.message },
                    })?;
                    read.insert(text, value.0);
                }
                ValueFrom::Parameter { name, region } => parameters.entry(region).or_default().push(name),
            }
        }
        for (region, names) in parameters {
            for names in names.chunks(PARAMETERS_AT_A_TIME) {
                read.extend(self.parameters(caller, &region, names).await?);
            }
        }
        Ok(read)
    }

    async fn parameters(&self, caller: &Caller, region: &str, names: &[String]) -> Result<Read, ValuesFailure> {
        let failed = |code: &str, message: String| ValuesFailure::Parameters {
            region: region.to_owned(),
            error: ServiceError { code: code.to_owned(), message },
        };
        let caller = Caller { region: region.to_owned(), ..caller.clone() };
        let input = GetParametersRequest { names: Some(names.to_vec()), with_decryption: Some(true) };
        let body = serde_json::to_vec(&input).map_err(|error| failed("InternalServerError", error.to_string()))?;
        let answer = self.ssm.call(&caller, "GetParameters", &body).await;
        let answer = answer.map_err(|fault| failed(fault.code, fault.message))?;
        let answer: GetParametersResult =
            serde_json::from_slice(&answer).map_err(|error| failed("InternalServerError", error.to_string()))?;
        let missing = answer.invalid_parameters.unwrap_or_default();
        if !missing.is_empty() {
            return Err(ValuesFailure::NoParameters { region: region.to_owned(), names: missing });
        }
        let found = answer.parameters.unwrap_or_default();
        let of = |name: &String| {
            let parameter = found.iter().find(|parameter| is_called(parameter, name))?;
            Some((name.clone(), parameter.value.clone()?))
        };
        Ok(names.iter().filter_map(of).collect())
    }

    async fn files_of(
        &self,
        caller: &Caller,
        container: &ContainerDefinition,
    ) -> Result<Vec<Vec<(String, String)>>, ValuesFailure> {
        let mut files = Vec::new();
        for file in list(&container.environment_files) {
            files.push(self.files.variables(&self.iam, caller, file.value.as_deref().unwrap_or_default()).await?);
        }
        Ok(files)
    }
}

/// The containers with the overrides that matter here.
fn containers(task: &DesiredTask) -> Vec<ContainerDefinition> {
    let mut containers = task.task_definition.container_definitions.clone().unwrap_or_default();
    for change in task.overrides.container_overrides.iter().flatten() {
        let changed = containers.iter_mut().find(|container| container.name == change.name);
        if let (Some(container), Some(files)) = (changed, &change.environment_files) {
            container.environment_files = Some(files.clone());
        }
    }
    containers
}

/// What a container refers to.
fn references(container: &ContainerDefinition) -> Vec<&str> {
    let login = container.repository_credentials.as_ref();
    let login = login.and_then(|credentials| credentials.credentials_parameter.as_deref());
    list(&container.secrets).iter().filter_map(|secret| secret.value_from.as_deref()).chain(login).collect()
}

fn variable(secret: &Secret, read: &Read) -> Option<(String, String)> {
    Some((secret.name.clone()?, read.get(secret.value_from.as_deref()?)?.clone()))
}

/// Whether a reference means this parameter.
fn is_called(parameter: &Parameter, reference: &str) -> bool {
    let selector = parameter.selector.as_deref().unwrap_or_default();
    let is = |name: &Option<String>| name.as_ref().is_some_and(|name| format!("{name}{selector}") == reference);
    is(&parameter.name) || is(&parameter.arn)
}

fn registry_login(container: &ContainerDefinition, read: &Read) -> Result<Option<RegistryLogin>, ValuesFailure> {
    #[derive(Deserialize)]
    struct Login {
        username: String,
        password: String,
    }
    let Some(credentials) = &container.repository_credentials else { return Ok(None) };
    let text = credentials.credentials_parameter.as_ref().and_then(|reference| read.get(reference));
    let login: Option<Login> = text.and_then(|text| serde_json::from_str(text).ok());
    let login = login.ok_or(ValuesFailure::Credentials)?;
    Ok(Some(RegistryLogin { username: login.username, password: login.password }))
}

fn list<T>(list: &Option<Vec<T>>) -> &[T] {
    list.as_deref().unwrap_or_default()
}
