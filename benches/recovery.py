"""kill -9 of everything but the containers, with 20 tasks: time until the API tells the truth again."""

import signal
import time

from common import Gantry, table, wait_until

TASKS = 20


def main():
    gantry = Gantry("up")
    try:
        gantry.wait_for_instance()
        image = gantry.push_busybox()
        ecs = gantry.client("ecs")
        ecs.register_task_definition(family="b", containerDefinitions=[
            {"name": "c", "image": image, "memory": 16, "stopTimeout": 1, "command": ["sleep", "1000"]}])
        for _ in range(TASKS // 10):
            ecs.run_task(taskDefinition="b", count=10, launchType="EC2")
        arns = wait_until(lambda: (a := ecs.list_tasks()["taskArns"]) and len(a) == TASKS and a)

        def truth():
            try:
                tasks = ecs.describe_tasks(tasks=arns)["tasks"]
                instance = ecs.list_container_instances()["containerInstanceArns"]
                connected = ecs.describe_container_instances(containerInstances=instance)["containerInstances"]
                return {t["lastStatus"] for t in tasks} == {"RUNNING"} and connected[0]["agentConnected"]
            except Exception:
                return False

        wait_until(truth)
        started = {t["taskArn"]: t["startedAt"] for t in ecs.describe_tasks(tasks=arns)["tasks"]}
        measured = []
        for _ in range(5):
            gantry.process.send_signal(signal.SIGKILL)
            gantry.process.wait()
            began = time.monotonic()
            gantry.start()
            wait_until(truth)
            measured.append(time.monotonic() - began)
        again = {t["taskArn"]: t["startedAt"] for t in ecs.describe_tasks(tasks=arns)["tasks"]}
        restarted = sum(1 for arn in arns if again[arn] != started[arn])
        table(f"kill -9 of `gantry up` with {TASKS} running tasks", ["", "measured", "goal"], [
            ["start again to truth again, ms (median / worst of 5)",
             f"{sorted(measured)[2] * 1000:.0f} / {max(measured) * 1000:.0f}", "1000"],
            ["containers restarted", restarted, "0"]])
        gantry.stop_tasks()
    finally:
        gantry.end()


if __name__ == "__main__":
    main()
