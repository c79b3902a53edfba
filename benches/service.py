"""A service of 50 tasks on one host: from CreateService until all are RUNNING, image at hand, bridge network, CPU and
memory limits on. Beside 50 containers of `docker run -d` and `ctr run -d` from Debian, 20 at a time, until all have run
their first instruction.
"""

import statistics
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

from common import table, wait_until
from start import AT_ONCE, GantryPeer, cpu_seconds, measure, of_each_peer

TASKS = 50
ROUNDS = 3


def service(peer):
    """Seconds from CreateService to the last RUNNING."""
    ecs, name = peer.ecs[0], f"s{uuid.uuid4().hex[:8]}"
    began = time.perf_counter()
    ecs.create_service(serviceName=name, taskDefinition="sleeps", desiredCount=TASKS, launchType="EC2")
    wait_until(lambda: ecs.describe_services(services=[name])["services"][0]["runningCount"] == TASKS, 120, 0.01)
    seconds = time.perf_counter() - began
    ecs.delete_service(service=name, force=True)
    wait_until(lambda: not ecs.list_tasks(serviceName=name)["taskArns"] and not running(ecs), 120, 0.1)
    return seconds


def running(ecs):
    instances = ecs.list_container_instances()["containerInstanceArns"]
    described = ecs.describe_container_instances(containerInstances=instances)["containerInstances"]
    return sum(instance["runningTasksCount"] + instance["pendingTasksCount"] for instance in described)


def containers(peer, out):
    """Seconds until as many containers run without an orchestrator."""
    began = time.perf_counter()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for done in [pool.submit(measure, peer, out, 0, []) for _ in range(TASKS)]:
            done.result()
    seconds = time.perf_counter() - began
    peer.clear()
    return seconds


def bench(peer, out):
    if isinstance(peer, GantryPeer):
        image = peer.ecs[0].describe_task_definition(taskDefinition="bench")["taskDefinition"]["containerDefinitions"][0]
        peer.ecs[0].register_task_definition(family="sleeps", containerDefinitions=[{
            "name": "c", "image": image["image"], "memory": 64, "cpu": 10, "stopTimeout": 1,
            "command": ["sleep", "1000"]}])
    once = (lambda: service(peer)) if isinstance(peer, GantryPeer) else (lambda: containers(peer, out))
    once()
    seconds, cpu = [], 0.0
    for _ in range(ROUNDS):
        before = cpu_seconds()
        seconds.append(once())
        cpu += cpu_seconds() - before
    middle = statistics.median(seconds)
    return [peer.name, f"{middle:.2f}", f"{TASKS / middle:.0f}", f"{cpu / ROUNDS / TASKS * 1000:.0f}"]


def main():
    table(f"{TASKS} tasks of one service on one host (median of {ROUNDS})",
          ["", "s to all running", "tasks/s", "CPU ms per task to start and remove, whole machine"], of_each_peer(bench))


if __name__ == "__main__":
    main()
