//! Transcripts on their way from the agent to where they belong.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use gantry_api::Fault;
use gantry_domain::limits::{EXEC_TRANSCRIPT_BYTES_MAX, EXEC_TRANSCRIPT_TURN_SECONDS_MAX};
use tokio::{sync::OwnedSemaphorePermit, time::Instant};

use super::change;
use crate::{
    Control,
    records::{Destination, TranscriptStatus},
    view::ExecSessionRow,
};

/// Why a transcript is not where it belongs. For the log.
#[derive(Debug)]
pub enum NotStored {
    /// The place does not take it, and will not.
    Refused(String),
    /// The place does not answer now.
    Unavailable(String),
}

/// Knows log groups and buckets.
pub trait Transcripts: Send + Sync + 'static {
    /// Whether this task could write there in its role. The error is a sentence for the user.
    fn check<'a>(
        &'a self,
        task_arn: &'a str,
        role: Option<&'a str>,
        destination: &'a Destination,
    ) -> BoxFuture<'a, Result<(), String>>;

    /// Writes a transcript of a task in its role's name to a destination of one place. It may be written again, after a
    /// restart or where the place was unavailable.
    fn store<'a>(
        &'a self,
        task_arn: &'a str,
        role: Option<&'a str>,
        destination: &'a Destination,
        transcript: Bytes,
    ) -> BoxFuture<'a, Result<(), NotStored>>;
}

/// For a control plane that is given no place for transcripts: sessions that are to be logged are refused.
#[derive(Debug)]
pub(crate) struct NoTranscripts;

impl Transcripts for NoTranscripts {
    fn check<'a>(&'a self, _: &'a str, _: Option<&'a str>, _: &'a Destination) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async { Err("this control plane keeps no transcripts".to_owned()) })
    }

    fn store<'a>(
        &'a self,
        _: &'a str,
        _: Option<&'a str>,
        _: &'a Destination,
        _: Bytes,
    ) -> BoxFuture<'a, Result<(), NotStored>> {
        Box::pin(async { Err(NotStored::Refused("this control plane keeps no transcripts".to_owned())) })
    }
}

/// What an agent has handed over so far, in memory: few transcripts are on their way at a time.
#[derive(Debug)]
pub(super) struct Received {
    bytes: Vec<u8>,
    /// By then it is whole, or others have the turn.
    until: Instant,
    _turn: OwnedSemaphorePermit,
}

impl Received {
    /// Waits for its turn.
    pub(super) async fn begin(control: &Control) -> Option<Self> {
        let turn = control.exec_hub.transcript_turn().await?;
        let until = Instant::now() + Duration::from_secs(EXEC_TRANSCRIPT_TURN_SECONDS_MAX);
        Some(Self { bytes: Vec::new(), until, _turn: turn })
    }

    /// How long the rest of it is waited for; nothing when that was too long.
    pub(super) fn time_left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    /// Adds a piece; the agent keeps to the bound as well.
    pub(super) fn add(&mut self, piece: &[u8]) {
        let room = EXEC_TRANSCRIPT_BYTES_MAX.saturating_sub(self.bytes.len());
        self.bytes.extend_from_slice(piece.get(..piece.len().min(room)).unwrap_or_default());
    }

    /// Puts it where it belongs, into each place for itself. One that refuses it would have the agent keep it for ever:
    /// there it is lost, loudly. For one that does not answer it stays wanted, and the others are not written to again.
    pub(super) async fn store(
        self,
        control: &Control,
        session: &str,
        entry: &ExecSessionRow,
    ) -> Result<TranscriptStatus, Fault> {
        let Some(destination) = &entry.row.destination else { return Ok(TranscriptStatus::None) };
        let (task_arn, role) = (&entry.row.task_arn, entry.row.task_role.as_deref());
        let transcript = Bytes::from(self.bytes);
        let (mut lost, mut wanted) = (false, false);
        for place in destination.places() {
            let there = destination.only(place);
            match control.transcripts.store(task_arn, role, &there, transcript.clone()).await {
                Ok(()) => {}
                Err(NotStored::Refused(error)) => {
                    tracing::error!(session, ?place, error, "the transcript of a session is lost");
                    lost = true;
                }
                Err(NotStored::Unavailable(error)) => {
                    tracing::warn!(session, ?place, error, "the transcript of a session cannot be stored yet");
                    wanted = true;
                    continue;
                }
            }
            // The last place has no other to be kept for: the session's new status says it.
            change(control, session, |record| {
                let left = record.destination.as_ref().map(|destination| destination.without(place));
                if let Some(left) = left.filter(|left| !left.places().is_empty()) {
                    record.destination = Some(left);
                }
                Ok(())
            })
            .await?;
        }
        Ok(match (wanted, lost) {
            (true, _) => TranscriptStatus::Wanted,
            (false, true) => TranscriptStatus::Lost,
            (false, false) => TranscriptStatus::Stored,
        })
    }
}
