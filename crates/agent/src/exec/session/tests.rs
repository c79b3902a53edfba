//! A session that ends, on the fake host and its clock.

#![allow(clippy::unwrap_used)]

use tokio::{task::AbortHandle, time::sleep};

use super::*;
use crate::engine_tests::Bed;

/// A session whose client was there and took nothing of what it was told.
fn session(bed: &Bed) -> (Live, watch::Sender<ExecSession>) {
    let session = ExecSession {
        session_id: "s".to_owned(),
        target: String::new(),
        task_arn: String::new(),
        runtime_id: "r".to_owned(),
        command: Vec::new(),
        state: ExecState::Begun,
        idle_seconds_max: 1200,
        transcript: false,
    };
    let host = Arc::clone(&bed.agent().host);
    let (news, told) = watch::channel(session.clone());
    let mut end = HostEnd::new(&session.session_id, &session.target);
    end.attach(host.now_ms());
    let live = Live {
        patience: Patience::new(&session, host.now_ms()),
        host,
        session,
        told,
        end,
        link: None,
        process: None,
        transcript: None,
        inputs: VecDeque::new(),
        size: SIZE_DEFAULT,
        closing: false,
    };
    (live, news)
}

/// What a connection says, every second for ever.
fn every_second(what: fn() -> LinkEvent) -> (mpsc::Receiver<LinkEvent>, AbortHandle) {
    let (sender, events) = mpsc::channel(1);
    let speaking = tokio::spawn(async move {
        while sender.send(what()).await.is_ok() {
            sleep(Duration::from_secs(1)).await;
        }
    });
    (events, speaking.abort_handle())
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing_is_not_waited_for_whatever_happens() {
    let bed = Bed::new().await;
    for (what, ms) in [
        ((|| LinkEvent::Order(ExecOrder::Begin)) as fn() -> LinkEvent, LAST_WORDS_MS_MAX),
        // Going and coming, it takes some more, but not for ever.
        (|| LinkEvent::Order(ExecOrder::Attached), CLIENT_AWAY_MS_MAX),
        (|| LinkEvent::Order(ExecOrder::Detached), CLIENT_AWAY_MS_MAX),
        (|| LinkEvent::Frame(Vec::new()), CLIENT_AWAY_MS_MAX),
        (|| LinkEvent::Gone, 0),
    ] {
        let (mut live, _news) = session(&bed);
        let (mut events, speaking) = every_second(what);
        let began_ms = bed.agent().host.now_ms();
        assert_eq!(live.close(&mut events, "over".to_owned()).await, "over");
        let ended_ms = bed.agent().host.now_ms();
        assert_eq!(ended_ms - began_ms, ms, "{:?}", what());
        speaking.abort();
    }
    let (mut live, _news) = session(&bed);
    let (_, mut nobody) = mpsc::channel(1);
    live.close(&mut nobody, String::new()).await;
}

#[tokio::test(start_paused = true)]
async fn a_command_that_does_not_start_is_given_up() {
    let bed = Bed::new().await;
    let (mut live, _news) = session(&bed);
    let hanging = bed.host.crash_at(1);
    let text = live.start(true).await.unwrap();
    assert_eq!(hanging.await.unwrap(), "open session");
    assert_eq!(text, "Unable to start command: it did not start in time");
}
