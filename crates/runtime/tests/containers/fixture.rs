//! A directory, a cgroup parent and a busybox image of its own for each test, and the proof that nothing is left.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

use gantry_runtime::{
    container::{
        ContainerSpec, Containers, ExitRecord, Limits, LogFile, Namespace, Runtime, ShimContainers, ShimOptions,
        TaskLimits,
    },
    image::Rootfs,
};

pub(crate) struct Fixture {
    pub(crate) containers: ShimContainers,
    pub(crate) directory: tempfile::TempDir,
    pub(crate) parent: String,
    next: AtomicU32,
}

/// Debian's `name`, which the tests need.
pub(crate) fn oci_binary(name: &str) -> Runtime {
    let paths = ["/usr/sbin", "/usr/bin", "/sbin"].map(|directory| Path::new(directory).join(name));
    let found = paths.into_iter().find(|path| path.exists());
    Runtime::OciBinary(found.unwrap_or_else(|| panic!("these tests need {name}: tools/setup test")))
}

/// Our own runtime, and the OCI binaries that we know to work: crun refuses a host with both versions of control groups.
pub(crate) fn runtimes() -> Vec<Runtime> {
    let mut runtimes = vec![Runtime::Embedded, oci_binary("runc")];
    if !Path::new("/sys/fs/cgroup/unified").exists() {
        runtimes.push(oci_binary("crun"));
    }
    runtimes
}

/// A failed test must not leave processes behind: kills whatever is in the fixture's control groups.
impl Drop for Fixture {
    fn drop(&mut self) {
        if std::thread::panicking() {
            cgroup_directories(&self.parent).iter().for_each(|directory| kill_all(directory));
        }
    }
}

fn kill_all(directory: &Path) {
    for pid in fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default().lines() {
        let pid = nix::unistd::Pid::from_raw(pid.parse().unwrap());
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::SIGKILL);
    }
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            kill_all(&entry.path());
        }
    }
    let _ = fs::remove_dir(directory);
}

impl Fixture {
    pub(crate) fn new() -> Self {
        Self::with_runtime(Runtime::Embedded)
    }

    pub(crate) fn with_runtime(runtime: Runtime) -> Self {
        assert!(nix::unistd::geteuid().is_root(), "these tests start real containers: run them as root");
        let directory = tempfile::Builder::new().prefix("gantry-containers-").tempdir().unwrap();
        let parent = format!("gantry-test-{}", directory.path().file_name().unwrap().to_string_lossy());
        build_image(&directory.path().join("image"));
        let containers = open(directory.path(), &parent, runtime);
        Self { containers, directory, parent, next: AtomicU32::new(1) }
    }

    /// A container that runs `script` in a shell, in a task of its own.
    pub(crate) fn shell(&self, script: &str) -> ContainerSpec {
        self.spec(&["/bin/sh", "-c", script])
    }

    pub(crate) fn spec(&self, args: &[&str]) -> ContainerSpec {
        let id = format!("c{}", self.next.fetch_add(1, Ordering::Relaxed));
        let home = self.directory.path().join("layers").join(&id);
        ContainerSpec {
            task_cgroup: self.task(&id, &TaskLimits::default()),
            rootfs: Rootfs {
                lower_dirs: vec![self.directory.path().join("image")],
                upper_dir: home.join("upper"),
                work_dir: home.join("work"),
                mount_point: home.join("rootfs"),
            },
            readonly_rootfs: false,
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            env: vec!["PATH=/bin".into()],
            held_env: Default::default(),
            working_dir: String::new(),
            user: String::new(),
            hostname: None,
            network: Namespace::Private,
            pid: Namespace::Private,
            ipc: Namespace::Private,
            mounts: Vec::new(),
            limits: Limits::default(),
            privileged: false,
            capabilities_add: Vec::new(),
            capabilities_drop: Vec::new(),
            ulimits: BTreeMap::new(),
            sysctls: BTreeMap::new(),
            devices: Vec::new(),
            hooks: Vec::new(),
            additional_groups: Vec::new(),
            shm_bytes: None,
            init_process: false,
            no_new_privileges: false,
            stdin_open: false,
            terminal: false,
            log: LogFile { path: self.directory.path().join(format!("{id}.log")), max_bytes: None, max_files: 1 },
            labels: BTreeMap::new(),
            id,
        }
    }

    /// A task cgroup. Blocking, so that a specification can be made in one expression.
    pub(crate) fn task(&self, id: &str, limits: &TaskLimits) -> String {
        let (containers, id, limits) = (self.containers.clone(), format!("task-{id}"), limits.clone());
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(containers.create_task_cgroup(&id, &limits)).unwrap()
        })
        .join()
        .unwrap()
    }

    /// Starts, waits, and returns how it ended and what it printed on standard output.
    pub(crate) async fn run(&self, spec: &ContainerSpec) -> (ExitRecord, String) {
        self.containers.start(spec).await.unwrap();
        let record = self.containers.wait(&spec.id).await.unwrap();
        let output =
            self.log(spec).into_iter().filter(|(stream, _)| stream == "stdout").map(|(_, line)| line).collect();
        (record, output)
    }

    /// Runs `script` in a default container, which must succeed.
    pub(crate) async fn output(&self, script: &str) -> String {
        let spec = self.shell(script);
        let (record, output) = self.run(&spec).await;
        assert_eq!(record.exit_code, 0, "{:?}", self.log(&spec));
        output
    }

    /// The log as (stream, text).
    pub(crate) fn log(&self, spec: &ContainerSpec) -> Vec<(String, String)> {
        fs::read_to_string(&spec.log.path)
            .unwrap_or_default()
            .lines()
            .map(|line| {
                let entry: serde_json::Value = serde_json::from_str(line).unwrap();
                let text = |name: &str| entry[name].as_str().unwrap().to_owned();
                assert!(text("time").ends_with('Z'));
                (text("stream"), text("log"))
            })
            .collect()
    }

    /// Returns once the container has printed `word`.
    pub(crate) async fn until_printed(&self, spec: &ContainerSpec, word: &str) {
        // Polling a file that another process writes: there is nothing to subscribe to.
        while !self.log(spec).iter().any(|(_, line)| line.contains(word)) {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    }

    fn state(&self, spec: &ContainerSpec) -> serde_json::Value {
        let path = self.directory.path().join("containers").join(&spec.id).join("state.json");
        serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
    }

    pub(crate) fn shim_pid(&self, spec: &ContainerSpec) -> nix::unistd::Pid {
        nix::unistd::Pid::from_raw(self.state(spec)["shim_pid"].as_i64().unwrap() as i32)
    }

    pub(crate) fn first_pid(&self, spec: &ContainerSpec) -> u32 {
        self.state(spec)["pid"].as_u64().unwrap() as u32
    }

    /// How many processes there are in this fixture's control groups.
    pub(crate) fn processes(&self) -> usize {
        cgroup_directories(&self.parent).first().map_or(0, |directory| count_processes(directory))
    }

    /// The zygote: the only child of this process that serves this fixture's cgroup parent.
    pub(crate) fn zygote_pid(&self) -> nix::unistd::Pid {
        let processes = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
            let command = fs::read_to_string(entry.path().join("cmdline")).ok()?;
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            let parent: u32 = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
            let ours = command.contains("zygote") && command.contains(&self.parent) && parent == std::process::id();
            ours.then(|| entry.file_name().to_string_lossy().parse().unwrap())
        });
        nix::unistd::Pid::from_raw(processes.last().unwrap())
    }

    /// Another process with the same containers; returns when it has started these. It lives until it is killed.
    pub(crate) fn another_agent(&self, specs: &[&ContainerSpec]) -> std::process::Child {
        let test = std::thread::current().name().unwrap().to_owned();
        let orders = serde_json::json!({"directory": self.directory.path(), "parent": self.parent, "specs": specs});
        let mut agent = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &test, "--nocapture"])
            .env(AGENT, orders.to_string())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let output = std::io::BufReader::new(agent.stdout.take().unwrap());
        let mut lines = std::io::BufRead::lines(output);
        assert!(lines.any(|line| line.unwrap().contains("all started")), "the other agent started nothing");
        agent
    }

    /// Removes everything and checks that no cgroup, mount, process or bundle is left.
    pub(crate) async fn clean_up(self) {
        for id in self.containers.list().await.unwrap().into_keys() {
            self.containers.remove(&id).await.unwrap();
        }
        let root = self.directory.path().join("containers");
        assert_eq!(fs::read_dir(&root).unwrap().count(), 0, "a bundle is left");
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(&*self.directory.path().to_string_lossy()), "a mount is left:\n{mounts}");
        for directory in cgroup_directories(&self.parent) {
            for task in fs::read_dir(&directory).unwrap().flatten().filter(|entry| entry.path().is_dir()) {
                if task.file_name() == "shims" {
                    continue;
                }
                let left: Vec<_> =
                    fs::read_dir(task.path()).unwrap().flatten().filter(|entry| entry.path().is_dir()).collect();
                assert!(left.is_empty(), "a cgroup is left: {left:?}");
                let id = task.file_name().to_string_lossy().into_owned();
                self.containers.remove_task_cgroup(&id).await.unwrap();
            }
        }
        self.containers.close();
        for directory in cgroup_directories(&self.parent) {
            remove_cgroup(&directory.join("shims"));
            remove_cgroup(&directory);
            assert!(!directory.exists(), "{} is left", directory.display());
        }
    }
}

/// The orders of [`Fixture::another_agent`].
const AGENT: &str = "GANTRY_TEST_AGENT";

/// In a process made by [`Fixture::another_agent`]: does as ordered and never returns. Elsewhere: false.
pub(crate) async fn be_another_agent() -> bool {
    let Some(orders) = std::env::var_os(AGENT) else { return false };
    let orders: serde_json::Value = serde_json::from_str(orders.to_str().unwrap()).unwrap();
    let directory = PathBuf::from(orders["directory"].as_str().unwrap());
    let containers = open(&directory, orders["parent"].as_str().unwrap(), Runtime::Embedded);
    let specs: Vec<ContainerSpec> = serde_json::from_value(orders["specs"].clone()).unwrap();
    for spec in specs {
        containers.start(&spec).await.unwrap();
    }
    #[allow(clippy::print_stdout)]
    {
        println!("all started");
    }
    std::future::pending().await
}

fn open(directory: &Path, parent: &str, runtime: Runtime) -> ShimContainers {
    let options = ShimOptions { runtime, program: shim_program(), cgroup_parent: parent.to_owned() };
    ShimContainers::open(directory.join("containers"), options).unwrap()
}

pub(crate) fn shim_program() -> PathBuf {
    if let Some(program) = std::env::var_os("GANTRY_SHIM") {
        return program.into();
    }
    let program = std::env::current_exe().unwrap().parent().unwrap().parent().unwrap().join("examples/shim");
    assert!(program.exists(), "{} is missing: build it with `cargo build --example shim`", program.display());
    program
}

/// Every directory of `parent` in the mounted hierarchies.
fn cgroup_directories(parent: &str) -> Vec<PathBuf> {
    let root = Path::new("/sys/fs/cgroup");
    let below = fs::read_dir(root).unwrap().flatten().map(|entry| entry.path().join(parent));
    below.chain([root.join(parent)]).filter(|path| path.is_dir()).collect()
}

fn count_processes(directory: &Path) -> usize {
    let own = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default().lines().count();
    let below = fs::read_dir(directory).into_iter().flatten().flatten().filter(|entry| entry.path().is_dir());
    own + below.map(|entry| count_processes(&entry.path())).sum::<usize>()
}

/// A shim leaves its cgroup a moment after it closed its FIFO.
fn remove_cgroup(directory: &Path) {
    for _ in 0..2000 {
        match fs::remove_dir(directory) {
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            _ => return,
        }
    }
}

fn build_image(image: &Path) {
    let busybox = std::env::var_os("BUSYBOX").map_or_else(|| PathBuf::from("/bin/busybox"), PathBuf::from);
    for directory in ["bin", "dev", "etc", "home/app", "proc", "root", "sys", "tmp"] {
        fs::create_dir_all(image.join(directory)).unwrap();
    }
    fs::set_permissions(image.join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
    fs::copy(&busybox, image.join("bin/busybox")).unwrap();
    let list = Command::new(&busybox).arg("--list").output().unwrap();
    for applet in String::from_utf8(list.stdout).unwrap().lines().filter(|applet| *applet != "busybox") {
        std::os::unix::fs::symlink("busybox", image.join("bin").join(applet)).unwrap();
    }
    fs::write(image.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000:app:/home/app:/bin/sh\n")
        .unwrap();
    fs::write(image.join("etc/group"), "root:x:0:\napp:x:1000:\nextra:x:2000:app\n").unwrap();
    fs::write(image.join("bin/text"), "not a program\n").unwrap();
    fs::set_permissions(image.join("bin/text"), fs::Permissions::from_mode(0o755)).unwrap();
}
