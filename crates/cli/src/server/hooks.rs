//! How the control plane calls the HTTP hooks of deployments.

use futures_util::{FutureExt, future::BoxFuture};
use gantry_control::{HOOK_ANSWER_BYTES_MAX, HOOK_CALL_TIMEOUT, HookCaller, HookResponse};

/// A client that follows no redirect and has a bound for everything.
pub(crate) struct HttpHooks(reqwest::Client);

impl HttpHooks {
    pub(crate) fn new() -> reqwest::Result<Self> {
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(HOOK_CALL_TIMEOUT)
            .user_agent(concat!("gantry/", env!("CARGO_PKG_VERSION")));
        client.build().map(Self)
    }

    async fn post(&self, url: &str, body: Vec<u8>) -> reqwest::Result<HookResponse> {
        let request = self.0.post(url).header("content-type", "application/json").body(body);
        let mut response = request.send().await.map_err(reqwest::Error::without_url)?;
        let status = response.status().as_u16();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            let room = HOOK_ANSWER_BYTES_MAX - body.len();
            body.extend_from_slice(&chunk[..chunk.len().min(room)]);
            if chunk.len() >= room {
                break;
            }
        }
        Ok(HookResponse { status, body })
    }
}

impl HookCaller for HttpHooks {
    fn call<'a>(&'a self, url: &'a str, body: Vec<u8>) -> BoxFuture<'a, Result<HookResponse, String>> {
        let error = |error: reqwest::Error| {
            let source = std::error::Error::source(&error).map(|source| format!(": {source}"));
            format!("{error}{}", source.unwrap_or_default())
        };
        async move { self.post(url, body).await.map_err(error) }.boxed()
    }
}
