//! Calling the HTTP hooks of deployments: the control plane knows when and what, somebody else knows HTTP.

use std::time::Duration;

use futures_util::future::BoxFuture;

/// How long one call may take. A hook with more to do answers IN_PROGRESS and is called again.
pub const HOOK_CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes of an answer that are read.
pub const HOOK_ANSWER_BYTES_MAX: usize = 64 * 1024;

/// What a called URL answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookResponse {
    /// The HTTP status.
    pub status: u16,
    /// The body, at most [`HOOK_ANSWER_BYTES_MAX`].
    pub body: Vec<u8>,
}

/// Posts JSON to a URL. It must keep to the two bounds above and follow no redirect.
pub trait HookCaller: Send + Sync + 'static {
    /// Posts `body` to `url`. The error says what went wrong, for the log.
    fn call<'a>(&'a self, url: &'a str, body: Vec<u8>) -> BoxFuture<'a, Result<HookResponse, String>>;
}

/// For a control plane that is given no way to call: every call fails.
#[derive(Debug)]
pub(crate) struct NoCaller;

impl HookCaller for NoCaller {
    fn call<'a>(&'a self, _: &'a str, _: Vec<u8>) -> BoxFuture<'a, Result<HookResponse, String>> {
        Box::pin(async { Err("this control plane calls no hooks".to_owned()) })
    }
}
