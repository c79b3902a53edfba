//! Asking which manifest an image's tag stands for now: the control plane knows when, the registry knows what.

use futures_util::future::BoxFuture;
use gantry_domain::arn::Scope;

/// The registry of this control plane.
pub trait ImageDigests: Send + Sync + 'static {
    /// The digest that `image` stands for, for tasks of `scope`; none when it is of another registry, or is not there.
    fn digest<'a>(&'a self, scope: &'a Scope, image: &'a str) -> BoxFuture<'a, Option<String>>;
}

/// For a control plane without a registry: what the first task ran is what the others run.
#[derive(Debug)]
pub(crate) struct NoDigests;

impl ImageDigests for NoDigests {
    fn digest<'a>(&'a self, _: &'a Scope, _: &'a str) -> BoxFuture<'a, Option<String>> {
        Box::pin(async { None })
    }
}
