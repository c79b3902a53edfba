//! Who sent a request, as the signature proved it.

/// The authenticated sender of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Twelve digits.
    pub account: String,
    /// From the signature's scope.
    pub region: String,
    /// For example `arn:aws:iam::000000000000:root`.
    pub principal_arn: String,
    /// What kind of principal that is.
    pub kind: PrincipalKind,
    /// The key that signed.
    pub access_key_id: String,
    /// Answered as `x-amzn-RequestId` and written beside every log line of the request.
    pub request_id: String,
}

/// The kinds of principals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PrincipalKind {
    /// The account itself.
    Root,
    /// The agent of a container instance.
    Instance,
}

impl Caller {
    /// `arn:aws:SERVICE:REGION:ACCOUNT:RESOURCE` in the caller's region and account.
    pub fn arn(&self, service: &str, resource: &str) -> String {
        format!("arn:aws:{service}:{}:{}:{resource}", self.region, self.account)
    }
}
