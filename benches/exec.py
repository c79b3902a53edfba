"""ECS Exec: time to the first byte, key echo, and 100 MB through a session; beside `docker exec`.

First byte and echo go over the plugin's protocol (tests/e2e/exec_channel.py), the 100 MB through `gantry exec`.
"""

import os
import subprocess
import sys
import time

from common import GANTRY, Gantry, ROOT, milliseconds, table, wait_until
from start import DockerPeer

sys.path.insert(0, str(ROOT / "tests/e2e"))
from exec_channel import Channel  # noqa: E402

FIRST_BYTES = 50
KEYS = 1000
MEGABYTES = 100


def first_byte(ecs, task):
    began = time.perf_counter()
    answer = ecs.execute_command(task=task, command="/bin/sh", interactive=True)
    shell = Channel(answer["session"])
    while not shell.output:
        shell.step()
    took = time.perf_counter() - began
    # Properly: a session whose client just goes away counts for a while.
    shell.type("exit\n")
    shell.to_end()
    return took


def echoes(ecs, task):
    """Each key is typed when the one before has come back."""
    cat = Channel(ecs.execute_command(task=task, command="cat", interactive=True)["session"])
    while not cat.ready:
        cat.step()
    times = []
    for _ in range(KEYS):
        seen = len(cat.output)
        began = time.perf_counter()
        cat.type("x")
        while len(cat.output) == seen:
            cat.step()
        times.append(time.perf_counter() - began)
    cat.type(b"\x03")
    cat.to_end()
    return times


def throughput(command, environment=None):
    began = time.perf_counter()
    done = subprocess.run([*command, "head", "-c", str(MEGABYTES * 1000 * 1000), "/dev/zero"],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=environment)
    took = time.perf_counter() - began
    assert done.returncode == 0 and len(done.stdout) == MEGABYTES * 1000 * 1000
    return f"{MEGABYTES / took:,.0f}"


def beside_docker():
    """Through a dockerd of its own."""
    if not os.path.exists("/usr/sbin/dockerd"):
        return "–"
    peer = DockerPeer("/tmp")
    try:
        peer.docker("run", "-d", "--name", "peer", "bb:1", "sleep", "1000")
        return throughput(["docker", "exec", "-i", "peer"], peer.environment)
    finally:
        peer.end()


def main():
    gantry = Gantry("up")
    try:
        gantry.wait_for_instance()
        ecs = gantry.client("ecs")
        ecs.register_task_definition(family="exec", containerDefinitions=[
            {"name": "c", "image": gantry.push_busybox(), "memory": 64, "command": ["sleep", "100000"]}])
        task = ecs.run_task(taskDefinition="exec", launchType="EC2", enableExecuteCommand=True)["tasks"][0]["taskArn"]
        wait_until(lambda: ecs.describe_tasks(tasks=[task])["tasks"][0]["lastStatus"] == "RUNNING")
        first = [first_byte(ecs, task) for _ in range(FIRST_BYTES)]
        keys = echoes(ecs, task)
        ours = throughput([GANTRY, "exec", task, "--data-dir", str(gantry.folder), "-T", "--"])
        table("ECS Exec", ["", "gantry", "docker exec", "goal"], [
            [f"ExecuteCommand to first byte, ms, median / p99 of {FIRST_BYTES}", milliseconds(first), "", "150"],
            [f"key echo, ms, median / p99 of {KEYS}", milliseconds(keys), "", "10"],
            [f"{MEGABYTES} MB through a session, MB/s", ours, beside_docker(), ""],
        ])
    finally:
        gantry.stop_tasks()
        gantry.end()


if __name__ == "__main__":
    main()
