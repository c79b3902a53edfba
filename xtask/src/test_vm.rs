//! `make test-vm`: the runtime's tests in a virtual machine with Debian's cloud kernel, cgroup v2 and systemd.
//!
//! The machine's disk is a minimal Debian made once by debootstrap (kept in `target/vm`); a second disk carries the
//! test programs of this build. systemd starts them as a service, their output comes over the serial line, and the
//! last line tells whether they passed. The machine is emulated in software: KVM inside a virtual machine is often there
//! and does not work, and the tests are small. Tests of images that are read on demand are left out: Debian's kernel
//! (6.1) mounts no image from a file.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// What the machine has beyond a minimal Debian.
const PACKAGES: &str = "systemd-sysv,kmod,nftables,iproute2,runc,crun,ca-certificates";
/// Whole run, boot included.
const TIME_MAX: Duration = Duration::from_secs(900);
/// The line that ends a run, followed by the tests' exit status.
const RESULT: &str = "GANTRY-VM-RESULT ";

/// Builds, boots, runs.
pub(crate) fn run() -> Result<()> {
    let root = crate::generate::workspace_root()?;
    let folder = root.join("target/vm");
    fs::create_dir_all(&folder)?;
    let kernel = kernel_version()?;
    let system = system_disk(&folder, &kernel)?;
    let programs = programs(&root)?;
    let tests = tests_disk(&folder, &programs)?;
    boot(&kernel, &system, &tests)
}

/// The newest installed cloud kernel.
fn kernel_version() -> Result<String> {
    let mut versions: Vec<String> = fs::read_dir("/boot")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_prefix("vmlinuz-").map(str::to_string))
        .filter(|version| version.contains("cloud"))
        .collect();
    versions.sort();
    versions.pop().context("no cloud kernel in /boot: apt-get install linux-image-cloud-amd64")
}

fn system_disk(folder: &Path, kernel: &str) -> Result<PathBuf> {
    let disk = folder.join(format!("system-{kernel}-3.img"));
    if disk.exists() {
        return Ok(disk);
    }
    eprintln!("==> making the machine's disk (once)");
    let tree = folder.join("system");
    let _ = command("rm", &["-rf", path(&tree)?]);
    let include = format!("--include={PACKAGES}");
    command("debootstrap", &["--variant=minbase", &include, "bookworm", path(&tree)?, "http://deb.debian.org/debian"])?;
    let modules = format!("/lib/modules/{kernel}");
    fs::create_dir_all(tree.join("lib/modules"))?;
    command("cp", &["-a", &modules, path(&tree.join("lib/modules"))?]).context("copying the kernel's modules")?;
    write_units(&tree)?;
    let partial = folder.join("system.partial");
    let _ = fs::remove_file(&partial);
    command("mkfs.ext4", &["-q", "-d", path(&tree)?, path(&partial)?, "1500M"])?;
    fs::rename(&partial, &disk)?;
    let _ = command("rm", &["-rf", path(&tree)?]);
    Ok(disk)
}

/// The service that runs the tests, and nothing that a test machine does not need.
fn write_units(tree: &Path) -> Result<()> {
    let script = format!(
        "#!/bin/sh\n\
         modprobe -a overlay veth bridge vxlan nf_tables nft_chain_nat nft_masq nft_nat tun 2>/dev/null\n\
         mkdir -p /tests /var/tmp && mount -o ro /dev/vdb /tests\n\
         stat -fc 'cgroup file system: %T' /sys/fs/cgroup; uname -r\n\
         status=0\n\
         for program in /tests/test-*; do\n\
           GANTRY_SHIM=/tests/shim BUSYBOX=/tests/busybox $program --test-threads=2 --skip lazy:: || status=1\n\
         done\n\
         echo '{RESULT}'$status\n\
         poweroff -f\n"
    );
    fs::write(tree.join("usr/local/sbin/gantry-tests"), script)?;
    command("chmod", &["755", path(&tree.join("usr/local/sbin/gantry-tests"))?])?;
    let unit = "[Unit]\nDescription=Tests\nAfter=basic.target\n\n[Service]\nType=oneshot\nDelegate=yes\n\
                ExecStart=/usr/local/sbin/gantry-tests\nStandardOutput=tty\nStandardError=tty\nTTYPath=/dev/ttyS0\n\
                TimeoutStartSec=infinity\n\n[Install]\nWantedBy=multi-user.target\n";
    fs::write(tree.join("etc/systemd/system/gantry-tests.service"), unit)?;
    let wants = tree.join("etc/systemd/system/multi-user.target.wants");
    fs::create_dir_all(&wants)?;
    let _ = std::os::unix::fs::symlink("../gantry-tests.service", wants.join("gantry-tests.service"));
    fs::write(tree.join("etc/fstab"), "/dev/vda / ext4 rw 0 1\n")?;
    Ok(())
}

/// Builds the tests and the shim, and returns name → file.
fn programs(root: &Path) -> Result<Vec<(String, PathBuf)>> {
    let mut programs = vec![("busybox".to_string(), PathBuf::from("/bin/busybox"))];
    let build = ["test", "--package", "gantry-runtime", "--no-run", "--message-format=json"];
    let output = Command::new("cargo").current_dir(root).args(build).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        bail!("the runtime's tests do not build");
    }
    for line in output.stdout.split(|byte| *byte == b'\n') {
        let Ok(message) = serde_json::from_slice::<Value>(line) else { continue };
        let Some(executable) = message["executable"].as_str() else { continue };
        let name = message["target"]["name"].as_str().unwrap_or_default();
        let kind = message["target"]["kind"][0].as_str().unwrap_or_default();
        match kind {
            "test" => programs.push((format!("test-{name}"), executable.into())),
            "example" if name == "shim" => programs.push(("shim".to_string(), executable.into())),
            _ => {}
        }
    }
    if !programs.iter().any(|(name, _)| name == "shim") {
        bail!("gantry-runtime has no example `shim`");
    }
    Ok(programs)
}

fn tests_disk(folder: &Path, programs: &[(String, PathBuf)]) -> Result<PathBuf> {
    let tree = folder.join("tests");
    let _ = fs::remove_dir_all(&tree);
    fs::create_dir_all(&tree)?;
    for (name, program) in programs {
        fs::copy(program, tree.join(name)).with_context(|| format!("copying {}", program.display()))?;
    }
    let disk = folder.join("tests.img");
    let _ = fs::remove_file(&disk);
    command("mkfs.ext4", &["-q", "-d", path(&tree)?, path(&disk)?, "1200M"])?;
    fs::remove_dir_all(&tree)?;
    Ok(disk)
}

fn boot(kernel: &str, system: &Path, tests: &Path) -> Result<()> {
    let started = Instant::now();
    match boot_once(kernel, system, tests)? {
        Some(true) => {
            eprintln!("==> the tests passed on cgroup v2 in {:.0} s", started.elapsed().as_secs_f64());
            Ok(())
        }
        Some(false) => bail!("tests failed in the virtual machine"),
        None => bail!("the virtual machine ended without a result"),
    }
}

/// One boot; whether the tests passed, or `None` when the machine did not get that far.
fn boot_once(kernel: &str, system: &Path, tests: &Path) -> Result<Option<bool>> {
    let drive = |file: &Path| -> Result<String> { Ok(format!("file={},format=raw,if=virtio", path(file)?)) };
    let mut machine = Command::new("timeout")
        .arg(TIME_MAX.as_secs().to_string())
        .args(["qemu-system-x86_64", "-m", "3072", "-smp", "2", "-nographic", "-no-reboot"])
        .args(["-accel", "tcg,thread=multi", "-cpu", "max", "-net", "none", "-snapshot"])
        .args(["-kernel", &format!("/boot/vmlinuz-{kernel}"), "-initrd", &format!("/boot/initrd.img-{kernel}")])
        .args(["-append", "root=/dev/vda rw console=ttyS0 quiet systemd.unified_cgroup_hierarchy=1 panic=-1"])
        .args(["-drive", &drive(system)?, "-drive", &drive(tests)?])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("could not start qemu-system-x86_64")?;
    let output = machine.stdout.take().context("the machine's serial line")?;
    let mut result = None;
    for line in BufReader::new(output).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).trim_end().to_string();
        println!("{line}");
        if let Some((_, status)) = line.split_once(RESULT) {
            result = Some(status.trim() == "0");
        }
    }
    machine.wait()?;
    Ok(result)
}

fn command(program: &str, arguments: &[&str]) -> Result<()> {
    let status = Command::new(program).args(arguments).stdout(Stdio::null()).status();
    match status.with_context(|| format!("could not run {program}"))?.success() {
        true => Ok(()),
        false => bail!("{program} {} failed", arguments.join(" ")),
    }
}

fn path(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is no text")
}
