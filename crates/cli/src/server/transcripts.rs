//! Transcripts of ECS Exec's sessions: into CloudWatch Logs and buckets, in the name of the task's role.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use gantry_api::{Caller, Fault};
use gantry_companions::iam::Iam;
use gantry_control::{
    exec::{NotStored, Transcripts},
    records::Destination,
};
use gantry_domain::bucket::is_object;
use gantry_protocol::inside::Inside;
use serde_json::{Value, json};

use super::buckets::{Bucket, Buckets};

/// Who assumes the roles of tasks.
const TASKS: &str = "ecs-tasks.amazonaws.com";
/// Bytes of one log event, and events in one call: both below what CloudWatch Logs takes.
const EVENT_BYTES_MAX: usize = 200 * 1024;
const EVENTS_AT_A_TIME: usize = 4;

/// Writes transcripts in the name of the task's role, and so where that role may write.
pub(crate) struct TranscriptsOfTasks {
    pub(crate) iam: Iam,
    pub(crate) logs: Arc<Inside>,
    pub(crate) buckets: Buckets,
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
        if let Some(object) = object(destination) {
            let bucket = self.bucket(task_arn, role, &object)?;
            bucket.check(object.encrypted).await?;
        }
        let Some(stream) = log_stream(destination) else { return Ok(()) };
        let role = caller(&self.iam, task_arn, role, stream.region)?;
        let input = json!({"logGroupName": stream.group, "logStreamName": stream.name});
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
        transcript: Bytes,
    ) -> Result<(), NotStored> {
        match (object(destination), log_stream(destination)) {
            (Some(object), _) => self.put(task_arn, role, &object, transcript).await,
            (None, Some(stream)) => self.log(task_arn, role, &stream, &transcript).await.map_err(NotStored::Refused),
            (None, None) => Ok(()),
        }
    }

    async fn put(
        &self,
        task_arn: &str,
        role: Option<&str>,
        object: &Object<'_>,
        transcript: Bytes,
    ) -> Result<(), NotStored> {
        let bucket = self.bucket(task_arn, role, object).map_err(NotStored::Refused)?;
        bucket.put(object.key, transcript).await
    }

    /// The bucket, for a role that may do there what the real service does in its name.
    fn bucket(&self, task_arn: &str, role: Option<&str>, object: &Object<'_>) -> Result<Bucket, String> {
        let Object { bucket, key, encrypted } = *object;
        if !is_object(bucket, key) {
            return Err(format!("there can be no object {key} in a bucket {bucket}."));
        }
        // Buckets have no region that matters here.
        let role = caller(&self.iam, task_arn, role, "us-east-1")?;
        let whole = format!("arn:aws:s3:::{bucket}");
        let one = format!("{whole}/{key}");
        let needed =
            [("s3:GetBucketLocation", &whole), ("s3:GetEncryptionConfiguration", &whole), ("s3:PutObject", &one)];
        let needed = needed.into_iter().filter(|(action, _)| encrypted || *action != "s3:GetEncryptionConfiguration");
        self.buckets.open(&self.iam, &role, bucket, needed)
    }

    async fn log(
        &self,
        task_arn: &str,
        role: Option<&str>,
        stream: &Stream<'_>,
        transcript: &[u8],
    ) -> Result<(), String> {
        let role = caller(&self.iam, task_arn, role, stream.region)?;
        let now_ms = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_millis();
        let text = String::from_utf8_lossy(transcript);
        let events: Vec<Value> =
            events(&text).into_iter().map(|event| json!({"timestamp": now_ms as u64, "message": event})).collect();
        for some in events.chunks(EVENTS_AT_A_TIME) {
            let input = json!({"logGroupName": stream.group, "logStreamName": stream.name, "logEvents": some});
            self.call(&role, "PutLogEvents", &input).await.map_err(|fault| fault.to_string())?;
        }
        Ok(())
    }
}

/// Where in CloudWatch Logs.
struct Stream<'a> {
    group: &'a str,
    region: &'a str,
    name: &'a str,
}

/// Where in which bucket.
struct Object<'a> {
    bucket: &'a str,
    key: &'a str,
    /// The bucket has to encrypt.
    encrypted: bool,
}

fn log_stream(destination: &Destination) -> Option<Stream<'_>> {
    let Destination { log_group, log_region, log_stream, .. } = destination;
    Some(Stream { group: log_group.as_deref()?, region: log_region.as_deref()?, name: log_stream.as_deref()? })
}

fn object(destination: &Destination) -> Option<Object<'_>> {
    let Destination { bucket, object, bucket_encrypted, .. } = destination;
    Some(Object {
        bucket: bucket.as_deref()?,
        key: object.as_deref().unwrap_or_default(),
        encrypted: *bucket_encrypted,
    })
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
        transcript: Bytes,
    ) -> BoxFuture<'a, Result<(), NotStored>> {
        Box::pin(self.write(task_arn, role, destination, transcript))
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
