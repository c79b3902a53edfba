//! Where log events go: CloudWatch Logs, as far as the shipper needs it.

use async_trait::async_trait;
use gantry_api::logs::{InputLogEvent, PutLogEventsRequest};

use super::{event::LogEvent, options::AwsLogs};
use crate::aws::{AwsClient, AwsError};

#[async_trait]
pub(crate) trait LogSink: Send + Sync {
    /// Makes the stream, and the group where that is asked for. Existing ones are fine.
    async fn create(&self, to: &AwsLogs) -> Result<(), AwsError>;

    /// Delivers events in the order of time.
    async fn put(&self, to: &AwsLogs, events: &[LogEvent]) -> Result<(), AwsError>;
}

#[async_trait]
impl LogSink for AwsClient {
    async fn create(&self, to: &AwsLogs) -> Result<(), AwsError> {
        let stream = || self.create_log_stream(&to.region, &to.group, &to.stream);
        match existing_is_fine(stream().await) {
            Err(error) if to.create_group && error.code() == Some("ResourceNotFoundException") => {
                existing_is_fine(self.create_log_group(&to.region, &to.group).await)?;
                existing_is_fine(stream().await)
            }
            other => other,
        }
    }

    async fn put(&self, to: &AwsLogs, events: &[LogEvent]) -> Result<(), AwsError> {
        let mut log_events: Vec<InputLogEvent> = events
            .iter()
            .map(|event| InputLogEvent { timestamp: Some(event.timestamp_ms()), message: Some(event.message.clone()) })
            .collect();
        log_events.sort_by_key(|event| event.timestamp);
        let input = PutLogEventsRequest {
            log_group_name: Some(to.group.clone()),
            log_stream_name: Some(to.stream.clone()),
            log_events: Some(log_events),
            ..Default::default()
        };
        self.put_log_events(&to.region, &input).await
    }
}

fn existing_is_fine(outcome: Result<(), AwsError>) -> Result<(), AwsError> {
    match outcome {
        Err(error) if error.code() == Some("ResourceAlreadyExistsException") => Ok(()),
        other => other,
    }
}
