//! Where the environment files of tasks and the transcripts of their sessions are: keys of the table `[task_files]`.
//! Each has a variable `GANTRY_TASK_FILES_` in capitals, but for the credentials: those are the variables of the AWS
//! SDKs.

use std::collections::BTreeSet;

use gantry_domain::arn::is_account;
use gantry_registry::blobs::S3Config;
use serde::Deserialize;

use super::blobs::{Secret, credentials};
use super::is_url;

/// As it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TaskFilesFile {
    endpoint: Option<String>,
    region: Option<String>,
    access_key_id: Option<String>,
    secret_access_key: Option<Secret>,
    accounts: Option<Vec<String>>,
}

/// An S3-compatible service.
#[derive(Debug, Clone)]
pub(crate) struct TaskFilesConfig {
    /// The service; which bucket, each file and each cluster says.
    pub(crate) service: S3Config,
    /// Whose tasks may use its buckets. An account's own policies name its own permissions only: without this every
    /// account could do what the operator's credentials can.
    pub(crate) accounts: BTreeSet<String>,
}

/// What was said, checked; none when nothing was. The buckets are for the operator's account and those that are named.
/// Mistakes are added to `mistakes`.
pub(super) fn build(
    file: Option<TaskFilesFile>,
    operator: &str,
    variable: impl Fn(&str) -> Option<String>,
    mistakes: &mut Vec<String>,
) -> Option<TaskFilesConfig> {
    let is_table = file.is_some();
    let file = file.unwrap_or_default();
    let said = |name: &str, file: Option<String>| variable(&format!("GANTRY_TASK_FILES_{name}")).or(file);
    let endpoint = said("ENDPOINT", file.endpoint);
    if let Some(endpoint) = endpoint.as_ref().filter(|endpoint| !is_url(endpoint)) {
        mistakes.push(format!("task_files: the endpoint '{endpoint}' is not a URL"));
    }
    let region = said("REGION", file.region);
    let credentials = credentials("task_files", file.access_key_id, file.secret_access_key, mistakes);
    let accounts = match variable("GANTRY_TASK_FILES_ACCOUNTS") {
        Some(text) => text.split(',').map(|account| account.trim().to_owned()).collect(),
        None => file.accounts.unwrap_or_default(),
    };
    for account in accounts.iter().filter(|account| !is_account(account)) {
        mistakes.push(format!("task_files: the account '{account}' is not twelve digits"));
    }
    let accounts = accounts.into_iter().chain([operator.to_owned()]).collect();
    let service = S3Config { endpoint, region, credentials, ..S3Config::default() };
    (is_table || service.endpoint.is_some()).then_some(TaskFilesConfig { service, accounts })
}

#[cfg(test)]
mod tests {
    use super::super::File;

    const OPERATOR: &str = "000000000000";

    #[test]
    fn files_are_for_the_operators_account_and_those_that_are_named() {
        let build = |text: &str, accounts: Option<&str>| {
            let file: File = toml::from_str(text).expect("is TOML");
            let mut mistakes = Vec::new();
            let get = |name: &str| accounts.filter(|_| name == "GANTRY_TASK_FILES_ACCOUNTS").map(str::to_owned);
            let config = super::build(file.task_files, OPERATOR, get, &mut mistakes).expect("is configured");
            (config.accounts.into_iter().collect::<Vec<_>>(), mistakes)
        };
        let named = "[task_files]\naccounts = [\"111122223333\"]\n";
        let other = Some("444455556666, 777788889999");
        for (text, variable, expected) in [
            ("[task_files]\n", None, vec![OPERATOR]),
            (named, None, vec![OPERATOR, "111122223333"]),
            (named, other, vec![OPERATOR, "444455556666", "777788889999"]),
        ] {
            let (accounts, mistakes) = build(text, variable);
            assert_eq!(accounts, expected);
            assert!(mistakes.is_empty());
        }
        let (_, mistakes) = build("[task_files]\naccounts = [\"*\"]\n", None);
        assert_eq!(mistakes, ["task_files: the account '*' is not twelve digits"]);
    }

    #[test]
    fn files_of_tasks_are_where_the_operator_says() {
        let build = |text: &str, endpoint: Option<&str>| {
            let file: File = toml::from_str(text).expect("is TOML");
            assert!(!format!("{file:?}").contains("the-secret"));
            let mut mistakes = Vec::new();
            let get = |name: &str| endpoint.filter(|_| name == "GANTRY_TASK_FILES_ENDPOINT").map(str::to_owned);
            (super::build(file.task_files, OPERATOR, get, &mut mistakes), mistakes)
        };
        assert!(build("", None).0.is_none());
        assert!(build("[task_files]\n", None).0.is_some_and(|config| config.service.endpoint.is_none()));
        let text = "[task_files]\nendpoint = \"http://s3.internal\"\naccess_key_id = \"id\"\n\
                    secret_access_key = \"the-secret\"\n";
        let (config, mistakes) = build(text, None);
        let config = config.expect("is configured");
        assert!(mistakes.is_empty() && config.service.credentials.is_some());
        assert!(!format!("{config:?}").contains("the-secret"));
        let (config, _) = build(text, Some("http://other"));
        assert_eq!(config.and_then(|config| config.service.endpoint).as_deref(), Some("http://other"));
        let (_, mistakes) = build("", Some("s3.internal"));
        assert_eq!(mistakes, ["task_files: the endpoint 's3.internal' is not a URL"]);
        let (_, mistakes) = build("[task_files]\naccess_key_id = \"id\"\n", None);
        assert!(mistakes.iter().any(|mistake| mistake.contains("go together")));
    }
}
