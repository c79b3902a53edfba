"""Idle memory, time to ready, and memory per running task."""

import os
import subprocess
import time

from common import Gantry, pss_mib, rss_mib, table, wait_until

TASKS = 20


def shims(folder):
    """Shim processes: every process of the program that is not the main one."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            command = open(f"/proc/{pid}/cmdline").read()
        except OSError:
            continue
        if command.split("\0")[1:2] == ["shim"]:
            found.append(int(pid))
    return found


def main():
    rows = []
    ready = []
    for _ in range(5):
        gantry = Gantry("up")
        ready.append(gantry.ready_seconds)
        gantry.end()
    rows.append(["`gantry up`, exec to ready, ms (median of 5)", f"{sorted(ready)[2] * 1000:.0f}", "200"])

    gantry = Gantry("up")
    try:
        gantry.wait_for_instance()
        time.sleep(2)
        rows.append(["`gantry up`, idle, RSS MiB", f"{rss_mib(gantry.process.pid):.1f}", "40"])
        image = gantry.push_busybox()
        ecs = gantry.client("ecs")
        ecs.register_task_definition(family="b", containerDefinitions=[
            {"name": "c", "image": image, "memory": 16, "stopTimeout": 1, "command": ["sleep", "1000"]}])
        before = {pid: pss_mib(pid) for pid in shims(gantry.folder)}
        for _ in range(TASKS // 10):
            ecs.run_task(taskDefinition="b", count=10, launchType="EC2")
        wait_until(lambda: sum(1 for _ in ecs.list_tasks()["taskArns"]) == TASKS and ecs.describe_clusters()["clusters"][0]["runningTasksCount"] == TASKS)
        time.sleep(1)
        after = {pid: pss_mib(pid) for pid in shims(gantry.folder)}
        per_task = (sum(after.values()) - sum(before.values())) / TASKS
        rows.append([f"supervision of one running task, PSS MiB ({TASKS} tasks)", f"{per_task:.2f}", "0.6"])
        rows.append([f"`gantry up` with {TASKS} tasks, RSS MiB", f"{rss_mib(gantry.process.pid):.1f}", ""])
        gantry.stop_tasks()
    finally:
        gantry.end()

    server = Gantry("server")
    log = open(server.folder / "agent.log", "wb")
    from common import GANTRY
    agent = subprocess.Popen([GANTRY, "agent", "--data-dir", str(server.folder)], stdout=log, stderr=log)
    try:
        server.wait_for_instance()
        time.sleep(2)
        rows.append(["`gantry agent`, idle, RSS MiB", f"{rss_mib(agent.pid):.1f}", "15"])
        rows.append(["`gantry server`, idle, RSS MiB", f"{rss_mib(server.process.pid):.1f}", ""])
    finally:
        agent.terminate()
        agent.wait(30)
        server.end()
    table("Memory and readiness", ["", "measured", "goal"], rows)


if __name__ == "__main__":
    main()
