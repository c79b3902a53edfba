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
    fn values<'a>(
        &'a self,
        task: &'a DesiredTask,
        role: &'a Caller,
    ) -> BoxFuture<'a, Result<TaskValues, ValuesFailure>> {
        self.find(task, role).boxed()
    }
}

/// What was read, by what it was referred to with: each once.
type Read = BTreeMap<String, String>;

impl ValuesOfCompanions {
    async fn find(&self, task: &DesiredTask, caller: &Caller) -> Result<TaskValues, ValuesFailure> {
        let containers = containers(task);
        let wanted: BTreeSet<&str> = containers.iter().flat_map(references).collect();
        let read = self.read(caller, wanted).await?;
        let mut values = TaskValues::default();
        for container in &containers {
            let of_container = ContainerValues {
                secrets: list(&container.secrets).iter().filter_map(|secret| named(secret, &read)).collect(),
                files: self.files_of(caller, container).await?,
                registry: registry_login(container, &read)?,
                log_options: log_secrets(container).iter().filter_map(|secret| named(secret, &read)).collect(),
                router_configuration: self.router_configuration_of(caller, container).await?,
            };
            if of_container != ContainerValues::default() {
                values.containers.insert(container.name.clone().unwrap_or_default(), of_container);
            }
        }
        Ok(values)
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
        matched(names, &answer.parameters.unwrap_or_default())
            .map_err(|names| ValuesFailure::NoParameters { region: region.to_owned(), names })
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

    /// What a log router includes, when that is in a bucket.
    async fn router_configuration_of(
        &self,
        caller: &Caller,
        container: &ContainerDefinition,
    ) -> Result<Option<String>, ValuesFailure> {
        let firelens = container.firelens_configuration.as_ref();
        let Some(options) = firelens.and_then(|firelens| firelens.options.as_ref()) else { return Ok(None) };
        if options.get("config-file-type").is_none_or(|kind| kind != "s3") {
            return Ok(None);
        }
        let arn = options.get("config-file-value").map(String::as_str).unwrap_or_default();
        self.files.router_configuration(&self.iam, caller, arn).await.map(Some)
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
    let secrets = list(&container.secrets).iter().chain(log_secrets(container));
    secrets.filter_map(|secret| secret.value_from.as_deref()).chain(login).collect()
}

/// The options of its log driver that are secrets.
fn log_secrets(container: &ContainerDefinition) -> &[Secret] {
    container.log_configuration.as_ref().map(|logging| list(&logging.secret_options)).unwrap_or_default()
}

/// Name and value.
fn named(secret: &Secret, read: &Read) -> Option<(String, String)> {
    Some((secret.name.clone()?, read.get(secret.value_from.as_deref()?)?.clone()))
}

/// The value of each parameter by what it was referred to with; the references that have none.
fn matched(references: &[String], found: &[Parameter]) -> Result<Read, Vec<String>> {
    let (mut read, mut missing) = (Read::new(), Vec::new());
    for reference in references {
        let parameter = found.iter().find(|parameter| is_called(parameter, reference));
        match parameter.and_then(|parameter| parameter.value.clone()) {
            Some(value) => drop(read.insert(reference.clone(), value)),
            None => missing.push(reference.clone()),
        }
    }
    if missing.is_empty() { Ok(read) } else { Err(missing) }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_without_a_value_is_said_and_not_left_out() {
        let parameter = |name: &str, selector: Option<&str>, value: Option<&str>| Parameter {
            arn: Some(format!("arn:aws:ssm:us-east-1:000000000000:parameter{name}")),
            name: Some(name.to_owned()),
            selector: selector.map(str::to_owned),
            value: value.map(str::to_owned),
            ..Parameter::default()
        };
        let found = [
            parameter("/a", None, Some("1")),
            parameter("/b", Some(":3"), Some("2")),
            // A secret read as a parameter, whose value is no text.
            parameter("/aws/reference/secretsmanager/binary", None, None),
        ];
        let arn = "arn:aws:ssm:us-east-1:000000000000:parameter/a";
        let references = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let read = matched(&references(&["/a", arn, "/b:3"]), &found);
        let expected = [("/a", "1"), (arn, "1"), ("/b:3", "2")];
        assert_eq!(read, Ok(expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into()));
        let missing = ["/b:03", "/aws/reference/secretsmanager/binary", "/gone"];
        assert_eq!(matched(&references(&[&["/a"][..], &missing].concat()), &found), Err(references(&missing)));
    }
}
