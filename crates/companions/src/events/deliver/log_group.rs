//! Targets that are log groups: an event of the stream that is named after rule and target.

use std::time::{SystemTime, UNIX_EPOCH};

use gantry_api::logs::{CreateLogStreamRequest, InputLogEvent, Logs as _, PutLogEventsRequest};
use gantry_api::{Caller, Fault};

use super::Outcome;
use crate::events::rows::TargetKey;
use crate::logs::Logs;

pub(super) async fn put(logs: &Logs, key: &TargetKey, group: &str, input: &str) -> Outcome {
    let scope = &key.rule.scope;
    let caller = Caller::root(&scope.account, &scope.region);
    let stream = format!("{}/{}", key.rule.rule, key.target);
    let put = || PutLogEventsRequest {
        log_group_name: Some(group.to_owned()),
        log_stream_name: Some(stream.clone()),
        log_events: Some(vec![InputLogEvent { message: Some(input.to_owned()), timestamp: Some(now_ms()) }]),
        ..Default::default()
    };
    let first = logs.put_log_events(&caller, put()).await;
    let done = match first {
        Err(fault) if fault.code == "ResourceNotFoundException" => {
            let create = CreateLogStreamRequest {
                log_group_name: Some(group.to_owned()),
                log_stream_name: Some(stream.clone()),
            };
            match logs.create_log_stream(&caller, create).await {
                Ok(_) => logs.put_log_events(&caller, put()).await.map(drop),
                Err(fault) if fault.code == "ResourceAlreadyExistsException" => {
                    logs.put_log_events(&caller, put()).await.map(drop)
                }
                Err(fault) => Err(fault),
            }
        }
        done => done.map(drop),
    };
    done.map_or_else(refusal, |()| Outcome::Delivered)
}

fn refusal(fault: Fault) -> Outcome {
    let reason = format!("{}: {}", fault.code, fault.message);
    if fault.status >= 500 { Outcome::Retry(reason) } else { Outcome::Refused(reason) }
}

fn now_ms() -> i64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX)
}
