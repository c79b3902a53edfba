//! `gantry agent`: the agent of a container instance.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result};
use gantry_agent::{Config, Credentials};
use tracing::info;

use super::serve::wait_for_signal;
use crate::{
    Hint,
    arguments::AgentOptions,
    config::{DEFAULT_DATA_DIR, File, Running, variable},
    credentials::{self, AccessKey},
    host, observe,
};

/// Runs the agent until a signal; containers go on.
pub(crate) async fn run(options: AgentOptions) -> Result<ExitCode> {
    let file = File::read(options.config.as_deref())?;
    let level = options.log_level.clone().or_else(|| variable("GANTRY_LOG_LEVEL")).or(file.log_level);
    observe::start_logging(level.as_deref(), options.log_format.or(file.log_format), "info")?;
    let data_dir = options
        .data_dir
        .or_else(|| variable("GANTRY_DATA_DIR").map(PathBuf::from))
        .or(file.data_dir)
        .unwrap_or_else(|| PathBuf::from(DEFAULT_DATA_DIR));
    let running = Running::read(&data_dir).ok();
    let endpoint = options.endpoint.or_else(|| variable("GANTRY_ENDPOINT")).or(file.endpoint);
    let endpoint = endpoint.or_else(|| running.as_ref().map(|running| running.endpoint.clone()));
    let endpoint = endpoint.ok_or_else(|| {
        Hint::error("the agent does not know its control plane", "say where it is with --endpoint http://HOST:4566")
    })?;
    let path = options.credentials.unwrap_or_else(|| credentials::instance_path(&data_dir));
    let key = AccessKey::read(&path).map_err(|error| {
        Hint::error(
            format!("{error:#}"),
            "copy instance-credentials from the server's data directory and name it with --credentials",
        )
    })?;
    let region = options.region.or_else(|| variable("GANTRY_REGION")).or(file.region);
    let region = region.or_else(|| running.as_ref().map(|running| running.region.clone()));
    let account = running.map_or_else(|| "000000000000".to_string(), |running| running.account);
    let runtime = options.runtime.or_else(|| variable("GANTRY_RUNTIME")).or(file.runtime);
    let place = Place { endpoint, region: region.unwrap_or_else(|| "us-east-1".to_string()), account, data_dir };
    let cluster = options.cluster.or_else(|| variable("GANTRY_CLUSTER")).or(file.cluster);
    let mut config = place.config(&key);
    config.cluster = cluster.unwrap_or_else(|| "default".to_string());
    if let Some(provider) = options.capacity_provider {
        config.attributes.insert("gantry.capacity-provider".to_owned(), provider);
    }
    if let Some(zone) = options.availability_zone {
        config.attributes.insert("ecs.availability-zone".to_owned(), zone);
    }
    let parts = host::open(&place.data_dir, runtime.as_deref().unwrap_or("embedded")).await?;
    info!(endpoint = place.endpoint, cluster = config.cluster, "gantry agent starts");
    gantry_agent::run(config, parts, async {
        if let Err(error) = wait_for_signal().await {
            tracing::error!(%error, "cannot wait for signals");
        }
    })
    .await
    .context("the agent failed")?;
    Ok(ExitCode::SUCCESS)
}

/// Where an agent belongs.
pub(crate) struct Place {
    pub(crate) endpoint: String,
    pub(crate) region: String,
    pub(crate) account: String,
    pub(crate) data_dir: PathBuf,
}

impl Place {
    /// The agent's configuration with its defaults.
    pub(crate) fn config(&self, key: &AccessKey) -> Config {
        let credentials =
            Credentials { access_key_id: key.id.clone(), secret_access_key: key.secret.clone(), session_token: None };
        let mut config = Config::new(&self.endpoint, &self.region, &self.account, credentials, self.data_dir.clone());
        config.registry_hosts = registry_hosts(&self.endpoint);
        config.instance_id = instance_id();
        config
    }
}

/// Under which names an image reference means the control plane's own registry.
fn registry_hosts(endpoint: &str) -> Vec<String> {
    let authority = endpoint.split_once("://").map_or(endpoint, |(_, authority)| authority);
    let port = authority.rsplit_once(':').map_or("", |(_, port)| port);
    vec![authority.to_string(), format!("localhost:{port}"), format!("127.0.0.1:{port}")]
}

/// `i-` and a part of the machine's own id, so that it stays the same over restarts.
fn instance_id() -> String {
    let id = std::fs::read_to_string(Path::new("/etc/machine-id")).unwrap_or_default();
    let id: String = id.trim().chars().filter(char::is_ascii_hexdigit).take(17).collect();
    format!("i-{id:0>17}")
}
