"""Layers as EROFS images, prepared by the registry: a task sees what it would see of an unpacked one, whatever
happens to the agent and the host meanwhile, and nothing stays mounted."""

import os
import subprocess

import pytest

from conftest import busybox_rootfs, run_task, wait_until

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
        told = ('"message":"image prepared"', '"repository":"prepared"')
        wait_until(lambda: any(all(part in line for part in told) for line in gantry.log("server").splitlines()),
                   60, "the preparation")
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
