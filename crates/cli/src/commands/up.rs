//! `gantry up`: control plane, registry and one agent in the foreground.

use std::{path::Path, process::ExitCode};

use anyhow::{Context, Result};
use gantry_agent::Join;
use tokio::sync::watch;

use super::{
    agent::{self, join_token_path},
    serve::{Server, wait_for_signal},
};
use crate::{
    arguments::UpOptions,
    config::{DEFAULT_DATA_DIR, EcsVariables, ServerConfig},
    host, observe,
};

/// Runs everything until a signal. Tasks go on, unless `--stop-tasks` says otherwise.
pub(crate) async fn run(options: UpOptions) -> Result<ExitCode> {
    let config = ServerConfig::build(&options.server, options.runtime.clone())?;
    observe::start_logging(config.log_level.as_deref(), config.log_format, "warn")?;
    let (stop_server, server_shutdown) = watch::channel(false);
    let (stop_agent, mut agent_shutdown) = watch::channel(false);
    config.create_data_dir()?;
    let ecs = if options.no_agent { None } else { Some(EcsVariables::read()?) };
    // What can fail for reasons of the host fails before the port is open.
    let lazy_images = config.lazy_images && !options.no_lazy_images;
    let parts = match options.no_agent {
        true => None,
        false => Some(host::open(&config.data_dir, &config.runtime, lazy_images).await?),
    };
    let server = Server::start(&config, server_shutdown).await?;
    super::print(&screen(&config, &server.endpoint, parts.is_some()));

    let advertised = agent::advertise_address(None, config.advertise_address)?;
    let agent = parts.map(|parts| -> Result<_> {
        let join = Join::TokenFile { path: join_token_path(&config.data_dir), renewed: true };
        let mut agent = agent::config(&server.endpoint, join, &config.data_dir);
        agent.advertise_address = advertised;
        agent.heartbeat_interval = config.heartbeat;
        agent.introspection_port = config.introspection_port;
        agent.stop_tasks_on_shutdown = options.stop_tasks;
        agent.file_systems.clone_from(&config.file_systems);
        if let Some(ecs) = &ecs {
            agent::apply(ecs, &mut agent)?;
        }
        // This machine is also the Fargate fleet: it serves FARGATE for every cluster.
        agent.attributes.insert("gantry.fargate".to_owned(), String::new());
        Ok(tokio::spawn(gantry_agent::run(agent, parts, async move {
            let _ = agent_shutdown.wait_for(|end| *end).await;
        })))
    });
    match agent.transpose()? {
        None => wait_for_signal().await?,
        Some(mut agent) => {
            tokio::select! {
                signal = wait_for_signal() => signal?,
                ended = &mut agent => {
                    ended?.context("the agent failed")?;
                    anyhow::bail!("the agent ended by itself");
                }
            }
            // The agent first: what it still has to tell and to log needs the server.
            stop_agent.send_replace(true);
            agent.await?.context("the agent failed")?;
        }
    }
    stop_server.send_replace(true);
    server.finish().await;
    Ok(ExitCode::SUCCESS)
}

/// The short screen of a start.
fn screen(config: &ServerConfig, endpoint: &str, agent: bool) -> String {
    let flag = if config.data_dir == Path::new(DEFAULT_DATA_DIR) {
        String::new()
    } else {
        format!(" --data-dir {}", config.data_dir.display())
    };
    let instance =
        if agent { "This machine is a container instance of the cluster default." } else { "No agent runs here." };
    format!(
        "Gantry {version} at {endpoint} ({region}, account {account}). {instance}\n\n  \
         eval \"$(gantry env{flag})\"          point the AWS CLI and SDKs here\n  \
         gantry push DIR NAME:TAG{flag}     put an image into the registry\n  \
         gantry status{flag}                clusters, services and tasks\n\n\
         Ctrl-C ends Gantry; tasks keep running and are found again.\n",
        version = env!("CARGO_PKG_VERSION"),
        region = config.region,
        account = config.account,
    )
}
