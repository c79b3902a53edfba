//! OCI binaries.
use super::{
    ContainerSpec,
    cgroup::Cgroup,
    embedded::{Launched, Stdio},
    message::Failure,
};
use std::path::{Path, PathBuf};
pub(super) struct OciContainer;
impl OciContainer {
    pub(super) fn new(_program: PathBuf, _bundle: &Path) -> Self {
        Self
    }
    pub(super) fn delete(&self) {}
}
pub(super) fn launch(
    _program: &Path,
    _bundle: &Path,
    _spec: &ContainerSpec,
    _cgroup: &Cgroup,
    _stdio: Stdio,
) -> Result<Launched, Failure> {
    Err(Failure::Runtime("oci binary: not yet".into()))
}
