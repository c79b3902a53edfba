//! What ECS Exec needs of others: Systems Manager's operations on its sessions, and a place for their transcripts.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use gantry_api::{
    Caller, Fault,
    ssm::{
        DescribeSessionsRequest, DescribeSessionsResponse, GetConnectionStatusRequest, GetConnectionStatusResponse,
        ResumeSessionRequest, ResumeSessionResponse, StartSessionRequest, StartSessionResponse,
        TerminateSessionRequest, TerminateSessionResponse,
    },
};
use gantry_companions::{iam::Iam, ssm::Sessions};
use gantry_control::{
    Control,
    exec::{Transcripts, sessions},
    records::Destination,
};
use gantry_protocol::inside::Inside;
use serde_json::{Value, json};

/// Sessions, as the control plane keeps them.
pub(crate) struct SessionsOfTasks(pub(crate) Control);

#[async_trait]
impl Sessions for SessionsOfTasks {
    async fn start(&self, caller: &Caller, input: StartSessionRequest) -> Result<StartSessionResponse, Fault> {
        sessions::start(&self.0, caller, input).await
    }

    async fn resume(&self, caller: &Caller, input: ResumeSessionRequest) -> Result<ResumeSessionResponse, Fault> {
        sessions::resume(&self.0, caller, input).await
    }

    async fn terminate(
        &self,
        caller: &Caller,
        input: TerminateSessionRequest,
    ) -> Result<TerminateSessionResponse, Fault> {
        sessions::terminate(&self.0, caller, input).await
    }

    async fn describe(
        &self,
        caller: &Caller,
        input: DescribeSessionsRequest,
    ) -> Result<DescribeSessionsResponse, Fault> {
        sessions::describe(&self.0, caller, &input)
    }

    async fn connection_status(
        &self,
        caller: &Caller,
        input: GetConnectionStatusRequest,
    ) -> Result<GetConnectionStatusResponse, Fault> {
        Ok(sessions::connection_status(&self.0, caller, input))
    }
}

/// Who assumes the roles of tasks.
const TASKS: &str = "ecs-tasks.amazonaws.com";
/// Bytes of one log event, and events in one call: both below what CloudWatch Logs takes.
const EVENT_BYTES_MAX: usize = 200 * 1024;
const EVENTS_AT_A_TIME: usize = 4;

/// Writes transcripts in the name of the task's role, and so where that role may write.
pub(crate) struct TranscriptsOfTasks {
    pub(crate) iam: Iam,
    pub(crate) logs: Arc<Inside>,
}

/// The task's role as the task acts in it, for calls to `region`.
fn caller(iam: &Iam, task_arn: &str, role: Option<&str>, region: &str) -> Result<Caller, String> {
    let role = role.ok_or("the task has no task role.")?;
    let caller = iam.task_role_caller(role, task_arn);
    let caller = caller.ok_or_else(|| format!("the task role {role} does not exist or does not trust {TASKS}."))?;
    Ok(Caller { region: region.to_owned(), ..caller })
}

impl TranscriptsOfTasks {
    async fn call(&self, role: &Caller, operation: &str, input: &Value) -> Result<(), Fault> {
        self.logs.call(role, operation, input.to_string().as_bytes()).await.map(drop)
    }

    async fn begin(&self, task_arn: &str, role: Option<&str>, destination: &Destination) -> Result<(), String> {
        if destination.bucket.is_some() {
            return Err("there is no S3-compatible service for the transcripts of sessions.".to_owned());
        }
        let (Some(group), Some(region), Some(stream)) = log_stream(destination) else { return Ok(()) };
        let role = caller(&self.iam, task_arn, role, region)?;
        let input = json!({"logGroupName": group, "logStreamName": stream});
        match self.call(&role, "CreateLogStream", &input).await {
            Err(fault) if fault.code != "ResourceAlreadyExistsException" => Err(fault.message),
            _ => Ok(()),
        }
    }

    async fn write(
        &self,
        task_arn: &str,
        role: Option<&str>,
        destination: &Destination,
        transcript: &[u8],
    ) -> Result<(), String> {
        let (Some(group), Some(region), Some(stream)) = log_stream(destination) else { return Ok(()) };
        let role = caller(&self.iam, task_arn, role, region)?;
        let now_ms = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_millis();
        let text = String::from_utf8_lossy(transcript);
        let events: Vec<Value> =
            events(&text).into_iter().map(|event| json!({"timestamp": now_ms as u64, "message": event})).collect();
        for some in events.chunks(EVENTS_AT_A_TIME) {
            let input = json!({"logGroupName": group, "logStreamName": stream, "logEvents": some});
            self.call(&role, "PutLogEvents", &input).await.map_err(|fault| fault.to_string())?;
        }
        Ok(())
    }
}

fn log_stream(destination: &Destination) -> (Option<&str>, Option<&str>, Option<&str>) {
    let Destination { log_group, log_region, log_stream, .. } = destination;
    (log_group.as_deref(), log_region.as_deref(), log_stream.as_deref())
}

/// A transcript in events of whole lines, where lines are not too long for that.
fn events(transcript: &str) -> Vec<&str> {
    let mut events = Vec::new();
    let mut rest = transcript;
    while !rest.is_empty() {
        let mut end = rest.len().min(EVENT_BYTES_MAX);
        while !rest.is_char_boundary(end) {
            end -= 1;
        }
        if end < rest.len() {
            end = rest[..end].rfind('\n').map_or(end, |newline| newline + 1);
        }
        let (event, after) = rest.split_at(end);
        events.push(event);
        rest = after;
    }
    events
}

impl Transcripts for TranscriptsOfTasks {
    fn check<'a>(
        &'a self,
        task_arn: &'a str,
        role: Option<&'a str>,
        destination: &'a Destination,
    ) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(self.begin(task_arn, role, destination))
    }

    fn store<'a>(
        &'a self,
        task_arn: &'a str,
        role: Option<&'a str>,
        destination: &'a Destination,
        transcript: Vec<u8>,
    ) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move { self.write(task_arn, role, destination, &transcript).await })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::server::roles_for_tests::{TASK, iam_with_role};

    #[tokio::test]
    async fn a_transcript_is_written_in_the_role_that_the_task_may_take_on() {
        let condition = json!({"ArnLike": {"aws:SourceArn": "arn:aws:ecs:us-east-1:000000000000:*"}});
        let (iam, arn) = iam_with_role("web", &condition, &json!([])).await;
        for role in [arn.as_str(), "web"] {
            let caller = caller(&iam, TASK, Some(role), "eu-west-1").unwrap();
            assert!(caller.principal_arn.starts_with("arn:aws:sts::000000000000:assumed-role/web/"), "{role}");
            assert_eq!(caller.region, "eu-west-1");
        }
        let (iam, arn) = iam_with_role("web", &json!({}), &json!([])).await;
        let foreign = TASK.replace("000000000000", "111122223333");
        for (task, role) in [(foreign.as_str(), Some(arn.as_str())), (&foreign, Some("web")), (TASK, None)] {
            assert!(caller(&iam, task, role, "us-east-1").is_err(), "{task} {role:?}");
        }
        assert!(caller(&iam, TASK, Some(&arn), "us-east-1").is_ok());
    }

    #[test]
    fn a_transcript_is_cut_at_lines_where_it_can_be() {
        assert!(events("").is_empty());
        assert_eq!(events("a\nb"), ["a\nb"]);
        let line = format!("{}\n", "é".repeat(50_000));
        let text = line.repeat(3);
        assert_eq!(events(&text).iter().map(|event| event.len()).collect::<Vec<_>>(), [200_002, 100_001]);
        let long = "é".repeat(150_000);
        assert_eq!(events(&long).concat(), long);
        assert!(events(&long).iter().all(|event| event.len() <= EVENT_BYTES_MAX));
    }
}
