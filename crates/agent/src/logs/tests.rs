//! Delivery, against a CloudWatch Logs that is away, forgets streams, or refuses.

#![allow(clippy::unwrap_used)]

use std::{fs::File, io::Write, sync::Arc};

use async_trait::async_trait;
use gantry_api::task_values::{ContainerValues, TaskValues};
use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

use super::{event::LogEvent, options::AwsLogs, *};
use crate::aws::AwsError;
use crate::task::{About, ContainerDefinition, LogConfiguration, Roles, SharedNamespace, TaskNetwork};

#[derive(Default)]
struct FakeLogs {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    /// Streams that exist.
    streams: Vec<String>,
    groups: Vec<String>,
    delivered: Vec<String>,
    /// Answers to the next calls; success when there is none.
    refusals: Vec<&'static str>,
    away: bool,
    calls: usize,
}

fn refused(code: &str) -> AwsError {
    AwsError::Refused { code: code.into(), message: "no".into() }
}

impl FakeLogs {
    fn answer(&self) -> Result<(), AwsError> {
        let mut state = self.state.lock();
        state.calls += 1;
        if state.away {
            return Err(refused("ServiceUnavailableException"));
        }
        if state.refusals.is_empty() { Ok(()) } else { Err(refused(state.refusals.remove(0))) }
    }

    async fn until(&self, condition: impl Fn(&State) -> bool) {
        loop {
            let changed = self.changed.notified();
            if condition(&self.state.lock()) {
                return;
            }
            changed.await;
        }
    }
}

#[async_trait]
impl LogSink for FakeLogs {
    async fn create(&self, to: &AwsLogs) -> Result<(), AwsError> {
        self.answer()?;
        let mut state = self.state.lock();
        if !state.groups.contains(&to.group) {
            if !to.create_group {
                return Err(AwsError::Refused {
                    code: "ResourceNotFoundException".into(),
                    message: "The specified log group does not exist.".into(),
                });
            }
            state.groups.push(to.group.clone());
        }
        state.streams.push(to.stream.clone());
        Ok(())
    }

    async fn put(&self, to: &AwsLogs, events: &[LogEvent]) -> Result<(), AwsError> {
        let outcome = self.answer().and_then(|()| {
            let mut state = self.state.lock();
            if !state.streams.contains(&to.stream) {
                return Err(refused("ResourceNotFoundException"));
            }
            state.delivered.extend(events.iter().map(|event| event.message.clone()));
            Ok(())
        });
        self.changed.notify_waiters();
        outcome
    }
}

const ID: &str = "0123-1";

fn task(options: &[(&str, &str)], launch_type: LaunchType) -> Arc<TaskSpec> {
    let options = options.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    Arc::new(TaskSpec {
        arn: "arn:aws:ecs:us-east-1:000000000000:task/default/0123".into(),
        cluster: "default".into(),
        family: "web".into(),
        revision: 1,
        launch_type,
        network: TaskNetwork::Bridge,
        pid: SharedNamespace::Private,
        ipc: SharedNamespace::Private,
        cpu_units: None,
        memory_mib: None,
        ephemeral_storage_gib: None,
        volumes: Vec::new(),
        containers: vec![ContainerDefinition {
            name: "app".into(),
            log: LogConfiguration { driver: "awslogs".into(), options, secret_options: Vec::new() },
            ..Default::default()
        }],
        roles: Roles::default(),
        about: About::default(),
        refused: None,
    })
}

const GROUP: (&str, &str) = ("awslogs-group", "web");
const PREFIX: (&str, &str) = ("awslogs-stream-prefix", "ecs");
const CREATE: (&str, &str) = ("awslogs-create-group", "true");

struct Bed {
    sink: Arc<FakeLogs>,
    dir: TempDir,
}

impl Bed {
    fn new() -> Self {
        Self { sink: Arc::default(), dir: TempDir::new().unwrap() }
    }

    /// The logs of one agent process.
    fn logs(&self) -> Logs {
        self.logs_with(HeldValues::new(None))
    }

    fn logs_with(&self, values: HeldValues) -> Logs {
        let clock = Clock::Tokio { start_ms: 1_000_000, start: Instant::now() };
        let sink: Arc<dyn LogSink> = self.sink.clone();
        let sinks: LogSinks = Arc::new(move |_| Arc::clone(&sink));
        Logs::open(self.dir.path().into(), "us-east-1", Some(sinks), Arc::new(values), clock).unwrap()
    }

    fn print(&self, lines: &[&str]) {
        let path = self.dir.path().join(file_name(ID));
        let mut file = File::options().append(true).create(true).open(path).unwrap();
        for line in lines {
            let time = "2026-01-02T03:04:05.123456789Z";
            let entry = serde_json::json!({"log": format!("{line}\n"), "stream": "stdout", "time": time});
            writeln!(file, "{entry}").unwrap();
        }
    }

    fn delivered(&self) -> Vec<String> {
        self.sink.state.lock().delivered.clone()
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_printed_is_delivered_while_it_runs_and_at_its_end() {
    let bed = Bed::new();
    let logs = bed.logs();
    let task = task(&[GROUP, PREFIX, CREATE], LaunchType::Ec2);
    logs.prepare(&task, 0, ID).await.unwrap();
    assert_eq!(bed.sink.state.lock().streams, ["ecs/app/0123"]);
    bed.print(&["one"]);
    logs.follow(&task, 0, ID, None, None);
    bed.sink.until(|state| state.delivered.len() == 1).await;
    bed.print(&["two", "three"]);
    bed.sink.until(|state| state.delivered.len() == 3).await;
    bed.print(&["four"]);
    logs.flush(ID).await;
    assert_eq!(bed.delivered(), ["one", "two", "three", "four"]);
    logs.forget(&[ID.to_owned()]).await;
    assert!(!bed.dir.path().join(file_name(ID)).exists());
}

#[tokio::test(start_paused = true)]
async fn the_next_agent_goes_on_where_the_last_one_stopped() {
    let bed = Bed::new();
    let task = task(&[GROUP, PREFIX, CREATE], LaunchType::Ec2);
    let first = bed.logs();
    first.prepare(&task, 0, ID).await.unwrap();
    bed.print(&["one", "two"]);
    first.follow(&task, 0, ID, None, None);
    bed.sink.until(|state| state.delivered.len() == 2).await;
    // The position is written right after the delivery; a killed agent that missed it sends again.
    while !bed.dir.path().join("positions").join(format!("{ID}.json")).exists() {
        tokio::task::yield_now().await;
    }
    drop(first);
    bed.print(&["three"]);
    let second = bed.logs();
    second.follow(&task, 0, ID, None, None);
    second.flush(ID).await;
    assert_eq!(bed.delivered(), ["one", "two", "three"]);
}

#[tokio::test(start_paused = true)]
async fn a_control_plane_that_is_away_delays_logs_but_not_tasks() {
    let bed = Bed::new();
    bed.sink.state.lock().away = true;
    let logs = bed.logs();
    let task = task(&[GROUP, PREFIX, CREATE], LaunchType::Ec2);
    logs.prepare(&task, 0, ID).await.unwrap();
    logs.follow(&task, 0, ID, None, None);
    bed.print(&["one"]);
    let asked = Instant::now();
    logs.flush(ID).await;
    assert_eq!(asked.elapsed(), FLUSH_MAX);
    bed.sink.state.lock().away = false;
    bed.sink.until(|state| !state.delivered.is_empty()).await;
    assert_eq!(bed.delivered(), ["one"]);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_stream_is_made_again_and_hopeless_batches_are_dropped() {
    let bed = Bed::new();
    let logs = bed.logs();
    let task = task(&[GROUP, PREFIX, CREATE], LaunchType::Ec2);
    logs.follow(&task, 0, ID, None, None);
    bed.print(&["one"]);
    bed.sink.until(|state| state.delivered.len() == 1).await;
    bed.sink.state.lock().refusals = vec!["InvalidParameterException"];
    bed.print(&["refused"]);
    bed.sink.until(|state| state.refusals.is_empty()).await;
    bed.print(&["two"]);
    logs.flush(ID).await;
    assert_eq!(bed.delivered(), ["one", "two"]);
}

#[tokio::test(start_paused = true)]
async fn a_missing_group_and_bad_options_keep_the_container_from_starting() {
    for (options, launch_type, expected) in [
        (
            vec![GROUP, PREFIX],
            LaunchType::Ec2,
            "CannotStartContainerError: Error response from daemon: failed to initialize logging driver: failed to \
             create Cloudwatch log stream: ResourceNotFoundException: The specified log group does not exist.",
        ),
        (
            vec![GROUP, PREFIX],
            LaunchType::Fargate,
            "ResourceInitializationError: failed to validate logger args: create stream has been retried 1 times: \
             failed to create Cloudwatch log stream: ResourceNotFoundException: The specified log group does not \
             exist. : exit status 1",
        ),
        (
            vec![PREFIX],
            LaunchType::Ec2,
            "CannotStartContainerError: Error response from daemon: failed to initialize logging driver: must \
             specify a value for log opt: awslogs-group",
        ),
        (
            vec![GROUP, ("awslogs-multiline-pattern", "(")],
            LaunchType::Ec2,
            "CannotStartContainerError: Error response from daemon: failed to initialize logging driver: could not \
             parse awslogs-multiline-pattern (",
        ),
    ] {
        let bed = Bed::new();
        let refusal = bed.logs().prepare(&task(&options, launch_type), 0, ID).await.unwrap_err();
        assert_eq!(refusal.text(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_of_several_lines_is_sent_when_nothing_follows() {
    let bed = Bed::new();
    let logs = bed.logs();
    let task = task(&[GROUP, CREATE, ("awslogs-multiline-pattern", "^INFO")], LaunchType::Ec2);
    logs.prepare(&task, 0, ID).await.unwrap();
    assert_eq!(bed.sink.state.lock().streams, [ID], "without a prefix the stream is the container's id");
    logs.follow(&task, 0, ID, None, None);
    bed.print(&["INFO a", " b"]);
    bed.sink.until(|state| !state.delivered.is_empty()).await;
    assert_eq!(bed.delivered(), ["INFO a\n b"]);
}

#[tokio::test(start_paused = true)]
async fn the_drivers_are_told_when_the_container_was_made() {
    let bed = Bed::new();
    let collector = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = format!("udp://{}", collector.local_addr().unwrap());
    let mut task = task(&[("gelf-address", &address), ("gelf-compression-type", "none")], LaunchType::Ec2);
    Arc::make_mut(&mut task).containers[0].log.driver = "gelf".into();
    bed.print(&["one"]);
    let logs = bed.logs();
    logs.follow(&task, 0, ID, None, Some(1_700_000_000_123));
    let mut datagram = [0; 4096];
    let length = collector.recv(&mut datagram).await.unwrap();
    let message: serde_json::Value = serde_json::from_slice(&datagram[..length]).unwrap();
    assert_eq!((&message["short_message"], &message["_created"]), (&"one".into(), &"2023-11-14T22:13:20.123Z".into()));
}

/// A task with secret options, and their values.
fn with_secrets(options: &[(&str, &str)], secrets: &[(&str, &str)]) -> (Arc<TaskSpec>, HeldValues) {
    let mut task = task(options, LaunchType::Ec2);
    let log = &mut Arc::make_mut(&mut task).containers[0].log;
    log.secret_options = secrets.iter().map(|(name, _)| (*name).to_owned()).collect();
    let log_options = secrets.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let of_container = ContainerValues { log_options, ..ContainerValues::default() };
    let values = HeldValues::known(&task, TaskValues { containers: [("app".to_owned(), of_container)].into() });
    (task, values)
}

#[tokio::test(start_paused = true)]
async fn secret_options_have_their_effect() {
    let bed = Bed::new();
    let (task, values) = with_secrets(&[CREATE], &[("awslogs-group", "hush"), ("awslogs-stream-prefix", "quiet")]);
    let logs = bed.logs_with(values);
    logs.prepare(&task, 0, ID).await.unwrap();
    assert_eq!(bed.sink.state.lock().groups, ["hush"]);
    assert_eq!(bed.sink.state.lock().streams, ["quiet/app/0123"]);
    logs.follow(&task, 0, ID, None, None);
    bed.print(&["one"]);
    logs.flush(ID).await;
    assert_eq!(bed.delivered(), ["one"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_with_a_secret_option_is_told_without_its_value() {
    let bed = Bed::new();
    let (task, values) = with_secrets(&[GROUP], &[("awslogs-multiline-pattern", "(hush")]);
    let refusal = bed.logs_with(values).prepare(&task, 0, ID).await.unwrap_err();
    assert_eq!(
        refusal.text(),
        "CannotStartContainerError: Error response from daemon: failed to initialize logging driver: could not parse \
         awslogs-multiline-pattern ***"
    );
}

#[tokio::test(start_paused = true)]
async fn a_container_does_not_start_without_its_secret_options() {
    let bed = Bed::new();
    let (task, _) = with_secrets(&[PREFIX], &[("awslogs-group", "hush")]);
    let refusal = bed.logs().prepare(&task, 0, ID).await.unwrap_err();
    assert_eq!(refusal.text(), "ResourceInitializationError: there is nobody to ask for secrets");
}

#[test]
fn a_watch_channel_keeps_its_last_value() {
    // `flush` may be called after the shipper is done and gone.
    let (sender, mut receiver) = watch::channel(false);
    sender.send(true).unwrap();
    drop(sender);
    let waited = receiver.wait_for(|done| *done);
    assert!(futures_util::FutureExt::now_or_never(waited).unwrap().is_ok());
}
