//! What a call needs to be allowed: one check per action and resource. Every one must pass.

use gantry_api::Caller;

use super::fields::Fields;

/// One permission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Check {
    /// For example `ecs:RunTask`.
    pub(super) action: String,
    /// The resource as policies name it. Further ones are other names of the same: one that is allowed is enough.
    pub(super) resources: Vec<String>,
    /// Condition keys of the service.
    pub(super) keys: Vec<(String, String)>,
    /// Whether the request's tags are condition keys here.
    pub(super) request_tags: bool,
}

impl Check {
    pub(super) fn new(action: impl Into<String>, resource: impl Into<String>) -> Self {
        Self { action: action.into(), resources: vec![resource.into()], keys: Vec::new(), request_tags: false }
    }

    pub(super) fn key(mut self, key: &str, value: impl Into<String>) -> Self {
        self.keys.push((key.to_owned(), value.into()));
        self
    }

    pub(super) fn keys(mut self, keys: &[(String, String)]) -> Self {
        self.keys.extend_from_slice(keys);
        self
    }

    /// Another name of the resource.
    pub(super) fn or(mut self, resource: impl Into<String>) -> Self {
        self.resources.push(resource.into());
        self
    }

    pub(super) fn with_request_tags(mut self) -> Self {
        self.request_tags = true;
        self
    }
}

/// A call as the tables look at it.
pub(super) struct Call<'a> {
    pub(super) caller: &'a Caller,
    pub(super) operation: &'a str,
    pub(super) fields: &'a Fields<'a>,
    pub(super) facts: &'a dyn super::Facts,
}

/// `iam:PassRole`: the caller hands `role` to `service`.
pub(super) fn pass_role(role: &str, service: &str) -> Check {
    Check::new("iam:PassRole", in_our_partition(role)).key("iam:PassedToService", service)
}

/// An ARN as this server writes it. Where the partition of a request's ARN is not looked at, it must not make another
/// resource of it for the policies.
pub(super) fn in_our_partition(arn: &str) -> String {
    match arn.strip_prefix("arn:").and_then(|rest| rest.split_once(':')) {
        Some((_, rest)) => format!("arn:aws:{rest}"),
        None => arn.to_owned(),
    }
}
