"""Where blobs are kept, whether all is there, and that a slow client costs the server nothing."""

import base64
import hashlib
import json
import os
import socket

import pytest
import requests
from conftest import make, push_busybox, s3_server, wait_until


@pytest.fixture
def build(scratch):
    """Makes servers without an agent, not yet started."""
    made = []

    def build():
        made.append(make(scratch, server_only=True))
        return made[-1]

    yield build
    for gantry in made:
        gantry.stop()


@pytest.fixture
def server(build):
    return build().start()


@pytest.fixture
def bucket():
    """A bucket in a real S3 server; gives its URL and a client."""
    with s3_server("images") as served:
        yield served


def credentials(gantry):
    token = gantry.client("ecr").get_authorization_token()["authorizationData"][0]["authorizationToken"]
    return tuple(base64.b64decode(token).decode().split(":", 1))


def pull(gantry, repository, tag):
    """Every blob of an image, each compared with its digest."""
    session = requests.Session()
    session.auth = credentials(gantry)
    base = f"{gantry.url}/v2/{repository}"
    manifest = session.get(f"{base}/manifests/{tag}").json()
    for descriptor in [manifest["config"], *manifest["layers"]]:
        content = session.get(f"{base}/blobs/{descriptor['digest']}").content
        assert "sha256:" + hashlib.sha256(content).hexdigest() == descriptor["digest"]
    return manifest


def test_verify_finds_what_is_broken_and_nothing_else(server):
    push_busybox(server)
    done = server.run("registry", "verify")
    assert "everything is whole" in done.stdout
    manifest = pull(server, "busybox", "1")
    digest = manifest["layers"][0]["digest"].split(":")[1]
    file = server.folder / "registry/blobs/sha256" / digest[:2] / digest
    original = file.read_bytes()
    # In its place: the registry may have the file mapped, as it prepares the image, and none of its files gets shorter.
    with open(file, "r+b") as damaged:
        damaged.seek(len(original) // 2)
        damaged.write(bytes([original[len(original) // 2] ^ 1]))
    assert server.run("registry", "verify", "--quick").returncode == 0
    broken = server.run("registry", "verify", check=False)
    assert broken.returncode == 1
    assert f"sha256:{digest} does not have the content its digest promises" in broken.stdout
    lines = [json.loads(line) for line in server.run("registry", "verify", "--output", "json", check=False).stdout.splitlines()]
    assert lines[-1]["problems"] == len(lines) - 1 > 0
    # Pushed again, it is whole again.
    upload = f"{server.url}/v2/busybox/blobs/uploads/?digest=sha256:{digest}"
    assert requests.post(upload, data=original, auth=credentials(server)).status_code == 201
    assert "everything is whole" in server.run("registry", "verify").stdout
    assert server.run("registry", "gc", "--dry-run").stdout == "would be removed: 0 blobs (0 bytes), 0 links\n"


def test_blobs_in_a_bucket(build, bucket, monkeypatch):
    endpoint, s3 = bucket
    for name, value in {"BLOBS": "s3", "BUCKET": "images", "PREFIX": "here", "ENDPOINT": endpoint, "REGION": "us-east-1"}.items():
        monkeypatch.setenv(f"GANTRY_REGISTRY_{name}", value)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the-secret")
    gantry = build().start()
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    push_busybox(gantry)
    manifest = pull(gantry, "busybox", "1")
    keys = [found["Key"] for found in s3.list_objects_v2(Bucket="images")["Contents"]]
    for descriptor in [manifest["config"], *manifest["layers"]]:
        digest = descriptor["digest"].split(":")[1]
        assert f"here/blobs/sha256/{digest[:2]}/{digest}" in keys
    assert "everything is whole" in gantry.run("registry", "verify").stdout
    assert "the-secret" not in gantry.log("server")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the-secret")
    gantry.kill("server")
    gantry.start()
    assert pull(gantry, "busybox", "1") == manifest
    # Another Gantry is not let in.
    other = build()
    with pytest.raises(AssertionError, match="belong to the Gantry"):
        other.start()


def resident_mib(process):
    with open(f"/proc/{process.pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:")) // 1024


def test_a_client_that_does_not_read_costs_the_server_no_memory(server):
    server.client("ecr").create_repository(repositoryName="large")
    auth = credentials(server)
    content = os.urandom(1 << 20) * 256
    digest = "sha256:" + hashlib.sha256(content).hexdigest()
    pushed = requests.post(f"{server.url}/v2/large/blobs/uploads/?digest={digest}", data=content, auth=auth)
    assert pushed.status_code == 201
    basic = base64.b64encode(":".join(auth).encode()).decode()
    request = f"GET /v2/large/blobs/{digest} HTTP/1.1\r\nhost: x\r\nauthorization: Basic {basic}\r\n\r\n"
    before = resident_mib(server.processes["server"])
    with socket.create_connection(("127.0.0.1", server.port)) as slow:
        slow.sendall(request.encode())
        head = slow.recv(100)
        assert head.startswith(b"HTTP/1.1 200")
        # Until the server has come to rest: it has sent what the sockets hold, and waits.
        seen = []

        def at_rest():
            with open(f"/proc/{server.processes['server'].pid}/io") as io:
                seen.append(io.read())
            return len(seen) > 10 and seen[-1] == seen[-10]

        wait_until(at_rest, 30, "the server at rest")
        assert resident_mib(server.processes["server"]) - before < 32
        received = len(head)
        while received < len(content):
            received += len(slow.recv(1 << 20))
