"""The endpoint of tasks: credentials of the task role and metadata, asked for from inside the network namespaces of many
tasks, each request with a connection of its own. ENDPOINT_TASKS says how many tasks there are (1000), ENDPOINT_REQUESTS
how many requests of each kind (2000)."""

import ctypes
import json
import os
import socket
import time

from common import Gantry, milliseconds, table, wait_until

TASKS = int(os.environ.get("ENDPOINT_TASKS", "1000"))
REQUESTS = int(os.environ.get("ENDPOINT_REQUESTS", "2000"))
CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)


def enter(namespace):
    if LIBC.setns(namespace.fileno(), CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


def environments():
    """Process id → environment of every container of a task with a role."""
    found = {}
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        try:
            text = open(f"/proc/{entry.name}/environ", "rb").read().decode(errors="replace")
        except OSError:
            continue
        if "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI=" in text:
            found[entry.name] = dict(line.split("=", 1) for line in text.split("\0") if "=" in line)
    return found


def ask(path):
    """Seconds that one request takes, connection included."""
    began = time.perf_counter()
    with socket.create_connection(("169.254.170.2", 80), timeout=5) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: 169.254.170.2\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while part := connection.recv(65536):
            answer += part
    took = time.perf_counter() - began
    assert answer.startswith(b"HTTP/1.1 200"), answer[:200]
    return took


def start_tasks(gantry):
    iam, ecs = gantry.client("iam"), gantry.client("ecs")
    trust = {"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": {"Service": "ecs-tasks.amazonaws.com"}, "Action": "sts:AssumeRole"}]}
    role = iam.create_role(RoleName="bench", AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    container = {"name": "c", "image": gantry.push_busybox(), "memory": 6, "command": ["sleep", "100000"]}
    ecs.register_task_definition(family="bench", taskRoleArn=role, networkMode="bridge",
                                 containerDefinitions=[container])
    before = set(environments())
    for left in range(TASKS, 0, -10):
        ecs.run_task(taskDefinition="bench", count=min(10, left))
    wait_until(lambda: len(set(environments()) - before) >= TASKS, 600, 0.5)
    return {pid: variables for pid, variables in environments().items() if pid not in before}


def main():
    gantry = Gantry("up")
    own = open("/proc/self/ns/net")
    try:
        gantry.wait_for_instance()
        tasks = list(start_tasks(gantry).items())
        taken = {"credentials": [], "metadata /task": []}
        for number in range(REQUESTS):
            pid, variables = tasks[number % len(tasks)]
            metadata = variables["ECS_CONTAINER_METADATA_URI_V4"].removeprefix("http://169.254.170.2")
            with open(f"/proc/{pid}/ns/net") as namespace:
                enter(namespace)
                taken["credentials"].append(ask(variables["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"]))
                taken["metadata /task"].append(ask(f"{metadata}/task"))
            enter(own)
        table(f"Endpoint of tasks ({len(tasks)} tasks)", ["request", "ms, median / 99th percentile"],
              [(what, milliseconds(values)) for what, values in taken.items()])
    finally:
        enter(own)
        gantry.stop_tasks()
        gantry.end()


if __name__ == "__main__":
    main()
