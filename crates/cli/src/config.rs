//! Configuration in two steps: what was said (flag, then `GANTRY_*` variable, then file), then what it means.
//!
//! Every key stands in [`File`]; an unknown key is refused. All mistakes are reported together.

mod blobs;
mod ecs_variables;
mod file_systems;
mod identity_providers;
mod quotas;
mod task_files;
mod upstreams;
mod xray;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use gantry_agent::FileSystemConfigs;
use gantry_companions::IssuerConfigs;
use gantry_companions::application_autoscaling::Periods;
use gantry_domain::arn::is_account;
use gantry_domain::limits::{HEALTHY_AFTER_SECONDS, INSTANCE_LOST_AFTER_SECONDS};
use gantry_domain::networks::Network;
use gantry_registry::pull_through::upstreams::UpstreamConfigs;
use gantry_registry::quotas::Quotas;
use serde::Deserialize;

use crate::{
    Hint,
    arguments::{LogFormat, ServerOptions},
};
pub(crate) use blobs::Blobs;
pub(crate) use ecs_variables::EcsVariables;
pub(crate) use file_systems::{FileSystemsFile, file_systems};
use identity_providers::IdentityProviderFile;
pub(crate) use task_files::TaskFilesConfig;
use task_files::TaskFilesFile;
use upstreams::RegistryFile;
use xray::XRayFile;

/// The default file; it need not exist.
const DEFAULT_FILE: &str = "/etc/gantry/gantry.toml";
/// Lifecycle policies run this often unless told otherwise: once an hour.
const LIFECYCLE_INTERVAL_SECONDS_DEFAULT: u64 = 60 * 60;
/// Three heartbeats of an agent go unheard, unless told otherwise.
const AGENT_TIMEOUT_SECONDS_DEFAULT: u64 = 60;
const HEARTBEAT_SECONDS_DEFAULT: u64 = 20;
/// Where the agent of Amazon ECS answers.
const INTROSPECTION_PORT_DEFAULT: u64 = 51678;
/// Six hours, as on AWS.
const TASK_CREDENTIALS_SECONDS: u64 = 6 * 3600;
/// A year; for longer there is 0.
const LOST_AFTER_SECONDS_MAX: u64 = 365 * 24 * 3600;
/// Where everything is kept unless told otherwise.
pub(crate) const DEFAULT_DATA_DIR: &str = "/var/lib/gantry";

/// The configuration file's keys. Each has the flag's name with underscores, and a variable `GANTRY_` in capitals.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct File {
    pub(crate) data_dir: Option<PathBuf>,
    pub(crate) listen: Option<String>,
    pub(crate) region: Option<String>,
    pub(crate) account: Option<String>,
    pub(crate) registry_host: Option<String>,
    pub(crate) prepare_images: Option<bool>,
    pub(crate) lazy_images: Option<bool>,
    /// How often lifecycle policies run; there is no flag.
    pub(crate) lifecycle_interval_seconds: Option<u64>,
    /// Where targets of EventBridge that are HTTP endpoints may be; there is no flag.
    pub(crate) event_targets: Option<EventTargets>,
    /// Minutes above its target before a service grows; there is no flag.
    pub(crate) auto_scaling_high_minutes: Option<u32>,
    /// Minutes below nine tenths of its target before a service shrinks; there is no flag.
    pub(crate) auto_scaling_low_minutes: Option<u32>,
    /// How long the agent of an instance may be away before its tasks count as lost; 0: for ever. There is no flag.
    pub(crate) instance_lost_after_seconds: Option<u64>,
    /// How long an agent may be silent before it counts as away; there is no flag.
    pub(crate) agent_timeout_seconds: Option<u64>,
    /// How long a task without a health check runs before it counts as healthy in a deployment; there is no flag.
    pub(crate) healthy_after_seconds: Option<u64>,
    /// How long the credentials of a task's role are good; they are renewed at half of it. There is no flag.
    pub(crate) task_credentials_seconds: Option<u64>,
    /// Of an agent: where other hosts reach this one.
    pub(crate) advertise_address: Option<std::net::Ipv4Addr>,
    /// Of an agent: how often it says that it is there; there is no flag.
    pub(crate) heartbeat_seconds: Option<u64>,
    /// Of an agent: where it says what runs on its machine; 0: nowhere. There is no flag.
    pub(crate) introspection_port: Option<u64>,
    pub(crate) tls_cert: Option<PathBuf>,
    pub(crate) tls_key: Option<PathBuf>,
    pub(crate) insecure: Option<bool>,
    pub(crate) log_level: Option<String>,
    pub(crate) log_format: Option<LogFormat>,
    pub(crate) runtime: Option<String>,
    pub(crate) cluster: Option<String>,
    pub(crate) endpoint: Option<String>,
    pub(crate) registry: RegistryFile,
    /// Of an agent: what stands behind the file system ids of tasks' volumes.
    pub(crate) file_systems: FileSystemsFile,
    pub(crate) task_files: Option<TaskFilesFile>,
    pub(crate) xray: XRayFile,
    /// What is to be known of issuers of OpenID Connect tokens, by their addresses.
    pub(crate) identity_providers: BTreeMap<String, IdentityProviderFile>,
}

/// Networks in which HTTP endpoints may be to which rules send events.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum EventTargets {
    /// Public addresses.
    Public,
    /// This machine and private networks, too.
    #[default]
    Private,
    /// Link-local addresses, too, where clouds tell a machine its credentials.
    Any,
}

impl EventTargets {
    fn reach(self) -> Network {
        match self {
            Self::Public => Network::Public,
            Self::Private => Network::Private,
            Self::Any => Network::Special,
        }
    }
}

impl File {
    /// Reads the file that was named, or the default one when it is there.
    pub(crate) fn read(named: Option<&Path>) -> Result<Self> {
        let path = named.unwrap_or(Path::new(DEFAULT_FILE));
        match std::fs::read_to_string(path) {
            Ok(text) => toml::from_str(&text).with_context(|| format!("in {}", path.display())),
            Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).with_context(|| format!("could not read {}", path.display())),
        }
    }
}

/// A variable that is set and not empty.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Whether requests can be sent to it.
fn is_url(text: &str) -> bool {
    reqwest::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

/// A number from the variable of the key's name (`registry.grace_seconds`: `GANTRY_REGISTRY_GRACE_SECONDS`) or from the
/// file. What is not among the allowed is a mistake and counts as the default.
pub(crate) fn number(
    key: &str,
    variable: impl Fn(&str) -> Option<String>,
    file: Option<u64>,
    (allowed, default): (RangeInclusive<u64>, u64),
    mistakes: &mut Vec<String>,
) -> u64 {
    let said = match variable(&format!("GANTRY_{}", key.to_uppercase().replace('.', "_"))) {
        Some(text) => text.parse().ok(),
        None => Some(file.unwrap_or(default)),
    };
    said.filter(|number| allowed.contains(number)).unwrap_or_else(|| {
        mistakes.push(format!("{key}: must be a number from {} to {}", allowed.start(), allowed.end()));
        default
    })
}

/// How often an agent says that it is there.
pub(crate) fn heartbeat(file: Option<u64>, mistakes: &mut Vec<String>) -> Duration {
    Duration::from_secs(number("heartbeat_seconds", variable, file, (1..=60, HEARTBEAT_SECONDS_DEFAULT), mistakes))
}

/// Where an agent says what runs on its machine, if anywhere.
pub(crate) fn introspection(file: Option<u64>, mistakes: &mut Vec<String>) -> Option<u16> {
    let port = number("introspection_port", variable, file, (0..=65_535, INTROSPECTION_PORT_DEFAULT), mistakes);
    u16::try_from(port).ok().filter(|port| *port > 0)
}

/// What the server runs with, checked.
#[derive(Debug, Clone)]
pub(crate) struct ServerConfig {
    pub(crate) data_dir: PathBuf,
    pub(crate) listen: SocketAddr,
    pub(crate) region: String,
    pub(crate) account: String,
    pub(crate) registry_host: Option<String>,
    pub(crate) upstreams: UpstreamConfigs,
    /// Make EROFS images of the layers of pushed images, in the background.
    pub(crate) prepare_images: bool,
    /// Start containers before their images are here.
    pub(crate) lazy_images: bool,
    pub(crate) lifecycle_interval: Duration,
    /// The least harmless network that HTTP targets of rules may be in.
    pub(crate) event_targets: Network,
    /// How long the alarms of target tracking look back.
    pub(crate) scaling_periods: Periods,
    /// None: for ever.
    pub(crate) instance_lost_after: Option<Duration>,
    pub(crate) agent_timeout: Duration,
    /// A task without a health check counts as healthy after running this long.
    pub(crate) healthy_after: Duration,
    /// How long the credentials of a task's role are good.
    pub(crate) task_credentials: Duration,
    /// For the agent of `gantry up`.
    pub(crate) advertise_address: Option<std::net::Ipv4Addr>,
    /// How often the agent of `gantry up` says that it is there.
    pub(crate) heartbeat: Duration,
    /// Where the agent of `gantry up` says what runs on this machine.
    pub(crate) introspection_port: Option<u16>,
    /// For the agent of `gantry up`.
    pub(crate) file_systems: FileSystemConfigs,
    pub(crate) blobs: Blobs,
    /// How long the registry keeps what no image needs.
    pub(crate) registry_grace: Duration,
    pub(crate) quotas: Quotas,
    /// Where the environment files of tasks are.
    pub(crate) task_files: Option<TaskFilesConfig>,
    /// Where segments of traces go on to.
    pub(crate) collector: Option<reqwest::Url>,
    /// Issuers of OpenID Connect tokens that the operator says something about.
    pub(crate) issuers: IssuerConfigs,
    pub(crate) tls: Option<TlsFiles>,
    pub(crate) log_level: Option<String>,
    pub(crate) log_format: Option<LogFormat>,
    pub(crate) runtime: String,
}

/// PEM files.
#[derive(Debug, Clone)]
pub(crate) struct TlsFiles {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl ServerConfig {
    /// Merges flags, variables and file, and checks the result.
    pub(crate) fn build(options: &ServerOptions, runtime: Option<String>) -> Result<Self> {
        let file = File::read(options.config.as_deref())?;
        let mut mistakes = Vec::new();
        let text = |flag: Option<String>, name: &str, file: Option<String>, default: &str| {
            flag.or_else(|| variable(name)).or(file).unwrap_or_else(|| default.to_string())
        };
        let path = |flag: &Option<PathBuf>, name: &str, file: Option<PathBuf>| {
            flag.clone().or_else(|| variable(name).map(PathBuf::from)).or(file)
        };

        let listen = text(options.listen.clone(), "GANTRY_LISTEN", file.listen, "127.0.0.1:4566");
        let listen = listen.parse::<SocketAddr>().map_err(|_| {
            mistakes.push(format!("listen: '{listen}' is not an address and port such as 127.0.0.1:4566"));
        });
        let account = text(options.account.clone(), "GANTRY_ACCOUNT", file.account, "000000000000");
        if !is_account(&account) {
            mistakes.push(format!("account: '{account}' is not twelve digits"));
        }
        let region = text(options.region.clone(), "GANTRY_REGION", file.region, "us-east-1");
        if region.is_empty()
            || !region.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        {
            mistakes.push(format!("region: '{region}' is not a region's name"));
        }
        let certificate = path(&options.tls_cert, "GANTRY_TLS_CERT", file.tls_cert);
        let key = path(&options.tls_key, "GANTRY_TLS_KEY", file.tls_key);
        let tls = match (certificate, key) {
            (Some(certificate), Some(key)) => Some(TlsFiles { certificate, key }),
            (None, None) => None,
            _ => {
                mistakes.push("tls: --tls-cert and --tls-key go together".into());
                None
            }
        };
        let blobs = blobs::build(&file.registry, variable, &mut mistakes);
        let registry_grace = blobs::grace(&file.registry, variable, &mut mistakes);
        let quotas = quotas::build(&file.registry, variable, &mut mistakes);
        let task_files = task_files::build(file.task_files, &account, variable, &mut mistakes);
        let issuers = identity_providers::build(file.identity_providers, &mut mistakes);
        let upstreams = upstreams::build(file.registry, &mut mistakes);
        let collector = xray::collector(file.xray, variable, &mut mistakes);
        let insecure = options.insecure || variable("GANTRY_INSECURE").is_some() || file.insecure.unwrap_or(false);
        if let Ok(listen) = listen
            && !listen.ip().is_loopback()
            && tls.is_none()
            && !insecure
        {
            mistakes.push(format!(
                "listen: {listen} is reachable from other machines; give --tls-cert and --tls-key, or say --insecure"
            ));
        }
        let real = Periods::default();
        let mut number = |key, file, allowed| number(key, variable, file, allowed, &mut mistakes);
        let mut minutes = |key, file: Option<u32>, default: u32| {
            // In the allowed range, which is far below 2^32.
            u32::try_from(number(key, file.map(u64::from), (1..=60, default.into()))).unwrap_or(default)
        };
        let scaling_periods = Periods {
            high: minutes("auto_scaling_high_minutes", file.auto_scaling_high_minutes, real.high),
            low: minutes("auto_scaling_low_minutes", file.auto_scaling_low_minutes, real.low),
        };
        let lifecycle_interval = number(
            "lifecycle_interval_seconds",
            file.lifecycle_interval_seconds,
            (1..=86_400, LIFECYCLE_INTERVAL_SECONDS_DEFAULT),
        );
        let lost_after = number(
            "instance_lost_after_seconds",
            file.instance_lost_after_seconds,
            (0..=LOST_AFTER_SECONDS_MAX, INSTANCE_LOST_AFTER_SECONDS),
        );
        let agent_timeout =
            number("agent_timeout_seconds", file.agent_timeout_seconds, (2..=3600, AGENT_TIMEOUT_SECONDS_DEFAULT));
        let healthy_after =
            number("healthy_after_seconds", file.healthy_after_seconds, (1..=3600, HEALTHY_AFTER_SECONDS));
        let task_credentials = number(
            "task_credentials_seconds",
            file.task_credentials_seconds,
            (10..=TASK_CREDENTIALS_SECONDS, TASK_CREDENTIALS_SECONDS),
        );
        let heartbeat = heartbeat(file.heartbeat_seconds, &mut mistakes);
        let introspection_port = introspection(file.introspection_port, &mut mistakes);
        let file_systems = file_systems(file.file_systems, &mut mistakes);
        let event_targets = match variable("GANTRY_EVENT_TARGETS").as_deref() {
            None => file.event_targets.unwrap_or_default(),
            Some("public") => EventTargets::Public,
            Some("private") => EventTargets::Private,
            Some("any") => EventTargets::Any,
            Some(other) => {
                mistakes.push(format!("event_targets: {other} is not public, private or any"));
                EventTargets::default()
            }
        };
        let event_targets = event_targets.reach();
        let (Ok(listen), true) = (listen, mistakes.is_empty()) else {
            bail!("the configuration is not usable\n  {}", mistakes.join("\n  "));
        };
        Ok(Self {
            data_dir: path(&options.data_dir, "GANTRY_DATA_DIR", file.data_dir)
                .unwrap_or_else(|| PathBuf::from(DEFAULT_DATA_DIR)),
            listen,
            region,
            account,
            registry_host: options
                .registry_host
                .clone()
                .or_else(|| variable("GANTRY_REGISTRY_HOST"))
                .or(file.registry_host),
            upstreams,
            prepare_images: !options.no_prepare_images && file.prepare_images.unwrap_or(true),
            lazy_images: file.lazy_images.unwrap_or(true),
            lifecycle_interval: Duration::from_secs(lifecycle_interval),
            event_targets,
            scaling_periods,
            instance_lost_after: (lost_after > 0).then(|| Duration::from_secs(lost_after)),
            agent_timeout: Duration::from_secs(agent_timeout),
            healthy_after: Duration::from_secs(healthy_after),
            task_credentials: Duration::from_secs(task_credentials),
            advertise_address: file.advertise_address,
            heartbeat,
            introspection_port,
            file_systems,
            blobs,
            registry_grace,
            quotas,
            task_files,
            collector,
            issuers,
            tls,
            log_level: options.log_level.clone().or_else(|| variable("GANTRY_LOG_LEVEL")).or(file.log_level),
            log_format: options.log_format.or(file.log_format),
            runtime: text(runtime, "GANTRY_RUNTIME", file.runtime, "embedded"),
        })
    }

    /// `http://127.0.0.1:4566`, as clients on this machine reach it.
    pub(crate) fn endpoint(&self, bound: SocketAddr) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let host = match bound.ip() {
            ip if ip.is_unspecified() => "127.0.0.1".to_string(),
            std::net::IpAddr::V6(ip) => format!("[{ip}]"),
            ip => ip.to_string(),
        };
        format!("{scheme}://{host}:{}", bound.port())
    }

    /// Creates the data directory, for its owner only.
    pub(crate) fn create_data_dir(&self) -> Result<()> {
        use std::os::unix::fs::DirBuilderExt;
        let created = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.data_dir);
        created.map_err(|error| {
            Hint::error(
                format!("could not create {}: {error}", self.data_dir.display()),
                "run as root, or give a directory of your own with --data-dir",
            )
        })
    }
}

/// What a running server tells local commands, in `DATA/gantry.json`.
#[derive(Debug, Clone, serde::Serialize, Deserialize)]
pub(crate) struct Running {
    pub(crate) endpoint: String,
    pub(crate) region: String,
    pub(crate) account: String,
    pub(crate) pid: u32,
    pub(crate) version: String,
}

impl Running {
    fn path(data_dir: &Path) -> PathBuf {
        data_dir.join("gantry.json")
    }

    pub(crate) fn write(&self, data_dir: &Path) -> Result<()> {
        crate::credentials::write_atomically(&Self::path(data_dir), &serde_json::to_vec_pretty(self)?)
    }

    pub(crate) fn read(data_dir: &Path) -> Result<Self> {
        let path = Self::path(data_dir);
        let text = std::fs::read(&path).map_err(|error| match error.kind() {
            std::io::ErrorKind::PermissionDenied => Hint::error(
                format!("{} is not readable for you", path.display()),
                "run this command as the user who runs Gantry (sudo)",
            ),
            _ => Hint::error(
                format!("no Gantry has run with {}", data_dir.display()),
                "start one with `gantry up`, or name its directory with --data-dir",
            ),
        })?;
        serde_json::from_slice(&text).with_context(|| format!("in {}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(options: ServerOptions) -> Result<ServerConfig> {
        // A file of its own, so that the machine's configuration does not matter.
        let file = tempfile::NamedTempFile::new()?;
        ServerConfig::build(&ServerOptions { config: Some(file.path().into()), ..options }, None)
    }

    #[test]
    fn defaults_need_no_configuration() {
        let config = build(ServerOptions::default()).expect("builds");
        assert_eq!(config.listen.to_string(), "127.0.0.1:4566");
        assert_eq!((config.region.as_str(), config.account.as_str()), ("us-east-1", "000000000000"));
        assert_eq!(config.endpoint(config.listen), "http://127.0.0.1:4566");
    }

    #[test]
    fn the_file_says_after_how_long_a_task_is_healthy() {
        let with = |text: &str| {
            let file = tempfile::NamedTempFile::new()?;
            std::fs::write(file.path(), text)?;
            ServerConfig::build(&ServerOptions { config: Some(file.path().into()), ..ServerOptions::default() }, None)
        };
        assert_eq!(with("").expect("builds").healthy_after, Duration::from_secs(40));
        assert_eq!(with("healthy_after_seconds = 5").expect("builds").healthy_after, Duration::from_secs(5));
        assert!(with("healthy_after_seconds = 0").expect_err("refused").to_string().contains("healthy_after_seconds"));
    }

    #[test]
    fn all_mistakes_are_told_at_once() {
        let options = ServerOptions {
            listen: Some("nowhere".into()),
            account: Some("12".into()),
            tls_key: Some("key.pem".into()),
            ..ServerOptions::default()
        };
        let text = build(options).expect_err("refused").to_string();
        for part in ["listen: 'nowhere'", "account: '12'", "tls:"] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn other_machines_reach_it_only_over_tls_or_on_purpose() {
        let open = ServerOptions { listen: Some("0.0.0.0:4566".into()), ..ServerOptions::default() };
        assert!(build(open.clone()).is_err());
        assert!(build(ServerOptions { insecure: true, ..open.clone() }).is_ok());
        assert!(build(ServerOptions { tls_cert: Some("c".into()), tls_key: Some("k".into()), ..open }).is_ok());
    }

    #[test]
    fn unknown_keys_are_refused() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "lisen = \"127.0.0.1:1\"\n").expect("writes");
        let text = format!("{:#}", File::read(Some(file.path())).expect_err("refused"));
        assert!(text.contains("lisen"), "{text}");
    }
}
