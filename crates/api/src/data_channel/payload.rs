//! The payloads that are JSON.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// `SessionType` of the handshake; the plugin becomes a shell for it.
const SESSION_TYPE: &str = "InteractiveCommands";
const SUCCESS: u32 = 1;

/// The size of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// Columns.
    pub cols: u16,
    /// Rows.
    pub rows: u16,
}

/// What an acknowledgement says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Acknowledgement {
    /// Type of the acknowledged message.
    pub acknowledged_message_type: String,
    /// Its id.
    pub acknowledged_message_id: String,
    /// Its number: what counts.
    pub acknowledged_message_sequence_number: i64,
    /// Always true.
    pub is_sequential_message: bool,
}

/// First frame of a client, text: it proves by the token that it may have the session.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Opening {
    /// `1.0`.
    #[serde(default)]
    pub message_schema_version: String,
    /// A UUID.
    #[serde(default)]
    pub request_id: String,
    /// From ExecuteCommand, StartSession or ResumeSession.
    pub token_value: String,
    /// Stays the same when a session is resumed.
    #[serde(default)]
    pub client_id: String,
}

/// What a client beyond the plugin's abilities asks for in its handshake; members that the plugin does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Wishes {
    /// A terminal; otherwise pipes, with standard error apart and an end of input.
    pub terminal: bool,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HandshakeResponse {
    #[serde(default)]
    client_version: String,
    #[serde(default)]
    gantry: Option<Wishes>,
}

/// What the host asks first.
pub(super) fn handshake_request() -> Vec<u8> {
    bytes(&json!({
        "AgentVersion": "3.3.0.0",
        "RequestedClientActions": [{
            "ActionType": "SessionType",
            "ActionParameters": {"SessionType": SESSION_TYPE, "Properties": {}},
        }],
    }))
}

/// How our own client answers.
pub(super) fn handshake_response(wishes: Wishes) -> Vec<u8> {
    bytes(&json!({
        "ClientVersion": "1.2.0.0",
        "ProcessedClientActions": [{
            "ActionType": "SessionType", "ActionStatus": SUCCESS, "ActionResult": null, "Error": "",
        }],
        "Errors": null,
        "Gantry": wishes,
    }))
}

/// What the client wishes beyond the ordinary; none of the plugin. An answer that cannot be read wishes nothing.
pub(super) fn read_handshake_response(payload: &[u8]) -> Option<Wishes> {
    serde_json::from_slice::<HandshakeResponse>(payload).ok()?.gantry
}

/// Ends the handshake. A message that is not empty is printed as a line.
pub(super) fn handshake_complete(nanoseconds: u64) -> Vec<u8> {
    bytes(&json!({"HandshakeTimeToComplete": nanoseconds, "CustomerMessage": ""}))
}

/// The end of a session, with a text for the user (or none).
pub(super) fn channel_closed(id: &str, session: &str, target: &str, now_ms: u64, output: &str) -> Vec<u8> {
    bytes(&json!({
        "MessageType": "channel_closed",
        "MessageId": id,
        "DestinationId": target,
        "SessionId": session,
        "SchemaVersion": 1,
        "CreatedDate": now_ms.to_string(),
        "Output": output,
    }))
}

/// The text of a [`channel_closed`].
pub(super) fn closing_text(payload: &[u8]) -> String {
    let value: Value = serde_json::from_slice(payload).unwrap_or_default();
    value.get("Output").and_then(Value::as_str).unwrap_or_default().to_owned()
}

pub(super) fn bytes<T: Serialize>(value: &T) -> Vec<u8> {
    // Values with string keys only; writing them cannot fail.
    serde_json::to_vec(value).unwrap_or_default()
}
