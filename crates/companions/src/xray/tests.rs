//! X-Ray over a folder of its own.

#![allow(clippy::unwrap_used)]

use gantry_api::xray::Xray as _;
use gantry_domain::Timestamp;
use gantry_domain::arn::Scope;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

use super::*;

const NOW: i64 = 1_700_000_000;
const TRACE: &str = "1-6553f100-bd862e3fe1be46a994272793";

async fn service(folder: &std::path::Path) -> XRay {
    service_with(folder, None).await
}

async fn service_with(folder: &std::path::Path, collector: Option<reqwest::Url>) -> XRay {
    XRay::open(folder.join("traces"), Arc::new(|| Timestamp::from_seconds(NOW)), collector).await.unwrap()
}

fn root() -> Caller {
    Caller::root("000000000000", "us-east-1")
}

fn segment(id: &str, more: serde_json::Value) -> String {
    let mut segment = json!({"id": id, "trace_id": TRACE, "name": "front", "start_time": NOW, "end_time": NOW + 2});
    segment.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    segment.to_string()
}

async fn put(service: &XRay, documents: Vec<String>) -> usize {
    let input = PutTraceSegmentsRequest { trace_segment_documents: Some(documents) };
    let answer = service.put_trace_segments(&root(), input).await.unwrap();
    answer.unprocessed_trace_segments.unwrap().len()
}

fn question(expression: &str) -> GetTraceSummariesRequest {
    let at = |seconds: i64| Some(gantry_api::Timestamp::from_millis(u64::try_from(seconds).unwrap() * 1000));
    GetTraceSummariesRequest {
        start_time: at(NOW - 60),
        end_time: at(NOW + 60),
        filter_expression: Some(expression.to_owned()),
        ..Default::default()
    }
}

async fn found(service: &XRay, expression: &str) -> usize {
    service.get_trace_summaries(&root(), question(expression)).await.unwrap().trace_summaries.unwrap().len()
}

#[tokio::test]
async fn segments_survive_and_the_whole_one_replaces_the_one_in_progress() {
    let folder = tempfile::tempdir().unwrap();
    let service = service(folder.path()).await;
    let id = "70de5b6f19ff9a0a";
    let progress = json!({"id": id, "trace_id": TRACE, "name": "front", "start_time": NOW, "in_progress": true});
    assert_eq!(put(&service, vec![progress.to_string(), "nonsense".to_owned()]).await, 1);
    assert_eq!(found(&service, "partial").await, 1);
    put(&service, vec![segment(id, json!({}))]).await;
    put(&service, vec![progress.to_string()]).await;
    let back = json!({"name": "back", "parent_id": id, "fault": true});
    put(&service, vec![segment("53995c3f42cd8ad8", back)]).await;
    drop(service);
    let service = self::service(folder.path()).await;
    for (expression, count) in
        [("", 1), ("partial", 0), ("fault", 1), ("service(\"back\")", 1), ("service(\"none\")", 0), ("duration > 3", 0)]
    {
        assert_eq!(found(&service, expression).await, count, "{expression}");
    }
    let wrong = service.get_trace_summaries(&root(), question("nonsense = 1")).await.unwrap_err();
    assert_eq!(wrong.code, "InvalidRequestException");
    let input = BatchGetTracesRequest { trace_ids: Some(vec![TRACE.to_owned(), "x".to_owned()]), ..Default::default() };
    let traces = service.batch_get_traces(&root(), input).await.unwrap();
    assert_eq!(traces.unprocessed_trace_ids.unwrap(), ["x"]);
    assert_eq!(traces.traces.unwrap()[0].segments.as_ref().unwrap().len(), 2);
    let other = Caller::root("111111111111", "us-east-1");
    let none = service.get_trace_summaries(&other, question("")).await.unwrap();
    assert!(none.trace_summaries.unwrap().is_empty(), "of another account");
    let graph = GetServiceGraphRequest {
        start_time: question("").start_time,
        end_time: question("").end_time,
        ..Default::default()
    };
    let services = service.get_service_graph(&root(), graph).await.unwrap().services.unwrap();
    let named = |name: &str| services.iter().find(|one| one.name.as_deref() == Some(name)).unwrap();
    assert_eq!(named("front").edges.as_ref().unwrap()[0].reference_id, named("back").reference_id);
    assert!(named("front").root.unwrap() && !named("back").root.unwrap());
}

#[tokio::test]
async fn a_process_that_was_given_nothing_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let files = || std::fs::read_dir(folder.path().join("traces")).unwrap().count();
    for _ in 0..3 {
        drop(service(folder.path()).await);
        assert_eq!(files(), 1);
    }
    put(&service(folder.path()).await, vec![segment("70de5b6f19ff9a0a", json!({}))]).await;
    for _ in 0..3 {
        assert_eq!(found(&service(folder.path()).await, "").await, 1);
        assert_eq!(files(), 2, "the one with the segment, and the one that is written to");
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_read_goes_when_it_is_too_old() {
    let folder = tempfile::tempdir().unwrap();
    let old = folder.path().join("traces/000000000001.jsonl");
    std::fs::create_dir(folder.path().join("traces")).unwrap();
    for (age_seconds, stays) in [(60, true), (8 * 24 * 60 * 60, false)] {
        std::fs::write(&old, "nonsense\n").unwrap();
        let changed = std::time::UNIX_EPOCH + std::time::Duration::from_secs(NOW.unsigned_abs() - age_seconds);
        std::fs::File::options().write(true).open(&old).unwrap().set_modified(changed).unwrap();
        put(&service(folder.path()).await, vec![segment("70de5b6f19ff9a0a", json!({}))]).await;
        assert_eq!(old.exists(), stays, "{age_seconds}");
    }
}

/// Reads one request, answers with `status` (and at once again, please), and gives the ids of its spans.
async fn collect(listener: &TcpListener, status: &str) -> Vec<String> {
    collect_later(listener, status, 0).await
}

async fn collect_later(listener: &TcpListener, status: &str, retry_after: u32) -> Vec<String> {
    let mut stream = BufReader::new(listener.accept().await.unwrap().0);
    let (mut line, mut length) = (String::new(), 0);
    while stream.read_line(&mut line).await.unwrap() > 2 {
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        line.clear();
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.unwrap();
    let answer =
        format!("HTTP/1.1 {status}\r\nretry-after: {retry_after}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    stream.write_all(answer.as_bytes()).await.unwrap();
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    let spans = body["resourceSpans"].as_array().unwrap().iter().map(|one| &one["scopeSpans"][0]["spans"][0]);
    spans.map(|span| span["spanId"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn segments_go_on_to_the_collector_until_it_takes_them_or_refuses_them_for_good() {
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1/traces", listener.local_addr().unwrap()).parse().unwrap();
    let service = service_with(folder.path(), Some(url)).await;
    let ids = ["aaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbb", "cccccccccccccccc"];
    let progress = json!({"id": ids[1], "trace_id": TRACE, "name": "front", "start_time": NOW, "in_progress": true});
    // Answered though the collector answers nothing yet.
    put(&service, vec![segment(ids[0], json!({})), progress.to_string(), "nonsense".to_owned()]).await;
    for status in ["503 Service Unavailable", "429 Too Many Requests", "500 Internal Server Error", "400 Bad Request"] {
        assert_eq!(collect(&listener, status).await, [ids[0]], "{status}");
    }
    put(&service, vec![segment(ids[1], json!({})), segment(ids[2], json!({}))]).await;
    assert_eq!(collect(&listener, "200 OK").await, ids[1..]);
    drop(service);
    let again = service_with(folder.path(), None).await;
    assert_eq!(found(&again, "").await, 1, "what the collector refused is kept here");
}

#[tokio::test]
async fn what_waits_for_the_collector_at_the_end_is_sent_and_an_end_without_it_comes_too() {
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url: reqwest::Url = format!("http://{}/v1/traces", listener.local_addr().unwrap()).parse().unwrap();
    let ids = ["aaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbb"];
    let service = service_with(folder.path(), Some(url.clone())).await;
    put(&service, vec![segment(ids[0], json!({}))]).await;
    assert_eq!(collect_later(&listener, "503 Service Unavailable", 60).await, [ids[0]]);
    put(&service, vec![segment(ids[1], json!({}))]).await;
    let collected = async {
        // Nobody waits for the minute that it asked for.
        assert_eq!(collect(&listener, "200 OK").await, [ids[0]]);
        assert_eq!(collect(&listener, "200 OK").await, [ids[1]]);
    };
    tokio::join!(service.close(), collected);
    // Nothing waits: nothing is waited for.
    service.close().await;

    drop(listener);
    let away = service_with(folder.path(), Some(url)).await;
    put(&away, vec![segment(ids[0], json!({}))]).await;
    away.close().await;
}

#[tokio::test]
async fn pages_go_through_the_traces_of_the_time_that_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let service = service(folder.path()).await;
    let of = |number: i64, start: i64| {
        let id = format!("1-6553f100-{number:024x}");
        segment("70de5b6f19ff9a0a", json!({"trace_id": id, "start_time": start, "end_time": start + 1}))
    };
    let documents = (0..250).map(|number| of(number, if number % 2 == 0 { NOW } else { NOW - 3600 }));
    put(&service, documents.collect()).await;
    let (mut pages, mut token) = (Vec::new(), None);
    loop {
        let input = GetTraceSummariesRequest { next_token: token, ..question("") };
        let page = service.get_trace_summaries(&root(), input).await.unwrap();
        pages.push((page.trace_summaries.unwrap().len(), page.traces_processed_count.unwrap()));
        token = page.next_token;
        if token.is_none() {
            break;
        }
    }
    // The first of the second page is looked at twice: to know that there is one.
    assert_eq!(pages, [(100, 201), (25, 51)]);
}

#[test]
fn the_oldest_go_when_there_is_too_much_or_they_are_too_old() {
    let record = |at: u64, id: &str| {
        let document = segment(id, json!({}));
        let segment = gantry_domain::trace::segment::parse(&document).unwrap();
        let (account, region) = ("000000000000".to_owned(), "us-east-1".to_owned());
        (journal::Record { account, region, at, document }, segment)
    };
    let mut traces = Traces::default();
    for (file, id) in [(1, "aaaaaaaaaaaaaaaa"), (2, "bbbbbbbbbbbbbbbb"), (3, "aaaaaaaaaaaaaaaa")] {
        let (record, segment) = record(file * 1000, id);
        traces.keep(file, record, segment, traces::BYTES_MAX / 3);
    }
    assert_eq!(traces.surplus(3000, 3), None);
    assert_eq!(traces.surplus(1001 + traces::AGE_MAX_MS, 3), Some(1));
    let (one_more, segment) = record(4000, "cccccccccccccccc");
    traces.keep(3, one_more, segment, 10);
    assert_eq!(traces.surplus(3000, 3), Some(1));
    traces.forget(1);
    let scope = Scope::new("000000000000", "us-east-1");
    assert_eq!(traces.get(&scope, TRACE).unwrap().len(), 3, "the newer of two with one id stays");
    traces.forget(2);
    traces.forget(3);
    assert!(traces.get(&scope, TRACE).is_none());
    assert_eq!(traces.surplus(u64::MAX / 2, 9), None);
}
