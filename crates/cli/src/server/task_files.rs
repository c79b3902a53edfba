//! Environment files of tasks, in buckets of an S3-compatible service that the operator names.

use std::time::Duration;

use futures_util::StreamExt;
use gantry_api::Caller;
use gantry_companions::iam::Iam;
use gantry_domain::environment_file::{object, parse};
use gantry_domain::policy::{Decision, Policies, Request, evaluate};
use gantry_domain::reason::ValuesFailure;
use gantry_protocol::principals::{self, Principals};
use gantry_registry::blobs::S3Config;
use object_store::aws::AmazonS3;
use object_store::path::Path;
use object_store::{ObjectStoreExt, RetryConfig};

use crate::config::TaskFilesConfig;

/// Bytes of one file.
const FILE_BYTES_MAX: usize = 1 << 20;
/// Longest time for one file.
const FILE_TIME_MAX: Duration = Duration::from_secs(30);

/// The service that has the buckets; none when the operator names none.
#[derive(Debug, Clone)]
pub(crate) struct TaskFiles(pub(crate) Option<TaskFilesConfig>);

impl TaskFiles {
    /// The variables of the file of this ARN, for a caller who may read it.
    pub(crate) async fn variables(
        &self,
        iam: &Iam,
        caller: &Caller,
        arn: &str,
    ) -> Result<Vec<(String, String)>, ValuesFailure> {
        let (bucket, key) = object(arn).unwrap_or(("", arn));
        let failed = |error: String| ValuesFailure::File { bucket: bucket.to_owned(), key: key.to_owned(), error };
        if bucket.is_empty() {
            return Err(failed("not the ARN of an object".to_owned()));
        }
        let config = self.0.as_ref().ok_or_else(|| {
            failed("there is no S3-compatible service: the operator names one in [task_files]".to_owned())
        })?;
        if !config.accounts.contains(&caller.account) {
            let account = &caller.account;
            return Err(failed(format!("AccessDenied: the buckets of [task_files] are not for account {account}")));
        }
        // Not as it was written: in another partition it is the same object, and policies name it in this one.
        let object = format!("arn:aws:s3:::{bucket}/{key}");
        for (action, resource) in [("s3:GetBucketLocation", format!("arn:aws:s3:::{bucket}")), ("s3:GetObject", object)]
        {
            authorize(iam, caller, action, &resource).map_err(failed)?;
        }
        let read = tokio::time::timeout(FILE_TIME_MAX, read(config, bucket, key));
        let text = read.await.map_err(|_| failed("the service did not answer in time".to_owned()))?.map_err(failed)?;
        Ok(parse(&text))
    }
}

/// Buckets are outside: they have no policies that we know, so the caller's own decide.
fn authorize(iam: &Iam, caller: &Caller, action: &str, resource: &str) -> Result<(), String> {
    let authority = iam.authority(caller);
    let context = principals::context(caller);
    let request = Request {
        principal: &authority.principal,
        action,
        resource,
        account: &caller.account,
        now: (gantry_registry::system_clock())(),
        context: &context,
    };
    match evaluate(&request, &Policies::of(&authority.policies)) {
        Decision::Allow => Ok(()),
        Decision::Deny(denial) => Err(format!("AccessDenied: {}", denial.sentence(&request))),
    }
}

async fn read(config: &TaskFilesConfig, bucket: &str, key: &str) -> Result<String, String> {
    let words = |error: object_store::Error| match error {
        object_store::Error::NotFound { .. } => "NoSuchKey: The specified key does not exist.".to_owned(),
        error => gantry_protocol::endpoint::chain(&error),
    };
    let store = connect(config, bucket).map_err(words)?;
    let path = Path::parse(key).map_err(|error| error.to_string())?;
    let mut stream = store.get(&path).await.map_err(words)?.into_stream();
    let mut bytes = Vec::new();
    while let Some(part) = stream.next().await {
        bytes.extend_from_slice(&part.map_err(words)?);
        if bytes.len() > FILE_BYTES_MAX {
            return Err(format!("the file has more than {FILE_BYTES_MAX} bytes"));
        }
    }
    String::from_utf8(bytes).map_err(|_| "the file is not UTF-8".to_owned())
}

fn connect(config: &TaskFilesConfig, bucket: &str) -> object_store::Result<AmazonS3> {
    let retry = RetryConfig { max_retries: 2, retry_timeout: FILE_TIME_MAX, ..RetryConfig::default() };
    let config = S3Config { bucket: bucket.to_owned(), ..config.service.clone() };
    config.builder().with_retry(retry).build()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;
    use crate::server::roles_for_tests::{TASK, iam_with_role};

    /// What is said of a file, when the buckets are for these accounts. Nobody answers at the endpoint.
    async fn refusal(accounts: &[&str], arn: &str) -> String {
        let statements = json!([
            {"Effect": "Allow", "Action": "s3:*", "Resource": "*"},
            {"Effect": "Deny", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::secret/*"}]);
        let (iam, role) = iam_with_role("exec", &json!({}), &statements).await;
        let files = TaskFiles(Some(TaskFilesConfig {
            service: S3Config {
                endpoint: Some("http://127.0.0.1:1".into()),
                region: Some("us-east-1".into()),
                credentials: Some(("id".into(), "key".into())),
                ..S3Config::default()
            },
            accounts: accounts.iter().map(|account| (*account).to_owned()).collect::<BTreeSet<_>>(),
        }));
        let caller = iam.task_role_caller(&role, TASK).unwrap();
        match files.variables(&iam, &caller, arn).await.unwrap_err() {
            ValuesFailure::File { error, .. } => error,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_file_is_read_by_whom_policies_and_the_operator_let() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let own = ["000000000000"];
        for arn in ["arn:aws:s3:::secret/a.env", "arn:aws-cn:s3:::secret/a.env", "arn:x:s3:::secret/a.env"] {
            let error = refusal(&own, arn).await;
            assert!(error.contains("s3:GetObject on resource: arn:aws:s3:::secret/a.env"), "{arn}: {error}");
        }
        let allowed = "arn:aws-cn:s3:::conf/a.env";
        assert!(!refusal(&own, allowed).await.contains("AccessDenied"), "it fails at the endpoint");
        assert_eq!(
            refusal(&["111122223333"], allowed).await,
            "AccessDenied: the buckets of [task_files] are not for account 000000000000"
        );
    }
}
