//! Keeps the values of log options that are secrets out of everything that is told of a delivery: errors become reasons
//! of containers and lines of our own log.

use std::sync::Arc;

use async_trait::async_trait;

use super::{
    destination::{DeliveryError, Destination},
    event::LogEvent,
};

const IN_THEIR_PLACE: &str = "***";

/// A destination whose words do not have these texts.
pub(super) struct Discreet {
    pub(super) to: Arc<dyn Destination>,
    pub(super) hidden: Hidden,
}

/// Texts that are not to be told.
pub(super) struct Hidden(Vec<String>);

impl Hidden {
    /// These values, and what drivers make of one that is an address: it without scheme, path, port.
    pub(super) fn new<'a>(values: impl Iterator<Item = &'a str>) -> Self {
        let mut texts: Vec<String> = Vec::new();
        for value in values {
            let address = value.split_once("://").map_or(value, |(_, rest)| rest);
            let authority = address.split('/').next().unwrap_or_default();
            let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
            let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
            for text in [value, value.trim(), address, address.trim_end_matches('/'), authority, host] {
                texts.extend([text.to_owned(), text.escape_debug().to_string()]);
            }
        }
        texts.retain(|text| !text.is_empty());
        // A text that is within another goes after it.
        texts.sort_by(|one, other| other.len().cmp(&one.len()).then(one.cmp(other)));
        texts.dedup();
        Self(texts)
    }

    pub(super) fn hide(&self, told: &str) -> String {
        self.0.iter().fold(told.to_owned(), |told, text| told.replace(text, IN_THEIR_PLACE))
    }

    fn error(&self, error: DeliveryError) -> DeliveryError {
        match error {
            DeliveryError::Later(told) => DeliveryError::Later(self.hide(&told)),
            DeliveryError::Never(told) => DeliveryError::Never(self.hide(&told)),
        }
    }
}

#[async_trait]
impl Destination for Discreet {
    async fn prepare(&self) -> Result<(), DeliveryError> {
        self.to.prepare().await.map_err(|error| self.hidden.error(error))
    }

    async fn deliver(&self, events: &[LogEvent]) -> Result<(), DeliveryError> {
        self.to.deliver(events).await.map_err(|error| self.hidden.error(error))
    }

    fn describe(&self) -> String {
        self.hidden.hide(&self.to.describe())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_told_in_no_form() {
        for (value, told, expected) in [
            ("s3cret", "splunk: 403: s3cret is unknown", "splunk: 403: *** is unknown"),
            (
                "https://h.internal:8088/",
                "failed to parse https://h.internal:8088 as url",
                "failed to parse https://*** as url",
            ),
            ("tcp://h.internal", "dial tcp h.internal:24224: refused", "dial tcp ***:24224: refused"),
            ("h.internal:1", "no certificate for h.internal", "no certificate for ***"),
            ("a\"b", "parsing \"a\\\"b\": invalid", "parsing \"***\": invalid"),
            ("", "nothing to hide", "nothing to hide"),
        ] {
            assert_eq!(Hidden::new([value].into_iter()).hide(told), expected, "{value}");
        }
    }
}
