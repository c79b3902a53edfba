//! A signed client of the AWS APIs, for the operator's commands.

use std::{
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use gantry_api::ServiceInfo;
use gantry_protocol::signer::{self, Credentials};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    Hint,
    arguments::ClientOptions,
    config::{DEFAULT_DATA_DIR, Running, variable},
    credentials::{self, AccessKey},
};

/// Where and as whom to call.
pub(crate) struct Client {
    pub(crate) endpoint: String,
    pub(crate) region: String,
    pub(crate) key: AccessKey,
    http: reqwest::Client,
}

/// What the server said no with.
#[derive(Debug, thiserror::Error)]
#[error("{operation}: {message} ({code})")]
pub(crate) struct Refused {
    operation: String,
    /// For example `ServiceNotFoundException`.
    pub(crate) code: String,
    message: String,
}

impl Client {
    /// From the data directory of a local Gantry; flags win.
    pub(crate) fn new(options: &ClientOptions) -> Result<Self> {
        Self::find(options, variable)
    }

    /// Who names a data directory means the Gantry that has it, whatever the AWS variables are set to for other programs.
    fn find(options: &ClientOptions, variable: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let variable = |name| variable(name).filter(|_| options.data_dir.is_none());
        let data_dir = options.data_dir.as_deref().unwrap_or(Path::new(DEFAULT_DATA_DIR));
        let running = Running::read(data_dir);
        let endpoint = match options.endpoint.clone().or_else(|| variable("AWS_ENDPOINT_URL")) {
            Some(endpoint) => endpoint.trim_end_matches('/').to_string(),
            None => running.as_ref().map_err(retell)?.endpoint.clone(),
        };
        let region = options.region.clone().or_else(|| variable("AWS_REGION"));
        let region = region.or_else(|| running.as_ref().ok().map(|running| running.region.clone()));
        let key = match (variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY")) {
            (Some(id), Some(secret)) => AccessKey { id, secret },
            _ => AccessKey::read(&credentials::root_path(data_dir))?,
        };
        let http = reqwest::Client::builder().connect_timeout(Duration::from_secs(5)).build()?;
        Ok(Self { endpoint, region: region.unwrap_or_else(|| "us-east-1".into()), key, http })
    }

    /// Calls a JSON operation.
    pub(crate) async fn call<I: Serialize, O: DeserializeOwned>(
        &self,
        service: &ServiceInfo,
        operation: &str,
        input: &I,
    ) -> Result<O> {
        let target = format!("{}.{operation}", service.target_prefix);
        let request = http::Request::post(format!("{}/", self.endpoint)).header("x-amz-target", target);
        self.send(request, service.signing_name, operation, input).await
    }

    /// Makes one of Gantry's own calls, signed for `signing_name`.
    pub(crate) async fn own<I: Serialize, O: DeserializeOwned>(
        &self,
        signing_name: &str,
        name: &str,
        input: &I,
    ) -> Result<O> {
        let request = http::Request::post(format!("{}/gantry/{name}", self.endpoint));
        self.send(request, signing_name, name, input).await
    }

    async fn send<I: Serialize, O: DeserializeOwned>(
        &self,
        request: http::request::Builder,
        signing_name: &str,
        operation: &str,
        input: &I,
    ) -> Result<O> {
        let body = serde_json::to_vec(input)?;
        let request = request.header("content-type", "application/x-amz-json-1.1").body(body)?;
        let credentials = Credentials {
            access_key_id: self.key.id.clone(),
            secret: self.key.secret.clone(),
            region: self.region.clone(),
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let request = signer::sign(request, &credentials, signing_name, now)?;
        let answer = self.http.execute(request.try_into()?).await.map_err(|error| self.unreachable(&error))?;
        let status = answer.status();
        let bytes = answer.bytes().await.context("the answer ended early")?;
        if status.is_success() {
            return serde_json::from_slice(&bytes).with_context(|| format!("understanding the answer of {operation}"));
        }
        let fault: serde_json::Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let text = |name: &str| fault[name].as_str().unwrap_or_default().to_string();
        Err(Refused { operation: operation.to_owned(), code: text("__type"), message: text("message") }.into())
    }

    fn unreachable(&self, error: &reqwest::Error) -> anyhow::Error {
        let problem = format!("no Gantry answers at {}", self.endpoint);
        if error.is_connect() {
            return Hint::error(problem, "start it with `gantry up`, or say where it is with --endpoint");
        }
        anyhow::anyhow!("{problem}: {error}")
    }
}

/// An `anyhow::Error` cannot be cloned; a hint can be told again.
fn retell(error: &anyhow::Error) -> anyhow::Error {
    match error.downcast_ref::<Hint>() {
        Some(hint) => Hint::error(hint.problem.clone(), hint.hint.clone()),
        None => anyhow::anyhow!("{error:#}"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Arguments {
        #[command(flatten)]
        client: ClientOptions,
    }

    fn find(arguments: &[&str]) -> Client {
        let variable = |name: &str| {
            let value = match name {
                "AWS_ENDPOINT_URL" => "http://elsewhere/",
                "AWS_REGION" => "eu-west-1",
                "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => "elsewhere",
                _ => return None,
            };
            Some(value.to_owned())
        };
        let options = Arguments::parse_from([&["gantry"], arguments].concat()).client;
        Client::find(&options, variable).unwrap()
    }

    #[test]
    fn a_named_data_directory_is_meant_whatever_the_variables_say() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let running = Running {
            endpoint: "http://here".into(),
            region: "us-west-2".into(),
            account: "000000000000".into(),
            pid: 1,
            version: String::new(),
        };
        running.write(folder.path()).unwrap();
        let key = b"aws_access_key_id = here
aws_secret_access_key = here
";
        credentials::write_atomically(&credentials::root_path(folder.path()), key).unwrap();
        let folder = folder.path().to_str().unwrap();
        let said = |client: Client| [client.endpoint, client.region, client.key.id];
        assert_eq!(said(find(&["--data-dir", folder])), ["http://here", "us-west-2", "here"]);
        let flags = ["--data-dir", folder, "--endpoint", "http://there/", "--region", "us-east-2"];
        assert_eq!(said(find(&flags)), ["http://there", "us-east-2", "here"]);
        assert_eq!(said(find(&[])), ["http://elsewhere", "eu-west-1", "elsewhere"]);
    }
}
