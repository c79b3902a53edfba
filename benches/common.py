"""What the benchmarks share: a release build on a data directory of its own, percentiles, tables."""

import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
GANTRY = os.environ.get("GANTRY_BIN", str(ROOT / "target/release/gantry"))


# Where benchmarks keep what they write.
SCRATCH = "/var/tmp"


@contextlib.contextmanager
def fresh_disk(gib=8):
    """A new ext4 with a journal for everything that is measured, alike for all peers. On one that has been in use, and
    above all on one without a journal, the kernel's search for free inodes costs more than what is measured here."""
    global SCRATCH
    with tempfile.TemporaryDirectory(prefix="bd-", dir="/var/tmp") as folder:
        image, mount_point = f"{folder}/i", f"{folder}/d"  # podman takes 50 characters
        os.mkdir(mount_point)
        with open(image, "wb") as file:
            file.truncate(gib << 30)
        subprocess.run(["mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", "-N", "200000", image], check=True)
        subprocess.run(["mount", "-o", "loop", image, mount_point], check=True)
        before, SCRATCH = SCRATCH, mount_point
        try:
            yield
        finally:
            SCRATCH = before
            subprocess.run(["umount", "--lazy", mount_point], check=True)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(condition, seconds=60, step=0.005):
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{condition} did not come about within {seconds} s")
        time.sleep(step)
    return value


class Gantry:
    """A running release build; `role` is up or server."""

    def __init__(self, role="up", *extra):
        self.folder = Path(tempfile.mkdtemp(prefix="gbench-", dir=SCRATCH))
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.role, self.extra = role, extra
        self.start()

    def start(self):
        log = open(self.folder / "log", "ab")
        began = time.monotonic()
        self.process = subprocess.Popen(
            [GANTRY, self.role, "--data-dir", str(self.folder), "--listen", f"127.0.0.1:{self.port}",
             "--log-level", os.environ.get("BENCH_LOG", "warn"), *self.extra], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_until(self.healthy, 60, 0.001)
        self.ready_seconds = time.monotonic() - began

    def healthy(self):
        try:
            with urllib.request.urlopen(f"{self.url}/healthz", timeout=1) as answer:
                return answer.status == 200
        except OSError:
            return False

    def run(self, *arguments):
        done = subprocess.run([GANTRY, *arguments, "--data-dir", str(self.folder)], capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"gantry {' '.join(arguments)}: {done.stderr}")
        return done.stdout

    @property
    def environment(self):
        if not hasattr(self, "_environment"):
            self._environment = json.loads(self.run("env", "--output", "json"))
        return self._environment

    def client(self, service):
        import boto3
        return boto3.client(
            service, region_name="us-east-1", endpoint_url=self.url,
            aws_access_key_id=self.environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.environment["AWS_SECRET_ACCESS_KEY"])

    def push_busybox(self):
        sys.path.insert(0, str(ROOT / "tests/e2e"))
        from conftest import busybox_rootfs
        self.run("push", str(busybox_rootfs(self.folder / "rootfs")), "busybox:1", "--cmd", '["sh"]')
        return f"localhost:{self.port}/busybox:1"

    def wait_for_instance(self):
        ecs = self.client("ecs")
        wait_until(lambda: "default" in str(ecs.list_clusters()) and ecs.list_container_instances()["containerInstanceArns"])

    def stop_tasks(self):
        ecs = self.client("ecs")
        while arns := ecs.list_tasks()["taskArns"]:
            for arn in arns:
                ecs.stop_task(task=arn)
            time.sleep(0.2)

    def end(self):
        self.process.terminate()
        self.process.wait(30)
        self.run("teardown")
        subprocess.run(["rm", "-rf", str(self.folder)])


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def milliseconds(values):
    return f"{statistics.median(values) * 1000:.1f} / {percentile(values, 0.99) * 1000:.1f}"


def table(title, header, rows):
    print(f"\n### {title}\n")
    print("| " + " | ".join(header) + " |")
    print("|" + "---|" * len(header))
    for row in rows:
        print("| " + " | ".join(str(cell) for cell in row) + " |")
    sys.stdout.flush()


def rss_mib(pid, which="VmRSS"):
    for line in open(f"/proc/{pid}/status"):
        if line.startswith(f"{which}:"):
            return int(line.split()[1]) / 1024


def pss_mib(pid):
    for line in open(f"/proc/{pid}/smaps_rollup"):
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
