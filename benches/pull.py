"""Pull into an empty image directory until a root filesystem can be mounted, beside `ctr images pull` from the same
registry (Debian's docker-registry), and the cold start of a task from Gantry's own registry, beside `ctr images pull &&
ctr run`: from the RunTask call to the container's first instruction, nothing of the image being on the host. The images
are made of files of this machine's /usr: their sizes and how well they compress are printed.
"""

import base64
import gzip
import json
import hashlib
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import urllib.request
import uuid
import zlib
from pathlib import Path

from common import GANTRY, Gantry, ROOT, table, wait_until
from registry import start_docker_registry

BENCH_PULL = str(ROOT / "target/release/examples/bench_pull")
BENCH_INFLATE = str(ROOT / "target/release/examples/bench_inflate")
ROUNDS = int(os.environ.get("BENCH_PULLS", "3"))
# Name, files, uncompressed bytes.
IMAGES = [("large", 13_900, 860_000_000), ("small", 20_000, 390_000_000)]


def candidates():
    """Files of /usr with their sizes, those that compress worse than most left out."""
    for base in ("/usr/share", "/usr/lib", "/usr/bin", "/usr/include", "/usr/local"):
        for folder, folders, files in os.walk(base):
            folders.sort()
            for name in sorted(files):
                path = os.path.join(folder, name)
                if not os.path.isfile(path) or os.path.islink(path):
                    continue
                size = os.path.getsize(path)
                if size > 64_000:
                    with open(path, "rb") as file:
                        file.seek(size // 2)
                        sample = file.read(65_536)
                    if len(zlib.compress(sample, 1)) > 0.42 * len(sample):
                        continue
                yield path, size


def make_layer(folder, name, files, size):
    """A tar with about `files` files of about `size` bytes in all, and busybox as its only program that runs."""
    known = list(candidates())
    large = [(path, length) for path, length in known if 200_000 < length < 40_000_000]
    little = [(path, length) for path, length in known if length <= 24_000]
    chosen, total = [], 0
    rest = size - sum(length for _, length in little[:files])
    for path, length in large:
        if total + length < rest:
            chosen.append(path)
            total += length
    for path, length in little[:files - len(chosen)]:
        chosen.append(path)
        total += length
    target = folder / f"{name}.tar"
    with tarfile.open(target, "w") as tar:
        seen = set()

        def add(path, inside):
            for parent in reversed(Path(inside).parents[:-1]):
                if parent not in seen:
                    seen.add(parent)
                    entry = tarfile.TarInfo(str(parent))
                    entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                    tar.addfile(entry)
            tar.add(path, inside, recursive=False)

        add("/bin/busybox", "bin/sh")
        # A round of its own for every run of this benchmark: nothing is known of it anywhere.
        marker = folder / "marker"
        marker.write_text(uuid.uuid4().hex)
        add(marker, "marker")
        for path in sorted(chosen):
            add(path, path[1:])
    packed = folder / f"{name}.tar.gz"
    with open(target, "rb") as source, gzip.open(packed, "wb", compresslevel=6) as sink:
        shutil.copyfileobj(source, sink, 1 << 20)
    print(f"{name}: {len(chosen)} files, {target.stat().st_size / 1e6:.0f} MB, "
          f"{packed.stat().st_size / 1e6:.0f} MB as gzip", file=sys.stderr)
    return target, packed, len(chosen)


def digest(path):
    return "sha256:" + hashlib.file_digest(open(path, "rb"), "sha256").hexdigest()


def make_layout(folder, name, tar, packed):
    """An OCI layout of one image, for skopeo."""
    layout = folder / f"{name}-layout"
    blobs = layout / "blobs/sha256"
    blobs.mkdir(parents=True)

    def put(document):
        content = json.dumps(document).encode()
        name = hashlib.sha256(content).hexdigest()
        (blobs / name).write_bytes(content)
        return {"digest": f"sha256:{name}", "size": len(content)}

    layer = digest(packed)
    os.link(packed, blobs / layer.split(":")[1])
    config = put({"architecture": "amd64", "os": "linux", "config": {"Cmd": ["/bin/sh"]},
                  "rootfs": {"type": "layers", "diff_ids": [digest(tar)]}})
    manifest = put({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", **config},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": layer,
                    "size": packed.stat().st_size}]})
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [
        {"mediaType": "application/vnd.oci.image.manifest.v1+json", **manifest}]}))
    return layout


def seconds(values):
    return " / ".join(f"{value:.2f}" for value in values)


def settle():
    """What earlier rounds left to write is not the next one's."""
    os.sync()
    # The journal and freed blocks, which sync does not wait for.
    time.sleep(1)


def pull_gantry(reference, form, **environment):
    done = subprocess.run([BENCH_PULL, reference, str(ROUNDS), form], capture_output=True, text=True, check=True,
                          env={**os.environ, **environment})
    return [float(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("pull ")]


class Containerd:
    """Debian's containerd with its own state, and ctr."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="bench-ctr-", dir="/var/tmp"))
        config = self.folder / "config.toml"
        config.write_text(
            f'version = 2\nroot = "{self.folder}/root"\nstate = "{self.folder}/state"\n'
            f'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n[grpc]\naddress = "{self.folder}/sock"\n')
        self.process = subprocess.Popen(["containerd", "--config", str(config)], stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)
        wait_until(lambda: self.ctr("version", check=False).returncode == 0, 60, 0.2)

    def ctr(self, *arguments, check=True):
        done = subprocess.run(["ctr", "-a", f"{self.folder}/sock", *arguments], capture_output=True, text=True,
                              stdin=subprocess.DEVNULL)
        assert done.returncode == 0 or not check, done.stderr
        return done

    def pulls(self, reference):
        times = []
        for _ in range(ROUNDS):
            settle()
            began = time.perf_counter()
            self.ctr("images", "pull", "--plain-http", reference)
            times.append(time.perf_counter() - began)
            self.ctr("images", "rm", "--sync", reference)
        return times

    def cold_starts(self, reference, out):
        times = []
        for _ in range(ROUNDS):
            settle()
            name = f"c{uuid.uuid4().hex[:8]}"
            with Fifo(out, name) as fifo:
                began = time.perf_counter()
                self.ctr("images", "pull", "--plain-http", reference)
                self.ctr("run", "-d", "--mount", f"type=bind,src={out},dst=/out,options=rbind:rw", reference, name,
                         *script(name))
                times.append(fifo.opened() - began)
            self.ctr("task", "rm", "-f", name)
            self.ctr("container", "rm", name)
            self.ctr("images", "rm", "--sync", reference)
        return times

    def end(self):
        self.process.terminate()
        self.process.wait(30)
        subprocess.run(["rm", "-rf", str(self.folder)])


def script(name):
    return ["/bin/sh", "-c", f": > /out/{name}; exec /bin/sh -c 'while :; do read x < /out/{name}-end; done'"]


class Fifo:
    """Opened for reading here, for writing by the container's first instruction."""

    def __init__(self, out, name):
        self.path = out / name
        os.mkfifo(self.path)
        os.mkfifo(f"{self.path}-end")
        self.at = None
        self.thread = threading.Thread(target=self.wait, daemon=True)

    def wait(self):
        with open(self.path, "rb"):
            self.at = time.perf_counter()

    def __enter__(self):
        self.thread.start()
        return self

    def opened(self):
        self.thread.join(300)
        assert self.at, "the container did not start"
        return self.at

    def __exit__(self, *_):
        pass


class Registry:
    """A Gantry's registry, whose images are prepared or not, with the benchmark's images."""

    def __init__(self, layouts, *extra):
        self.gantry = Gantry("server", *extra)
        ecr = self.gantry.client("ecr")
        token = ecr.get_authorization_token()["authorizationData"][0]["authorizationToken"]
        self.basic = token
        self.password = base64.b64decode(token).decode().split(":", 1)[1]
        self.prepares = "--no-prepare-images" not in extra
        # Every round's agent is another machine.
        self.token = self.gantry.folder / "bench-token"
        self.token.write_text(self.gantry.run("instance", "token", "create", "--uses", "100", "--output", "text"))
        for name, layout, _ in layouts:
            ecr.create_repository(repositoryName=name)
            subprocess.run(["skopeo", "copy", "-q", "--dest-tls-verify=false", "--dest-creds", f"AWS:{self.password}",
                            f"oci:{layout}", f"docker://127.0.0.1:{self.gantry.port}/{name}:1"], check=True)
            began = time.monotonic()
            image = ecr.describe_images(repositoryName=name)["imageDetails"][0]["imageDigest"]
            if self.prepares:
                wait_until(lambda: self.state(name, image)["status"] == "PREPARED", 300, 0.2)
                print(f"{name} prepared in {time.monotonic() - began:.1f} s", file=sys.stderr)

    def state(self, name, image):
        request = urllib.request.Request(f"{self.gantry.url}/v2/{name}/_gantry/preparation/{image}",
                                         headers={"Authorization": f"Basic {self.basic}"})
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    def reference(self, name):
        return f"127.0.0.1:{self.gantry.port}/{name}:1"

    def cold_starts(self, name, out, *extra):
        """RunTask to first instruction, each time on an agent that has nothing yet."""
        ecs = self.gantry.client("ecs")
        times = []
        for number in range(ROUNDS):
            cluster, family = f"c{uuid.uuid4().hex[:8]}", f"t{uuid.uuid4().hex[:8]}"
            ecs.create_cluster(clusterName=cluster)
            ecs.register_task_definition(
                family=family, volumes=[{"name": "out", "host": {"sourcePath": str(out)}}],
                containerDefinitions=[{"name": "c", "image": self.reference(name), "memory": 64, "stopTimeout": 1,
                                       "command": script(family),
                                       "mountPoints": [{"sourceVolume": "out", "containerPath": "/out"}]}])
            folder = Path(tempfile.mkdtemp(prefix="bench-agent-", dir="/var/tmp"))
            log = open(folder / "log", "wb")
            agent = subprocess.Popen(
                [GANTRY, "agent", "--data-dir", str(folder), "--endpoint", self.gantry.url, "--cluster", cluster,
                 "--join-token-file", str(self.token), "--log-level",
                 os.environ.get("BENCH_LOG", "warn"), *extra], stdout=log, stderr=log, stdin=subprocess.DEVNULL)
            try:
                def connected():
                    arns = ecs.list_container_instances(cluster=cluster)["containerInstanceArns"]
                    found = arns and ecs.describe_container_instances(cluster=cluster, containerInstances=arns)
                    return found and found["containerInstances"][0]["agentConnected"]

                wait_until(connected)
                settle()
                with Fifo(out, family) as fifo:
                    began = time.perf_counter()
                    answer = ecs.run_task(cluster=cluster, taskDefinition=family, launchType="EC2")
                    assert not answer["failures"], answer["failures"]
                    times.append(fifo.opened() - began)
                if number == 0 and os.environ.get("BENCH_LOG"):
                    print((folder / "log").read_text(), file=sys.stderr)
                ecs.stop_task(cluster=cluster, task=answer["tasks"][0]["taskArn"])
                wait_until(lambda: not ecs.list_tasks(cluster=cluster)["taskArns"])
            finally:
                agent.terminate()
                agent.wait(60)
                subprocess.run([GANTRY, "teardown", "--data-dir", str(folder)], capture_output=True, check=True)
                subprocess.run(["rm", "-rf", str(folder)])
        return times


def best(values):
    return f"{seconds(values)} ({statistics.median(values):.2f})"


def inflate_seconds(packed):
    """What one core needs to inflate and hash the layer, by the same library: the least a pull can take."""
    done = subprocess.run([BENCH_INFLATE, str(packed)], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def main():
    folder = Path(tempfile.mkdtemp(prefix="bench-pull-", dir="/var/tmp"))
    out = folder / "out"
    out.mkdir()
    try:
        layouts, archives = [], {}
        for name, files, size in IMAGES:
            tar, packed, count = make_layer(folder, name, files, size)
            text = (f"{packed.stat().st_size / 1e6:.0f} MB gzip, {tar.stat().st_size / 1e6:.0f} MB, "
                    f"{count} files, one layer")
            layouts.append((name, make_layout(folder, name, tar, packed), text))
            archives[name] = packed
            tar.unlink()
        compare(layouts, archives, out)
    finally:
        shutil.rmtree(folder)


def compare(layouts, archives, out):
    docker_registry, address, data = start_docker_registry()
    containerd = Containerd()
    prepared = Registry(layouts)
    plain = Registry(layouts, "--no-prepare-images")
    try:
        for name, layout, _ in layouts:
            subprocess.run(["skopeo", "copy", "-q", "--dest-tls-verify=false", f"oci:{layout}",
                            f"docker://{address}/{name}:1"], check=True)
        rows = []
        name, _, text = layouts[0]
        print(f"\n{text}; inflating it on one core: {inflate_seconds(archives[name])}")
        rows.append(["Gantry, EROFS image", best(pull_gantry(f"{address}/{name}:1", "erofs"))])
        rows.append(["Gantry, unpacked", best(pull_gantry(f"{address}/{name}:1", "directories"))])
        rows.append(["Gantry, prepared by its registry, fetched whole",
                     best(pull_gantry(prepared.reference(name), "prepared", BENCH_PASSWORD=prepared.password))])
        rows.append(["ctr images pull (Debian's containerd)", best(containerd.pulls(f"{address}/{name}:1"))])
        table("Pull until the root filesystem is ready, s (median)", ["", f"{ROUNDS} rounds"], rows)

        name, _, text = layouts[1]
        print(f"\n{text}")
        rows = [
            ["Gantry, prepared, read on demand", best(prepared.cold_starts(name, out))],
            ["Gantry, prepared, fetched whole", best(prepared.cold_starts(name, out, "--no-lazy-images"))],
            ["Gantry, not prepared", best(plain.cold_starts(name, out))],
            ["ctr images pull && ctr run (Debian's containerd, no network)",
             best(containerd.cold_starts(f"{address}/{name}:1", out))],
        ]
        table("Cold start: nothing of the image on the host, until the first instruction, s (median)",
              ["", f"{ROUNDS} rounds"], rows)
    finally:
        containerd.end()
        prepared.gantry.end()
        plain.gantry.end()
        docker_registry.terminate()
        docker_registry.wait(30)
        subprocess.run(["rm", "-rf", str(data)])


if __name__ == "__main__":
    main()
