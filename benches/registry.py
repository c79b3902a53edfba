"""Push and pull of blobs and manifests beside Debian's docker-registry, by the same client (`load`, an example of the
registry crate)."""

import base64
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from common import GANTRY, Gantry, ROOT, free_port, rss_mib, table, wait_until

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
    ("push-blob", 1, 20, 100 << 20),
    ("get-blob", 1, 40, 100 << 20),
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


def lists(gantry, ecr, credentials):
    """Seconds to list 100,000 tags by /v2/ and to describe 10,000 images by the API, in one repository."""
    import requests
    ecr.create_repository(repositoryName="lists")
    load(f"127.0.0.1:{gantry.port}", credentials, "lists", "push-manifest", 16, 10_000, 1024)
    session = requests.Session()
    session.auth = tuple(credentials.split(":", 1))
    base = f"{gantry.url}/v2/lists"
    digests = [image["imageDigest"] for image in ecr.list_images(repositoryName="lists", maxResults=250)["imageIds"]]
    for number, digest in enumerate(digests[:200]):
        answer = session.get(f"{base}/manifests/{digest}")
        # 500 of each: an image may have 1,000.
        for part in range(10):
            tags = "&".join(f"tag=n{number:03}-{part}-{tag:02}" for tag in range(50))
            pushed = session.put(f"{base}/manifests/{digest}?{tags}", data=answer.content,
                                 headers={"content-type": answer.headers["content-type"]})
            assert pushed.status_code == 201, pushed.text
    began, url, tags = time.monotonic(), f"{base}/tags/list?n=1000", 0
    while url:
        answer = session.get(url)
        tags += len(answer.json()["tags"])
        url = gantry.url + answer.links["next"]["url"] if "next" in answer.links else None
    listed = time.monotonic() - began
    began = time.monotonic()
    pages = ecr.get_paginator("describe_images").paginate(repositoryName="lists", PaginationConfig={"PageSize": 1000})
    images = sum(len(page["imageDetails"]) for page in pages)
    described = time.monotonic() - began
    return [[f"list {tags:,} tags, 1,000 a page", f"{listed:.2f} s"], [f"describe {images:,} images", f"{described:.2f} s"]]


# Blobs that nobody needs, and the grace period, the shortest there is, after which they may go.
GARBAGE, GRACE_SECONDS = 100_000, 60


def collection():
    """Pushes of small blobs without and beside a collection of 100,000 others."""
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as config:
        config.write(f"[registry]\ngrace_seconds = {GRACE_SECONDS}\n")
        config.flush()
        gantry = Gantry("server", "--config", config.name)
        try:
            ecr = gantry.client("ecr")
            token = ecr.get_authorization_token()["authorizationData"][0]["authorizationToken"]
            credentials = base64.b64decode(token).decode()
            for name in ("garbage", "bench"):
                ecr.create_repository(repositoryName=name)

            def push(repository, clients, count):
                return load(f"127.0.0.1:{gantry.port}", credentials, repository, "push-blob", clients, count, 1024)

            push("garbage", 16, GARBAGE)
            time.sleep(GRACE_SECONDS + 1)
            rows = [["8 clients, nothing else", push("bench", 8, 5_000)]]
            began = time.monotonic()
            gc = subprocess.Popen([GANTRY, "registry", "gc", "--data-dir", str(gantry.folder)],
                                  stdout=subprocess.PIPE, text=True)
            while gc.poll() is None:
                rows.append(["8 clients beside the collection", push("bench", 8, 2_000)])
            assert gc.returncode == 0, "the collection failed"
            rows.append([f"the collection: {gc.communicate()[0].strip()}", f"{time.monotonic() - began:.1f} s"])
            return rows
        finally:
            gantry.end()


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
            name = {1024: "1 KB", 100 << 20: "100 MB", 1 << 30: "1 GB"}[size] if "blob" in what else ""
            rows.append([f"{what} {name}".strip(), clients, ours, theirs])
            print(rows[-1], file=sys.stderr)
        for what, key in (("RSS", "VmRSS"), ("RSS of its own (not of files)", "RssAnon")):
            rows.append([f"{what} after the run, MiB", "", *(f"{rss_mib(pid, key):.0f}" for pid in (gantry.process.pid, process.pid))])
        listed = lists(gantry, ecr, credentials)
        table("Registry: requests per second, p50 and p99 in ms", ["", "clients", "Gantry", "docker-registry"], rows)
        table("Registry: long lists", ["", "Gantry"], listed)
    finally:
        process.terminate()
        process.wait(30)
        gantry.end()
        subprocess.run(["rm", "-rf", str(folder)])
    table("Registry: 1 KB pushes beside a collection of 100,000 blobs", ["", "Gantry"], collection())


if __name__ == "__main__":
    main()
