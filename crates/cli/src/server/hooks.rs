//! How the control plane calls the HTTP hooks of deployments.

use futures_util::{FutureExt, future::BoxFuture};
use gantry_companions::outbound::{self, Outbound};
use gantry_control::{HOOK_ANSWER_BYTES_MAX, HOOK_CALL_TIMEOUT, HookCaller, HookResponse};
use gantry_domain::networks::Network;
use gantry_protocol::endpoint::chain;

/// A client with a bound for everything.
pub(crate) struct HttpHooks(Outbound);

impl HttpHooks {
    /// Hooks may be in networks up to `reach`.
    pub(crate) const fn new(reach: Network) -> Self {
        Self(Outbound::new(reach))
    }

    async fn post(&self, url: &str, body: Vec<u8>) -> Result<HookResponse, String> {
        let url = url.parse().map_err(|_| "the hook's target is not a URL".to_owned())?;
        let request = self.0.post(url, HOOK_CALL_TIMEOUT).map_err(|error| error.to_string())?;
        let request = request.header("content-type", "application/json").body(body);
        let told = |error: reqwest::Error| chain(&error.without_url());
        let response = request.send().await.map_err(told)?;
        let status = response.status().as_u16();
        let body = outbound::body(response, HOOK_ANSWER_BYTES_MAX).await.map_err(told)?;
        Ok(HookResponse { status, body })
    }
}

impl HookCaller for HttpHooks {
    fn call<'a>(&'a self, url: &'a str, body: Vec<u8>) -> BoxFuture<'a, Result<HookResponse, String>> {
        self.post(url, body).boxed()
    }
}
