//! EventBridge from PutEvents to the target: what is delivered, what waits, what a restart finds.
#![allow(clippy::unwrap_used, missing_docs)]

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU16, Ordering};

use async_trait::async_trait;
use gantry_api::event::{Event, EventSink};
use gantry_api::events::{
    DeleteRuleRequest, DescribeRuleRequest, Events, ListRulesRequest, PutEventsRequest, PutEventsRequestEntry,
    PutRuleRequest, PutTargetsRequest, RemoveTargetsRequest, RetryPolicy, Target,
};
use gantry_api::{Caller, Fault};
use gantry_companions::events::EventBridge;
use gantry_companions::events::deliver::{RunTasks, Ways};
use gantry_companions::iam::Iam;
use gantry_companions::logs::Logs;
use gantry_companions::sealing::Sealer;
use gantry_domain::Timestamp;
use gantry_domain::networks::Network;
use gantry_store::{Memory, Store};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

const START_MS: i64 = 1_767_225_600_000;

/// An endpoint that answers with a status and hands over what it was sent.
struct Endpoint {
    url: String,
    status: Arc<AtomicU16>,
    bodies: mpsc::UnboundedReceiver<Value>,
    _serving: JoinSet<()>,
}

impl Endpoint {
    async fn start(status: u16) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let status = Arc::new(AtomicU16::new(status));
        let (sender, bodies) = mpsc::unbounded_channel();
        let mut serving = JoinSet::new();
        let answers = Arc::clone(&status);
        serving.spawn(async move {
            loop {
                let (mut connection, _) = listener.accept().await.unwrap();
                let (answers, sender) = (Arc::clone(&answers), sender.clone());
                tokio::spawn(async move {
                    while let Some(body) = read_request(&mut connection).await {
                        let _ = sender.send(body);
                        let status = answers.load(Ordering::SeqCst);
                        let answer = format!("HTTP/1.1 {status} Status\r\ncontent-length: 0\r\n\r\n");
                        let _ = connection.write_all(answer.as_bytes()).await;
                    }
                });
            }
        });
        Self { url, status, bodies, _serving: serving }
    }

    async fn next(&mut self) -> Value {
        self.bodies.recv().await.unwrap()
    }
}

async fn read_request(connection: &mut tokio::net::TcpStream) -> Option<Value> {
    let mut request = Vec::new();
    loop {
        let mut chunk = [0; 4096];
        let read = connection.read(&mut chunk).await.ok().filter(|read| *read > 0)?;
        request.extend_from_slice(&chunk[..read]);
        let text = String::from_utf8_lossy(&request).to_string();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.to_lowercase().lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        if body.len() >= length.unwrap_or(0) {
            return serde_json::from_str(body).ok();
        }
    }
}

struct NoTasks;

#[async_trait]
impl RunTasks for NoTasks {
    async fn run_task(&self, _: &Caller, _: Value) -> Result<Value, Fault> {
        Err(Fault::new("ServerException", 500, "no tasks here"))
    }
}

/// A server with EventBridge alone, over a store that survives it.
struct Server {
    events: EventBridge,
    now: Arc<AtomicI64>,
    background: JoinSet<()>,
    _folder: tempfile::TempDir,
}

impl Server {
    async fn start(store: &Store, now_ms: i64) -> Self {
        let now = Arc::new(AtomicI64::new(now_ms));
        let told = Arc::clone(&now);
        let events = EventBridge::open(
            store.clone(),
            Arc::new(move || Timestamp::from_millis(told.load(Ordering::SeqCst))),
            500,
        );
        let folder = tempfile::tempdir().unwrap();
        let clock = || Arc::new(|| Timestamp::from_millis(START_MS));
        let sealer = Sealer::open(&folder.path().join("key")).unwrap();
        let iam = Iam::open(store.clone(), sealer, clock()).await.unwrap();
        let logs = Logs::open(store.clone(), folder.path().join("logs"), clock()).await.unwrap();
        let ways = Ways::new(logs, iam, Arc::new(NoTasks), Network::Private);
        let events = events.await.unwrap();
        let mut background = JoinSet::new();
        background.spawn(events.clone().deliver(ways));
        background.spawn(events.clone().follow_schedules());
        Self { events, now, background, _folder: folder }
    }

    /// Ends as a process that is killed does: nothing is finished.
    async fn kill(mut self) {
        self.background.shutdown().await;
    }

    /// Lets time pass and wakes who waits for it: a pause of a target ends, a schedule is due.
    fn pass(&self, millis: i64) {
        self.now.fetch_add(millis, Ordering::SeqCst);
    }

    async fn rule(&self, name: &str, pattern: Value, url: &str) {
        let rule =
            PutRuleRequest { name: Some(name.into()), event_pattern: Some(pattern.to_string()), ..Default::default() };
        self.events.put_rule(&caller(), rule).await.unwrap();
        self.target(name, target(url)).await;
    }

    async fn target(&self, rule: &str, target: Target) {
        let input = PutTargetsRequest { rule: Some(rule.into()), targets: Some(vec![target]), ..Default::default() };
        self.events.put_targets(&caller(), input).await.unwrap();
    }

    async fn put(&self, number: usize) {
        let entry = PutEventsRequestEntry {
            source: Some("my.app".into()),
            detail_type: Some("Counted".into()),
            detail: Some(json!({"n": number}).to_string()),
            ..Default::default()
        };
        let input = PutEventsRequest { entries: Some(vec![entry]), endpoint_id: None };
        let answer = self.events.put_events(&caller(), input).await.unwrap();
        assert_eq!(answer.failed_entry_count, Some(0), "{answer:?}");
    }
}

fn caller() -> Caller {
    Caller::root("000000000000", "us-east-1")
}

fn target(url: &str) -> Target {
    Target { id: Some("t".into()), arn: Some(url.into()), ..Default::default() }
}

async fn waiting(store: &Store) -> usize {
    store.range("/event-deliveries/", 0).await.unwrap().kvs.len()
}

/// Waits until nothing is on its way any more.
async fn nothing_waits(store: &Store) {
    let mut changes = store.watch("/event-deliveries/", store.revision() + 1);
    while waiting(store).await > 0 {
        changes.next_or_progress().await.unwrap();
    }
}

#[tokio::test]
async fn a_target_gets_the_events_its_rule_matches_in_order() {
    let store = Memory::store();
    let server = Server::start(&store, START_MS).await;
    let mut endpoint = Endpoint::start(200).await;
    server.rule("odd", json!({"source": ["my.app"], "detail": {"n": [{"numeric": [">", 1]}]}}), &endpoint.url).await;
    for number in 0..4 {
        server.put(number).await;
    }
    for number in [2, 3] {
        let event = endpoint.next().await;
        assert_eq!(event["detail"]["n"], number);
        assert_eq!((&event["version"], &event["source"]), (&json!("0"), &json!("my.app")));
        assert_eq!(event["time"], "2026-01-01T00:00:00Z");
    }
    nothing_waits(&store).await;
    assert_eq!(server.events.page("000000000000", "us-east-1", None, 10).await.unwrap().len(), 4);
}

#[tokio::test]
async fn what_was_on_its_way_is_delivered_after_the_server_was_killed() {
    let store = Memory::store();
    let server = Server::start(&store, START_MS).await;
    let mut endpoint = Endpoint::start(503).await;
    server.rule("all", json!({"source": ["my.app"]}), &endpoint.url).await;
    server.put(7).await;
    assert_eq!(endpoint.next().await["detail"]["n"], 7);
    server.kill().await;
    assert_eq!(waiting(&store).await, 1);
    endpoint.status.store(200, Ordering::SeqCst);
    let _server = Server::start(&store, START_MS).await;
    assert_eq!(endpoint.next().await["detail"]["n"], 7);
    nothing_waits(&store).await;
}

#[tokio::test]
async fn a_target_that_is_down_holds_up_no_other() {
    let store = Memory::store();
    let server = Server::start(&store, START_MS).await;
    let mut endpoint = Endpoint::start(200).await;
    // Nobody listens there.
    server.rule("down", json!({"source": ["my.app"]}), "http://127.0.0.1:1/").await;
    server.rule("up", json!({"source": ["my.app"]}), &endpoint.url).await;
    for number in 0..1_010 {
        server.put(number).await;
        assert_eq!(endpoint.next().await["detail"]["n"], number);
    }
    // The oldest were given up.
    let mut changes = store.watch("/event-deliveries/", store.revision() + 1);
    while waiting(&store).await > 1_000 {
        changes.next_or_progress().await.unwrap();
    }
    let remove = RemoveTargetsRequest { rule: Some("down".into()), ids: Some(vec!["t".into()]), ..Default::default() };
    server.events.remove_targets(&caller(), remove).await.unwrap();
    nothing_waits(&store).await;
}

#[tokio::test]
async fn what_a_target_refuses_and_what_was_tried_often_enough_is_given_up() {
    let store = Memory::store();
    let server = Server::start(&store, START_MS).await;
    let mut refusing = Endpoint::start(400).await;
    server.rule("refusing", json!({"detail": {"n": [1]}}), &refusing.url).await;
    let mut failing = Endpoint::start(500).await;
    server.rule("failing", json!({"detail": {"n": [2]}}), &failing.url).await;
    let retry = RetryPolicy { maximum_retry_attempts: Some(0), ..Default::default() };
    server.target("failing", Target { retry_policy: Some(retry), ..target(&failing.url) }).await;
    server.rule("metadata", json!({"detail": {"n": [3]}}), "http://169.254.169.254/latest/").await;
    for number in 1..=3 {
        server.put(number).await;
    }
    assert_eq!(refusing.next().await["detail"]["n"], 1);
    assert_eq!(failing.next().await["detail"]["n"], 2);
    nothing_waits(&store).await;
}

#[tokio::test]
async fn a_rule_with_a_schedule_is_due_once_after_the_server_was_down() {
    let store = Memory::store();
    let server = Server::start(&store, START_MS).await;
    let mut endpoint = Endpoint::start(200).await;
    let rule = PutRuleRequest {
        name: Some("minutely".into()),
        schedule_expression: Some("rate(1 minute)".into()),
        ..Default::default()
    };
    server.events.put_rule(&caller(), rule).await.unwrap();
    server.target("minutely", target(&endpoint.url)).await;
    let mut schedules = store.watch("/event-schedules/", 1);
    schedules.next().await.unwrap();
    server.kill().await;
    let server = Server::start(&store, START_MS + 150_000).await;
    let event = endpoint.next().await;
    assert_eq!((&event["detail-type"], &event["time"]), (&json!("Scheduled Event"), &json!("2026-01-01T00:01:00Z")));
    schedules.next().await.unwrap();
    let rows = store.range("/event-schedules/", 0).await.unwrap().kvs;
    let row: Value = serde_json::from_slice(&rows[0].value).unwrap();
    assert_eq!(row["due_ms"], START_MS + 180_000);
    // A change wakes the scheduler, which sees that it is due again.
    server.pass(60_000);
    server.target("minutely", target(&endpoint.url)).await;
    assert_eq!(endpoint.next().await["time"], "2026-01-01T00:03:00Z");
}

#[tokio::test]
async fn the_log_keeps_the_newest_in_the_order_they_came() {
    let store = Memory::store();
    let event = |number: usize| Event {
        id: format!("{number}"),
        source: "aws.ecr".into(),
        detail_type: "ECR Image Action".into(),
        account: "000000000000".into(),
        region: "us-east-1".into(),
        time_ms: 1,
        resources: Vec::new(),
        detail: json!({"n": number}),
    };
    for start in [0, 1000] {
        let server = Server::start(&store, START_MS).await;
        (start..start + 500).for_each(|number| server.events.emit(event(number)));
        server.events.tell((start + 500..start + 1000).map(event).collect()).await.unwrap();
        server.events.close().await;
    }
    let server = Server::start(&store, START_MS).await;
    let ids = async |after, limit| -> Vec<String> {
        let page = server.events.page("000000000000", "us-east-1", after, limit).await.unwrap();
        page.into_iter().map(|logged| logged.event.id).collect()
    };
    assert_eq!(ids(None, 3).await, ["1997", "1998", "1999"]);
    let all = ids(Some(0), 10_000).await;
    assert_eq!((all.len(), all[0].as_str()), (500, "1500"));
    assert_eq!(ids(Some(1998), 10).await, ["1998", "1999"]);
    assert!(server.events.page("000000000000", "eu-west-1", None, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn rules_are_listed_in_pages_and_refused_with_the_services_sentences() {
    let store = Memory::store();
    let server = Server::start(&store, START_MS).await;
    for name in ["a", "b", "c"] {
        server.rule(name, json!({"source": ["x"]}), "http://127.0.0.1:1/").await;
    }
    let list = |next_token| ListRulesRequest { limit: Some(2), next_token, ..Default::default() };
    let page = server.events.list_rules(&caller(), list(None)).await.unwrap();
    let last = server.events.list_rules(&caller(), list(page.next_token.clone())).await.unwrap();
    assert_eq!((page.rules.unwrap().len(), last.rules.unwrap().len(), last.next_token), (2, 1, None));

    let named = |name: &str| Some(name.to_owned());
    let delete = DeleteRuleRequest { name: named("a"), ..Default::default() };
    let fault = server.events.delete_rule(&caller(), delete).await.unwrap_err();
    assert_eq!(fault.message, "Rule can't be deleted since it has targets.");
    let describe = DescribeRuleRequest { name: named("none"), ..Default::default() };
    let fault = server.events.describe_rule(&caller(), describe).await.unwrap_err();
    assert_eq!(
        (fault.code, fault.message.as_str()),
        ("ResourceNotFoundException", "Rule none does not exist on EventBus default.")
    );
    let nothing = PutRuleRequest { name: named("d"), ..Default::default() };
    let fault = server.events.put_rule(&caller(), nothing).await.unwrap_err();
    assert_eq!(fault.message, "Parameter(s) EventPattern or ScheduleExpression must be specified.");
    let wrong = PutRuleRequest { name: named("d"), event_pattern: named("{\"source\":1}"), ..Default::default() };
    let fault = server.events.put_rule(&caller(), wrong).await.unwrap_err();
    assert_eq!(fault.code, "InvalidEventPatternException");
}
