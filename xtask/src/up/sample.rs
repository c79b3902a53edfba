//! The sample: an image made of busybox, pushed with `gantry push`, run as a service of two tasks with the AWS CLI.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::{as_root, get, say};

const NAME: &str = "sample-web";
const IMAGE: &str = "sample-web:1";
const TASKS: u64 = 2;
/// Each task serves a page that names its own container.
const SCRIPT: &str = "echo \"Hello from $(hostname), a container of Gantry.\" > /www/index.html; \
                      echo serving; exec httpd -f -p 80 -h /www";

/// The unmodified AWS CLI, pointed at Gantry as `gantry env` says.
pub(crate) struct Aws {
    program: PathBuf,
    environment: BTreeMap<String, String>,
}

impl Aws {
    pub(crate) fn new(root: &Path, gantry: &Path) -> Result<Self> {
        let output = as_root(gantry).args(["env", "--output", "json"]).output()?;
        if !output.status.success() {
            bail!("gantry env: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        let environment = serde_json::from_slice(&output.stdout).context("understanding gantry env")?;
        Ok(Self { program: root.join(".venv/bin/aws"), environment })
    }

    /// Calls `aws SERVICE …` and returns what it says; `None` when the call was refused.
    fn try_call(&self, arguments: &[&str]) -> Result<Result<Value, String>> {
        let mut command = Command::new(&self.program);
        command.args(arguments).args(["--output", "json"]).envs(&self.environment).env("AWS_PAGER", "");
        let output = command.output().with_context(|| format!("could not run {}", self.program.display()))?;
        if !output.status.success() {
            return Ok(Err(String::from_utf8_lossy(&output.stderr).trim().to_string()));
        }
        Ok(Ok(serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)))
    }

    fn call(&self, arguments: &[&str]) -> Result<Value> {
        self.try_call(arguments)?.map_err(|error| anyhow::anyhow!("aws {}: {error}", arguments.join(" ")))
    }

    fn service(&self) -> Result<Option<Value>> {
        let Ok(answer) = self.try_call(&["ecs", "describe-services", "--services", NAME])? else { return Ok(None) };
        let active = |service: &&Value| service["status"] == "ACTIVE";
        Ok(answer["services"].as_array().into_iter().flatten().find(active).cloned())
    }
}

/// Brings the service up, when it is not, and returns the URLs of its tasks.
pub(crate) fn deploy(root: &Path, gantry: &Path, aws: &Aws) -> Result<Vec<String>> {
    if aws.service()?.is_none() {
        say("pushing a sample image");
        push(root, gantry)?;
        say("creating the service sample-web with two tasks");
        create(aws)?;
    }
    let started = Instant::now();
    loop {
        let service = aws.service()?.context("the service is gone")?;
        if service["runningCount"].as_u64() >= service["desiredCount"].as_u64() && service["runningCount"] != 0 {
            break;
        }
        if started.elapsed() > Duration::from_secs(60) {
            bail!("the service did not become steady within a minute; its last events:\n{}", events(&service));
        }
        sleep(Duration::from_millis(200));
    }
    say(&format!("the service is steady after {:.1} s", started.elapsed().as_secs_f64()));
    let urls = urls(aws)?;
    for url in &urls {
        let address = url.trim_start_matches("http://").trim_end_matches('/');
        let answer = get(address, "/").with_context(|| format!("{url} does not answer"))?;
        if !answer.contains("Hello from") {
            bail!("{url} answers something else:\n{answer}");
        }
    }
    Ok(urls)
}

/// Deletes the service and waits until its tasks are gone.
pub(crate) fn remove(aws: &Aws) -> Result<()> {
    if aws.service()?.is_some() {
        say("stopping the sample service");
        aws.call(&["ecs", "delete-service", "--service", NAME, "--force"])?;
    }
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let tasks = aws.try_call(&["ecs", "list-tasks", "--family", NAME])?;
        let left = tasks.map_or(0, |answer| answer["taskArns"].as_array().map_or(0, Vec::len));
        if left == 0 {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("{left} tasks of the sample do not stop");
        }
        sleep(Duration::from_millis(200));
    }
}

fn push(root: &Path, gantry: &Path) -> Result<()> {
    let folder = root.join("target/sample-image");
    for part in ["bin", "etc", "www", "tmp"] {
        fs::create_dir_all(folder.join(part))?;
    }
    fs::copy("/bin/busybox", folder.join("bin/busybox")).context("busybox-static is not installed")?;
    for tool in ["sh", "httpd", "hostname", "ls", "cat", "ps", "wget"] {
        let link = folder.join("bin").join(tool);
        if fs::symlink_metadata(&link).is_err() {
            std::os::unix::fs::symlink("busybox", link)?;
        }
    }
    fs::write(folder.join("etc/passwd"), "root:x:0:0:root:/:/bin/sh\n")?;
    let command = json!(["/bin/sh", "-c", SCRIPT]).to_string();
    let status = as_root(gantry).arg("push").arg(&folder).args([IMAGE, "--cmd", &command]).status()?;
    if !status.success() {
        bail!("gantry push failed");
    }
    Ok(())
}

fn create(aws: &Aws) -> Result<()> {
    let repositories = aws.call(&["ecr", "describe-repositories", "--repository-names", NAME])?;
    let repository = repositories["repositories"][0]["repositoryUri"].as_str().context("no repositoryUri")?;
    let definition = json!({
        "family": NAME,
        "networkMode": "bridge",
        "containerDefinitions": [{
            "name": "web",
            "image": format!("{repository}:1"),
            "cpu": 64,
            "memory": 64,
            "portMappings": [{ "containerPort": 80 }],
            "healthCheck": { "command": ["CMD-SHELL", "wget -q -O /dev/null http://127.0.0.1/"], "interval": 5 },
            "logConfiguration": {
                "logDriver": "awslogs",
                "options": {
                    "awslogs-group": "/gantry/sample-web",
                    "awslogs-region": aws.environment.get("AWS_REGION"),
                    "awslogs-stream-prefix": "web",
                    "awslogs-create-group": "true",
                },
            },
        }],
    })
    .to_string();
    aws.call(&["ecs", "register-task-definition", "--cli-input-json", &definition])?;
    let count = TASKS.to_string();
    aws.call(&[
        "ecs",
        "create-service",
        "--service-name",
        NAME,
        "--task-definition",
        NAME,
        "--desired-count",
        &count,
        "--launch-type",
        "EC2",
    ])?;
    Ok(())
}

fn urls(aws: &Aws) -> Result<Vec<String>> {
    let listed = aws.call(&["ecs", "list-tasks", "--service-name", NAME])?;
    let arns: Vec<&str> = listed["taskArns"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let mut arguments = vec!["ecs", "describe-tasks", "--tasks"];
    arguments.extend(&arns);
    let described = aws.call(&arguments)?;
    let tasks = described["tasks"].as_array().into_iter().flatten();
    let bindings = tasks.flat_map(|task| task["containers"][0]["networkBindings"].as_array().into_iter().flatten());
    Ok(bindings.filter_map(|binding| Some(format!("http://127.0.0.1:{}/", binding["hostPort"].as_u64()?))).collect())
}

fn events(service: &Value) -> String {
    let events = service["events"].as_array().into_iter().flatten().take(5);
    events.filter_map(|event| event["message"].as_str()).map(|message| format!("  {message}\n")).collect()
}
