//! `gantry agent`: the agent of a container instance.

use std::{
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, bail};
use gantry_agent::{Config, Join};
use gantry_api::machine::JoinProof;
use tracing::info;

use super::serve::wait_for_signal;
use crate::{
    Hint,
    arguments::AgentOptions,
    config::{DEFAULT_DATA_DIR, EcsVariables, File, Running, file_systems, heartbeat, introspection, variable},
    host, observe,
};

/// Runs the agent until a signal; containers go on.
pub(crate) async fn run(options: AgentOptions) -> Result<ExitCode> {
    if let Some(authority) = &options.ca {
        trust(authority)?;
    }
    let file = File::read(options.config.as_deref())?;
    let level = options.log_level.clone().or_else(|| variable("GANTRY_LOG_LEVEL")).or(file.log_level);
    observe::start_logging(level.as_deref(), options.log_format.or(file.log_format), "info")?;
    let data_dir = options
        .data_dir
        .clone()
        .or_else(|| variable("GANTRY_DATA_DIR").map(PathBuf::from))
        .or(file.data_dir)
        .unwrap_or_else(|| PathBuf::from(DEFAULT_DATA_DIR));
    let endpoint = options.server.clone().or_else(|| variable("GANTRY_ENDPOINT")).or(file.endpoint);
    let ecs = EcsVariables::read()?;
    let endpoint = endpoint.or_else(|| ecs.get("ECS_BACKEND_HOST"));
    let endpoint = endpoint.or_else(|| Running::read(&data_dir).ok().map(|running| running.endpoint));
    let endpoint = endpoint.ok_or_else(|| {
        Hint::error("the agent does not know its control plane", "say where it is with --server https://HOST:4566")
    })?;
    let runtime = options.runtime.clone().or_else(|| variable("GANTRY_RUNTIME")).or(file.runtime);
    let mut config = config(&endpoint, join(&options, &data_dir)?, &data_dir);
    let cluster = options.cluster.or_else(|| variable("GANTRY_CLUSTER")).or(file.cluster);
    let cluster = cluster.or_else(|| ecs.get("ECS_CLUSTER"));
    config.cluster = cluster.unwrap_or_default();
    apply(&ecs, &mut config)?;
    config.gpu_support |= options.enable_gpu;
    if !options.cdi_spec_dir.is_empty() {
        config.cdi_directories = options.cdi_spec_dir;
    }
    if let Some(provider) = options.capacity_provider {
        config.attributes.insert("gantry.capacity-provider".to_owned(), provider);
    }
    if let Some(zone) = options.availability_zone {
        config.attributes.insert("ecs.availability-zone".to_owned(), zone);
    }
    config.advertise_address = advertise_address(options.advertise_address, file.advertise_address)?;
    let mut mistakes = Vec::new();
    config.heartbeat_interval = heartbeat(file.heartbeat_seconds, &mut mistakes);
    config.introspection_port = introspection(file.introspection_port, &mut mistakes);
    config.file_systems = file_systems(file.file_systems, &mut mistakes);
    no_mistakes(&mistakes)?;
    std::fs::create_dir_all(&data_dir).with_context(|| format!("could not create {}", data_dir.display()))?;
    let lazy_images = !options.no_lazy_images && file.lazy_images.unwrap_or(true);
    let parts = host::open(&data_dir, runtime.as_deref().unwrap_or("embedded"), lazy_images).await?;
    info!(endpoint, "gantry agent starts");
    gantry_agent::run(config, parts, async {
        if let Err(error) = wait_for_signal().await {
            tracing::error!(%error, "cannot wait for signals");
        }
    })
    .await
    .context("the agent failed")?;
    Ok(ExitCode::SUCCESS)
}

/// Applies the settings that have the names of the ECS agent's.
pub(crate) fn apply(ecs: &EcsVariables, config: &mut Config) -> Result<()> {
    let mut mistakes = Vec::new();
    ecs.apply(config, &mut mistakes);
    no_mistakes(&mistakes)
}

fn no_mistakes(mistakes: &[String]) -> Result<()> {
    if mistakes.is_empty() {
        return Ok(());
    }
    bail!("the configuration is not usable\n  {}", mistakes.join("\n  "))
}

/// The agent's configuration with its defaults.
pub(crate) fn config(endpoint: &str, join: Join, data_dir: &Path) -> Config {
    let mut config = Config::new(endpoint, join, data_dir.to_owned());
    config.registry_hosts = registry_hosts(endpoint);
    config
}

/// What the machine joins with: what it was given, or the token of a server that has the same data directory.
fn join(options: &AgentOptions, data_dir: &Path) -> Result<Join> {
    let token = options.join_token.clone().or_else(|| variable("GANTRY_JOIN_TOKEN"));
    if let (Some(path), None) = (&options.join_token_file, &options.activation_id) {
        // Read when the machine joins: afterwards the file may be gone.
        return Ok(Join::TokenFile { path: path.clone(), renewed: false });
    }
    let activation_id = options.activation_id.clone().or_else(|| variable("GANTRY_ACTIVATION_ID"));
    let activation_code = options.activation_code.clone().or_else(|| variable("GANTRY_ACTIVATION_CODE"));
    match (token, activation_id, activation_code) {
        (Some(token), None, None) => Ok(Join::Proof(JoinProof::Token { token })),
        (None, Some(activation_id), Some(activation_code)) => {
            Ok(Join::Proof(JoinProof::Activation { activation_id, activation_code }))
        }
        (None, None, None) => {
            let path = join_token_path(data_dir);
            Ok(if path.exists() { Join::TokenFile { path, renewed: true } } else { Join::Known })
        }
        _ => Err(Hint::error(
            "a machine joins by a token or by an activation's id and code",
            "give --join-token-file, or --activation-id and --activation-code",
        )),
    }
}

/// The address that the operator says others reach this host at: a flag, a variable, or the file's.
pub(crate) fn advertise_address(flag: Option<Ipv4Addr>, file: Option<Ipv4Addr>) -> Result<Option<Ipv4Addr>> {
    let named = variable("GANTRY_ADVERTISE_ADDRESS");
    let named =
        named.map(|text| text.parse().with_context(|| format!("advertise_address: '{text}' is no IPv4 address")));
    Ok(flag.or(named.transpose()?).or(file))
}

/// Where a server keeps the token for agents with the same data directory.
pub(crate) fn join_token_path(data_dir: &Path) -> PathBuf {
    data_dir.join("join-token")
}

/// Under which names an image reference means the control plane's own registry.
pub(super) fn registry_hosts(endpoint: &str) -> Vec<String> {
    let authority = endpoint.split_once("://").map_or(endpoint, |(_, authority)| authority);
    let port = authority.rsplit_once(':').map_or("", |(_, port)| port);
    vec![authority.to_string(), format!("localhost:{port}"), format!("127.0.0.1:{port}")]
}

/// Trusts the certificate authority in `path` beside those that the system trusts. Every TLS client of the program reads
/// the variable when it is made, so the program begins again with it.
fn trust(path: &Path) -> Result<()> {
    use std::os::unix::process::CommandExt;
    const FILE: &str = "SSL_CERT_FILE";
    let path = std::path::absolute(path).context("the path of --ca")?;
    std::fs::metadata(&path).with_context(|| format!("could not read {}", path.display()))?;
    if variable(FILE).as_deref().map(Path::new) == Some(&path) {
        return Ok(());
    }
    let program = std::env::current_exe().context("could not find this program's own file")?;
    let mut again = std::process::Command::new(program);
    again.args(std::env::args_os().skip(1)).env(FILE, path);
    let folders = ["/etc/ssl/certs", "/etc/pki/tls/certs"];
    if let Some(folder) = folders.into_iter().find(|folder| Path::new(folder).is_dir()) {
        again.env("SSL_CERT_DIR", folder);
    }
    Err(again.exec()).context("could not begin again with the certificate authority")
}
