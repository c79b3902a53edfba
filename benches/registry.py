"""Push and pull of blobs and manifests beside Debian's docker-registry, by the same client (`load`, an example of the
registry crate)."""

import base64
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

from common import Gantry, ROOT, free_port, rss_mib, table, wait_until

LOAD = str(ROOT / "target/release/examples/load")
# What, clients, count, bytes of one blob.
LINES = [
    ("push-blob", 8, 2_000, 1024),
    ("push-blob", 16, 2_000, 1024),
    ("push-manifest", 8, 1_000, 1024),
    ("push-manifest", 16, 1_000, 1024),
    ("get-blob", 8, 20_000, 1024),
    ("get-blob", 16, 20_000, 1024),
    ("get-manifest", 8, 20_000, 1024),
    ("get-manifest", 16, 20_000, 1024),
    ("push-blob", 1, 2, 1 << 30),
    ("get-blob", 1, 4, 1 << 30),
]


def load(address, credentials, repository, what, clients, count, size):
    done = subprocess.run([LOAD, address, credentials, repository, what, str(clients), str(count), str(size)],
                          capture_output=True, text=True)
    line = done.stdout.strip().split(": ", 1)[-1]
    return line if done.returncode == 0 else f"failed: {done.stderr.strip()[-80:]}"


def start_docker_registry():
    folder = Path(tempfile.mkdtemp(prefix="bench-registry-", dir="/var/tmp"))
    port = free_port()
    config = folder / "config.yml"
    config.write_text(
        f"version: 0.1\nlog:\n  accesslog:\n    disabled: true\n  level: error\nstorage:\n  filesystem:\n"
        f"    rootdirectory: {folder}/data\n  delete:\n    enabled: true\nhttp:\n  addr: 127.0.0.1:{port}\n")
    log = open(folder / "log", "wb")
    process = subprocess.Popen(["docker-registry", "serve", str(config)], stdout=log, stderr=log)

    def up():
        try:
            return urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/", timeout=1)
        except OSError:
            return None

    wait_until(up)
    return process, f"127.0.0.1:{port}", folder


def main():
    gantry = Gantry("server")
    process, address, folder = start_docker_registry()
    try:
        ecr = gantry.client("ecr")
        ecr.create_repository(repositoryName="bench")
        token = ecr.get_authorization_token()["authorizationData"][0]["authorizationToken"]
        credentials = base64.b64decode(token).decode()
        rows = []
        for what, clients, count, size in LINES:
            ours = load(f"127.0.0.1:{gantry.port}", credentials, "bench", what, clients, count, size)
            theirs = load(address, "-", "bench", what, clients, min(count, 2_000), size)
            name = {1024: "1 KB", 1 << 30: "1 GB"}[size] if "blob" in what else ""
            rows.append([f"{what} {name}".strip(), clients, ours, theirs])
            print(rows[-1], file=sys.stderr)
        rows.append(["RSS after the run, MiB", "", f"{rss_mib(gantry.process.pid):.0f}", f"{rss_mib(process.pid):.0f}"])
        table("Registry: requests per second, p50 and p99 in ms", ["", "clients", "Gantry", "docker-registry"], rows)
    finally:
        process.terminate()
        process.wait(30)
        gantry.end()
        subprocess.run(["rm", "-rf", str(folder)])


if __name__ == "__main__":
    main()
