#!/usr/bin/env python3
"""Keeps a number of tasks running, each on the container instance that is cheapest at that moment.

A scheduler of one's own with nothing but the public API: an EventBridge rule wakes it, StartTask places. The price of
an instance is its attribute `price`; an instance without one is not used. Among equals the instance with the fewest
tasks of this scheduler wins, and none gets more than --per-instance.

An event carries no decision. It only says that something changed; what to do follows from what the API answers at
that moment. So it does no harm when an event comes twice or late, and the scheduler may be killed and started again.
"""

import argparse
import http.server
import json
import threading

import boto3


def choose(instances, tasks_on, needs, per_instance):
    """The instance for the next task: the cheapest with room, of equals the one with the fewest tasks, or None."""

    def fits(instance):
        remaining = {each["name"]: each.get("integerValue", 0) for each in instance["remainingResources"]}
        return (
            instance["status"] == "ACTIVE"
            and instance["agentConnected"]
            and price(instance) is not None
            and tasks_on.get(instance["containerInstanceArn"], 0) < per_instance
            and all(remaining.get(name, 0) >= amount for name, amount in needs.items())
        )

    def rank(instance):
        arn = instance["containerInstanceArn"]
        return price(instance), tasks_on.get(arn, 0), arn

    return min(filter(fits, instances), key=rank, default=None)


def price(instance):
    """What an hour on the instance costs, if it says so."""
    found = [each.get("value") for each in instance["attributes"] if each["name"] == "price"]
    try:
        return float(found[0]) if found else None
    except (TypeError, ValueError):
        return None


class Scheduler:
    def __init__(self, ecs, options):
        self.ecs = ecs
        self.options = options
        self.started_by = f"cheapest/{options.name}"[:36]

    def look(self):
        """Starts what is missing, one task at a time: each changes what is cheapest."""
        definition = self.ecs.describe_task_definition(taskDefinition=self.options.task_definition)["taskDefinition"]
        while True:
            tasks = self.tasks()
            if len(tasks) >= self.options.count:
                return
            tasks_on = {}
            for task in tasks:
                arn = task["containerInstanceArn"]
                tasks_on[arn] = tasks_on.get(arn, 0) + 1
            chosen = choose(self.instances(), tasks_on, needs(definition), self.options.per_instance)
            if chosen is None:
                print(f"{len(tasks)} of {self.options.count} tasks run; no instance has room", flush=True)
                return
            if not self.start(definition, chosen):
                return

    def start(self, definition, instance):
        answer = self.ecs.start_task(
            cluster=self.options.cluster,
            taskDefinition=definition["taskDefinitionArn"],
            containerInstances=[instance["containerInstanceArn"]],
            startedBy=self.started_by,
        )
        for failure in answer["failures"]:
            print(f"not started on {failure.get('arn')}: {failure.get('reason')}", flush=True)
        for task in answer["tasks"]:
            print(f"started {task['taskArn']} for {price(instance)} an hour", flush=True)
        return answer["tasks"]

    def tasks(self):
        """The tasks of this scheduler that run or will."""
        pages = self.ecs.get_paginator("list_tasks").paginate(cluster=self.options.cluster, startedBy=self.started_by)
        arns = [arn for page in pages for arn in page["taskArns"]]
        return list(described(self.ecs.describe_tasks, "tasks", self.options.cluster, arns))

    def instances(self):
        pages = self.ecs.get_paginator("list_container_instances").paginate(cluster=self.options.cluster)
        arns = [arn for page in pages for arn in page["containerInstanceArns"]]
        describe = self.ecs.describe_container_instances
        return list(described(describe, "containerInstances", self.options.cluster, arns))


def needs(definition):
    """CPU units and MiB that a task takes of its instance."""
    containers = definition["containerDefinitions"]
    memory = sum(each.get("memoryReservation") or each.get("memory", 0) for each in containers)
    cpu = sum(each.get("cpu", 0) for each in containers)
    return {"CPU": int(definition.get("cpu", cpu)), "MEMORY": int(definition.get("memory", memory))}


def described(describe, member, cluster, arns):
    for start in range(0, len(arns), 100):
        yield from describe(**{"cluster": cluster, member: arns[start:start + 100]})[member]


def listen(port, wake):
    """An endpoint that wakes the scheduler whenever EventBridge sends it an event."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            print(f"woken by {event['detail-type']}: {event['resources'][0].rsplit('/', 1)[-1]}", flush=True)
            wake.set()
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


def subscribe(events, options, port):
    """Sends the events that matter here: a task of ours stops, or an instance comes, goes or changes."""
    pattern = {
        "source": ["aws.ecs"],
        "$or": [
            {"detail-type": ["ECS Task State Change"], "detail": {"lastStatus": ["STOPPED"]}},
            {"detail-type": ["ECS Container Instance State Change"]},
        ],
    }
    rule = f"cheapest-{options.name}"
    events.put_rule(Name=rule, EventPattern=json.dumps(pattern), Description="Wakes a scheduler")
    events.put_targets(Rule=rule, Targets=[{"Id": "scheduler", "Arn": f"http://127.0.0.1:{port}/"}])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task_definition", help="family, family:revision or ARN")
    parser.add_argument("--count", type=int, default=1, help="how many tasks run")
    parser.add_argument("--per-instance", type=int, default=10, help="most tasks on one instance")
    parser.add_argument("--cluster", default="default")
    parser.add_argument("--name", default="demo", help="tells the tasks of several schedulers apart")
    parser.add_argument("--port", type=int, default=0, help="where events are sent to")
    parser.add_argument("--look-every", type=float, default=30, help="seconds, when no event comes")
    options = parser.parse_args()
    wake = threading.Event()
    subscribe(boto3.client("events"), options, listen(options.port, wake))
    scheduler = Scheduler(boto3.client("ecs"), options)
    while True:
        wake.clear()
        scheduler.look()
        wake.wait(options.look_every)


if __name__ == "__main__":
    main()
