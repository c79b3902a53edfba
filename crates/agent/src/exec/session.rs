//! The life of one session: a client comes, the process starts, bytes flow, and at the end the client, the control
//! plane and (where it is wanted) the transcript have all of it.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use gantry_api::{
    data_channel::{HostEnd, HostEvent, Step},
    exec::{ExecOrder, ExecReport, ExecSession, ExecState},
};
use gantry_runtime::container::{ContainerError, SessionRequest, TerminalSize};
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};
use tracing::{info, warn};

use super::{
    link::{self, LinkEvent, Sender},
    patience::{CLIENT_AWAY_MS_MAX, Patience},
    process::{Piece, Process, ProcessEvent},
    transcript::Transcript,
};
use crate::{aws::AwsClient, host::Host, reason::chain};

#[cfg(test)]
mod tests;

/// Who runs commands of users: as on AWS root, whatever the container's own user is, with the container's capabilities.
const USER: &str = "0";
/// Size of a terminal that nobody told us.
const SIZE_DEFAULT: TerminalSize = TerminalSize { columns: 80, rows: 24 };
/// At the end a client that takes nothing any more is not waited for.
const LAST_WORDS_MS_MAX: u64 = 2_000;
/// How long a command may take to start. One in a container that is frozen does not.
const START_TIME_MAX: Duration = Duration::from_secs(30);
/// How long the end of a container may take to show after that of its processes.
const CONTAINER_END_TIME_MAX: Duration = Duration::from_secs(2);
/// Pieces of input that are kept here; more stays with the client.
const INPUTS_WAITING_MAX: usize = 16;
const SIGKILLED: i32 = 128 + 9;

const LOST: &str = "The session ended because the agent of its host restarted.";
const TERMINATED: &str = "The session was terminated.";
const CONTAINER_STOPPED: &str = "The session ended because its container stopped.";
const GONE: &str = "The session ended because the control plane does not know it any more.";

/// Runs a session until it is aborted. `lost` says that it was another agent's, of which only the transcript is left.
pub(super) async fn run(host: Arc<Host>, client: Arc<AwsClient>, told: watch::Receiver<ExecSession>, lost: bool) {
    let first = told.borrow().clone();
    let mut events = link::open(client, &first.session_id);
    let transcript = first.transcript.then(|| open_transcript(&host, &first)).flatten();
    let mut live = Live {
        end: HostEnd::new(&first.session_id, &first.target),
        patience: Patience::new(&first, host.now_ms()),
        host,
        session: first,
        told,
        link: None,
        process: None,
        transcript,
        inputs: VecDeque::new(),
        size: SIZE_DEFAULT,
        closing: false,
    };
    let text = if lost { LOST.to_owned() } else { live.until_end(&mut events).await };
    info!(session = live.session.session_id, reason = text, "exec session ended");
    live.report(&mut events, &text).await;
}

fn open_transcript(host: &Host, session: &ExecSession) -> Option<Transcript> {
    Transcript::open(&host.dirs, &session.session_id)
        .inspect_err(|error| warn!(session = session.session_id, error = chain(error), "no transcript is kept"))
        .ok()
}

struct Live {
    host: Arc<Host>,
    session: ExecSession,
    told: watch::Receiver<ExecSession>,
    end: HostEnd,
    link: Option<Sender>,
    process: Option<Process>,
    transcript: Option<Transcript>,
    /// For the process; an empty one is the end of input.
    inputs: VecDeque<Vec<u8>>,
    size: TerminalSize,
    patience: Patience,
    /// Over: nothing is started any more.
    closing: bool,
}

/// What the session waited for.
enum Happening {
    Link(Option<LinkEvent>),
    Process(ProcessEvent),
    Told,
    Time,
}

impl Live {
    /// Until the session is over for its process and its client; returns what the user is told.
    async fn until_end(&mut self, events: &mut mpsc::Receiver<LinkEvent>) -> String {
        let text = loop {
            if let Some(text) = self.over(self.host.now_ms()) {
                break text;
            }
            match self.next(events).await {
                Happening::Link(event) => {
                    if let Some(text) = self.link_event(event).await {
                        break text;
                    }
                }
                Happening::Process(ProcessEvent::Output(piece)) => self.output(&piece),
                Happening::Process(ProcessEvent::Over(code)) => break self.exit_text(code).await,
                Happening::Process(ProcessEvent::InputTaken) | Happening::Told => {}
                Happening::Time => {
                    let due = self.end.due(self.host.now_ms());
                    self.send(due);
                }
            }
            self.end.take_input(self.inputs.len() < INPUTS_WAITING_MAX);
        };
        // What is left of the process goes with the session.
        self.process = None;
        self.close(events, text).await
    }

    async fn next(&mut self, events: &mut mpsc::Receiver<LinkEvent>) -> Happening {
        let wake_ms = self.wake_ms();
        let Self { host, told, end, process, inputs, .. } = self;
        let room = end.has_room();
        let process = async {
            match process {
                Some(process) => process.next(inputs, room).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            event = events.recv() => Happening::Link(event),
            event = process => Happening::Process(event),
            changed = told.changed() => match changed {
                Ok(()) => Happening::Told,
                // The manager is gone, and this task with it.
                Err(_) => std::future::pending().await,
            },
            () = host.clock.sleep_until(wake_ms) => Happening::Time,
        }
    }

    /// Why the session is over, if time or the control plane say so.
    fn over(&self, now_ms: u64) -> Option<String> {
        match &self.told.borrow().state {
            ExecState::Ending { reason } => return Some(reason.clone()),
            // Somebody else gave up on it.
            ExecState::Ended => return Some(TERMINATED.to_owned()),
            ExecState::New | ExecState::Begun => {}
        }
        self.patience.ended(now_ms)
    }

    /// When something is due, or [`Live::over`] may say so.
    fn wake_ms(&self) -> u64 {
        self.end.due_ms().unwrap_or(u64::MAX).min(self.patience.ends_ms())
    }

    /// Takes in what happened on the connection; a text when the session is over by it.
    async fn link_event(&mut self, event: Option<LinkEvent>) -> Option<String> {
        let now_ms = self.host.now_ms();
        match event {
            Some(LinkEvent::Up(link)) => {
                self.link = Some(link);
                self.patience.control_plane_came(now_ms);
            }
            Some(LinkEvent::Down) | None => {
                self.link = None;
                self.patience.control_plane_went(now_ms);
                self.end.detach();
            }
            Some(LinkEvent::Gone) => return Some(GONE.to_owned()),
            // Nothing starts before a client came, which is after this.
            Some(LinkEvent::Order(ExecOrder::Begin)) => {}
            Some(LinkEvent::Order(ExecOrder::Attached)) => {
                self.patience.client_came();
                let frames = self.end.attach(now_ms);
                self.send(frames);
            }
            Some(LinkEvent::Order(ExecOrder::Detached)) => {
                self.patience.client_went(now_ms);
                self.end.detach();
            }
            Some(LinkEvent::Frame(frame)) => {
                let Step { frames, events } = self.end.receive(&frame, now_ms);
                self.send(frames);
                for event in events {
                    if let Some(text) = self.host_event(event, now_ms).await {
                        return Some(text);
                    }
                }
            }
        }
        None
    }

    async fn host_event(&mut self, event: HostEvent, now_ms: u64) -> Option<String> {
        match event {
            HostEvent::Begin { terminal } if !self.closing => return self.start(terminal).await,
            HostEvent::Begin { .. } => {}
            HostEvent::Input(input) => {
                self.patience.active(now_ms);
                self.inputs.push_back(input);
            }
            HostEvent::EndOfInput => {
                // Behind what came before it.
                self.inputs.push_back(Vec::new());
            }
            HostEvent::Resize(size) => {
                self.size = TerminalSize { columns: size.cols, rows: size.rows };
                if let Some(process) = &self.process {
                    process.resize(self.size);
                }
            }
            HostEvent::Terminate => return Some(TERMINATED.to_owned()),
        }
        None
    }

    /// Starts the process; a text when that fails.
    async fn start(&mut self, terminal: bool) -> Option<String> {
        let request = SessionRequest {
            args: self.session.command.clone(),
            user: USER.to_owned(),
            terminal: terminal.then_some(self.size),
        };
        let starting = self.host.runtime.containers.open_session(&self.session.runtime_id, &request);
        let (text, code) = match timeout(START_TIME_MAX, starting).await {
            Err(_) => ("it did not start in time".to_owned(), 126),
            Ok(Ok(running)) => match Process::new(running) {
                Ok(process) => {
                    self.process = Some(process);
                    return None;
                }
                Err(error) => (chain(&error), 126),
            },
            Ok(Err(ContainerError::NotRunning { .. })) => return Some(CONTAINER_STOPPED.to_owned()),
            Ok(Err(error @ ContainerError::Command { .. })) => (chain(&error), 127),
            Ok(Err(error)) => (chain(&error), 126),
        };
        let told = self.end.exit_code(code, self.host.now_ms());
        self.send(told);
        Some(format!("Unable to start command: {text}"))
    }

    fn output(&mut self, (kind, bytes): &Piece) {
        let now_ms = self.host.now_ms();
        self.patience.active(now_ms);
        if let Some(transcript) = &mut self.transcript
            && let Err(error) = transcript.add(bytes)
        {
            warn!(session = self.session.session_id, error = chain(&error), "the transcript ends here");
        }
        let frames = self.end.output(*kind, bytes, now_ms);
        self.send(frames);
    }

    /// Tells the client how the process ended; returns what the user is told.
    async fn exit_text(&mut self, code: Option<i32>) -> String {
        let Some(code) = code else { return CONTAINER_STOPPED.to_owned() };
        let told = self.end.exit_code(code, self.host.now_ms());
        self.send(told);
        match code {
            0 => String::new(),
            // The end of a container kills what else runs in it.
            SIGKILLED if self.container_ends().await => CONTAINER_STOPPED.to_owned(),
            code => format!("The command exited with code {code}."),
        }
    }

    async fn container_ends(&self) -> bool {
        let ended = self.host.runtime.containers.wait(&self.session.runtime_id);
        timeout(CONTAINER_END_TIME_MAX, ended).await.is_ok()
    }

    /// Waits until the client has everything, for as long as it takes anything, within bounds; then says goodbye.
    async fn close(&mut self, events: &mut mpsc::Receiver<LinkEvent>, text: String) -> String {
        self.closing = true;
        let mut heard_ms = self.host.now_ms();
        let until_ms = heard_ms + CLIENT_AWAY_MS_MAX;
        while !self.end.is_drained() {
            let is_attached = self.end.is_attached();
            let give_up_ms = if is_attached { until_ms.min(heard_ms + LAST_WORDS_MS_MAX) } else { until_ms };
            if self.host.now_ms() >= give_up_ms {
                break;
            }
            let wake_ms = self.end.due_ms().unwrap_or(u64::MAX).min(give_up_ms);
            tokio::select! {
                event = events.recv() => match event {
                    // Nobody is there to hear it.
                    None | Some(LinkEvent::Gone) => break,
                    Some(event) => {
                        // Nothing else is a sign of the client.
                        if matches!(event, LinkEvent::Frame(_) | LinkEvent::Order(ExecOrder::Attached)) {
                            heard_ms = self.host.now_ms();
                        }
                        // Whatever else the client wants is too late.
                        self.link_event(Some(event)).await;
                        self.inputs.clear();
                    }
                },
                () = self.host.clock.sleep_until(wake_ms) => {
                    let due = self.end.due(self.host.now_ms());
                    self.send(due);
                }
            }
        }
        let goodbye = self.end.close(&text, self.host.now_ms());
        self.send([goodbye]);
        text
    }

    /// Tells the control plane that the session ended, with its transcript, until this task is aborted because it knows.
    async fn report(&mut self, events: &mut mpsc::Receiver<LinkEvent>, text: &str) {
        loop {
            if let Some(link) = &self.link {
                link.report(&ExecReport::Ended { text: text.to_owned() }).await;
                link.report(&self.hand_over(link).await).await;
            }
            // The next connection is told again.
            loop {
                match events.recv().await {
                    Some(LinkEvent::Up(link)) => {
                        self.link = Some(link);
                        break;
                    }
                    Some(LinkEvent::Down) => self.link = None,
                    Some(_) => {}
                    None => return std::future::pending().await,
                }
            }
        }
    }

    /// Hands over the transcript; returns what is then to be told.
    async fn hand_over(&self, link: &Sender) -> ExecReport {
        if !self.session.transcript {
            return ExecReport::TranscriptWhole;
        }
        // One that could not be opened was warned of then.
        let Some(transcript) = &self.transcript else { return ExecReport::TranscriptLost };
        match hand_over(transcript, link).await {
            Ok(()) => ExecReport::TranscriptWhole,
            Err(error) => {
                warn!(session = self.session.session_id, error = chain(&error), "the transcript cannot be read");
                ExecReport::TranscriptLost
            }
        }
    }

    fn send(&self, frames: impl IntoIterator<Item = Vec<u8>>) {
        if let Some(link) = &self.link {
            frames.into_iter().for_each(|frame| link.frame(frame));
        }
    }
}

async fn hand_over(transcript: &Transcript, link: &Sender) -> std::io::Result<()> {
    let mut pieces = transcript.read()?;
    loop {
        let piece = pieces.next()?;
        if piece.is_empty() {
            return Ok(());
        }
        link.transcript(piece).await;
    }
}
