//! The data channel's connection: opened with the session's token, and again with a new one when it is lost.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures_util::SinkExt;
use gantry_agent::websocket::{self, Socket};
use gantry_api::{
    data_channel::payload::Opening,
    ecs,
    ssm::{self, ResumeSessionResponse},
};
use serde_json::json;
use tokio::time::{Instant, sleep};
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest};

use crate::client::Client;

/// How long a server that is away is waited for: about as long as the session waits for us.
const RESUME_TIME_MAX: Duration = Duration::from_secs(60);
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(2);

/// Opens connections of one session.
pub(super) struct Connector {
    client: Client,
    session_id: String,
    url: String,
    /// Of ExecuteCommand; used up by the first connection.
    token: Option<String>,
    client_id: String,
}

impl Connector {
    pub(super) fn new(client: Client, session: ecs::Session) -> Self {
        Self {
            client,
            session_id: session.session_id.unwrap_or_default(),
            url: session.stream_url.unwrap_or_default(),
            token: session.token_value,
            client_id: uuid::Uuid::new_v4().to_string(),
        }
    }

    pub(super) fn session_id(&self) -> &str {
        &self.session_id
    }

    /// The first connection.
    pub(super) async fn connect(&mut self) -> Result<Socket> {
        let token = self.token.take().context("the answer of ExecuteCommand has no token")?;
        self.open(token).await.with_context(|| format!("connecting to {}", self.url))
    }

    /// The next one; none when the session is over.
    pub(super) async fn resume(&self) -> Result<Option<Socket>> {
        let (deadline, mut delay) = (Instant::now() + RESUME_TIME_MAX, RETRY_MIN);
        loop {
            let error = match self.try_to_resume().await {
                Ok(resumed) => return Ok(resumed),
                Err(error) => error,
            };
            if Instant::now() >= deadline {
                return Err(error.context("the connection was lost"));
            }
            sleep(delay).await;
            delay = (delay * 2).min(RETRY_MAX);
        }
    }

    async fn try_to_resume(&self) -> Result<Option<Socket>> {
        let input = json!({"SessionId": self.session_id});
        let resumed: ResumeSessionResponse = self.client.call(&ssm::SERVICE, "ResumeSession", &input).await?;
        match resumed.token_value.filter(|token| !token.is_empty()) {
            Some(token) => self.open(token).await.map(Some),
            None => Ok(None),
        }
    }

    async fn open(&self, token: String) -> Result<Socket> {
        if !self.url.starts_with("ws") {
            bail!("the session has no URL to connect to");
        }
        let (mut socket, _) = websocket::open(self.url.as_str().into_client_request()?).await?;
        let opening = Opening {
            message_schema_version: "1.0".to_owned(),
            request_id: uuid::Uuid::new_v4().to_string(),
            token_value: token,
            client_id: self.client_id.clone(),
        };
        socket.send(Message::text(serde_json::to_string(&opening)?)).await?;
        Ok(socket)
    }
}
