"""Fixtures: a real Gantry on a port of its own, and the clients that people use, unmodified.

Needs root (containers), the Debian packages and the Python packages that tools/setup installs. The program under
test is target/debug/gantry, or what GANTRY_BIN names.
"""

import contextlib
import hashlib
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.request
import uuid
from pathlib import Path

import boto3
import botocore.config
import pytest

ROOT = Path(__file__).resolve().parents[2]
GANTRY = os.environ.get("GANTRY_BIN", str(ROOT / "target/debug/gantry"))
AWS_V1 = str(ROOT / ".venv/bin/aws")
AWS_V2 = "/usr/bin/aws"
REGION = "us-east-1"
WORKERS_MAX = 10
PORTS_OF_A_WORKER = 1000


def ports():
    """Ports below those that the kernel gives away for outgoing connections and Gantry for host ports, so that what is
    free now stays free until it is used. Each worker of a session has a part of them."""
    first_dynamic = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % WORKERS_MAX
    part = range(first_dynamic - (worker + 1) * PORTS_OF_A_WORKER, first_dynamic - worker * PORTS_OF_A_WORKER)
    # Sessions side by side on one machine begin at different places.
    return itertools.cycle([*part[(start := os.getpid() * 97 % len(part)):], *part[:start]])


PORTS = ports()


def free_port():
    for port in itertools.islice(PORTS, PORTS_OF_A_WORKER):
        try:
            with socket.socket() as probe:
                probe.bind(("0.0.0.0", port))
                return port
        except OSError:
            continue
    raise AssertionError("no port is free")


def wait_until(condition, seconds=30, what="the condition"):
    """Polls until `condition()` is truthy and returns its value."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"{what} did not come about within {seconds} s"
        time.sleep(0.05)


def cgroup_of(data_dir):
    """The name below which the containers of a Gantry are."""
    return "gantry-" + hashlib.sha256(str(data_dir).encode()).digest()[:4].hex()


# Deployments of tasks without a health check do not wait for the usual 40 seconds (docs/deployments.md).
SOON_HEALTHY = "healthy_after_seconds = 5\n"


class Gantry:
    """One Gantry with a data directory of its own: "up", or "server" and "agent" apart, or the server alone."""

    def __init__(self, folder, apart=False, server_only=False, config=None, extra=(), listen="127.0.0.1"):
        self.folder = Path(folder)
        self.port = free_port()
        self.apart = apart
        self.server_only = server_only
        self.config = config
        self.listen = listen
        self.scheme = "http"
        self.extra = list(extra)
        self.server_extra = []
        self.processes = {}
        self.log_starts = {}

    # -- processes ---------------------------------------------------------------------------------------------

    def start(self, role=None):
        if role is None:
            for each in ("server",) if self.server_only else ("server", "agent") if self.apart else ("up",):
                self.start(each)
            return self
        arguments = [GANTRY, role, "--data-dir", str(self.folder), "--log-level", "info"]
        if role != "agent":
            arguments += ["--listen", f"{self.listen}:{self.port}"]
            arguments += ["--config", str(self.config)] if self.config else []
        arguments += self.extra if role in ("up", "agent") else []
        arguments += self.server_extra if role == "server" else []
        log = open(self.folder / f"{role}.log", "ab")
        self.log_starts[role] = log.tell()
        self.processes[role] = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        if role != "agent":
            wait_until(self.healthy, 30, f"gantry {role} (see {log.name})")
        return self

    def healthy(self):
        for role, process in self.processes.items():
            assert process.poll() is None, f"gantry {role} ended:\n{self.log(role)}"
        try:
            with urllib.request.urlopen(f"{self.url}/healthz", timeout=1) as answer:
                return answer.status == 200
        except OSError:
            return False

    def kill(self, role="up", with_signal=signal.SIGKILL):
        process = self.processes.pop(role)
        process.send_signal(with_signal)
        process.wait(30)

    def log(self, role="up"):
        return (self.folder / f"{role}.log").read_text(errors="replace")[-6000:]

    def log_since_start(self, role):
        """What the process that runs now has logged."""
        with open(self.folder / f"{role}.log", "rb") as file:
            file.seek(self.log_starts[role])
            return file.read().decode(errors="replace")

    def stop(self):
        for role in list(self.processes):
            self.kill(role, signal.SIGTERM)

    def run(self, *arguments, check=True, **options):
        """Runs a command of the program against this Gantry."""
        command = [GANTRY, *arguments, "--data-dir", str(self.folder)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, **options)
        assert not check or done.returncode == 0, f"{command}: {done.stderr}"
        return done

    # -- clients -----------------------------------------------------------------------------------------------

    @property
    def url(self):
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @property
    def environment(self):
        if not hasattr(self, "_environment"):
            self._environment = json.loads(self.run("env", "--output", "json").stdout)
        return self._environment

    def client(self, service, **changes):
        options = dict(
            region_name=REGION,
            endpoint_url=self.url,
            aws_access_key_id=self.environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.environment["AWS_SECRET_ACCESS_KEY"],
            config=botocore.config.Config(retries={"max_attempts": 1}, parameter_validation=False),
        )
        return boto3.client(service, **{**options, **changes})

    def aws(self, *arguments, program=AWS_V1, check=True, timeout=120, stdin=None):
        """Calls an AWS CLI; the parsed answer, or the finished process when check is off."""
        command = [program, *arguments]
        if program == AWS_V2:
            # Debian's version is older than the variable AWS_ENDPOINT_URL.
            command += ["--endpoint-url", self.url]
        environment = {**os.environ, **self.environment, "AWS_PAGER": "", "AWS_EC2_METADATA_DISABLED": "true"}
        done = subprocess.run(
            command, capture_output=True, text=True, env=environment, timeout=timeout, input=stdin)
        if not check:
            return done
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return json.loads(done.stdout) if done.stdout.strip().startswith(("{", "[")) else done.stdout

    # -- what is looked at -------------------------------------------------------------------------------------

    def owns(self, pid):
        """Whether a process is in one of this Gantry's containers: other Gantrys run on the machine at the same time."""
        return cgroup_of(self.folder) in Path(f"/proc/{pid}/cgroup").read_text()

    def task(self, arn, cluster="default"):
        tasks = self.client("ecs").describe_tasks(cluster=cluster, tasks=[arn])["tasks"]
        return tasks[0] if tasks else None

    def wait_for_status(self, arn, status, seconds=60, cluster="default"):
        def reached():
            task = self.task(arn, cluster)
            assert status == "STOPPED" or task["lastStatus"] != "STOPPED", f"the task stopped: {task}"
            return task if task["lastStatus"] == status else None

        return wait_until(reached, seconds, f"{status} of {arn}")

    def wait_for_instance(self):
        ecs = self.client("ecs")

        def connected():
            # Just after a kill the instance may still read as connected by the agent before this one.
            if "agent" in self.processes and "connected to the control plane" not in self.log_since_start("agent"):
                return None
            try:
                arns = ecs.list_container_instances(cluster="default")["containerInstanceArns"]
            except ecs.exceptions.ClusterNotFoundException:
                return None
            if not arns:
                return None
            found = ecs.describe_container_instances(cluster="default", containerInstances=arns)
            return next((each for each in found["containerInstances"] if each["agentConnected"]), None)

        return wait_until(connected, 30, "a connected container instance")

    def logs(self, group, stream_prefix=""):
        client = self.client("logs")
        events = client.filter_log_events(logGroupName=group, logStreamNamePrefix=stream_prefix or "w")["events"]
        return [event["message"] for event in events]


def make(tmp_root, settings=None, **options):
    """A Gantry that is not started yet; `settings` is the text of its configuration file."""
    folder = Path(tempfile.mkdtemp(prefix="gantry-", dir=tmp_root))
    gantry = Gantry(folder, **options)
    if settings:
        gantry.config = folder / "gantry.toml"
        gantry.config.write_text(settings)
    return gantry


# Files whose tests take longest: they begin first, so that no worker is left alone with one of them at the end.
LONG = (
    "test_auto_scaling", "test_inside_a_container", "test_task_roles", "test_volumes", "test_network_faults",
    "test_image_clients", "test_task_secrets", "test_registry_copies", "test_machines", "test_prepared_images",
    "test_parameters", "test_exec", "test_secrets", "test_deployments")
# What a machine has once: the endpoint of tasks in host mode is the first Gantry's that runs one, and the subnets of two
# Gantrys have the same addresses once in 512 times. Tests with tasks in host or awsvpc mode run one after another.
HOST_NETWORK = pytest.mark.xdist_group("host-network")


def pytest_configure(config):
    # One file alone runs without pytest-xdist, too.
    config.addinivalue_line("markers", "xdist_group(name): run by the same worker")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """A worker runs whole files, whose tests share fixtures, or what is marked with the name of a group."""
    if not hasattr(config, "workerinput"):
        return
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(item.path.stem))
    items.sort(key=lambda item: LONG.index(item.path.stem) if item.path.stem in LONG else len(LONG))


@pytest.fixture(scope="session")
def scratch():
    assert os.geteuid() == 0, "these tests make containers: run them as root (sudo make test)"
    # Not below pytest's own folder: socket and overlay paths must stay short.
    folder = tempfile.mkdtemp(prefix="ge2e-", dir="/var/tmp")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def remove_everything(gantry):
    """Stops every task of a Gantry, so that no container outlives the test session."""
    if not gantry.processes:
        # The test ended it, tasks and all.
        gantry.run("teardown")
        return
    try:
        ecs = gantry.client("ecs")
        for cluster in ecs.list_clusters()["clusterArns"]:
            for service in ecs.list_services(cluster=cluster, maxResults=100)["serviceArns"]:
                ecs.delete_service(cluster=cluster, service=service, force=True)
            for daemon in ecs.list_daemons(clusterArn=cluster)["daemonSummariesList"]:
                if daemon["status"] == "ACTIVE":
                    ecs.delete_daemon(daemonArn=daemon["daemonArn"])
            for task in ecs.list_tasks(cluster=cluster)["taskArns"]:
                ecs.stop_task(cluster=cluster, task=task)
            wait_until(lambda: not ecs.list_tasks(cluster=cluster)["taskArns"], 60, "the end of all tasks")
    finally:
        gantry.stop()
        gantry.run("teardown")


@pytest.fixture(scope="session")
def gantry(scratch):
    """The Gantry that tests share which do not kill it."""
    gantry = make(scratch).start()
    gantry.wait_for_instance()
    push_busybox(gantry)
    yield gantry
    remove_everything(gantry)


@pytest.fixture(scope="module")
def registry(scratch):
    """A Gantry without an agent, for one file: images are pushed and pulled here, nothing runs."""
    gantry = make(scratch, server_only=True).start()
    yield gantry
    gantry.stop()


@pytest.fixture
def own_gantry(scratch):
    """Makes Gantrys for one test: `own_gantry(apart=True)`."""
    made = []

    def build(**options):
        gantry = make(scratch, **options).start()
        made.append(gantry)
        gantry.wait_for_instance()
        push_busybox(gantry)
        return gantry

    yield build
    for gantry in made:
        remove_everything(gantry)


def busybox_rootfs(folder):
    """A root filesystem with busybox and its links."""
    root = Path(folder)
    for part in ("bin", "etc", "tmp", "www", "root"):
        (root / part).mkdir(parents=True, exist_ok=True)
    shutil.copy("/bin/busybox", root / "bin/busybox")
    for name in subprocess.run(["/bin/busybox", "--list"], capture_output=True, text=True).stdout.split():
        link = root / "bin" / name
        if not link.exists():
            link.symlink_to("busybox")
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nalice:x:1000:1000::/tmp:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\nusers:x:1000:\nextra:x:2000:alice\n")
    return root


def push_busybox(gantry):
    root = busybox_rootfs(gantry.folder / "busybox-rootfs")
    gantry.run("push", str(root), "busybox:1", "--cmd", '["sh"]')


@pytest.fixture
def name():
    """A name that no other test uses."""
    return f"t{uuid.uuid4().hex[:10]}"


def image(gantry, reference="busybox:1"):
    return f"localhost:{gantry.port}/{reference}"


def register(gantry, family, *containers, **task):
    """Registers a task definition whose containers are busybox unless they say otherwise; returns its ARN."""
    # A shell that is a container's first process does not hear SIGTERM: no test waits half a minute for it.
    defaults = {"name": "main", "image": image(gantry), "memory": 64, "essential": True, "stopTimeout": 2}
    merged = [{**defaults, **each} for each in containers]
    merged = [{key: value for key, value in each.items() if value is not None} for each in merged]
    document = {"family": family, "containerDefinitions": merged, **task}
    return gantry.client("ecs").register_task_definition(**document)["taskDefinition"]["taskDefinitionArn"]


def run_task(gantry, definition, **options):
    answer = gantry.client("ecs").run_task(taskDefinition=definition, **{"launchType": "EC2", **options})
    assert not answer["failures"], answer["failures"]
    return answer["tasks"][0]["taskArn"]


def awslogs(group, prefix="w"):
    return {
        "logDriver": "awslogs",
        "options": {
            "awslogs-group": group,
            "awslogs-region": REGION,
            "awslogs-stream-prefix": prefix,
            "awslogs-create-group": "true",
        },
    }


def run_to_end(gantry, name, script, seconds=60, **container):
    """Runs `sh -c script` as a task to its end; returns (task, printed lines)."""
    container = {"command": ["sh", "-c", script], "logConfiguration": awslogs(f"/{name}"), **container}
    task_level = container.pop("task", {})
    options = container.pop("run", {})
    definition = register(gantry, name, container, **task_level)
    task = gantry.wait_for_status(run_task(gantry, definition, **options), "STOPPED", seconds)
    return task, gantry.logs(f"/{name}")


@pytest.fixture
def server(scratch):
    """A Gantry without an agent."""
    gantry = make(scratch, server_only=True).start()
    yield gantry
    gantry.stop()


def found_in_files(folder, text, *options):
    """The files below a folder that have the bytes of a text."""
    done = subprocess.run(["grep", "-rlaF", *options, text, str(folder)], capture_output=True, text=True)
    # Files that come and go while grep looks (2, with -s) are nobody's fault.
    assert done.returncode in ((0, 1, 2) if "-s" in options else (0, 1)), done.stderr
    return done.stdout.split()


@contextlib.contextmanager
def s3_server(bucket):
    """A real S3 server that is not ours (moto's) with a bucket; gives its URL and a client."""
    command = [str(ROOT / ".venv/bin/moto_server"), "-p", "0"]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        line = next(line.decode() for line in process.stderr if b"Running on http://" in line)
        endpoint = line[line.index("http://"):].split()[0]
        # It says something of every request, and waits for whoever reads that.
        threading.Thread(target=process.stderr.read, daemon=True).start()
        s3 = boto3.client("s3", endpoint_url=endpoint, region_name=REGION, aws_access_key_id="id",
                          aws_secret_access_key="the-secret")
        s3.create_bucket(Bucket=bucket)
        yield endpoint, s3
    finally:
        process.kill()
        process.wait()
