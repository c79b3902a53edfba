//! The runtime of this host, for the agent.

use std::{path::Path, sync::Arc};

use anyhow::{Context, Result};
use gantry_agent::RuntimeParts;
use gantry_runtime::{
    container::{Runtime, ShimContainers, ShimOptions},
    image::{ImageOptions, LazyOptions, LocalImages},
    network::{LinuxNetworks, NetworkOptions},
};

use crate::{Hint, config::DEFAULT_DATA_DIR};

/// Opens images, containers and networks below `DATA/runtime`.
pub(crate) async fn open(data_dir: &Path, runtime: &str, lazy_images: bool) -> Result<RuntimeParts> {
    if !rustix::process::geteuid().is_root() {
        return Err(Hint::error(
            "an agent makes containers, which needs root",
            "use sudo, or run the control plane alone with `gantry up --no-agent`",
        ));
    }
    let containers = containers(data_dir, runtime)?;
    let lazy = lazy_images.then(|| -> Result<LazyOptions> {
        let program = std::env::current_exe().context("could not find this program's own file")?;
        Ok(LazyOptions::new(program, format!("{}/shims", cgroup_parent(data_dir))))
    });
    let options = ImageOptions { lazy: lazy.transpose()?, ..ImageOptions::default() };
    let images = LocalImages::open(data_dir.join("runtime/images"), options);
    let images = images.context("could not open the images")?;
    let networks = networks(data_dir).await?;
    Ok(RuntimeParts { images: Arc::new(images), containers: Arc::new(containers), networks: Arc::new(networks) })
}

/// Containers and networks alone, to remove them.
pub(crate) async fn open_bare(data_dir: &Path) -> Result<(ShimContainers, LinuxNetworks)> {
    Ok((containers(data_dir, "embedded")?, networks(data_dir).await?))
}

fn containers(data_dir: &Path, runtime: &str) -> Result<ShimContainers> {
    let program = std::env::current_exe().context("could not find this program's own file")?;
    let options = ShimOptions { runtime: chosen(runtime)?, program, cgroup_parent: cgroup_parent(data_dir) };
    ShimContainers::open(data_dir.join("runtime/containers"), options).context("could not open the containers")
}

async fn networks(data_dir: &Path) -> Result<LinuxNetworks> {
    let options = NetworkOptions::for_data_dir(data_dir);
    LinuxNetworks::open(data_dir.join("runtime/networks"), options).await.context("could not set up the network")
}

/// `embedded`, the name of an OCI runtime on the path, or its path.
fn chosen(runtime: &str) -> Result<Runtime> {
    if runtime == "embedded" {
        return Ok(Runtime::Embedded);
    }
    let found = if runtime.contains('/') {
        Some(Path::new(runtime).to_path_buf())
    } else {
        // Root's path, whoever called: runtimes live in sbin on Debian.
        let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin";
        std::env::split_paths(&path).map(|folder| folder.join(runtime)).find(|path| path.is_file())
    };
    match found.filter(|path| path.is_file()) {
        Some(path) => Ok(Runtime::OciBinary(path)),
        None => Err(Hint::error(
            format!("there is no container runtime '{runtime}'"),
            "say embedded, runc, crun, or the path of an OCI runtime",
        )),
    }
}

/// Instances with data directories of their own do not share cgroups.
fn cgroup_parent(data_dir: &Path) -> String {
    if data_dir == Path::new(DEFAULT_DATA_DIR) {
        return "gantry".to_string();
    }
    use sha2::Digest;
    let digest = sha2::Sha256::digest(data_dir.as_os_str().as_encoded_bytes());
    format!("gantry-{}", hex::encode(&digest[..4]))
}
