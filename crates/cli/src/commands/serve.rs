//! `gantry server`: control plane, registry and companions behind one port.

use std::{net::SocketAddr, path::Path, process::ExitCode, sync::Arc};

use anyhow::{Context, Result};
use gantry_api::Caller;
use gantry_companions::{
    Issuers, Sts,
    application_autoscaling::AutoScaling,
    events::{EVENTS_KEPT, EventBridge, deliver::Ways},
    iam::Iam,
    logs::Logs,
    machines::{self, Machines},
    sealing::Sealer,
    secretsmanager::SecretsManager,
    ssm::{Parameters, Ssm},
    xray::XRay,
};
use gantry_control::{
    Control, Door as AgentDoor, EcsService, Settings, SystemClock, door, exec, reconcile::Reconcilers,
};
use gantry_protocol::{endpoint::Endpoint, inside::Inside, services};
use gantry_registry::{
    Registry, RegistryConfig,
    blobs::{BlobStore, LocalBlobs, LocalLimits, S3Blobs},
    metadata::Metadata,
    scanning::ScanConfig,
};
use gantry_store::{Embedded, EmbeddedOptions, OpenError, Store};
use tokio::{
    sync::watch,
    task::{JoinHandle, JoinSet},
};
use tracing::info;

use super::agent::join_token_path;
use crate::{
    Hint,
    arguments::ServerOptions,
    config::{Blobs, DEFAULT_DATA_DIR, Running, ServerConfig},
    observe,
    server::{
        Buckets, Door, HttpHooks, Identities, ImagesOfTasks, MachinesOfInstances, Own, OwnImages, RolesOfTasks,
        ScaledServices, SessionsOfTasks, Shutdown, Site, TaskFiles, TasksFromInside, TranscriptsOfTasks, UpstreamRoles,
        UpstreamSecrets, ValuesOfCompanions, World, tls_acceptor,
    },
};

/// Runs the server until a signal.
pub(crate) async fn run(options: ServerOptions) -> Result<ExitCode> {
    let config = ServerConfig::build(&options, None)?;
    observe::start_logging(config.log_level.as_deref(), config.log_format, "info")?;
    let (stop, shutdown) = watch::channel(false);
    let server = Server::start(&config, shutdown).await?;
    info!(endpoint = server.endpoint, data_dir = %config.data_dir.display(), "gantry server is ready");
    wait_for_signal().await?;
    stop.send_replace(true);
    server.finish().await;
    Ok(ExitCode::SUCCESS)
}

/// A server that answers.
pub(crate) struct Server {
    /// Its URL for clients on this machine.
    pub(crate) endpoint: String,
    logs: Logs,
    events: EventBridge,
    xray: XRay,
    background: Background,
    store: Store,
    serving: JoinHandle<()>,
}

impl Server {
    /// Opens everything below the data directory and starts to answer.
    pub(crate) async fn start(config: &ServerConfig, shutdown: Shutdown) -> Result<Self> {
        config.create_data_dir()?;
        // The port first: a second Gantry must fail before it touches anything.
        let tls = config.tls.as_ref().map(tls_acceptor).transpose()?;
        let door = Door::bind(config.listen, tls).await?;
        let bound = door.address()?;
        let endpoint = config.endpoint(bound);
        let identities = Identities::open(&config.data_dir)?;
        let store = open_store(&config.data_dir).await?;
        let parts = Parts::open(config, bound, &endpoint, &store).await?;
        crate::credentials::write_atomically(&join_token_path(&config.data_dir), parts.own_token.as_bytes())?;
        let site = build_site(config, &parts, &identities)?;
        let background = Background::start(&parts, config);
        // Before the first answer, so that whoever sees the server healthy finds this too.
        let running = Running {
            endpoint: endpoint.clone(),
            region: config.region.clone(),
            account: config.account.clone(),
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_string(),
        };
        running.write(&config.data_dir)?;
        let serving = tokio::spawn(door.serve(Arc::new(site), shutdown));
        let Parts { logs, events, xray, .. } = parts;
        Ok(Self { endpoint, logs, events, xray, background, store, serving })
    }

    /// Waits for the requests under way and closes the store. Tell it to end first.
    pub(crate) async fn finish(self) {
        let _ = self.serving.await;
        drop(self.background);
        // A collector that is away must not be waited for twice.
        tokio::join!(self.xray.close(), async {
            self.events.close().await;
            self.logs.close().await;
        });
        self.store.close().await;
    }
}

async fn open_store(data_dir: &Path) -> Result<Store> {
    let path = data_dir.join("state.redb");
    match Embedded::open(path, EmbeddedOptions::default()).await {
        Ok(store) => Ok(store),
        Err(error @ OpenError::Locked { .. }) => Err(Hint::error(
            error.to_string(),
            "another Gantry runs with this data directory; stop it, or give this one its own with --data-dir",
        )),
        Err(error) => Err(error).context("could not open the state"),
    }
}

/// Everything that answers requests.
struct Parts {
    control: Control,
    registry: Arc<Registry>,
    logs: Logs,
    events: EventBridge,
    iam: Iam,
    sts: Sts,
    secrets: SecretsManager,
    parameters: Parameters,
    xray: XRay,
    scaling: AutoScaling,
    machines: Machines,
    /// With which agents on this machine join.
    own_token: String,
}

impl Parts {
    async fn open(config: &ServerConfig, bound: SocketAddr, endpoint: &str, store: &Store) -> Result<Self> {
        let settings = Settings {
            endpoint: endpoint.to_string(),
            agent_timeout: config.agent_timeout,
            healthy_after_running: config.healthy_after,
            instance_lost_after: config.instance_lost_after,
            machine_key: machines::identity_key,
            subnet_seed: subnet_seed(&config.data_dir),
            ..Settings::default()
        };
        let control = Control::open(store.clone(), Arc::new(SystemClock), settings).await?;
        let clock = gantry_registry::system_clock();
        let sealer = Sealer::open(&config.data_dir.join("encryption-key"))?;
        let iam = Iam::open(store.clone(), sealer.clone(), clock.clone()).await.context("could not open IAM")?;
        iam.ensure_instance_role(&config.account).await.context("could not make the instance role")?;
        let issuers = Issuers::new(config.event_targets, config.issuers.clone());
        let sts = Sts::new(iam.clone()).with_issuers(issuers);
        let roles = RolesOfTasks { iam: iam.clone(), lifetime: config.task_credentials };
        let control = control.with_hooks(Arc::new(HttpHooks::new(config.event_targets))).with_roles(Arc::new(roles));
        let images = OwnImages::new(Metadata::new(store.clone()), own_hosts(config, bound, endpoint));
        let control = control.with_images(Arc::new(images));
        gantry_control::events::begin(&control).await?;
        let services = Arc::new(ScaledServices(control.clone()));
        let scaling = AutoScaling::open(store.clone(), services, clock.clone(), config.scaling_periods).await;
        let scaling = scaling.context("could not open Application Auto Scaling")?;
        let folder = config.data_dir.join("registry");
        let registry_config = RegistryConfig {
            public_endpoint: public_endpoint(config, bound),
            upstreams: config.upstreams.clone(),
            scan: ScanConfig { database: Some(config.data_dir.join("scan-db")), ..Default::default() },
            prepare_in: config.prepare_images.then(|| folder.clone()),
            lifecycle_interval: config.lifecycle_interval,
            grace: config.registry_grace,
            quotas: config.quotas.clone(),
            ..Default::default()
        };
        let events = EventBridge::open(store.clone(), clock.clone(), EVENTS_KEPT).await;
        let events = events.context("could not open EventBridge")?;
        let registry = {
            let (store, clock) = (store.clone(), clock.clone());
            let blobs = open_blobs(&config.blobs, &folder).await?;
            let open = move || Registry::open_with(blobs, &folder, store, clock, registry_config);
            tokio::task::spawn_blocking(open).await?.context("could not open the registry")?
        };
        let principals = Arc::new(iam.clone());
        let secrets = SecretsManager::open(store.clone(), sealer.clone(), principals, clock.clone()).await;
        let secrets = secrets.context("could not open Secrets Manager")?;
        let parameters = Parameters::open(store.clone(), sealer, secrets.clone(), clock.clone()).await;
        let parameters = parameters.context("could not open Parameter Store")?;
        let xray = XRay::open(config.data_dir.join("traces"), clock.clone(), config.collector.clone());
        let xray = xray.await.context("could not open X-Ray")?;
        let own = (config.account.as_str(), config.region.as_str());
        let machines = Machines::open(store.clone(), iam.clone(), clock.clone(), own).await;
        let (machines, own_token) =
            machines.map_err(|fault| anyhow::anyhow!("could not open the machines: {fault}"))?;
        let registry = registry
            .with_secrets(Arc::new(UpstreamSecrets::new(secrets.clone())?))
            .with_roles(Arc::new(UpstreamRoles(iam.clone())))
            .with_events(Arc::new(events.clone()))
            .with_principals(Arc::new(iam.clone()))
            .with_images_in_use(Arc::new(ImagesOfTasks(control.clone())));
        let logs = Logs::open(store.clone(), config.data_dir.join("logs"), clock).await;
        let logs = logs.context("could not open the logs")?;
        let facts = Arc::new(World {
            control: control.clone(),
            events: events.clone(),
            iam: iam.clone(),
            scaling: scaling.clone(),
            parameters: parameters.clone(),
        });
        let inside = Inside::new(services::logs(Arc::new(logs.clone())), Arc::new(iam.clone()), facts);
        let buckets = Buckets(config.task_files.clone());
        let transcripts = TranscriptsOfTasks { iam: iam.clone(), logs: Arc::new(inside), buckets };
        let control = control.with_transcripts(Arc::new(transcripts));
        Ok(Self {
            control,
            registry: registry.into_shared(),
            logs,
            events,
            iam,
            sts,
            secrets,
            parameters,
            xray,
            scaling,
            machines,
            own_token,
        })
    }

    fn ssm(&self) -> Ssm {
        let presences = Arc::new(MachinesOfInstances(self.control.clone()));
        Ssm::new(self.machines.clone(), presences, self.parameters.clone())
            .with_sessions(Arc::new(SessionsOfTasks(self.control.clone())))
    }

    fn services(&self) -> Vec<Arc<dyn services::Service>> {
        vec![
            services::ecs(Arc::new(EcsService::new(self.control.clone()))),
            services::ecr(Arc::clone(&self.registry)),
            services::events(Arc::new(self.events.clone())),
            services::application_autoscaling(Arc::new(self.scaling.clone())),
            services::logs(Arc::new(self.logs.clone())),
            services::iam(Arc::new(self.iam.clone())),
            services::ssm(Arc::new(self.ssm())),
            services::sts(Arc::new(self.sts.clone())),
            services::secretsmanager(Arc::new(self.secrets.clone())),
            services::xray(Arc::new(self.xray.clone())),
        ]
    }

    fn facts(&self) -> Arc<World> {
        Arc::new(World {
            control: self.control.clone(),
            events: self.events.clone(),
            iam: self.iam.clone(),
            scaling: self.scaling.clone(),
            parameters: self.parameters.clone(),
        })
    }

    /// Where tasks get what they refer to.
    fn values(&self, config: &ServerConfig) -> ValuesOfCompanions {
        ValuesOfCompanions {
            iam: self.iam.clone(),
            secrets: self.secrets.clone(),
            ssm: Inside::new(services::ssm(Arc::new(self.ssm())), Arc::new(self.iam.clone()), self.facts()),
            files: TaskFiles(Buckets(config.task_files.clone())),
        }
    }

    /// How EventBridge reaches its targets.
    fn ways(&self, config: &ServerConfig) -> Ways {
        let ecs = services::ecs(Arc::new(EcsService::new(self.control.clone())));
        let tasks = TasksFromInside(Inside::new(ecs, Arc::new(self.iam.clone()), self.facts()));
        Ways::new(self.logs.clone(), self.iam.clone(), Arc::new(tasks), config.event_targets)
    }
}

/// Gantrys side by side on one machine must not give the same addresses to subnets of the same name.
fn subnet_seed(data_dir: &Path) -> String {
    if data_dir == Path::new(DEFAULT_DATA_DIR) { String::new() } else { data_dir.display().to_string() }
}

/// The registry's content store. A bucket is marked with a name that stays with the data directory.
async fn open_blobs(blobs: &Blobs, folder: &Path) -> Result<Arc<dyn BlobStore>> {
    match blobs {
        Blobs::Disk => {
            let folder = folder.to_owned();
            let open = move || LocalBlobs::open(&folder, LocalLimits::default());
            Ok(Arc::new(tokio::task::spawn_blocking(open).await?.context("could not open the registry's blobs")?))
        }
        Blobs::S3(config) => {
            let owner = bucket_owner(folder)?;
            let opened = S3Blobs::open(&folder.join("staging"), config, &owner).await;
            Ok(Arc::new(opened.with_context(|| format!("could not open the bucket {}", config.bucket))?))
        }
    }
}

/// What this Gantry calls itself in a bucket.
fn bucket_owner(folder: &Path) -> Result<String> {
    let path = folder.join("bucket-owner");
    match std::fs::read_to_string(&path) {
        Ok(owner) => Ok(owner.trim().to_string()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            std::fs::create_dir_all(folder)?;
            let owner = uuid::Uuid::new_v4().to_string();
            crate::credentials::write_atomically(&path, owner.as_bytes())?;
            Ok(owner)
        }
        Err(error) => Err(error).with_context(|| format!("could not read {}", path.display())),
    }
}

/// What goes on beside the requests; ends when it is dropped.
struct Background {
    /// Ends, with everything in it, when it is dropped.
    _tasks: JoinSet<()>,
    _reconcilers: Reconcilers,
}

impl Background {
    fn start(parts: &Parts, config: &ServerConfig) -> Self {
        let mut tasks = JoinSet::new();
        let registry = Arc::clone(&parts.registry);
        tasks.spawn(async move { registry.housekeeping().await });
        tasks.spawn(Arc::clone(&parts.registry).deliver_changes());
        tasks.spawn(Arc::clone(&parts.registry).scan_images());
        tasks.spawn(Arc::clone(&parts.registry).prepare_images());
        tasks.spawn(Arc::clone(&parts.registry).sign_images());
        tasks.spawn(Arc::clone(&parts.registry).replicate());
        let registry = Arc::clone(&parts.registry);
        tasks.spawn(async move { registry.lifecycle_work().await });
        tasks.spawn(parts.events.clone().deliver(parts.ways(config)));
        tasks.spawn(parts.events.clone().follow_schedules());
        tasks.spawn(parts.scaling.clone().work());
        tasks.spawn(gantry_control::events::tell(parts.control.clone(), Arc::new(parts.events.clone())));
        Self { _tasks: tasks, _reconcilers: Reconcilers::start(&parts.control) }
    }
}

/// What image URIs begin with: clients treat `localhost` as a registry that needs no TLS.
fn public_endpoint(config: &ServerConfig, bound: SocketAddr) -> String {
    let scheme = if config.tls.is_some() { "https" } else { "http" };
    match &config.registry_host {
        Some(host) => format!("{scheme}://{host}"),
        None => format!("{scheme}://localhost:{}", bound.port()),
    }
}

/// `host[:port]` names under which image references mean our own registry.
fn own_hosts(config: &ServerConfig, bound: SocketAddr, endpoint: &str) -> Vec<String> {
    let mut hosts = super::agent::registry_hosts(endpoint);
    hosts.extend(super::agent::registry_hosts(&public_endpoint(config, bound)));
    hosts
}

fn build_site(config: &ServerConfig, parts: &Parts, identities: &Identities) -> Result<Site> {
    let keys = identities.keys(&config.account, parts.iam.clone(), parts.machines.clone(), parts.control.clone());
    let keys = Arc::new(keys);
    let machines = parts.machines.clone();
    // A connection outlives the credentials that it began with; an identity that is revoked ends it.
    let known =
        move |caller: &Caller| caller.machine().is_none_or(|machine| machines.has(&caller.account, &machine.id));
    Ok(Site {
        endpoint: Endpoint::new(
            parts.services(),
            keys,
            Arc::new(parts.iam.clone()),
            parts.facts(),
            Arc::new(observe::RequestMetrics),
        ),
        registry: gantry_registry::http::router(Arc::clone(&parts.registry)),
        own: Own {
            control: parts.control.clone(),
            registry: Arc::clone(&parts.registry),
            events: parts.events.clone(),
            scaling: parts.scaling.clone(),
            machines: parts.machines.clone(),
            account: config.account.clone(),
        },
        machines: parts.machines.clone(),
        agents: door::router(
            AgentDoor::open(parts.control.clone()).admitting(known).with_values(Arc::new(parts.values(config))),
        )
        .merge(exec::agent_router(parts.control.clone())),
        data_channels: exec::client_router(parts.control.clone()),
        metrics: observe::start_metrics()?,
    })
}

/// Waits for SIGTERM or SIGINT.
pub(crate) async fn wait_for_signal() -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use gantry_api::{Caller, Codec, Fault, OperationInfo, ServiceInfo};
    use gantry_store::Memory;

    use super::*;

    fn config(data_dir: &Path) -> ServerConfig {
        let options = ServerOptions { data_dir: Some(data_dir.into()), ..ServerOptions::default() };
        ServerConfig::build(&options, None).expect("is usable")
    }

    fn caller() -> Caller {
        Caller::root("000000000000", "us-east-1")
    }

    /// An empty input that is not held against the model, so that it reaches every operation.
    struct Unchecked;

    impl Codec for Unchecked {
        fn decode<T: serde::de::DeserializeOwned>(&self) -> Result<T, Fault> {
            serde_json::from_str("{}").map_err(|error| Fault::new("SerializationException", 400, error.to_string()))
        }
        fn checks(&self) -> bool {
            false
        }
        fn encode<T: serde::Serialize>(&self, _: &ServiceInfo, _: &OperationInfo, _: &T) -> Result<Vec<u8>, Fault> {
            Ok(Vec::new())
        }
    }

    #[tokio::test]
    async fn transcripts_are_written_where_the_tasks_role_may_write() {
        use gantry_api::{
            iam::{CreateRoleRequest, Iam as _, PutRolePolicyRequest},
            logs::{CreateLogGroupRequest, GetLogEventsRequest, Logs as _},
        };
        use gantry_control::records::Destination;

        let folder = tempfile::tempdir().expect("a folder");
        let config = config(folder.path());
        let parts =
            Parts::open(&config, config.listen, "http://127.0.0.1:4566", &Memory::store()).await.expect("opens");
        let trust = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"sts:AssumeRole",
            "Principal":{"Service":"ecs-tasks.amazonaws.com"}}}"#;
        let role = CreateRoleRequest {
            role_name: Some("app".to_owned()),
            assume_role_policy_document: Some(trust.to_owned()),
            ..Default::default()
        };
        let role = parts.iam.create_role(&caller(), role).await.expect("makes the role").role;
        let role = role.and_then(|role| role.arn).expect("has an ARN");
        let group = CreateLogGroupRequest { log_group_name: Some("exec".to_owned()), ..Default::default() };
        parts.logs.create_log_group(&caller(), group).await.expect("makes the group");

        let task = "arn:aws:ecs:us-east-1:000000000000:task/default/0123";
        let destination = Destination {
            log_group: Some("exec".to_owned()),
            log_region: Some("us-east-1".to_owned()),
            log_stream: Some("s".to_owned()),
            ..Destination::default()
        };
        let transcripts = parts.control.transcripts.clone();
        let refused = transcripts.check(task, Some(&role), &destination).await.expect_err("may nothing");
        assert!(refused.contains("logs:CreateLogStream"), "{refused}");
        let refused = transcripts.check(task, None, &destination).await.expect_err("there is no role");
        assert_eq!(refused, "the task has no task role.");
        let policy = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Resource":"*",
            "Action":["logs:CreateLogStream","logs:PutLogEvents"]}}"#;
        let policy = PutRolePolicyRequest {
            role_name: Some("app".to_owned()),
            policy_name: Some("p".to_owned()),
            policy_document: Some(policy.to_owned()),
        };
        parts.iam.put_role_policy(&caller(), policy).await.expect("allows it");
        transcripts.check(task, Some(&role), &destination).await.expect("may");
        transcripts
            .store(task, Some(&role), &destination, b"one\r\ntwo\r\n".as_slice().into())
            .await
            .expect("is written");
        let read = GetLogEventsRequest {
            log_group_name: Some("exec".to_owned()),
            log_stream_name: Some("s".to_owned()),
            ..Default::default()
        };
        let events = parts.logs.get_log_events(&caller(), read).await.expect("is read").events.unwrap_or_default();
        let texts: Vec<String> = events.into_iter().filter_map(|event| event.message).collect();
        assert_eq!(texts.concat(), "one\r\ntwo\r\n");
        let object = Some("s.log".to_owned());
        let bucket = Destination { bucket: Some("b".to_owned()), object, ..destination };
        assert!(transcripts.check(task, Some(&role), &bucket).await.expect_err("no S3").contains("S3"));
    }

    #[tokio::test]
    async fn the_list_of_unimplemented_operations_is_the_truth() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = config(folder.path());
        let store = Memory::store();
        let parts = Parts::open(&config, config.listen, "http://127.0.0.1:4566", &store).await.expect("opens");
        let mut unimplemented = BTreeSet::new();
        macro_rules! call_all {
            ($module:ident, $service:expr) => {
                for operation in gantry_api::$module::OPERATIONS {
                    let name = operation.name;
                    let answer = gantry_api::$module::dispatch($service, &caller(), name, &Unchecked).await;
                    if answer.expect("is in the model").err().is_some_and(|fault| fault.unimplemented) {
                        unimplemented.insert(format!("{}:{name}", gantry_api::$module::SERVICE.name));
                    }
                }
            };
        }
        call_all!(ecs, &EcsService::new(parts.control.clone()));
        call_all!(ecr, parts.registry.as_ref());
        call_all!(logs, &parts.logs);
        call_all!(iam, &parts.iam);
        call_all!(sts, &parts.sts);
        call_all!(application_autoscaling, &parts.scaling);
        call_all!(events, &parts.events);
        call_all!(ssm, &parts.ssm());
        call_all!(secretsmanager, &parts.secrets);
        call_all!(xray, &parts.xray);

        let list = include_str!("../../../../docs/unimplemented.txt");
        let listed: BTreeSet<String> = list.lines().filter(|line| !line.starts_with('#')).map(str::to_string).collect();
        let difference: Vec<&String> = listed.symmetric_difference(&unimplemented).collect();
        assert!(difference.is_empty(), "docs/unimplemented.txt differs from the program in {difference:?}");
    }
}
