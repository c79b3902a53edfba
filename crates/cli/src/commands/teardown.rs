//! `gantry teardown`: removes what tasks left on this machine, for a Gantry that will not come back.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, bail};

use crate::{
    Hint,
    arguments::TeardownOptions,
    config::{DEFAULT_DATA_DIR, Running},
    host,
};

/// Kills the containers, removes networks, packet filter rules, the mounts of image layers and volumes, and the volumes
/// that were configured at launch to go with their tasks. Other data stays.
pub(crate) async fn run(options: &TeardownOptions) -> Result<ExitCode> {
    let data_dir = options.data_dir.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_DATA_DIR));
    if let Ok(running) = Running::read(&data_dir)
        && is_gantry(running.pid)
    {
        return Err(Hint::error(
            format!("a Gantry runs with {} (process {})", data_dir.display(), running.pid),
            "stop it first",
        ));
    }
    if !data_dir.join("runtime").exists() {
        eprintln!("nothing to remove");
        return Ok(ExitCode::SUCCESS);
    }
    let (containers, networks) = host::open_bare(&data_dir).await?;
    let mut failed = 0;
    let known = gantry_runtime::container::Containers::list(&containers).await?;
    for id in known.keys() {
        if let Err(error) = gantry_runtime::container::Containers::remove(&containers, id).await {
            eprintln!("container {id} could not be removed: {error}");
            failed += 1;
        }
    }
    networks.tear_down().await?;
    gantry_runtime::image::LocalImages::unmount_all(&data_dir.join("runtime/images"))
        .context("could not unmount the layers of images")?;
    gantry_agent::take_down_volumes(&data_dir).context("could not take down volumes")?;
    eprintln!("removed {} containers and their networks", known.len() - failed);
    if failed > 0 {
        bail!("{failed} containers are left");
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether the process lives and is this program.
fn is_gantry(pid: u32) -> bool {
    std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("comm"))
        .is_ok_and(|name| name.trim_end() == "gantry")
}
