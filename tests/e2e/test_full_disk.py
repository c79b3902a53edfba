"""A data directory that is full to the brim: writes are refused with a clear error and are never half done, reads and
running containers go on, and when there is room again everything works without a restart."""

import os
import subprocess

import botocore.exceptions
import pytest

from conftest import Gantry, image, push_busybox, register, remove_everything, run_task, wait_until

ROOM_MIB = 96


@pytest.fixture
def small_gantry(scratch, name):
    """A Gantry whose data directory is a small file system of its own."""
    folder = os.path.join(scratch, f"small-{name}")
    os.mkdir(folder)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={ROOM_MIB}m", "tmpfs", folder], check=True)
    gantry = Gantry(folder)
    try:
        gantry.start()
        gantry.wait_for_instance()
        push_busybox(gantry)
        yield gantry
        empty(gantry)
        remove_everything(gantry)
    finally:
        gantry.stop()
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill(gantry):
    """Takes every free byte."""
    with open(gantry.folder / "filler", "ab", buffering=0) as filler:
        for size in (1 << 20, 4096, 1):
            try:
                while True:
                    filler.write(b"\0" * size)
            except OSError:
                continue


def empty(gantry):
    (gantry.folder / "filler").unlink(missing_ok=True)


def refused(call):
    """The error of a call that must not succeed."""
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        call()
    return caught.value.response


def families(gantry):
    pages = gantry.client("ecs").get_paginator("list_task_definition_families").paginate()
    return {family for page in pages for family in page["families"]}


def register_until_refused(gantry, name):
    """Registers until the disk says no; returns the acknowledged families and the refusal."""
    acknowledged = set()
    for number in range(2000):
        family = f"{name}-{number}"
        try:
            # The store has room in its own file for a while.
            register(gantry, family, {"environment": [{"name": "PAD", "value": "x" * 30_000}]})
        except botocore.exceptions.ClientError as error:
            return acknowledged, error.response
        acknowledged.add(family)
        fill(gantry)
    raise AssertionError("2000 task definitions of 30 KB fit on a full disk")


def test_a_full_disk_refuses_writes_loses_nothing_and_recovers_without_a_restart(small_gantry, name):
    gantry = small_gantry
    ecs = gantry.client("ecs")
    register(gantry, name, {"command": ["sh", "-c", "exec sleep 100000"], "memory": 8, "stopTimeout": 1})
    runs = run_task(gantry, name)
    started = gantry.wait_for_status(runs, "RUNNING")["startedAt"]

    fill(gantry)
    acknowledged, refusal = register_until_refused(gantry, f"{name}-full")
    assert refusal["ResponseMetadata"]["HTTPStatusCode"] >= 500, refusal
    assert refusal["Error"]["Code"] == "ServerException", refusal

    # Reads go on, and what runs runs.
    assert acknowledged | {name} == {family for family in families(gantry) if family.startswith(name)}
    assert gantry.task(runs)["lastStatus"] == "RUNNING"
    assert gantry.client("ecr").describe_images(repositoryName="busybox")["imageDetails"]
    assert gantry.healthy()

    # A push says what is wrong.
    root = gantry.folder.parent / f"image-{name}"
    (root / "bin").mkdir(parents=True)
    (root / "bin/data").write_bytes(os.urandom(4 << 20))
    pushed = gantry.run("push", str(root), f"{name}:1", check=False)
    assert pushed.returncode != 0
    assert "500" in pushed.stderr or "space" in pushed.stderr or "full" in pushed.stderr, pushed.stderr

    # A task is refused, or accepted and then ends with the reason: it never just hangs.
    try:
        tried = ecs.run_task(taskDefinition=name, launchType="EC2")["tasks"]
    except botocore.exceptions.ClientError as error:
        assert error.response["ResponseMetadata"]["HTTPStatusCode"] >= 500, error.response
        tried = []

    empty(gantry)
    wait_until(lambda: works(gantry, f"{name}-again"), 30, "writes after there is room again")
    for task in tried:
        arn = task["taskArn"]
        wait_until(lambda: gantry.task(arn)["lastStatus"] in ("RUNNING", "STOPPED"), 60, "the end of a refused start")
        after = gantry.task(arn)
        assert after["lastStatus"] == "RUNNING" or after["stoppedReason"], after
    gantry.wait_for_status(run_task(gantry, name), "RUNNING")
    gantry.run("push", str(root), f"{name}:1")
    assert gantry.task(runs)["startedAt"] == started, "it was not touched"

    gantry.kill()
    gantry.start()
    gantry.wait_for_instance()
    assert acknowledged <= families(gantry), "what was acknowledged is there"
    assert gantry.task(runs)["startedAt"] == started


def works(gantry, family):
    try:
        register(gantry, family, {})
    except botocore.exceptions.ClientError:
        return False
    return True


def test_a_container_that_takes_too_much_memory_says_so_and_others_run_on(gantry, name):
    register(gantry, name, {"command": ["sleep", "100000"], "memory": 8, "stopTimeout": 1})
    neighbour = run_task(gantry, name)
    started = gantry.wait_for_status(neighbour, "RUNNING")["startedAt"]
    register(gantry, f"{name}-greedy", {"command": ["tail", "/dev/zero"], "memory": 16, "image": image(gantry)})
    task = gantry.wait_for_status(run_task(gantry, f"{name}-greedy"), "STOPPED")
    container = task["containers"][0]
    assert container["exitCode"] == 137
    assert container["reason"] == "OutOfMemoryError: Container killed due to memory usage"
    assert task["stopCode"] == "EssentialContainerExited"
    assert gantry.task(neighbour)["lastStatus"] == "RUNNING"
    assert gantry.task(neighbour)["startedAt"] == started
    gantry.client("ecs").stop_task(task=neighbour)
