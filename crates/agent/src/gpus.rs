//! The machine's GPUs: which of them it offers, and what a container that was given some needs.

use std::{path::Path, time::Duration};

use gantry_runtime::{cdi::Gpus, container::ContainerSpec};
use tokio::time::sleep;
use tracing::{info, warn};

use crate::{config::Config, reason::ContainerReason, record::blocking};

/// What programs that use NVIDIA's libraries look at. The real agent sets it whatever the vendor is.
pub(crate) const VISIBLE_DEVICES: &str = "NVIDIA_VISIBLE_DEVICES";
/// A host that boots may describe its GPUs a little later than it starts its agent: the real agent waits as long.
pub(crate) const ATTEMPTS: u32 = 10;
const ATTEMPT_INTERVAL: Duration = Duration::from_secs(3);

/// The ids of the GPUs that the machine offers: none unless it is told to offer them. They are looked for so often.
pub(crate) async fn offered(config: &Config, attempts: u32) -> Vec<String> {
    if !config.gpu_support {
        return Vec::new();
    }
    for attempt in 1..=attempts {
        let gpus = read(config).await.unwrap_or_else(|error| {
            warn!(%error, "CDI specifications were not read");
            Gpus::default()
        });
        let ids: Vec<String> = gpus.ids().map(str::to_owned).collect();
        if !ids.is_empty() || attempt == attempts {
            gpus.troubles().for_each(|trouble| warn!(trouble, "a CDI specification is left out"));
            info!(gpus = ids.len(), "GPUs found");
            return ids;
        }
        sleep(ATTEMPT_INTERVAL).await;
    }
    Vec::new()
}

async fn read(config: &Config) -> std::io::Result<Gpus> {
    let directories = config.cdi_directories.clone();
    blocking(move || Ok(Gpus::read(&directories))).await
}

/// `535.161.07`, when NVIDIA's driver is loaded.
pub(crate) fn nvidia_driver_version() -> Option<String> {
    let text = std::fs::read_to_string(Path::new("/sys/module/nvidia/version")).ok()?;
    Some(text.trim().to_owned()).filter(|version| !version.is_empty())
}

/// Gives a container its GPUs, as the host describes them now.
pub(crate) async fn give(config: &Config, ids: &[String], spec: &mut ContainerSpec) -> Result<(), ContainerReason> {
    if ids.is_empty() {
        return Ok(());
    }
    let gpus = read(config).await.map_err(|error| ContainerReason::CannotCreate(error.to_string()))?;
    let edits = gpus.edits(ids.iter().map(String::as_str));
    let mut edits = edits.map_err(|error| ContainerReason::CannotCreate(error.to_string()))?;
    edits.set_variable(VISIBLE_DEVICES, &ids.join(","));
    edits.apply(spec);
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use gantry_runtime::image::Rootfs;

    use super::*;
    use crate::config::Join;

    fn config(support: bool) -> (tempfile::TempDir, Config) {
        let directory = tempfile::tempdir().unwrap();
        let text = r#"{"cdiVersion": "0.6.0", "kind": "v.com/gpu", "containerEdits": {"env": ["A=2"]}, "devices": [
            {"name": "g0", "containerEdits": {"deviceNodes": [{"path": "/dev/g0", "hostPath": "/dev/null"}]}},
            {"name": "g1"}, {"name": "g2", "containerEdits": {"hooks": [{"hookName": "poststop", "path": "/x"}]}}]}"#;
        std::fs::write(directory.path().join("v.json"), text).unwrap();
        let mut config = Config::new("http://127.0.0.1", Join::Known, directory.path().into());
        config.gpu_support = support;
        config.cdi_directories = vec![directory.path().into()];
        (directory, config)
    }

    fn spec() -> ContainerSpec {
        let nowhere =
            Rootfs { lower_dirs: Vec::new(), upper_dir: "/u".into(), work_dir: "/w".into(), mount_point: "/m".into() };
        crate::container_spec::pause_spec("c".into(), nowhere, "t")
    }

    #[tokio::test]
    async fn gpus_are_offered_when_the_machine_is_told_to_and_they_can_be_used() {
        let (_directory, on) = config(true);
        assert_eq!(offered(&on, ATTEMPTS).await, ["v.com/gpu=g0", "v.com/gpu=g1"]);
        let (_directory, off) = config(false);
        assert_eq!(offered(&off, ATTEMPTS).await, Vec::<String>::new());
    }

    #[tokio::test(start_paused = true)]
    async fn a_machine_without_gpus_is_waited_for_and_goes_on_without() {
        let (directory, on) = config(true);
        std::fs::remove_file(directory.path().join("v.json")).unwrap();
        let began = tokio::time::Instant::now();
        assert_eq!(offered(&on, ATTEMPTS).await, Vec::<String>::new());
        assert_eq!(began.elapsed(), Duration::from_secs(27));
        assert_eq!(offered(&on, 1).await, Vec::<String>::new());
        assert_eq!(began.elapsed(), Duration::from_secs(27));
    }

    #[tokio::test]
    async fn a_container_gets_its_gpus_and_is_told_which() {
        let (_directory, config) = config(true);
        let mut given = spec();
        give(&config, &["v.com/gpu=g1".to_owned(), "v.com/gpu=g0".to_owned()], &mut given).await.unwrap();
        assert_eq!(given.env, ["A=2", "NVIDIA_VISIBLE_DEVICES=v.com/gpu=g1,v.com/gpu=g0"]);
        assert_eq!(given.devices[0].container_path, "/dev/g0");
        let mut none = spec();
        give(&config, &[], &mut none).await.unwrap();
        assert_eq!(none, spec());
        let missing = give(&config, &["g7".to_owned()], &mut spec()).await.unwrap_err();
        assert_eq!(missing.text(), "CannotCreateContainerError: GPU g7 is not among the host's CDI devices");
        let hooked = give(&config, &["v.com/gpu=g2".to_owned()], &mut spec()).await.unwrap_err();
        assert_eq!(
            hooked.text(),
            "CannotCreateContainerError: GPU v.com/gpu=g2: the hook poststop (/x) is not supported"
        );
    }
}
