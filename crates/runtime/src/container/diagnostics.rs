//! What the library logs as errors while it starts a container, for the reason that the user gets to see: its error
//! values lose the inner causes on their way between its processes.

use std::{
    fmt::Write as _,
    fs::File,
    io::{Read, Write},
    os::fd::OwnedFd,
};

use rustix::pipe::{PipeFlags, pipe_with};
use tracing::{
    Event, Level, Metadata,
    field::{Field, Visit},
    level_filters::LevelFilter,
    span,
    subscriber::Subscriber,
};

use super::message::Failure;

/// The reading side; every process forked after [`Diagnostics::collect`] writes to the other.
pub(super) struct Diagnostics(OwnedFd);

impl Diagnostics {
    /// Collects from here on, in this process and its children.
    pub(super) fn collect() -> Result<Self, Failure> {
        // Not blocking: a full pipe loses words, it does not stop the start.
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)
            .map_err(|error| Failure::io("making a pipe", &error.into()))?;
        let _ = tracing::subscriber::set_global_default(ErrorsToPipe(File::from(writer)));
        Ok(Self(reader))
    }

    /// The first error that was logged, which is the one nearest to the cause.
    pub(super) fn first(self) -> Option<String> {
        let mut text = Vec::new();
        // Ends with EAGAIN: this process itself holds a writing end.
        let _ = File::from(self.0).read_to_end(&mut text);
        let text = String::from_utf8_lossy(&text);
        text.lines().next().map(str::to_owned)
    }
}

struct ErrorsToPipe(File);

impl Subscriber for ErrorsToPipe {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::ERROR
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::ERROR)
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        let line = line.0.replace('\n', " ") + "\n";
        let _ = (&self.0).write_all(line.as_bytes());
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let separator = if self.0.is_empty() { "" } else { ", " };
        let _ = match field.name() {
            "message" => write!(self.0, "{separator}{value:?}"),
            name => write!(self.0, "{separator}{name}={value:?}"),
        };
    }
}
