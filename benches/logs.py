"""awslogs: ten tasks write as fast as they are read, in blocking mode, and every line must be found afterwards."""

import time

from common import Gantry, table, wait_until

TASKS = 10
LINES = 200_000
# With its number a line has 100 bytes.
WORDS = "x" * 92


def resident_peak(pid):
    """MiB that a process had at most."""
    for line in open(f"/proc/{pid}/status"):
        if line.startswith("VmHWM"):
            return int(line.split()[1]) // 1024
    raise ValueError(f"process {pid} does not say what it has")


def numbers(logs, stream):
    """The number that each line of a stream begins with, in the stream's order."""
    options, token = {"logGroupName": "/bench", "logStreamName": stream, "startFromHead": True}, None
    while True:
        page = logs.get_log_events(**options, **({"nextToken": token} if token else {}))
        if page["nextForwardToken"] == token:
            return
        yield from (int(event["message"].split("\t")[0]) for event in page["events"])
        token = page["nextForwardToken"]


def main():
    gantry = Gantry("up")
    try:
        gantry.wait_for_instance()
        ecs, logs = gantry.client("ecs"), gantry.client("logs")
        logs.create_log_group(logGroupName="/bench")
        options = {"awslogs-group": "/bench", "awslogs-region": "us-east-1", "awslogs-stream-prefix": "t", "mode": "blocking"}
        ecs.register_task_definition(family="logs", containerDefinitions=[{
            "name": "c", "image": gantry.push_busybox(), "memory": 64,
            "command": ["sh", "-c", f"yes {WORDS} | head -n {LINES} | cat -n"],
            "logConfiguration": {"logDriver": "awslogs", "options": options}}])
        before = resident_peak(gantry.process.pid)
        began = time.perf_counter()
        arns = [task["taskArn"] for task in ecs.run_task(taskDefinition="logs", count=TASKS)["tasks"]]
        wait_until(lambda: all(task["lastStatus"] == "STOPPED" for task in ecs.describe_tasks(tasks=arns)["tasks"]), 600, 0.2)
        streams = [f"t/c/{arn.rsplit('/', 1)[1]}" for arn in arns]

        def last(stream):
            events = logs.get_log_events(logGroupName="/bench", logStreamName=stream, limit=1)["events"]
            return events and int(events[0]["message"].split("\t")[0])

        wait_until(lambda: all(last(stream) == LINES for stream in streams), 60, 0.05)
        took = time.perf_counter() - began
        after = resident_peak(gantry.process.pid)
        found = sum(list(numbers(logs, stream)) == list(range(1, LINES + 1)) for stream in streams)
        assert found == TASKS, f"{TASKS - found} streams are not what was written"
        table(f"awslogs, {TASKS} tasks, {LINES:,} lines of 100 bytes each", ["", "gantry", "goal"], [
            ["lines/s, first task asked for to last line readable", f"{TASKS * LINES / took:,.0f}", "50,000"],
            ["lines lost or out of order", "0", "0"],
            ["peak RSS before / after, MiB", f"{before} / {after}", "bounded"],
        ])
    finally:
        gantry.stop_tasks()
        gantry.end()


if __name__ == "__main__":
    main()
