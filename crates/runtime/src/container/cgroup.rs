//! Control groups of tasks and containers, on version 1 (hybrid too) and version 2.
//!
//! The tree is `PARENT/TASK/CONTAINER`, plus `PARENT/shims` for the shims themselves, so that nobody's service
//! manager takes them for part of the agent. One process ever moves: on version 1 the starting process writes itself
//! into each hierarchy's `tasks` file, which (unlike any write to `cgroup.procs`) does not wait for an RCU grace
//! period and so costs 0.2 ms instead of 6 to 20; on version 2 it is born there (`CLONE_INTO_CGROUP`). What it starts
//! inherits the place.

use std::{
    fs, io,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::{Usage, spec::devices::DeviceRule};

mod device_filter;
pub(super) mod settings;

use settings::Setting;

/// Controllers of version 1 that a container is placed in. The others (cpuset, blkio, freezer …) stay as the shim has
/// them: nothing that we offer needs them, and each costs a directory and a move.
const V1_CONTROLLERS: [&str; 5] = ["cpu", "cpuacct", "memory", "pids", "devices"];

/// Controllers of version 2 that are passed down to tasks and containers where the kernel has them.
const V2_CONTROLLERS: [&str; 5] = ["cpu", "memory", "pids", "io", "cpuset"];

/// How this host's control groups are mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Hierarchies {
    /// Version 1 or hybrid: (controllers, mount point) of each hierarchy, named ones included.
    V1 {
        /// The hierarchies of version 1.
        mounts: Vec<(Vec<String>, PathBuf)>,
        /// The tree of version 2 without controllers on a hybrid host.
        unified: Option<PathBuf>,
    },
    /// Version 2 only.
    V2(PathBuf),
}

impl Hierarchies {
    /// Looks at what is mounted.
    pub(super) fn detect() -> io::Result<Self> {
        let mountinfo = fs::read_to_string("/proc/self/mountinfo")?;
        Self::from_mountinfo(&mountinfo)
            .ok_or_else(|| io::Error::new(io::ErrorKind::Unsupported, "no control groups are mounted on this host"))
    }

    fn from_mountinfo(mountinfo: &str) -> Option<Self> {
        let mut v1 = Vec::new();
        let mut v2 = None;
        for line in mountinfo.lines() {
            let Some((left, right)) = line.split_once(" - ") else { continue };
            let mut right = right.split(' ');
            let (kind, _, options) = (right.next(), right.next(), right.next().unwrap_or_default());
            let Some(mount_point) = left.split(' ').nth(4) else { continue };
            match kind {
                Some("cgroup2") => v2 = v2.or(Some(PathBuf::from(mount_point))),
                Some("cgroup") => {
                    let controllers: Vec<String> = options
                        .split(',')
                        .filter(|option| !matches!(*option, "rw" | "ro" | "xattr" | "clone_children"))
                        .map(str::to_owned)
                        .collect();
                    if !v1.iter().any(|(known, _)| *known == controllers) {
                        v1.push((controllers, PathBuf::from(mount_point)));
                    }
                }
                _ => {}
            }
        }
        if v1.iter().any(|(controllers, _)| controllers.iter().any(|name| name == "memory" || name == "cpu")) {
            return Some(Self::V1 { mounts: v1, unified: v2 });
        }
        v2.map(Self::V2)
    }

    /// The cgroup at `path` (relative to each mount point).
    pub(super) fn cgroup(&self, path: &str) -> Cgroup {
        let mut leftovers = Vec::new();
        let directories = match self {
            Self::V2(root) => vec![(Vec::new(), root.join(path))],
            Self::V1 { mounts, unified } => {
                let unused = mounts.iter().filter(|(controllers, _)| !is_used(controllers)).map(|(_, mount)| mount);
                leftovers.extend(unused.chain(unified).map(|mount| mount.join(path)));
                mounts
                    .iter()
                    .filter(|(controllers, _)| is_used(controllers))
                    .map(|(controllers, mount_point)| (controllers.clone(), mount_point.join(path)))
                    .collect()
            }
        };
        Cgroup { version: self.version(), directories, leftovers }
    }

    pub(super) fn version(&self) -> Version {
        match self {
            Self::V1 { .. } => Version::V1,
            Self::V2(_) => Version::V2,
        }
    }

    /// Makes `parent` a place whose children can have limits, on version 2 by passing the controllers down to it.
    pub(super) fn prepare_parent(&self, parent: &str) -> io::Result<()> {
        let Self::V2(root) = self else {
            return self.cgroup(parent).create(&[Setting::hierarchical_memory()]);
        };
        if let Err(error) = pass_controllers_down(root) {
            // In a container (or any delegated subtree) the processes that share the root stand in the way of
            // controllers for its children: they move to a leaf of their own, as every nested runtime does.
            if error.raw_os_error() != Some(libc::EBUSY) {
                return Err(error);
            }
            move_processes(root, &root.join("init"))?;
            pass_controllers_down(root)?;
        }
        let mut directory = root.clone();
        for component in Path::new(parent).components() {
            directory.push(component);
            create_directory(&directory)?;
            pass_controllers_down(&directory)?;
        }
        Ok(())
    }

    /// Moves the calling (single-threaded) process into `path` in every hierarchy, leaving its service's cgroup.
    pub(super) fn move_self(&self, path: &str) -> io::Result<()> {
        match self {
            Self::V2(root) => {
                create_directory(&root.join(path))?;
                fs::write(root.join(path).join("cgroup.procs"), "0")
            }
            Self::V1 { mounts, unified } => {
                if let Some(root) = unified {
                    fs::create_dir_all(root.join(path))?;
                    fs::write(root.join(path).join("cgroup.procs"), "0")?;
                }
                for (controllers, mount_point) in mounts {
                    // A new cpuset has no processors until somebody copies them in; being in the agent's is fine.
                    if controllers.iter().any(|name| name == "cpuset") {
                        continue;
                    }
                    let directory = mount_point.join(path);
                    fs::create_dir_all(&directory)?;
                    fs::write(directory.join("tasks"), "0")?;
                }
                Ok(())
            }
        }
    }
}

fn is_used(controllers: &[String]) -> bool {
    controllers.iter().any(|name| V1_CONTROLLERS.contains(&name.as_str()))
}

/// cgroup version 1 (or hybrid) or 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    V1,
    V2,
}

fn create_directory(directory: &Path) -> io::Result<()> {
    match fs::create_dir(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

fn pass_controllers_down(directory: &Path) -> io::Result<()> {
    let available = fs::read_to_string(directory.join("cgroup.controllers"))?;
    let enabled = fs::read_to_string(directory.join("cgroup.subtree_control"))?;
    for controller in V2_CONTROLLERS {
        let has = |list: &str| list.split_whitespace().any(|name| name == controller);
        if has(&available) && !has(&enabled) {
            fs::write(directory.join("cgroup.subtree_control"), format!("+{controller}"))?;
        }
    }
    Ok(())
}

fn move_processes(from: &Path, to: &Path) -> io::Result<()> {
    create_directory(to)?;
    for pid in fs::read_to_string(from.join("cgroup.procs"))?.lines() {
        // Kernel threads and processes that are just ending cannot move and need not.
        let _ = fs::write(to.join("cgroup.procs"), pid);
    }
    Ok(())
}

/// One cgroup: a directory on version 2, one per hierarchy on version 1.
#[derive(Debug, Clone)]
pub(super) struct Cgroup {
    version: Version,
    directories: Vec<(Vec<String>, PathBuf)>,
    /// Where we put nobody, but an OCI binary may.
    leftovers: Vec<PathBuf>,
}

impl Cgroup {
    /// Creates it (its parent exists) and applies `settings`; repeating changes the settings.
    pub(super) fn create(&self, settings: &[Setting]) -> io::Result<()> {
        for (_, directory) in &self.directories {
            create_directory(directory)?;
        }
        for setting in settings {
            let Some(directory) = self.directory(setting.controller()) else {
                if setting.required {
                    return Err(io::Error::new(
                        io::ErrorKind::Unsupported,
                        format!("this host has no {} cgroup controller", setting.controller()),
                    ));
                }
                continue;
            };
            match fs::write(directory.join(setting.file), &setting.value) {
                Err(error) if setting.required => {
                    return Err(io::Error::new(
                        error.kind(),
                        format!("failed to write {} to {}: {error}", setting.value.trim(), setting.file),
                    ));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Passes the controllers on to children (version 2; nothing to do on version 1).
    pub(super) fn pass_down(&self) -> io::Result<()> {
        match (self.version, self.directories.first()) {
            (Version::V2, Some((_, directory))) => pass_controllers_down(directory),
            _ => Ok(()),
        }
    }

    pub(super) fn version(&self) -> Version {
        self.version
    }

    /// Lets the container use these devices only; `None` lets it use all.
    pub(super) fn restrict_devices(&self, rules: Option<&[DeviceRule]>) -> io::Result<()> {
        let Some(rules) = rules else { return Ok(()) };
        let Some(directory) = self.directory("devices") else {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "this host has no devices cgroup controller"));
        };
        if self.version == Version::V2 {
            let program = device_filter::program(rules);
            return super::sys::attach_device_program(&program, fs::File::open(directory)?.as_fd());
        }
        fs::write(directory.join("devices.deny"), "a")?;
        for rule in rules {
            fs::write(directory.join("devices.allow"), rule.v1_line())?;
        }
        Ok(())
    }

    /// Version 1: moves the calling process, which must have one thread, into every hierarchy's directory.
    pub(super) fn attach_self(&self) -> io::Result<()> {
        for (_, directory) in &self.directories {
            fs::write(directory.join("tasks"), "0")?;
        }
        Ok(())
    }

    /// Version 2: the directory, to be born into.
    pub(super) fn open(&self) -> io::Result<Option<OwnedFd>> {
        match (self.version, self.directories.first()) {
            (Version::V2, Some((_, directory))) => Ok(Some(fs::File::open(directory)?.into())),
            _ => Ok(None),
        }
    }

    /// Directory of a controller.
    pub(super) fn directory(&self, controller: &str) -> Option<&Path> {
        self.directories
            .iter()
            .find(|(controllers, _)| self.version == Version::V2 || controllers.iter().any(|name| name == controller))
            .map(|(_, directory)| directory.as_path())
    }

    /// (first controller, directory) of each hierarchy, for showing the container its own groups.
    pub(super) fn views(&self) -> impl Iterator<Item = (&[String], &Path)> {
        // Device rules are of no use to a program, and every mount takes time.
        self.directories
            .iter()
            .filter(|(controllers, _)| controllers != &["devices"])
            .map(|(controllers, directory)| (controllers.as_slice(), directory.as_path()))
    }

    fn members_directory(&self) -> Option<&Path> {
        self.directory("pids").or_else(|| self.directory("memory"))
    }

    /// Processes that are in it now.
    pub(super) fn processes(&self) -> Vec<i32> {
        let Some(directory) = self.members_directory() else { return Vec::new() };
        let procs = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
        procs.lines().filter_map(|line| line.parse().ok()).collect()
    }

    /// Kills everything in it and waits (at most `patience`) until it is empty. True when it is.
    pub(super) fn kill(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        loop {
            let processes = self.processes();
            if processes.is_empty() {
                return true;
            }
            let killed_whole = self.version == Version::V2
                && self
                    .members_directory()
                    .is_some_and(|directory| fs::write(directory.join("cgroup.kill"), "1").is_ok());
            if !killed_whole {
                for pid in processes {
                    // Pid 0 would be a process of another pid namespace than ours: nothing that we can name.
                    if pid > 0 {
                        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGKILL);
                    }
                }
            }
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Removes it and what is below it; everything in it must have been killed. No error when it is gone.
    pub(super) fn remove(&self, patience: Duration) -> io::Result<()> {
        let deadline = Instant::now() + patience;
        for directory in self.directories.iter().map(|(_, directory)| directory).chain(&self.leftovers) {
            loop {
                match remove_tree(directory) {
                    Ok(()) => break,
                    // The last process is still on its way out.
                    Err(error) if error.raw_os_error() == Some(libc::EBUSY) && Instant::now() < deadline => {
                        std::thread::sleep(Duration::from_millis(1));
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    /// How many processes of it the kernel has killed for memory.
    pub(super) fn oom_kills(&self) -> u64 {
        let file = match self.version {
            Version::V1 => "memory.oom_control",
            Version::V2 => "memory.events",
        };
        self.directory("memory").and_then(|directory| read_field(&directory.join(file), "oom_kill")).unwrap_or(0)
    }

    /// What it uses now.
    pub(super) fn usage(&self) -> Usage {
        let number = |controller, file: &str| {
            self.directory(controller)
                .and_then(|directory| fs::read_to_string(directory.join(file)).ok())
                .and_then(|text| text.trim().parse::<u64>().ok())
                .unwrap_or(0)
        };
        let memory_field = |field| {
            self.directory("memory")
                .and_then(|directory| read_field(&directory.join("memory.stat"), field))
                .unwrap_or(0)
        };
        match self.version {
            Version::V1 => Usage {
                cpu_ns: number("cpuacct", "cpuacct.usage"),
                memory_bytes: number("memory", "memory.usage_in_bytes")
                    .saturating_sub(memory_field("total_inactive_file")),
                pids: number("pids", "pids.current"),
            },
            Version::V2 => Usage {
                cpu_ns: self
                    .directory("cpu")
                    .and_then(|directory| read_field(&directory.join("cpu.stat"), "usage_usec"))
                    .unwrap_or(0)
                    * 1000,
                memory_bytes: number("memory", "memory.current").saturating_sub(memory_field("inactive_file")),
                pids: number("pids", "pids.current"),
            },
        }
    }
}

fn remove_tree(directory: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path())?;
        }
    }
    match fs::remove_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

fn read_field(path: &Path, field: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(' ')?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const HYBRID: &str = "\
30 23 0:26 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs ro,mode=755
31 30 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate
32 30 0:28 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
35 30 0:31 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct
36 30 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
";

    #[test]
    fn a_hybrid_host_is_version_1_with_its_comounted_controllers() {
        let hierarchies = Hierarchies::from_mountinfo(HYBRID).unwrap();
        assert_eq!(hierarchies.version(), Version::V1);
        let cgroup = hierarchies.cgroup("gantry/t/c");
        assert_eq!(cgroup.directory("cpuacct").unwrap(), Path::new("/sys/fs/cgroup/cpu,cpuacct/gantry/t/c"));
        assert_eq!(cgroup.directory("memory").unwrap(), Path::new("/sys/fs/cgroup/memory/gantry/t/c"));
        assert_eq!(cgroup.directory("pids"), None);
    }

    #[test]
    fn a_unified_host_is_version_2() {
        let mountinfo = "25 22 0:22 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
        let hierarchies = Hierarchies::from_mountinfo(mountinfo).unwrap();
        assert_eq!(hierarchies, Hierarchies::V2("/sys/fs/cgroup".into()));
        let cgroup = hierarchies.cgroup("gantry/t");
        assert_eq!(cgroup.directory("anything").unwrap(), Path::new("/sys/fs/cgroup/gantry/t"));
    }

    #[test]
    fn a_host_without_control_groups_is_recognised() {
        assert_eq!(Hierarchies::from_mountinfo("22 1 0:20 / / rw - ext4 /dev/vda rw\n"), None);
    }
}
