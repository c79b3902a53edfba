//! The task's own scale-in protection. It is asked for in the task role, so that the role decides.

use std::{sync::Arc, time::Duration};

use gantry_api::{
    agent::RoleKind,
    ecs::{Failure, GetTaskProtectionRequest, ProtectedTask, UpdateTaskProtectionRequest},
};
use hyper::{Method, StatusCode};
use serde::Deserialize;
use serde_json::json;
use tokio::time::timeout;

use super::{TaskEndpoint, answer::Answer};
use crate::{aws::AwsError, clock::rfc3339, credentials::InRole, host::Host};

/// A call may take this long.
const CALL_TIMEOUT: Duration = Duration::from_secs(4);

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Wanted {
    protection_enabled: Option<bool>,
    expires_in_minutes: Option<i32>,
}

/// No task has this id.
pub(super) fn unknown() -> Answer {
    let (status, code) = (StatusCode::NOT_FOUND, "ResourceNotFoundException");
    refusal(status, code, "Failed to find a task for the request", None)
}

pub(super) async fn answer(host: &Arc<Host>, endpoint: &TaskEndpoint, method: &Method, body: Option<&[u8]>) -> Answer {
    let task_arn = &endpoint.task.arn;
    let invalid = |message| refusal(StatusCode::BAD_REQUEST, "InvalidParameterException", message, Some(task_arn));
    let wanted = match *method {
        Method::GET => None,
        Method::PUT => {
            let Some(wanted) = body.and_then(|body| serde_json::from_slice::<Wanted>(body).ok()) else {
                return invalid("UpdateTaskProtection: failed to decode request");
            };
            let Some(enabled) = wanted.protection_enabled else {
                return invalid("Invalid request: does not contain 'ProtectionEnabled' field");
            };
            Some((enabled, wanted.expires_in_minutes))
        }
        _ => return Answer::new(StatusCode::METHOD_NOT_ALLOWED, &"method not allowed"),
    };
    let (Some(client), Some(_)) = (&host.client, host.credentials.of(task_arn, RoleKind::Task)) else {
        let message = "Invalid Request: no task IAM role credentials available for task";
        return refusal(StatusCode::FORBIDDEN, "AccessDeniedException", message, Some(task_arn));
    };
    let signer =
        InRole { credentials: Arc::clone(&host.credentials), task_arn: task_arn.clone(), role: RoleKind::Task };
    let client = client.signed_by(Arc::new(signer));
    let (cluster, tasks) = (Some(endpoint.task.cluster.clone()), vec![task_arn.clone()]);
    let call = async {
        match wanted {
            None => {
                let input = GetTaskProtectionRequest { cluster, tasks: Some(tasks) };
                client.get_task_protection(&input).await.map(|output| (output.protected_tasks, output.failures))
            }
            Some((enabled, minutes)) => {
                let input = UpdateTaskProtectionRequest {
                    cluster,
                    tasks: Some(tasks),
                    protection_enabled: Some(enabled),
                    expires_in_minutes: minutes,
                };
                client.update_task_protection(&input).await.map(|output| (output.protected_tasks, output.failures))
            }
        }
    };
    match timeout(CALL_TIMEOUT, call).await {
        Ok(Ok((protected, failures))) => outcome(task_arn, protected.unwrap_or_default(), failures.unwrap_or_default()),
        Ok(Err(error)) => refused(&error, task_arn),
        Err(_) => {
            let message = "Timed out calling ECS Task Protection API";
            refusal(StatusCode::GATEWAY_TIMEOUT, "RequestCanceled", message, Some(task_arn))
        }
    }
}

/// What the service said of the one task that it was asked about.
fn outcome(task_arn: &str, protected: Vec<ProtectedTask>, failures: Vec<Failure>) -> Answer {
    if let Some(failure) = failures.into_iter().next() {
        let failure = json!({"Arn": failure.arn, "Reason": failure.reason, "Detail": failure.detail});
        return Answer::ok(&json!({ "failure": failure }));
    }
    let Some(task) = protected.into_iter().next() else {
        let (status, code) = (StatusCode::INTERNAL_SERVER_ERROR, "ServerException");
        return refusal(status, code, "the service said nothing of the task", Some(task_arn));
    };
    let mut protection = json!({
        "ProtectionEnabled": task.protection_enabled.unwrap_or(false),
        "TaskArn": task.task_arn.unwrap_or_else(|| task_arn.to_owned()),
    });
    if let Some(at) = task.expiration_date {
        protection["ExpirationDate"] = json!(rfc3339((at.0 as u64).saturating_mul(1000)));
    }
    Answer::ok(&json!({ "protection": protection }))
}

fn refused(error: &AwsError, task_arn: &str) -> Answer {
    let (status, code, message) = match error {
        AwsError::Refused { code, message } if error.is_transient() => {
            (StatusCode::INTERNAL_SERVER_ERROR, code.clone(), message.clone())
        }
        AwsError::Refused { code, message } => (StatusCode::BAD_REQUEST, code.clone(), message.clone()),
        other => (StatusCode::INTERNAL_SERVER_ERROR, "ServerException".to_owned(), other.to_string()),
    };
    refusal(status, &code, &message, Some(task_arn))
}

fn refusal(status: StatusCode, code: &str, message: &str, task_arn: Option<&str>) -> Answer {
    let mut error = json!({"Code": code, "Message": message});
    if let Some(arn) = task_arn {
        error["Arn"] = json!(arn);
    }
    Answer::new(status, &json!({ "error": error }))
}
