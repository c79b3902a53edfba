//! Docker's log drivers that send: fluentd (and FireLens, which is fluentd to a router of the task), gelf, journald,
//! splunk, syslog. What they send is what Docker sends; what waits to be sent stays in the container's log file, so
//! neither a destination that is away nor a killed agent loses anything that the file still holds.
//!
//! - [`container`]: what is said of the container beside its output: tag, labels, variables. Pure.
//! - [`address`]: addresses in the options, and connections to them.

mod address;
mod container;
mod fluentd;
mod gelf;
mod journald;
mod msgpack;
mod splunk;
mod syslog;
mod tls;

use std::{collections::BTreeMap, path::Path, sync::Arc};

pub(crate) use container::Described;

use super::destination::Destination;
use crate::task::{ContainerDefinition, TaskSpec};

/// Where the journal of systemd listens.
const JOURNAL: &str = "/run/systemd/journal/socket";

/// What a driver is made from.
pub(crate) struct Wanted<'a> {
    pub(crate) task: &'a TaskSpec,
    pub(crate) definition: &'a ContainerDefinition,
    /// Those of the definition, and those that are secrets.
    pub(crate) options: &'a BTreeMap<String, String>,
    pub(crate) container: Described,
    /// The socket of the task's log router.
    pub(crate) firelens_socket: &'a Path,
}

impl Wanted<'_> {
    fn options(&self) -> Options<'_> {
        Options(self.options)
    }
}

/// Options of a log configuration.
#[derive(Clone, Copy)]
struct Options<'a>(&'a BTreeMap<String, String>);

impl<'a> Options<'a> {
    /// A value that is there and not empty.
    fn get(self, name: &str) -> Option<&'a str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    fn flag(self, name: &str, default: bool) -> Result<bool, String> {
        match self.get(name) {
            None => Ok(default),
            Some(text) => text.parse().map_err(|_| format!("strconv.ParseBool: parsing \"{text}\": invalid syntax")),
        }
    }
}

/// Whether output leaves the container's log file.
pub(crate) fn delivers(driver: &str) -> bool {
    !matches!(driver, "" | "json-file" | "none")
}

/// Makes the destination of a driver; none for a driver that writes to the file alone.
pub(crate) fn destination(wanted: &Wanted<'_>) -> Result<Option<Arc<dyn Destination>>, String> {
    Ok(Some(match wanted.definition.log.driver.as_str() {
        "awsfirelens" => Arc::new(fluentd::Fluentd::for_router(wanted)),
        "fluentd" => Arc::new(fluentd::Fluentd::new(wanted)?),
        "gelf" => Arc::new(gelf::Gelf::new(wanted)?),
        "journald" => Arc::new(journald::Journald::new(wanted, JOURNAL.into())?),
        "splunk" => Arc::new(splunk::Splunk::new(wanted)?),
        "syslog" => Arc::new(syslog::Syslog::new(wanted)?),
        _ => return Ok(None),
    }))
}
