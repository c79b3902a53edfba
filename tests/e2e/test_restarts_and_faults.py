"""kill -9 of every process, a reboot, a full disk, a broken registry: nothing acknowledged is lost, nothing that runs
is restarted, and the reason is told."""

import signal
import subprocess
import time

import pytest

from conftest import image, register, run_task, wait_until

SLEEP = {"command": ["sleep", "100000"], "memory": 8, "stopTimeout": 1}


def start_tasks(gantry, name, count):
    definition = register(gantry, name, SLEEP)
    ecs = gantry.client("ecs")
    arns = []
    while len(arns) < count:
        answer = ecs.run_task(taskDefinition=definition, count=min(10, count - len(arns)), launchType="EC2")
        assert not answer["failures"], answer["failures"]
        arns += [task["taskArn"] for task in answer["tasks"]]
    wait_until(lambda: statuses(gantry, arns) == {"RUNNING"}, 60, f"{count} running tasks")
    return arns


def statuses(gantry, arns):
    return {task["lastStatus"] for task in gantry.client("ecs").describe_tasks(tasks=arns)["tasks"]}


def containers(gantry):
    """pid → start time of every `sleep 100000` of this Gantry, as the kernel tells it."""
    found = {}
    pids = subprocess.run(["pgrep", "-xf", "sleep 100000"], capture_output=True, text=True).stdout.split()
    for pid in pids:
        try:
            if gantry.owns(pid):
                found[pid] = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[19]
        except (FileNotFoundError, ProcessLookupError):
            pass
    return found


@pytest.mark.parametrize("victim", ["server", "agent"])
def test_twenty_tasks_survive_the_death_of(own_gantry, name, victim):
    gantry = own_gantry(apart=True)
    arns = start_tasks(gantry, name, 20)
    before = containers(gantry)
    assert len(before) >= 20
    started = {t["taskArn"]: t["startedAt"] for t in gantry.client("ecs").describe_tasks(tasks=arns)["tasks"]}

    gantry.kill(victim)
    assert containers(gantry) == before
    gantry.start(victim)
    gantry.wait_for_instance()

    tasks = gantry.client("ecs").describe_tasks(tasks=arns)["tasks"]
    assert {task["lastStatus"] for task in tasks} == {"RUNNING"}
    assert {task["taskArn"]: task["startedAt"] for task in tasks} == started
    assert containers(gantry) == before, "not one container was restarted"

    # The restarted process is in charge again: a stop and a new task both work.
    ecs = gantry.client("ecs")
    ecs.stop_task(task=arns[0])
    gantry.wait_for_status(arns[0], "STOPPED")
    gantry.wait_for_status(run_task(gantry, name), "RUNNING")


def test_what_happens_while_the_agent_is_away_is_told_when_it_is_back(own_gantry, name):
    gantry = own_gantry(apart=True)
    definition = register(gantry, name, {"command": ["sh", "-c", "while ! [ -e /tmp/go ]; do sleep 0.1; done; exit 9"],
                                         "mountPoints": [{"sourceVolume": "v", "containerPath": "/tmp"}]},
                          volumes=[{"name": "v", "host": {"sourcePath": str(gantry.folder / "v")}}])
    arn = run_task(gantry, definition)
    gantry.wait_for_status(arn, "RUNNING")
    gantry.kill("agent")
    (gantry.folder / "v/go").touch()
    time.sleep(0.5)  # let the container end with nobody watching
    gantry.start("agent")
    task = gantry.wait_for_status(arn, "STOPPED")
    assert task["containers"][0]["exitCode"] == 9


def test_a_stop_asked_for_while_the_agent_is_away_is_carried_out(own_gantry, name):
    gantry = own_gantry(apart=True)
    arn, other = start_tasks(gantry, name, 2)
    gantry.kill("agent")
    gantry.client("ecs").stop_task(task=arn, reason="while away")
    gantry.start("agent")
    task = gantry.wait_for_status(arn, "STOPPED")
    assert task["stoppedReason"] == "while away"
    assert gantry.task(other)["lastStatus"] == "RUNNING"


def test_a_reboot_is_noticed_and_services_replace_their_tasks(own_gantry, name):
    gantry = own_gantry(apart=True)
    register(gantry, name, SLEEP)
    ecs = gantry.client("ecs")
    ecs.create_service(serviceName=name, taskDefinition=name, desiredCount=2, launchType="EC2")
    ecs.get_waiter("services_stable").wait(services=[name], WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    before = set(ecs.list_tasks(serviceName=name)["taskArns"])
    gantry.kill("agent")
    # What a reboot does: every process of the containers gone, their shims included.
    shims = subprocess.run(["pgrep", "-f", str(gantry.folder)], capture_output=True, text=True).stdout.split()
    server = str(gantry.processes["server"].pid)
    for pid in [*containers(gantry), *(pid for pid in shims if pid != server)]:
        subprocess.run(["kill", "-9", pid], capture_output=True)
    gantry.start("agent")
    wait_until(lambda: not before & set(ecs.list_tasks(serviceName=name)["taskArns"]), 60, "replacements")
    ecs.get_waiter("services_stable").wait(services=[name], WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    for task in ecs.describe_tasks(tasks=sorted(before))["tasks"]:
        assert task["lastStatus"] == "STOPPED" and task["stoppedReason"], task


def test_gantry_up_leaves_tasks_running_over_a_restart(own_gantry, name):
    gantry = own_gantry()
    arns = start_tasks(gantry, name, 3)
    before = containers(gantry)
    gantry.kill("up", signal.SIGTERM)
    assert containers(gantry) == before
    gantry.start("up")
    gantry.wait_for_instance()
    assert statuses(gantry, arns) == {"RUNNING"}
    assert containers(gantry) == before


@pytest.mark.parametrize("reference", [
    "{own}/nothing-here:1", "127.0.0.1:1/unreachable:1", "{own}/busybox:no-such-tag"])
def test_an_image_that_cannot_be_pulled_has_a_reason(gantry, name, reference):
    reference = reference.format(own=f"localhost:{gantry.port}")
    definition = register(gantry, name, {"image": reference})
    task = gantry.wait_for_status(run_task(gantry, definition), "STOPPED", 120)
    assert task["stopCode"] == "TaskFailedToStart"
    assert task["stoppedReason"] == "Task failed to start"
    reason = task["containers"][0]["reason"]
    registry, repository = reference.split("/")[0], reference.split("/")[1].split(":")[0]
    assert reason.startswith("CannotPullContainerError: "), reason
    assert repository in reason or registry in reason, "the reason names what could not be had: " + reason


def test_a_command_that_does_not_exist_has_a_reason(gantry, name):
    definition = register(gantry, name, {"command": ["/no/such/program"]})
    task = gantry.wait_for_status(run_task(gantry, definition), "STOPPED")
    reason = task["containers"][0]["reason"]
    assert reason.startswith("CannotStartContainerError") and "/no/such/program" in reason


def test_a_taken_port_has_a_reason_and_nothing_else_suffers(gantry, name):
    import socket
    with socket.socket() as holder:
        holder.bind(("0.0.0.0", 0))
        holder.listen()
        port = holder.getsockname()[1]
        definition = register(gantry, name, {**SLEEP, "portMappings": [{"containerPort": 80, "hostPort": port}]})
        task = gantry.wait_for_status(run_task(gantry, definition), "STOPPED")
        assert str(port) in task["containers"][0].get("reason", "") + task["stoppedReason"]


def test_too_much_memory_is_a_failure_with_the_instances_reason(gantry, name):
    definition = register(gantry, name, {**SLEEP, "memory": 10_000_000})
    answer = gantry.client("ecs").run_task(taskDefinition=definition, launchType="EC2")
    assert answer["tasks"] == []
    # Other tests may have registered instances without an agent; those fail with AGENT.
    assert {failure["reason"] for failure in answer["failures"]} - {"AGENT"} == {"RESOURCE:MEMORY"}


def test_services_with_an_image_that_fails_wait_longer_and_longer(gantry, name):
    register(gantry, name, {"image": image(gantry, "nothing-here:1")})
    ecs = gantry.client("ecs")
    ecs.create_service(serviceName=name, taskDefinition=name, desiredCount=1, launchType="EC2")
    service = wait_until(
        lambda: next((s for s in ecs.describe_services(services=[name])["services"]
                      if any("unable to consistently start tasks" in e["message"] for e in s["events"])), None),
        120, "the event of a service that cannot start its tasks")
    assert service["runningCount"] == 0
    ecs.delete_service(service=name, force=True)
