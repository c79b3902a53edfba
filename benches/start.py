"""Warm start of a one-container busybox task: from the RunTask call to the container's own program having run its
first instruction (it opens a FIFO on a mount whose other end we hold), bridge network, CPU and memory limits on. Beside
`docker run -d` and `ctr run -d` from Debian, doing the same.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from pathlib import Path

import common
from common import Gantry, fresh_disk, milliseconds, table, wait_until

ONE_AT_A_TIME = int(os.environ.get("BENCH_STARTS", "40"))
AT_ONCE = 20
ROUNDS_AT_ONCE = 3


def script(name):
    return ["sh", "-c", f": > /out/{name}; exec sleep 1000"]


class GantryPeer:
    name = "Gantry"

    def __init__(self, out):
        self.out = out
        self.gantry = Gantry("up", *sys.argv[1:])
        self.gantry.wait_for_instance()
        image = self.gantry.push_busybox()
        self.ecs = [self.gantry.client("ecs") for _ in range(AT_ONCE)]
        self.ecs[0].register_task_definition(family="bench", containerDefinitions=[{
            "name": "c", "image": image, "memory": 64, "cpu": 10, "stopTimeout": 1,
            "mountPoints": [{"sourceVolume": "out", "containerPath": "/out"}]}],
            volumes=[{"name": "out", "host": {"sourcePath": str(out)}}])

    def start(self, name, slot):
        answer = self.ecs[slot].run_task(taskDefinition="bench", launchType="EC2", overrides={
            "containerOverrides": [{"name": "c", "command": script(name)}]})
        if answer["failures"]:
            sys.exit(str(answer["failures"]))

    def clear(self):
        self.gantry.stop_tasks()

    def end(self):
        self.clear()
        self.gantry.end()


class DockerPeer:
    name = "docker run -d (Debian's docker.io)"

    def __init__(self, out):
        self.out = out
        self.folder = Path(tempfile.mkdtemp(prefix="bench-docker-", dir=common.SCRATCH))
        self.environment = {**os.environ, "DOCKER_HOST": f"unix://{self.folder}/docker.sock"}
        log = open(self.folder / "log", "wb")
        self.process = subprocess.Popen(
            ["/usr/sbin/dockerd", "--data-root", f"{self.folder}/data", "--exec-root", f"{self.folder}/exec", "--pidfile",
             f"{self.folder}/pid", "--host", f"unix://{self.folder}/docker.sock", "--bip", "172.29.0.1/16"],
            stdout=log, stderr=log)
        wait_until(lambda: self.docker("info", check=False).returncode == 0, 60, 0.2)
        root = Path(common.SCRATCH) / f"bench-root-{uuid.uuid4().hex[:8]}"
        sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests/e2e"))
        from conftest import busybox_rootfs
        busybox_rootfs(root)
        subprocess.run(f"tar -C {root} -c . | docker import - bb:1", shell=True, env=self.environment, check=True,
                       stdout=subprocess.DEVNULL)
        shutil.rmtree(root)

    def docker(self, *arguments, check=True):
        return subprocess.run(["docker", *arguments], env=self.environment, check=check, capture_output=True,
                              text=True, stdin=subprocess.DEVNULL)

    def start(self, name, slot):
        self.docker("run", "-d", "--memory", "64m", "--cpu-shares", "10", "-v", f"{self.out}:/out", "bb:1", *script(name))

    def clear(self):
        ids = self.docker("ps", "-aq").stdout.split()
        if ids:
            self.docker("rm", "-f", *ids)

    def end(self):
        self.clear()
        self.process.terminate()
        self.process.wait(30)
        subprocess.run(["rm", "-rf", str(self.folder)])


class CtrPeer:
    name = "ctr run -d (Debian's containerd, no network)"

    def __init__(self, out):
        self.out = out
        self.folder = Path(tempfile.mkdtemp(prefix="bench-ctr-", dir=common.SCRATCH))
        config = self.folder / "config.toml"
        config.write_text(
            f'version = 2\nroot = "{self.folder}/root"\nstate = "{self.folder}/state"\n'
            f'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n[grpc]\naddress = "{self.folder}/sock"\n')
        log = open(self.folder / "log", "wb")
        self.process = subprocess.Popen(["containerd", "--config", str(config)], stdout=log, stderr=log)
        wait_until(lambda: self.ctr("version", check=False).returncode == 0, 60, 0.2)
        sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests/e2e"))
        from conftest import busybox_rootfs
        root = busybox_rootfs(self.folder / "rootfs")
        storage = ["--root", str(self.folder / "s"), "--runroot", str(self.folder / "r"), "--storage-driver", "vfs"]
        subprocess.run(f"tar -C {root} -c . > {self.folder}/root.tar", shell=True, check=True)
        subprocess.run(["podman", *storage, "import", "-q", f"{self.folder}/root.tar", "bb:1"], check=True, capture_output=True)
        subprocess.run(["podman", *storage, "save", "-q", "--format", "oci-archive", "-o", f"{self.folder}/bb.tar", "bb:1"],
                       check=True, capture_output=True)
        self.ctr("image", "import", f"{self.folder}/bb.tar")
        self.image = self.ctr("image", "ls", "-q").stdout.split()[0]

    def ctr(self, *arguments, check=True):
        return subprocess.run(["ctr", "-a", f"{self.folder}/sock", *arguments], check=check, capture_output=True,
                              text=True, stdin=subprocess.DEVNULL)

    def start(self, name, slot):
        self.ctr("run", "-d", "--memory-limit", str(64 << 20), "--mount",
                 f"type=bind,src={self.out},dst=/out,options=rbind:rw", self.image, name, *script(name))

    def clear(self):
        for task in self.ctr("task", "ls", "-q").stdout.split():
            self.ctr("task", "rm", "-f", task, check=False)
        for container in self.ctr("container", "ls", "-q").stdout.split():
            self.ctr("container", "rm", container, check=False)

    def end(self):
        self.clear()
        self.process.terminate()
        self.process.wait(30)
        subprocess.run(["rm", "-rf", str(self.folder)])


def measure(peer, out, slot, seconds):
    # Opening a FIFO for reading returns when the container opens it for writing: nobody polls.
    name = uuid.uuid4().hex
    os.mkfifo(out / name)
    os.chmod(out / name, 0o666)
    began = time.perf_counter()
    arrived = []

    def watch():
        with open(out / name, "rb"):
            arrived.append(time.perf_counter() - began)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    peer.start(name, slot)
    watcher.join(60)
    if not arrived:
        sys.exit(f"{peer.name}: a container did not start within a minute")
    seconds.append(arrived[0])


def cpu_seconds():
    fields = [int(field) for field in open("/proc/stat").readline().split()[1:9]]
    idle = fields[3] + fields[4]
    return (sum(fields) - idle) / os.sysconf("SC_CLK_TCK")


def bench(peer, out):
    warm = []
    for _ in range(3):
        measure(peer, out, 0, warm)
    peer.clear()
    single, cpu = [], cpu_seconds()
    for _ in range(ONE_AT_A_TIME):
        measure(peer, out, 0, single)
    cpu = (cpu_seconds() - cpu) / ONE_AT_A_TIME
    peer.clear()
    together, rates = [], []
    for _ in range(ROUNDS_AT_ONCE):
        began = time.perf_counter()
        threads = [threading.Thread(target=measure, args=(peer, out, slot, together)) for slot in range(AT_ONCE)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        rates.append(AT_ONCE / (time.perf_counter() - began))
        peer.clear()
    return [peer.name, milliseconds(single), f"{cpu * 1000:.0f}", milliseconds(together), f"{max(rates):.1f}"]


def of_each_peer(bench):
    """A row of `bench` for Gantry and each peer, all on new disks."""
    rows = []
    for kind in (GantryPeer, DockerPeer, CtrPeer):
        with fresh_disk():
            out = Path(tempfile.mkdtemp(prefix="bench-out-", dir=common.SCRATCH))
            peer = kind(out)
            try:
                rows.append(bench(peer, out))
            finally:
                peer.end()
    return rows


def main():
    table("Warm start of a busybox container, request to first instruction, ms (p50 / p99)",
          ["", f"one at a time (n={ONE_AT_A_TIME})", "CPU ms per start, whole machine, client included",
           f"{AT_ONCE} at once (n={AT_ONCE * ROUNDS_AT_ONCE})", "starts/s, 20 at once"], of_each_peer(bench))


if __name__ == "__main__":
    main()
