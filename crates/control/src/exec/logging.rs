//! Where a session's transcript goes: what the cluster's `executeCommandConfiguration` says.

use gantry_api::ecs::{self, ExecuteCommandLogging, LogDriver};

use crate::records::Destination;

/// Whether a session may be without the log that it should have: only what the cluster names itself must be.
pub(super) fn must_be_logged(configuration: Option<&ecs::ClusterConfiguration>) -> bool {
    let execute = configuration.and_then(|configuration| configuration.execute_command_configuration.as_ref());
    execute.is_some_and(|execute| execute.logging == Some(ExecuteCommandLogging::Override))
}

/// The destination, if the session is to be logged.
///
/// `DEFAULT` (also when nothing is said) is the container's own awslogs configuration, `OVERRIDE` names group and
/// bucket.
pub(super) fn destination(
    configuration: Option<&ecs::ClusterConfiguration>,
    container: Option<&ecs::ContainerDefinition>,
    region: &str,
    session_id: &str,
) -> Option<Destination> {
    let execute = configuration.and_then(|configuration| configuration.execute_command_configuration.as_ref());
    match execute.and_then(|execute| execute.logging.as_ref()) {
        Some(ExecuteCommandLogging::None) => None,
        Some(ExecuteCommandLogging::Override) => {
            let named = execute?.log_configuration.as_ref()?;
            let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
            let log_group = given(&named.cloud_watch_log_group_name);
            let bucket = given(&named.s3_bucket_name);
            let prefix = named.s3_key_prefix.as_deref().unwrap_or_default().trim_matches('/');
            let slash = if prefix.is_empty() { "" } else { "/" };
            let object = format!("{prefix}{slash}{session_id}.log");
            Some(Destination {
                log_region: log_group.as_ref().map(|_| region.to_owned()),
                log_stream: log_group.as_ref().map(|_| session_id.to_owned()),
                log_group,
                object: bucket.as_ref().map(|_| object),
                bucket_encrypted: bucket.is_some() && named.s3_encryption_enabled == Some(true),
                bucket,
            })
        }
        _ => of_container(container?, region, session_id),
    }
}

fn of_container(container: &ecs::ContainerDefinition, region: &str, session_id: &str) -> Option<Destination> {
    let logging = container.log_configuration.as_ref()?;
    if logging.log_driver != Some(LogDriver::Awslogs) {
        return None;
    }
    let option = |name: &str| logging.options.as_ref()?.get(name).cloned().filter(|value| !value.is_empty());
    let stream = match option("awslogs-stream-prefix") {
        Some(prefix) => format!("{prefix}/{}/{session_id}", container.name.as_deref().unwrap_or_default()),
        None => session_id.to_owned(),
    };
    Some(Destination {
        log_group: Some(option("awslogs-group")?),
        log_region: Some(option("awslogs-region").unwrap_or_else(|| region.to_owned())),
        log_stream: Some(stream),
        ..Destination::default()
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::{Value, json};

    use super::*;

    fn check(configuration: Value, container: Value) -> Value {
        let configuration: ecs::ClusterConfiguration = serde_json::from_value(configuration).unwrap();
        let container: ecs::ContainerDefinition = serde_json::from_value(container).unwrap();
        let found = destination(Some(&configuration), Some(&container), "us-east-1", "ecs-execute-command-1");
        serde_json::to_value(found).unwrap()
    }

    #[test]
    fn a_transcript_goes_where_the_cluster_says() {
        let logged = json!({"name": "app", "logConfiguration": {"logDriver": "awslogs", "options": {
            "awslogs-group": "g", "awslogs-region": "eu-west-1", "awslogs-stream-prefix": "p"}}});
        let own = json!({
            "log_group": "g", "log_region": "eu-west-1", "log_stream": "p/app/ecs-execute-command-1"
        });
        let said = |said: Value| json!({"executeCommandConfiguration": said});
        assert_eq!(check(json!({}), logged.clone()), own);
        assert_eq!(check(said(json!({"logging": "DEFAULT"})), logged.clone()), own);
        assert_eq!(check(said(json!({"logging": "DEFAULT"})), json!({"name": "app"})), Value::Null);
        let elsewhere = json!({"name": "app", "logConfiguration": {"logDriver": "json-file"}});
        assert_eq!(check(json!({}), elsewhere), Value::Null);
        assert_eq!(check(said(json!({"logging": "NONE"})), logged.clone()), Value::Null);
        let named = json!({"logging": "OVERRIDE", "logConfiguration": {
            "cloudWatchLogGroupName": "exec", "s3BucketName": "b", "s3KeyPrefix": "logs/"}});
        let expected = json!({
            "log_group": "exec", "log_region": "us-east-1", "log_stream": "ecs-execute-command-1",
            "bucket": "b", "object": "logs/ecs-execute-command-1.log",
        });
        assert_eq!(check(said(named), logged.clone()), expected);
        for (prefix, object) in [("a/b", "a/b/ecs-execute-command-1.log"), ("/", "ecs-execute-command-1.log")] {
            let named = json!({"logging": "OVERRIDE", "logConfiguration": {
                "s3BucketName": "b", "s3KeyPrefix": prefix, "s3EncryptionEnabled": true}});
            let expected = json!({"bucket": "b", "object": object, "bucket_encrypted": true});
            assert_eq!(check(said(named), logged.clone()), expected);
        }
    }
}
