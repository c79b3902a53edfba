"""A full-size cluster on one server: a real `gantry server` on its durable store, and agents that run nothing but speak
the real protocol, each over a WebSocket of its own (`fleet`, an example of the gantry crate, which is also the client).
Server and agents share the machine's cores.

    .venv/bin/python benches/scale.py [AGENTS SERVICES TASKS_PER_SERVICE]...

Without arguments: a tenth, a half and the full size, so that what grows faster than the size shows."""

import json
import os
import resource
import subprocess
import sys
import time

from common import ROOT, Gantry, fresh_disk, rss_mib, table

FLEET = os.environ.get("FLEET_BIN", str(ROOT / "target/release/examples/fleet"))
SIZES = [(500, 500, 20), (2500, 2500, 20), (5000, 5000, 20)]
# The quota of tasks in a service; its deployment has twice as many.
BIG_SERVICE = 5_000


class Fleet:
    def __init__(self, gantry):
        keys = gantry.environment
        self.process = subprocess.Popen(
            [FLEET, gantry.url, keys["AWS_ACCESS_KEY_ID"], keys["AWS_SECRET_ACCESS_KEY"]],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, *words):
        print(" ".join(str(word) for word in words), end=" ", file=sys.stderr, flush=True)
        print(*words, file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        print(line.strip(), file=sys.stderr, flush=True)
        return json.loads(line)

    def calls(self, operation, count, clients, /, **request):
        return self.ask("calls", operation, count, clients, json.dumps(request))["call_ms"]

    def end(self):
        self.process.kill()
        self.process.wait()


def cpu_seconds(pid):
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def definition(family):
    return {"family": family, "containerDefinitions": [
        {"name": "app", "image": "localhost:4566/app:1", "cpu": 64, "memory": 256,
         "environment": [{"name": "STAGE", "value": "production"}, {"name": "LEVEL", "value": "info"}],
         "portMappings": [{"containerPort": 80}],
         "logConfiguration": {"logDriver": "awslogs", "options": {
             "awslogs-group": "/ecs/app", "awslogs-region": "us-east-1", "awslogs-stream-prefix": "app"}}}]}


def measure(agents, services, each):
    # The last service is the big one: the quota of services in a cluster is the full size.
    services -= 1
    tasks, row = services * each, {}
    gantry = Gantry("server", *os.environ.get("SCALE_OPTIONS", "").split())
    fleet = Fleet(gantry)
    try:
        ecs = gantry.client("ecs")
        for family in ("small", "big"):
            ecs.register_task_definition(**definition(family))
        ecs.create_cluster(clusterName="default")
        pid = gantry.process.pid
        row["RSS empty, MiB"] = f"{rss_mib(pid):.0f}"
        connected = fleet.ask("agents", agents)
        row["agents registered and connected /s"] = f"{agents / connected['seconds']:.0f}"
        row["RSS with agents, MiB"] = f"{rss_mib(pid):.0f}"
        spent = cpu_seconds(pid)
        started = fleet.ask("services", services, each, "small:1")
        spent = cpu_seconds(pid) - spent
        row["tasks durable, delivered and RUNNING /s"] = f"{tasks / started['seconds']:.0f}"
        row["the server's CPU for it, µs a task"] = f"{spent / tasks * 1e6:.0f}"
        row["CreateService, p50 / p99 ms"] = both(started["call_ms"])
        time.sleep(5)
        row["RSS with tasks, MiB"] = f"{rss_mib(pid):.0f}"
        before = cpu_seconds(pid)
        time.sleep(10)
        row["CPU while it stands, % of a core"] = f"{(cpu_seconds(pid) - before) * 10:.0f}"
        task = ecs.list_tasks(serviceName="s7-small-1")["taskArns"][0]
        for name, operation, request in (
                ("DescribeTasks", "DescribeTasks", {"tasks": [task]}),
                ("ListTasks of a service", "ListTasks", {"serviceName": "s7-small-1"}),
                ("DescribeServices", "DescribeServices", {"services": ["s7-small-1"]}),
                ("ListContainerInstances with a filter", "ListContainerInstances", {
                    "filter": "attribute:ecs.availability-zone == us-east-1b and runningTasksCount > 3"})):
            row[f"{name}, 4 clients, p50 / p99 ms"] = both(fleet.calls(operation, 4000, 4, **request))
        run = {"taskDefinition": "small:1", "count": 1}
        row["RunTask, 1 client, p50 / p99 ms"] = both(fleet.calls("RunTask", 1000, 1, **run))
        row["RunTask with memberOf and spread, 1 client, p50 / p99 ms"] = both(fleet.calls(
            "RunTask", 1000, 1, **run,
            placementConstraints=[{"type": "memberOf", "expression": "attribute:rack =~ r[1-4].*"}],
            placementStrategy=[{"type": "spread", "field": "attribute:ecs.availability-zone"},
                               {"type": "binpack", "field": "memory"}]))
        rest = tasks + 2000
        fleet.ask("running", rest)
        big = BIG_SERVICE * agents // SIZES[-1][0]
        ecs.create_service(serviceName="big", taskDefinition="big:1", desiredCount=big)
        row[f"one service of {BIG_SERVICE:,} (in proportion), to all RUNNING, s"] = (
            f"{fleet.ask('running', rest + big)['seconds']:.1f}")
        row["its deployment to COMPLETED, s"] = deploy(gantry, ecs, "big")
        gantry.process.kill()
        gantry.process.wait()
        gantry.start()
        row["kill -9, start to serving, ms"] = f"{gantry.ready_seconds * 1000:.0f}"
        row["and to all agents connected, s"] = f"{fleet.ask('connected', agents)['seconds']:.1f}"
        row["RSS after it, MiB"] = f"{rss_mib(gantry.process.pid):.0f}"
    finally:
        fleet.end()
        gantry.process.kill()
        gantry.process.wait()
        subprocess.run(["rm", "-rf", str(gantry.folder)])
    return row


def deploy(gantry, ecs, service):
    """From UpdateService until its deployment says COMPLETED: a task counts as healthy 40 s after its start."""
    pid = gantry.process.pid
    began, spent = time.monotonic(), cpu_seconds(pid)
    ecs.update_service(service=service, forceNewDeployment=True)
    while True:
        time.sleep(0.2)
        deployments = ecs.describe_services(services=[service])["services"][0]["deployments"]
        if len(deployments) == 1 and deployments[0]["rolloutState"] == "COMPLETED":
            return f"{time.monotonic() - began:.1f} ({cpu_seconds(pid) - spent:.1f} s CPU)"


def both(call):
    return f"{call['p50']:.2f} / {call['p99']:.2f}"


def main(sizes=SIZES):
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    with fresh_disk():
        columns = [measure(*size) for size in sizes]
    header = [""] + [f"{agents:,} agents, {services * each:,} tasks in {services:,} services"
                     for agents, services, each in sizes]
    table("Full size", header, [[name] + [column[name] for column in columns] for name in columns[0]])


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:]]
    main([tuple(numbers[index:index + 3]) for index in range(0, len(numbers), 3)] or SIZES)
