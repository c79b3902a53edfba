#![allow(clippy::unwrap_used)]

use std::{collections::VecDeque, sync::Arc};

use futures_util::future::BoxFuture;
use gantry_domain::{arn::Scope, limits::EXEC_TRANSCRIPT_TURN_SECONDS_MAX};
use gantry_store::{Memory, Txn};
use parking_lot::Mutex;

use super::*;
use crate::{
    Settings, SystemClock,
    exec::{NotStored, Transcripts},
    keys,
    records::{Destination, ExecSessionRecord, Place, encode},
};

async fn control() -> Control {
    Control::open(Memory::store(), Arc::new(SystemClock), Settings::default()).await.unwrap()
}

/// A session ends; the turn of its transcript, if it has one, is kept as long as the answer.
async fn end(control: &Control, session: &str, destination: Option<Destination>) -> Frames {
    try_end(control, session, destination).await.unwrap()
}

async fn try_end(control: &Control, session: &str, destination: Option<Destination>) -> Result<Frames, Fault> {
    let record = ExecSessionRecord { destination, ..ExecSessionRecord::example(ExecSessionStatus::Running) };
    let path = keys::exec_session(&Scope::new("000000000000", "us-east-1"), session);
    control.commit(Txn::new().put(path, encode(&record))).await.unwrap();
    let mut frames = Frames::Client;
    let ended = serde_json::to_string(&ExecReport::Ended { text: String::new() }).unwrap();
    assert!(report(control, session, &ended, &mut frames).await?.is_continue());
    Ok(frames)
}

#[tokio::test(start_paused = true)]
async fn only_a_wanted_transcript_takes_a_turn() {
    let control = control().await;
    let mut all = Vec::new();
    for number in 0..10 {
        let session = format!("s{number}");
        let ended = tokio::time::timeout(SILENCE_MAX, end(&control, &session, None)).await;
        all.push(ended.expect("it waits for no turn"));
    }
    assert!(all.iter().all(|frames| matches!(frames, Frames::Nowhere)));
    let logged = end(&control, "logged", Some(Destination::default()));
    let frames = tokio::time::timeout(SILENCE_MAX, logged).await.expect("a turn is free");
    assert!(matches!(frames, Frames::Transcript(_)));
}

/// Answers with each of these in turn.
struct Answers(Mutex<VecDeque<Result<(), NotStored>>>);

impl Transcripts for Answers {
    fn check<'a>(&'a self, _: &'a str, _: Option<&'a str>, _: &'a Destination) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async { Ok(()) })
    }

    fn store<'a>(
        &'a self,
        _: &'a str,
        _: Option<&'a str>,
        _: &'a Destination,
        _: Bytes,
    ) -> BoxFuture<'a, Result<(), NotStored>> {
        Box::pin(async { self.0.lock().pop_front().unwrap() })
    }
}

fn in_bucket() -> Destination {
    Destination { bucket: Some("b".to_owned()), object: Some("o".to_owned()), ..Destination::default() }
}

fn in_both() -> Destination {
    Destination { log_group: Some("g".to_owned()), ..in_bucket() }
}

/// Answers by place, and keeps what was asked for.
#[derive(Default)]
struct Places {
    bucket_is_away: Mutex<bool>,
    written: Mutex<Vec<Destination>>,
}

impl Transcripts for Arc<Places> {
    fn check<'a>(&'a self, _: &'a str, _: Option<&'a str>, _: &'a Destination) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async { Ok(()) })
    }

    fn store<'a>(
        &'a self,
        _: &'a str,
        _: Option<&'a str>,
        destination: &'a Destination,
        _: Bytes,
    ) -> BoxFuture<'a, Result<(), NotStored>> {
        Box::pin(async {
            if destination.bucket.is_some() && *self.bucket_is_away.lock() {
                return Err(NotStored::Unavailable("away".to_owned()));
            }
            self.written.lock().push(destination.clone());
            Ok(())
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_log_group_has_its_copy_once_though_the_bucket_beside_it_is_away() {
    let places = Arc::new(Places::default());
    *places.bucket_is_away.lock() = true;
    let control = control().await.with_transcripts(Arc::new(Arc::clone(&places)));
    let ended = serde_json::to_string(&ExecReport::Ended { text: String::new() }).unwrap();
    let whole = serde_json::to_string(&ExecReport::TranscriptWhole).unwrap();
    let mut frames = end(&control, "s", Some(in_both())).await;
    let found = |control: &Control| control.read().exec_session("s").unwrap().row.record.clone();
    for _ in 0..2 {
        assert!(report(&control, "s", &whole, &mut frames).await.unwrap().is_break());
        assert_eq!(*places.written.lock(), [in_both().only(Place::LogGroup)]);
        assert_eq!(
            (found(&control).transcript, found(&control).destination),
            (TranscriptStatus::Wanted, Some(in_bucket()))
        );
        assert!(report(&control, "s", &ended, &mut frames).await.unwrap().is_continue());
    }
    *places.bucket_is_away.lock() = false;
    assert!(report(&control, "s", &whole, &mut frames).await.unwrap().is_continue());
    assert_eq!(*places.written.lock(), [in_both().only(Place::LogGroup), in_bucket()]);
    assert_eq!(found(&control).transcript, TranscriptStatus::Stored);
}

#[tokio::test(start_paused = true)]
async fn a_transcript_stays_wanted_while_its_place_does_not_answer() {
    let why = || "why".to_owned();
    let answers = [
        Err(NotStored::Unavailable(why())),
        Ok(()),
        Err(NotStored::Unavailable(why())),
        Err(NotStored::Refused(why())),
    ];
    let control = control().await.with_transcripts(Arc::new(Answers(Mutex::new(answers.into()))));
    let whole = serde_json::to_string(&ExecReport::TranscriptWhole).unwrap();
    for (session, then) in [("stored", TranscriptStatus::Stored), ("lost", TranscriptStatus::Lost)] {
        let mut frames = end(&control, session, Some(in_bucket())).await;
        assert!(report(&control, session, &whole, &mut frames).await.unwrap().is_break());
        let found = |control: &Control| control.read().exec_session(session).unwrap().row.transcript;
        assert_eq!(found(&control), TranscriptStatus::Wanted);
        let ended = serde_json::to_string(&ExecReport::Ended { text: String::new() }).unwrap();
        for told in [&ended, &whole] {
            assert!(report(&control, session, told, &mut frames).await.unwrap().is_continue());
        }
        assert_eq!(found(&control), then);
    }
}

#[tokio::test(start_paused = true)]
async fn a_turn_is_not_waited_for_without_end() {
    let control = control().await;
    let mut turns = Vec::new();
    let refused = loop {
        let session = format!("s{}", turns.len());
        match try_end(&control, &session, Some(Destination::default())).await {
            Ok(frames) => turns.push(frames),
            Err(fault) => break fault,
        }
    };
    assert_eq!(refused.code, "ServerException");
    turns.pop();
    // Told again, it has its turn.
    let again = end(&control, &format!("s{}", turns.len() + 1), Some(Destination::default())).await;
    assert!(matches!(again, Frames::Transcript(_)));
}

#[tokio::test(start_paused = true)]
async fn the_turn_of_a_transcript_ends() {
    let control = control().await;
    let frames = end(&control, "logged", Some(Destination::default())).await;
    assert_eq!(frames.patience(), SILENCE_MAX);
    tokio::time::advance(Duration::from_secs(EXEC_TRANSCRIPT_TURN_SECONDS_MAX - 1)).await;
    assert_eq!(frames.patience(), Duration::from_secs(1));
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(frames.patience().is_zero());
}
