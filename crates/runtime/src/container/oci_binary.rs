//! Starts containers with an OCI runtime executable instead of our own code: the way out for security fixes, and the
//! way in for gVisor or Kata. The shim around it is the same.

use std::{
    fs,
    io::{self, Read},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::{Command, Stdio as ProcessStdio},
};

use serde_json::{Value, json};

use super::{
    ContainerSpec, Limits, MountSource,
    cgroup::settings,
    console::Console,
    embedded::{Launched, Stdio},
    facts,
    message::{Failure, file},
    program, rootfs, seccomp,
    spec::{self, Facts, devices},
};

/// The id that every container has in the state directory of its own bundle.
pub(super) const ID: &str = "c";

/// Where the init is bound inside the container: /dev is a tmpfs, so the image keeps no trace.
const INIT_PATH: &str = "/dev/init";

/// A container that an OCI binary knows.
pub(super) struct OciContainer {
    program: PathBuf,
    bundle: PathBuf,
}

impl OciContainer {
    pub(super) fn new(program: PathBuf, bundle: &Path) -> Self {
        Self { program, bundle: bundle.to_owned() }
    }

    pub(super) fn command(&self) -> Command {
        self.command_logging_to(&self.log())
    }

    /// A call of the binary, with its log there.
    pub(super) fn command_logging_to(&self, log: &Path) -> Command {
        let mut command = Command::new(&self.program);
        command
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .arg("--root")
            .arg(self.bundle.join(file::OCI))
            .arg("--log")
            .arg(log)
            .args(["--log-format", "json"])
            .stdin(ProcessStdio::null())
            .stdout(ProcessStdio::null())
            .stderr(ProcessStdio::null());
        command
    }

    fn log(&self) -> PathBuf {
        self.bundle.join("oci.log")
    }

    fn run(&self, command: &mut Command) -> Result<(), Failure> {
        let status = command.status().map_err(|error| self.not_started(&error))?;
        if status.success() { Ok(()) } else { Err(self.failure(&self.log(), &status.to_string())) }
    }

    pub(super) fn not_started(&self, error: &io::Error) -> Failure {
        Failure::Runtime(format!("starting the OCI runtime {}: {error}", self.program.display()))
    }

    /// What the binary logged last as an error.
    pub(super) fn failure(&self, path: &Path, status: &str) -> Failure {
        let mut log = String::new();
        if let Ok(file) = fs::File::open(path) {
            let _ = file.take(1 << 20).read_to_string(&mut log);
        }
        let message = log
            .lines()
            .rev()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .find(|entry| entry["level"] == "error")
            .and_then(|entry| entry["msg"].as_str().map(str::to_owned));
        classify(message.unwrap_or_else(|| format!("{}: {status}", self.program.display())))
    }

    /// Makes the binary forget the container.
    pub(super) fn delete(&self) {
        let _ = self.run(self.command().args(["delete", "--force", ID]));
    }
}

/// Tells a missing or unusable program from other failures by the binary's own words.
fn classify(message: String) -> Failure {
    if message.contains("no space left on device") {
        return Failure::NoSpace;
    }
    let about_the_program =
        ["not found in $path", "no such file or directory", "permission denied", "exec format error", "is a directory"];
    match message.find("exec: \"").or_else(|| message.find("executable file `")) {
        Some(at) if about_the_program.iter().any(|words| message[at..].to_lowercase().contains(words)) => {
            Failure::Command(message[at..].to_owned())
        }
        _ if message.contains("exec format error") => Failure::Command(message),
        _ => Failure::Runtime(message),
    }
}

/// Everything up to the executed program, in the process that is forked for the start.
pub(super) fn launch(
    oci: &OciContainer,
    gantry: &Path,
    spec: &ContainerSpec,
    stdio: Stdio,
) -> Result<Launched, Failure> {
    // The binary and through it the container would inherit the shim's blocked signals.
    program::reset_signals();
    let scratch = oci.bundle.join(file::RUN);
    facts::check_mount_sources(spec)?;
    facts::check_sysctls(spec)?;
    rootfs::enter_private_namespace()?;
    rootfs::mount_scratch(&scratch)?;
    rootfs::mount_root(&spec.rootfs)?;
    let spec = &with_paths(spec, &scratch)?;
    let configuration = configuration(gantry, spec, &scratch)?;
    fs::write(scratch.join("config.json"), configuration.to_string())
        .map_err(|error| Failure::io("writing the configuration", &error))?;
    let pid_file = scratch.join("pid");
    let mut create = oci.command();
    create.arg("create").arg("--bundle").arg(&scratch).arg("--pid-file").arg(&pid_file);
    let console = if spec.terminal { Some(Console::listen(&open_scratch(&scratch)?)?) } else { None };
    match &console {
        Some(console) => {
            create.arg("--console-socket").arg(console.path());
        }
        None => {
            create.stdin(stdio.stdin).stdout(stdio.stdout).stderr(stdio.stderr);
        }
    }
    oci.run(create.arg(ID))?;
    drop(create);
    let console = console.map(Console::receive).transpose()?;
    oci.run(oci.command().args(["start", ID]))?;
    let pid = fs::read_to_string(&pid_file).ok().and_then(|text| text.trim().parse().ok());
    let pid = pid.ok_or_else(|| Failure::Runtime("the OCI runtime wrote no pid".to_owned()))?;
    Ok(Launched { pid, console })
}

fn open_scratch(scratch: &Path) -> Result<OwnedFd, Failure> {
    let opened = fs::File::open(scratch).map_err(|error| Failure::io("opening the bundle", &error))?;
    Ok(opened.into())
}

/// Directories that must not be looked up by their path again get one in our own mount namespace, for the binary.
fn with_paths(spec: &ContainerSpec, scratch: &Path) -> Result<ContainerSpec, Failure> {
    let mut spec = spec.clone();
    for (nth, mount) in spec.mounts.iter_mut().enumerate() {
        let MountSource::Below { directory, path } = &mount.source else { continue };
        let at = scratch.join(format!("below-{nth}"));
        let failure = |error: io::Error| Failure::io(format!("mounting {}", mount.target), &error);
        let tree = rootfs::clone_directory_in(directory, path).map_err(|error| failure(error.into()))?;
        fs::create_dir(&at).map_err(failure)?;
        let flags = rustix::mount::MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        rustix::mount::move_mount(&tree, "", rustix::fs::CWD, &at, flags).map_err(|error| failure(error.into()))?;
        mount.source = MountSource::Bind(at);
    }
    Ok(spec)
}

fn configuration(gantry: &Path, spec: &ContainerSpec, scratch: &Path) -> Result<Value, Failure> {
    let facts = facts_of(spec, &spec.user, &spec.rootfs.mount_point, Some(scratch))?;
    let mut configuration = spec::oci_configuration(spec, &facts)?;
    if spec.init_process {
        if !is_static(gantry).unwrap_or(false) {
            return Err(Failure::Spec(
                "an init process with an external OCI runtime needs a statically linked gantry".to_owned(),
            ));
        }
        let mut args = vec![INIT_PATH, "shim", "init", "--"];
        args.extend(spec.args.iter().map(String::as_str));
        configuration["process"]["args"] = json!(args);
        if let Some(mounts) = configuration["mounts"].as_array_mut() {
            mounts.push(json!({
                "destination": INIT_PATH, "type": "bind", "source": gantry, "options": ["bind", "ro", "nosuid", "nodev"],
            }));
        }
    }
    Ok(configuration)
}

pub(super) fn facts_of(
    spec: &ContainerSpec,
    user: &str,
    root: &Path,
    scratch: Option<&Path>,
) -> Result<Facts, Failure> {
    let capabilities = spec::capabilities::capabilities(spec, &facts::available_capabilities())?;
    let devices = facts::devices(spec)?;
    let rules = devices::rules(spec.privileged, &devices);
    let identity = facts::identity_at(user, root)?.in_groups(&spec.additional_groups);
    Ok(Facts {
        host_has_mqueue: facts::host_has_mqueue(),
        shared_shm: match scratch {
            Some(scratch) => facts::shared_shm_at(spec, &scratch.join("shm"))?,
            None => None,
        },
        cgroups_path: format!("/{}/{}", spec.task_cgroup, spec.id),
        resources: resources(&spec.limits, devices::oci_rules(rules.as_deref())),
        seccomp: (!spec.privileged).then(|| seccomp::oci_profile(&capabilities)),
        devices: devices.into_iter().map(|device| device.owned_by(&identity)).collect(),
        identity,
        capabilities,
    })
}

/// The limits are in place already, in the cgroup that the binary finds; runtimes that are no processes of this host
/// (a virtual machine) need them in words.
fn resources(limits: &Limits, devices: Value) -> Value {
    let mut resources = json!({"devices": devices});
    if let Some(bytes) = limits.memory_bytes {
        resources["memory"] = json!({"limit": bytes});
    }
    if let Some(shares) = limits.cpu_shares {
        resources["cpu"]["shares"] = json!(settings::clamp_shares(shares));
    }
    if let Some(units) = limits.cpu_quota_units {
        resources["cpu"]["quota"] = json!(settings::quota_us(units));
        resources["cpu"]["period"] = json!(settings::CPU_PERIOD_US);
    }
    if let Some(pids) = limits.pids {
        resources["pids"] = json!({"limit": pids});
    }
    resources
}

/// Whether a program can run in a root filesystem that has no loader for it.
fn is_static(program: &Path) -> io::Result<bool> {
    const PT_INTERP: u32 = 3;
    let mut head = Vec::new();
    fs::File::open(program)?.take(4096).read_to_end(&mut head)?;
    let number = |at: usize, length: usize| -> Option<u64> {
        let bytes = head.get(at..at + length)?;
        Some(bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    };
    // 64-bit little-endian ELF: program headers at e_phoff, e_phentsize bytes each, e_phnum of them.
    let headers = || {
        let (offset, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
        (0..count).map(|index| number(usize::try_from(offset + index * size).ok()?, 4)).collect::<Option<Vec<u64>>>()
    };
    Ok(head.starts_with(b"\x7fELF") && headers().is_some_and(|kinds| !kinds.contains(&u64::from(PT_INTERP))))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_missing_program_is_told_from_other_failures() {
        let runc =
            "runc create failed: unable to start container process: exec: \"x\": executable file not found in $PATH";
        assert_eq!(
            classify(runc.to_owned()),
            Failure::Command("exec: \"x\": executable file not found in $PATH".to_owned())
        );
        let crun = "executable file `x` not found in $PATH: No such file or directory";
        assert_eq!(classify(crun.to_owned()), Failure::Command(crun.to_owned()));
        assert!(matches!(classify("cgroups in hybrid mode not supported".to_owned()), Failure::Runtime(_)));
        assert_eq!(classify("write /x: no space left on device".to_owned()), Failure::NoSpace);
    }

    #[test]
    fn static_programs_are_recognised() {
        assert!(is_static(Path::new("/bin/busybox")).unwrap());
        assert!(!is_static(Path::new("/bin/ls")).unwrap());
        assert!(!is_static(Path::new("/etc/passwd")).unwrap());
    }
}
