//! The log driver `awslogs`: streams of CloudWatch Logs.

use std::sync::Arc;

use async_trait::async_trait;
use tracing::debug;

use super::{
    destination::{DeliveryError, Destination},
    event::LogEvent,
    options::AwsLogs,
    sink::LogSink,
};
use crate::{aws::AwsError, reason::chain};

pub(crate) struct CloudWatch {
    pub(crate) sink: Arc<dyn LogSink>,
    pub(crate) to: AwsLogs,
    /// Fargate tells how often it tried.
    pub(crate) retried: bool,
}

#[async_trait]
impl Destination for CloudWatch {
    async fn prepare(&self) -> Result<(), DeliveryError> {
        self.sink.create(&self.to).await.map_err(|error| {
            let tried = if self.retried { "create stream has been retried 1 times: " } else { "" };
            let text = format!("{tried}failed to create Cloudwatch log stream: {}", chain(&error));
            if error.is_transient() { DeliveryError::Later(text) } else { DeliveryError::Never(text) }
        })
    }

    async fn deliver(&self, events: &[LogEvent]) -> Result<(), DeliveryError> {
        match self.sink.put(&self.to, events).await {
            Ok(()) => Ok(()),
            Err(error) if is_missing(&error) => {
                // The stream was not made yet, as the control plane was away, or was deleted.
                if let Err(error) = self.sink.create(&self.to).await {
                    debug!(stream = self.to.stream, error = chain(&error), "log stream not made");
                    return Err(failure(&error));
                }
                self.sink.put(&self.to, events).await.map_err(|error| failure(&error))
            }
            Err(error) => Err(failure(&error)),
        }
    }

    fn describe(&self) -> String {
        self.to.stream.clone()
    }
}

fn is_missing(error: &AwsError) -> bool {
    error.code() == Some("ResourceNotFoundException")
}

fn failure(error: &AwsError) -> DeliveryError {
    let hopeless = ["InvalidParameterException", "SerializationException", "ValidationException"];
    match error.code() {
        Some(code) if hopeless.contains(&code) => DeliveryError::Never(chain(error)),
        _ => DeliveryError::Later(chain(error)),
    }
}
