"""Layers as EROFS images, prepared by the registry: a task sees what it would see of an unpacked one, whatever
happens to the agent and the host meanwhile, and nothing stays mounted. It begins before they are here."""

import hashlib
import json
import os
import re
import struct
import subprocess
import urllib.request

import pytest

from conftest import awslogs, busybox_rootfs, run_task, wait_until
from holding_proxy import HoldingProxy

LOOK = "stat -c '%a %u:%g %F' /bin/program /dev-null /box /link; cat /link; echo new > /box/new && cat /box/new; echo end"
SEEN = ["4755 12:34 regular file", "666 0:0 character special file", "1777 7:8 directory",
        "777 0:0 symbolic link", "linked", "new", "end"]


def mounts(gantry):
    lines = open("/proc/self/mountinfo").read().splitlines()
    return [line.split()[4] for line in lines if f" {gantry.folder}/runtime/images/" in line]


def push(gantry, tag):
    root = busybox_rootfs(gantry.folder / f"rootfs-{tag}")
    (root / "bin/program").write_text("program")
    os.chown(root / "bin/program", 12, 34)
    os.chmod(root / "bin/program", 0o4755)
    os.mknod(root / "dev-null", 0o020666, os.makedev(1, 3))
    os.chmod(root / "dev-null", 0o666)
    (root / "box").mkdir()
    os.chown(root / "box", 7, 8)
    os.chmod(root / "box", 0o1777)
    (root / "target").write_text("linked\n")
    # Large enough to be worth it.
    (root / "ballast").write_bytes(os.urandom(1 << 20))
    (root / "link").symlink_to("target")
    gantry.run("push", str(root), f"prepared:{tag}", "--cmd", '["sh"]')


def wait_until_prepared(gantry):
    told = ('"message":"image prepared"', '"repository":"prepared"')
    wait_until(lambda: any(all(part in line for part in told) for line in gantry.log("server").splitlines()),
               60, "the preparation")


def look(gantry, name, tag):
    """What a task of the image says."""
    stream = f"{name}-{tag}-{os.urandom(2).hex()}"
    gantry.client("ecs").register_task_definition(family=stream, containerDefinitions=[{
        "name": "c", "image": f"localhost:{gantry.port}/prepared:{tag}", "memory": 64, "command": ["sh", "-c", LOOK],
        "logConfiguration": {"logDriver": "awslogs", "options": {
            "awslogs-group": stream, "awslogs-region": "us-east-1", "awslogs-stream-prefix": "w",
            "awslogs-create-group": "true"}}}])
    task = gantry.wait_for_status(run_task(gantry, stream), "STOPPED")
    assert task["containers"][0].get("exitCode") == 0, task
    return wait_until(lambda: (lines := gantry.logs(stream)) and lines[-1] == "end" and lines, 30, "the output")


@pytest.mark.parametrize("prepared", [True, False])
def test_a_task_sees_the_same_of_every_form_of_an_image(own_gantry, name, prepared):
    gantry = own_gantry(apart=True)
    if prepared:
        push(gantry, "v1")
        wait_until_prepared(gantry)
    else:
        # What the registry prepares comes too late.
        gantry.kill("server")
        gantry.server_extra = ["--no-prepare-images"]
        gantry.start("server")
        gantry.wait_for_instance()
        push(gantry, "v1")
    assert look(gantry, name, "v1") == SEEN
    if "mounts no EROFS" in gantry.log("agent"):
        assert mounts(gantry) == []
        return
    assert ("fetched as it was prepared" in gantry.log("agent")) == prepared
    before = mounts(gantry)
    assert len(before) == 1

    # A killed agent leaves the mount to the next one.
    gantry.kill("agent")
    gantry.start("agent")
    gantry.wait_for_instance()
    assert look(gantry, name, "v1") == SEEN
    assert mounts(gantry) == before

    # A reboot leaves none.
    gantry.kill("agent")
    subprocess.run(["umount", "-l", before[0]], check=True)
    gantry.start("agent")
    gantry.wait_for_instance()
    assert look(gantry, name, "v1") == SEEN
    assert mounts(gantry) == before

    # To clients there is one image.
    images = gantry.client("ecr").list_images(repositoryName="prepared")["imageIds"]
    assert [image.get("imageTag") for image in images] == ["v1"]
    gantry.stop()
    gantry.run("teardown")
    assert mounts(gantry) == []


BALLAST_BYTES = 24 << 20


class Early:
    """An agent that reaches its registry through a proxy, and an image whose large file is held back there."""

    def __init__(self, gantry):
        self.gantry = gantry
        self.proxy = HoldingProxy(gantry.port)
        gantry.kill("agent")
        gantry.extra = ["--endpoint", self.proxy.url]
        gantry.start("agent")
        gantry.wait_for_instance()
        root = busybox_rootfs(gantry.folder / "rootfs-early")
        # Chunks that hold some of the large file and of something else, too, compress.
        (root / "large").mkdir()
        for filler in ("a", "c"):
            (root / "large" / filler).write_text("filler " * 200_000)
        ballast = os.urandom(BALLAST_BYTES)
        (root / "large/b").write_bytes(ballast)
        self.digest = hashlib.sha256(ballast).hexdigest()
        gantry.run("push", str(root), "prepared:early", "--cmd", '["sh"]')
        wait_until_prepared(gantry)

    def get(self, path, **headers):
        token = self.gantry.client("ecr").get_authorization_token()["authorizationData"][0]["authorizationToken"]
        headers = {"Authorization": f"Basic {token}", **headers}
        with urllib.request.urlopen(urllib.request.Request(self.gantry.url + path, headers=headers)) as answer:
            return answer.read()

    def hold_ballast(self):
        """Holds back every chunk that does not compress."""
        ecr = self.gantry.client("ecr")
        image = ecr.describe_images(repositoryName="prepared")["imageDetails"][0]["imageDigest"]
        assert json.loads(self.get(f"/v2/prepared/_gantry/preparation/{image}")) == {"status": "PREPARED"}
        [layer] = json.loads(self.get(f"/v2/prepared/_gantry/prepared/{image}"))["layers"]
        place = layer["chunks"]
        table = self.get(f"/v2/prepared/blobs/{layer['blob']}",
                         Range=f"bytes={place['at']}-{place['at'] + place['size'] - 1}")
        held, at = [], 0
        for (length,) in (struct.unpack("<I", table[start:start + 4]) for start in range(0, len(table), 36)):
            if length > 0.99 * place["chunkBytes"]:
                held.append((at, at + length))
            at += length
        assert len(held) >= BALLAST_BYTES // place["chunkBytes"] - 2
        self.proxy.hold(layer["blob"], held)

    def run(self, name, script):
        self.gantry.client("ecs").register_task_definition(family=name, containerDefinitions=[{
            "name": "c", "image": "000000000000.dkr.ecr.us-east-1.amazonaws.com/prepared:early", "memory": 64,
            "command": ["sh", "-c", script], "logConfiguration": awslogs(name)}])
        return run_task(self.gantry, name)

    def unfinished(self):
        return list((self.gantry.folder / "runtime/images/layers").glob("*/lazy.json"))

    def wait_until_reading(self, name):
        """Until the container runs, and wants what is held back."""
        wait_until(lambda: self.printed(name) == ["started"], 60, "the container's first line")
        wait_until(lambda: self.proxy.waiting > 0, 30, "a request that is held back")
        assert len(self.unfinished()) == 1

    def printed(self, name):
        logs = self.gantry.client("logs")
        groups = logs.describe_log_groups(logGroupNamePrefix=name)["logGroups"]
        return self.gantry.logs(name) if groups else []

    def finished(self, name, arn):
        task = self.gantry.wait_for_status(arn, "STOPPED", 90)
        assert task["containers"][0].get("exitCode") == 0, task
        expected = ["started", f"{self.digest}  /large/b"]
        assert wait_until(lambda: len(lines := self.printed(name)) == 2 and lines, 30, "the output") == expected


@pytest.fixture
def early(own_gantry):
    kernel = tuple(int(part) for part in re.findall(r"\d+", os.uname().release)[:2])
    if kernel < (6, 12) or not os.path.exists("/dev/fuse"):
        pytest.skip(f"Linux {os.uname().release} mounts no unfinished images, or there is no /dev/fuse")
    early = Early(own_gantry(apart=True))
    assert "mounts no EROFS" not in early.gantry.log("agent")
    early.hold_ballast()
    yield early
    early.proxy.close()


def test_a_task_runs_while_its_image_is_held_back_and_survives_its_agent(early, name):
    gantry = early.gantry
    arn = early.run(name, "echo started; exec sha256sum /large/b")
    early.wait_until_reading(name)
    assert "layer mounted before it is here" in gantry.log("agent")

    # Without an agent the container goes on, and so does the fetching.
    gantry.kill("agent")
    early.proxy.release()
    wait_until(lambda: not early.unfinished(), 60, "the whole image")
    gantry.start("agent")
    gantry.wait_for_instance()
    early.finished(name, arn)
    # Then it is an image like any other one.
    assert len(mounts(gantry)) == 1
    again = early.run(f"{name}-2", "echo started; exec sha256sum /large/b")
    early.finished(f"{name}-2", again)


def test_a_task_waits_for_a_registry_that_is_gone(early, name):
    gantry = early.gantry
    arn = early.run(name, "echo started; exec sha256sum /large/b")
    early.wait_until_reading(name)
    gantry.kill("server")
    early.proxy.release()
    wait_until(lambda: "chunks of an image cannot be fetched" in gantry.log("agent"), 30, "the reason in the log")
    gantry.start("server")
    early.finished(name, arn)
    wait_until(lambda: not early.unfinished(), 60, "the whole image")


def test_a_stopped_task_does_not_wait_for_its_image(early, name):
    gantry = early.gantry
    arn = early.run(name, "echo started; exec sha256sum /large/b")
    early.wait_until_reading(name)
    gantry.client("ecs").stop_task(task=arn)
    task = gantry.wait_for_status(arn, "STOPPED", 60)
    assert task["stopCode"] == "UserInitiated", task
    # With the last mount go those who served it.
    gantry.stop()
    gantry.run("teardown")
    assert mounts(gantry) == []
    serving = ["pgrep", "-f", f"shim layer.* {gantry.folder}/"]
    wait_until(lambda: subprocess.run(serving, capture_output=True).returncode == 1, 30, "the end of who served it")
