//! `make up` and `make down`: a running Gantry with a sample service, by the commands that a person would type.

mod sample;

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

/// Everything of `make up` lies in Gantry's default data directory, so that its commands need no flags.
const DATA_DIR: &str = "/var/lib/gantry";
const ADDRESS: &str = "127.0.0.1:4566";

/// Builds upon what runs already: the second call is quick.
pub(crate) fn up() -> Result<()> {
    let root = crate::generate::workspace_root()?;
    let gantry = root.join("target/release/gantry");
    if running_pid().is_some_and(replaced) {
        say("the program changed: restarting Gantry (tasks keep running)");
        stop()?;
    }
    if answers() {
        say("Gantry is running already");
    } else {
        start(&gantry)?;
    }
    let aws = sample::Aws::new(&root, &gantry)?;
    let urls = sample::deploy(&root, &gantry, &aws)?;
    print_next_steps(&gantry, &urls);
    Ok(())
}

/// Stops the sample and Gantry.
pub(crate) fn down() -> Result<()> {
    let root = crate::generate::workspace_root()?;
    let gantry = root.join("target/release/gantry");
    if running_pid().is_none() {
        say("Gantry is not running");
        return Ok(());
    }
    let aws = sample::Aws::new(&root, &gantry)?;
    sample::remove(&aws)?;
    stop()?;
    as_root(&gantry).arg("teardown").status()?;
    say("Gantry has stopped; its data stays in /var/lib/gantry");
    Ok(())
}

fn say(text: &str) {
    eprintln!("==> {text}");
}

/// A command that runs as root: Gantry makes containers.
fn as_root(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let root = fs::read_to_string("/proc/self/status").is_ok_and(|status| status.contains("\nUid:\t0\t"));
    if root {
        return Command::new(program);
    }
    let mut command = Command::new("sudo");
    command.arg(program);
    command
}

fn start(gantry: &Path) -> Result<()> {
    say("starting Gantry in the background");
    let log = std::env::temp_dir().join("gantry-up.log");
    let output = fs::File::create(&log).with_context(|| format!("could not write {}", log.display()))?;
    as_root("setsid")
        .arg(gantry)
        .args(["up", "--log-level", "info"])
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .spawn()
        .context("could not start gantry")?;
    let deadline = Instant::now() + Duration::from_secs(30);
    while !answers() {
        if Instant::now() > deadline {
            let mut text = String::new();
            fs::File::open(&log)?.read_to_string(&mut text)?;
            bail!("Gantry did not answer on {ADDRESS} within 30 seconds; its log says:\n{text}");
        }
        sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// Ends Gantry; what it runs goes on.
fn stop() -> Result<()> {
    let Some(pid) = running_pid() else { return Ok(()) };
    as_root("kill").arg(pid.to_string()).status()?;
    let deadline = Instant::now() + Duration::from_secs(20);
    while PathBuf::from(format!("/proc/{pid}")).exists() {
        if Instant::now() > deadline {
            bail!("Gantry (process {pid}) does not end");
        }
        sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// The process that `DATA/gantry.json` names, when it is a Gantry.
fn running_pid() -> Option<u32> {
    let output = as_root("cat").arg(format!("{DATA_DIR}/gantry.json")).stderr(Stdio::null()).output().ok()?;
    let running: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
    let pid = u32::try_from(running["pid"].as_u64()?).ok()?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    name.starts_with("gantry").then_some(pid)
}

/// Whether the program was built anew since the process started.
fn replaced(pid: u32) -> bool {
    let output = as_root("readlink").arg(format!("/proc/{pid}/exe")).output();
    output.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("(deleted)"))
}

fn answers() -> bool {
    get(ADDRESS, "/healthz").is_ok_and(|answer| answer.contains("\"status\":\"ok\""))
}

/// A plain HTTP GET; the whole answer, head included.
fn get(address: &str, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn print_next_steps(gantry: &Path, urls: &[String]) {
    let program = gantry.display();
    println!();
    println!("Gantry runs at http://{ADDRESS}, and the service sample-web runs on it:");
    for url in urls {
        println!("  curl {url}");
    }
    println!();
    println!("Try next:");
    println!("  eval \"$(sudo {program} env)\"; PATH=\"$PWD/.venv/bin:$PATH\"");
    println!("  aws ecs list-tasks --service-name sample-web");
    println!("  aws ecs update-service --service sample-web --desired-count 4");
    println!("  sudo {program} logs /gantry/sample-web --follow");
    println!("  sudo {program} status");
    println!("  make down");
}
