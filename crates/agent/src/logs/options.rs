//! `logConfiguration` options, read once. Pure.

use std::{collections::BTreeMap, path::PathBuf};

use gantry_runtime::container::LogFile;
use regex::Regex;

use super::{drivers::Described, multiline::from_datetime_format};
use crate::task::{ContainerDefinition, LaunchType, LogConfiguration, TaskSpec};

/// What one file of a container's output holds when nothing is configured, and how many there are. Docker keeps
/// everything for ever; here everything has a bound.
const FILE_BYTES: u64 = 50 << 20;
const FILES: u32 = 2;
/// Output that waits for delivery in the blocking mode, where none may be lost.
const BLOCKING_FILE_BYTES: u64 = 64 << 20;
const BLOCKING_FILES: u32 = 8;
/// `max-buffer-size` when it is not given.
const BUFFER_BYTES: u64 = 10 << 20;
/// A file smaller than this would be rotated away faster than it is read.
const BUFFER_BYTES_MIN: u64 = 1 << 20;

/// Where an awslogs container's output goes.
#[derive(Debug, Clone)]
pub(crate) struct AwsLogs {
    pub(crate) group: String,
    pub(crate) stream: String,
    pub(crate) region: String,
    pub(crate) create_group: bool,
    /// A line that matches begins a new event; without it every line is one.
    pub(crate) event_start: Option<Regex>,
}

impl AwsLogs {
    /// Reads the options of a container; `id` names the stream when no prefix is given.
    pub(crate) fn parse(
        task: &TaskSpec,
        definition: &ContainerDefinition,
        options: &BTreeMap<String, String>,
        id: &str,
        region: &str,
    ) -> Result<Self, String> {
        let get = |name: &str| options.get(name).map(String::as_str).filter(|value| !value.is_empty());
        let group = get("awslogs-group").ok_or("must specify a value for log opt: awslogs-group")?;
        let create_group = match get("awslogs-create-group") {
            None => false,
            Some(text) => text.parse().map_err(|_| {
                format!("must specify valid value for log opt 'awslogs-create-group': strconv.ParseBool: {text}")
            })?,
        };
        let event_start = match (get("awslogs-datetime-format"), get("awslogs-multiline-pattern")) {
            (Some(_), Some(_)) => {
                return Err("you cannot configure log opt 'awslogs-datetime-format' and \
                            'awslogs-multiline-pattern' at the same time"
                    .to_owned());
            }
            (Some(format), None) => Some(pattern("awslogs-datetime-format", &from_datetime_format(format))?),
            (None, Some(text)) => Some(pattern("awslogs-multiline-pattern", text)?),
            (None, None) => None,
        };
        let stream = match (get("awslogs-stream-prefix"), get("awslogs-stream"), get("tag")) {
            (Some(prefix), _, _) => format!("{prefix}/{}/{}", definition.name, task.id()),
            (None, Some(stream), _) => stream.to_owned(),
            (None, None, Some(tag)) => Described::new(task, definition, id, 0).expand(tag)?,
            (None, None, None) => id.to_owned(),
        };
        Ok(Self {
            group: group.to_owned(),
            stream,
            region: get("awslogs-region").unwrap_or(region).to_owned(),
            create_group,
            event_start,
        })
    }
}

fn pattern(option: &str, text: &str) -> Result<Regex, String> {
    Regex::new(text).map_err(|_| format!("could not parse {option} {text}"))
}

/// Where the shim writes what the container prints, and how much of it is kept.
pub(crate) fn log_file_of(log: &LogConfiguration, launch_type: LaunchType, path: PathBuf) -> LogFile {
    let options = &log.options;
    match log.driver.as_str() {
        "awslogs" | "awsfirelens" | "fluentd" | "gelf" | "journald" | "splunk" | "syslog" => {
            let blocking = options.get("mode").is_some_and(|mode| mode == "blocking");
            let (bytes, max_files) = if blocking {
                (BLOCKING_FILE_BYTES, BLOCKING_FILES)
            } else {
                // One file being written and one being read: the buffer's worth is there whatever the reader does.
                (size(options, "max-buffer-size").unwrap_or(BUFFER_BYTES).max(BUFFER_BYTES_MIN), 2)
            };
            LogFile { path, max_bytes: Some(bytes), max_files }
        }
        // On Fargate the output of a container without log configuration is nobody's.
        "none" => LogFile { path: PathBuf::from("/dev/null"), max_bytes: None, max_files: 1 },
        "" if launch_type == LaunchType::Fargate => {
            LogFile { path: PathBuf::from("/dev/null"), max_bytes: None, max_files: 1 }
        }
        _ => LogFile {
            path,
            max_bytes: Some(size(options, "max-size").unwrap_or(FILE_BYTES)),
            max_files: options
                .get("max-file")
                .and_then(|text| text.parse().ok())
                .filter(|count| *count > 0)
                .unwrap_or(if options.contains_key("max-size") { 1 } else { FILES }),
        },
    }
}

/// `10m`, `500k`, `1g`, `1024`, with or without a `b` behind.
fn size(options: &BTreeMap<String, String>, name: &str) -> Option<u64> {
    let text = options.get(name)?.trim().to_ascii_lowercase();
    let text = text.strip_suffix('b').unwrap_or(&text);
    let text = text.strip_suffix('i').unwrap_or(text);
    let (digits, shift) = match text.as_bytes().last()? {
        b'k' => (&text[..text.len() - 1], 10),
        b'm' => (&text[..text.len() - 1], 20),
        b'g' => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    digits.trim().parse::<u64>().ok()?.checked_mul(1 << shift).filter(|bytes| *bytes > 0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn sizes_are_read_as_docker_reads_them() {
        for (text, expected) in [
            ("10m", Some(10 << 20)),
            ("500K", Some(500 << 10)),
            ("1g", Some(1 << 30)),
            ("2MiB", Some(2 << 20)),
            ("4096", Some(4096)),
            ("0", None),
            ("-1", None),
            ("ten", None),
            ("99999999999g", None),
        ] {
            let options = BTreeMap::from([("max-size".to_owned(), text.to_owned())]);
            assert_eq!(size(&options, "max-size"), expected, "{text}");
        }
    }

    #[test]
    fn files_are_bounded_by_driver_and_mode() {
        let of = |driver: &str, options: &[(&str, &str)], launch_type| {
            let options = options.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
            let log = LogConfiguration { driver: driver.into(), options, ..LogConfiguration::default() };
            let file = log_file_of(&log, launch_type, "/log".into());
            (file.path.to_str().unwrap().to_owned(), file.max_bytes, file.max_files)
        };
        let ec2 = LaunchType::Ec2;
        assert_eq!(of("", &[], ec2), ("/log".into(), Some(FILE_BYTES), FILES));
        assert_eq!(of("json-file", &[("max-size", "1m"), ("max-file", "3")], ec2), ("/log".into(), Some(1 << 20), 3));
        assert_eq!(of("json-file", &[("max-size", "1m")], ec2), ("/log".into(), Some(1 << 20), 1));
        assert_eq!(of("awslogs", &[], ec2), ("/log".into(), Some(BUFFER_BYTES), 2));
        assert_eq!(of("awslogs", &[("mode", "blocking")], ec2).2, BLOCKING_FILES);
        assert_eq!(of("none", &[], ec2), ("/dev/null".into(), None, 1));
        assert_eq!(of("", &[], LaunchType::Fargate), ("/dev/null".into(), None, 1));
    }
}
