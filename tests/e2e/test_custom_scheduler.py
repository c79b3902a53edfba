"""The example in examples/custom-scheduler: it places by its own rule on two instances, and replaces what ends."""

import os
import signal
import subprocess
import sys

from conftest import GANTRY, ROOT, register, wait_until

SCHEDULER = ROOT / "examples/custom-scheduler/scheduler.py"


class Second:
    """A second container instance on this machine: an agent with a data directory of its own."""

    def __init__(self, gantry, *options):
        self.folder = gantry.folder / "second"
        self.folder.mkdir()
        self.arguments = [
            GANTRY, "agent", "--data-dir", str(self.folder), "--server", gantry.url,
            "--join-token-file", str(gantry.folder / "join-token"), "--log-level", "info",
            *options,
        ]
        log = open(self.folder / "agent.log", "ab")
        self.process = subprocess.Popen(self.arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)
        subprocess.run([GANTRY, "teardown", "--data-dir", str(self.folder)], check=True, timeout=60)


def scheduler(gantry, log, *arguments):
    return subprocess.Popen(
        [sys.executable, str(SCHEDULER), *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        env={**os.environ, **gantry.environment})


def test_the_cheapest_instance_gets_the_tasks_and_what_ends_is_replaced(own_gantry, name):
    gantry = own_gantry()
    ecs = gantry.client("ecs")
    second = Second(gantry)
    process = None
    try:
        instances = wait_until(
            lambda: [arns for arns in [ecs.list_container_instances()["containerInstanceArns"]] if len(arns) == 2],
            what="the second instance")[0]
        for arn, price in zip(instances, ["0.30", "0.10"]):
            ecs.put_attributes(attributes=[{"name": "price", "value": price, "targetId": arn}])
        dear, cheap = instances
        definition = register(gantry, name, {"command": ["sleep", "1000"]})
        log = open(gantry.folder / "scheduler.log", "ab")
        # Nothing but events makes it look again.
        options = ["--per-instance", "2", "--name", name, "--look-every", "86400"]
        process = scheduler(gantry, log, definition, "--count", "3", *options)

        def placed(count=3):
            arns = ecs.list_tasks(startedBy=f"cheapest/{name}"[:36])["taskArns"]
            tasks = ecs.describe_tasks(tasks=arns)["tasks"] if arns else []
            running = [task for task in tasks if task["lastStatus"] == "RUNNING"]
            return running if len(running) == len(tasks) == count else None

        def on(tasks, instance):
            return sorted(task["taskArn"] for task in tasks if task["containerInstanceArn"] == instance)

        # Two on the cheaper one, which takes no more; the third elsewhere.
        tasks = wait_until(placed, 60, "three tasks")
        assert (len(on(tasks, cheap)), len(on(tasks, dear))) == (2, 1)

        # A task that ends is replaced.
        stopped = on(tasks, cheap)[0]
        ecs.stop_task(task=stopped)
        tasks = wait_until(lambda: [one for one in [placed()] if one and stopped not in on(one, cheap)], 60)[0]
        assert (len(on(tasks, cheap)), len(on(tasks, dear))) == (2, 1)

        # Killed and started again, it finds its tasks and starts none.
        process.kill()
        process.wait()
        lost = on(tasks, dear)[0]
        # Now the other one is the cheaper.
        ecs.put_attributes(attributes=[{"name": "price", "value": "0.05", "targetId": dear}])
        ecs.stop_task(task=lost)
        process = scheduler(gantry, log, definition, "--count", "4", *options)
        tasks = wait_until(lambda: placed(4), 60, "four tasks")
        assert (len(on(tasks, cheap)), len(on(tasks, dear))) == (2, 2)
        assert lost not in on(tasks, dear)
    finally:
        if process:
            process.kill()
            process.wait()
            print((gantry.folder / "scheduler.log").read_text())
        for task in ecs.list_tasks()["taskArns"]:
            ecs.stop_task(task=task)
        wait_until(lambda: not ecs.list_tasks()["taskArns"], 60, "the end of all tasks")
        second.stop()
