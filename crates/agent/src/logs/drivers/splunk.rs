//! The log driver `splunk`: events to an HTTP Event Collector.

use std::{collections::BTreeMap, io::Write, time::Duration};

use async_trait::async_trait;
use flate2::{Compression, write::GzEncoder};
use serde_json::{Map, Value, json};

use super::{Options, Wanted, syslog::hostname};
use crate::{
    answer,
    logs::{
        destination::{DeliveryError, Destination},
        event::LogEvent,
    },
};

const PATH: &str = "/services/collector/event/1.0";
const CALL_MAX: Duration = Duration::from_secs(30);
/// How much of an answer is repeated.
const ANSWER_CHARS_MAX: usize = 300;
/// How much of it is read: as many characters of any kind.
const ANSWER_BYTES_MAX: usize = 4 * ANSWER_CHARS_MAX;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Inline,
    Json,
    Raw,
}

pub(super) struct Splunk {
    http: reqwest::Client,
    url: String,
    token: String,
    verify: bool,
    gzip: Option<Compression>,
    format: Format,
    tag: String,
    attributes: BTreeMap<String, String>,
    /// `host`, `source`, `sourcetype`, `index`.
    about: Map<String, Value>,
}

impl Splunk {
    pub(super) fn new(wanted: &Wanted<'_>) -> Result<Self, String> {
        let options = wanted.options();
        let required = |name: &str| options.get(name).ok_or_else(|| format!("splunk: {name} is expected"));
        let url = required("splunk-url")?.trim_end_matches('/');
        if !(url.starts_with("http://") || url.starts_with("https://")) {
            return Err(format!("splunk: failed to parse {url} as url value in splunk-url"));
        }
        let mut about = Map::new();
        about.insert("host".to_owned(), json!(hostname()));
        for name in ["source", "sourcetype", "index"] {
            if let Some(value) = options.get(&format!("splunk-{name}")) {
                about.insert(name.to_owned(), json!(value));
            }
        }
        Ok(Self {
            http: client(options)?,
            url: format!("{url}{PATH}"),
            token: required("splunk-token")?.to_owned(),
            verify: options.flag("splunk-verify-connection", true)?,
            gzip: gzip(options)?,
            format: match options.get("splunk-format").unwrap_or("inline") {
                "inline" => Format::Inline,
                "json" => Format::Json,
                "raw" => Format::Raw,
                other => {
                    return Err(format!(
                        "splunk: unknown format specified {other}, supported formats are inline, json and raw"
                    ));
                }
            },
            tag: wanted.container.tag(options)?,
            attributes: wanted.container.attributes(options)?,
            about,
        })
    }

    fn event(&self, event: &LogEvent) -> Value {
        let (seconds, nanoseconds) = event.time();
        let mut message = self.about.clone();
        message.insert("time".to_owned(), json!(format!("{seconds}.{:06}", nanoseconds / 1000)));
        let line = match (self.format, serde_json::from_str::<Value>(&event.message)) {
            (Format::Json, Ok(value)) => value,
            _ => json!(event.message),
        };
        let content = if self.format == Format::Raw {
            let attributes = self.attributes.iter().map(|(name, value)| format!("{name}={value} "));
            json!(format!("{} {}{}", self.tag, attributes.collect::<String>(), event.message))
        } else {
            let mut content = json!({"line": line, "source": event.source(), "tag": self.tag});
            if !self.attributes.is_empty() {
                content["attrs"] = json!(self.attributes);
            }
            content
        };
        message.insert("event".to_owned(), content);
        Value::Object(message)
    }

    fn body(&self, events: &[LogEvent]) -> std::io::Result<Vec<u8>> {
        let text: String = events.iter().map(|event| self.event(event).to_string()).collect();
        let Some(level) = self.gzip else { return Ok(text.into_bytes()) };
        let mut writer = GzEncoder::new(Vec::new(), level);
        writer.write_all(text.as_bytes())?;
        writer.finish()
    }
}

fn client(options: Options<'_>) -> Result<reqwest::Client, String> {
    let mut builder = reqwest::Client::builder().timeout(CALL_MAX).no_proxy();
    if options.flag("splunk-insecureskipverify", false)? {
        builder = builder.tls_danger_accept_invalid_certs(true);
    }
    if let Some(path) = options.get("splunk-capath") {
        let pem = std::fs::read(path).map_err(|error| format!("splunk: {path}: {error}"))?;
        let authority = reqwest::Certificate::from_pem(&pem).map_err(|error| format!("splunk: {path}: {error}"))?;
        builder = builder.tls_certs_only([authority]);
    }
    builder.build().map_err(|error| format!("splunk: {error}"))
}

fn gzip(options: Options<'_>) -> Result<Option<Compression>, String> {
    if !options.flag("splunk-gzip", false)? {
        return Ok(None);
    }
    let Some(text) = options.get("splunk-gzip-level") else { return Ok(Some(Compression::default())) };
    let level = text.parse::<i32>().ok().filter(|level| (-1..=9).contains(level));
    let level = level.ok_or_else(|| format!("not supported level '{text}' for splunk-gzip-level"))?;
    Ok(Some(u32::try_from(level).map_or_else(|_| Compression::default(), Compression::new)))
}

/// How a refusal begins; the rest is not waited for.
async fn said(answer: reqwest::Response) -> String {
    // Without its words the status says enough.
    let said = answer::body(answer, ANSWER_BYTES_MAX).await.unwrap_or_default();
    String::from_utf8_lossy(&said).chars().take(ANSWER_CHARS_MAX).collect()
}

#[async_trait]
impl Destination for Splunk {
    async fn prepare(&self) -> Result<(), DeliveryError> {
        if !self.verify {
            return Ok(());
        }
        let failed = |why: String| DeliveryError::Never(format!("splunk: failed to verify connection - {why}"));
        let answer = self.http.request(reqwest::Method::OPTIONS, &self.url).send().await;
        let answer = answer.map_err(|error| failed(error.without_url().to_string()))?;
        if answer.status().is_success() { Ok(()) } else { Err(failed(answer.status().to_string())) }
    }

    async fn deliver(&self, events: &[LogEvent]) -> Result<(), DeliveryError> {
        let body = self.body(events).map_err(DeliveryError::later)?;
        let mut call = self.http.post(&self.url).header("authorization", format!("Splunk {}", self.token)).body(body);
        if self.gzip.is_some() {
            call = call.header("content-encoding", "gzip");
        }
        let answer = call.send().await.map_err(|error| DeliveryError::later(error.without_url()))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let text = format!("splunk: {status}: {}", said(answer).await);
        // An event that the collector cannot read is not better the next time; a token may be.
        Err(if status == reqwest::StatusCode::BAD_REQUEST {
            DeliveryError::Never(text)
        } else {
            DeliveryError::Later(text)
        })
    }

    fn describe(&self) -> String {
        self.tag.clone()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::answer::tests::endless;

    #[tokio::test]
    async fn a_refusal_without_end_is_not_read_to_its_end() {
        let (answer, server) = endless("403 Forbidden").await;
        assert_eq!(said(answer).await, "x".repeat(ANSWER_CHARS_MAX));
        server.await.unwrap();
    }
}
