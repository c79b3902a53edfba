//! Environment files of tasks, in buckets of an S3-compatible service that the operator names.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use gantry_api::Caller;
use gantry_companions::iam::Iam;
use gantry_domain::environment_file::{object, parse};
use gantry_domain::policy::{Decision, Policies, Request, evaluate};
use gantry_domain::reason::ValuesFailure;
use gantry_protocol::principals::{self, Principals};
use object_store::aws::{AmazonS3, AmazonS3Builder};
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
        for (action, resource) in
            [("s3:GetBucketLocation", format!("arn:aws:s3:::{bucket}")), ("s3:GetObject", arn.to_owned())]
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

fn connect(config: &TaskFilesConfig, bucket: &str) -> object_store::Result<Arc<AmazonS3>> {
    let plain = config.endpoint.as_ref().is_some_and(|endpoint| endpoint.starts_with("http://"));
    let retry = RetryConfig { max_retries: 2, retry_timeout: FILE_TIME_MAX, ..RetryConfig::default() };
    let mut builder = AmazonS3Builder::from_env().with_bucket_name(bucket).with_retry(retry);
    if let Some(endpoint) = &config.endpoint {
        builder = builder.with_endpoint(endpoint).with_allow_http(plain).with_virtual_hosted_style_request(false);
    }
    if let Some(region) = &config.region {
        builder = builder.with_region(region);
    }
    if let Some((id, secret)) = &config.credentials {
        builder = builder.with_access_key_id(id).with_secret_access_key(secret);
    }
    builder.build().map(Arc::new)
}
