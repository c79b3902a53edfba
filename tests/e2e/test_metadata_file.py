"""The metadata file of containers, as programs in them read it, and what an agent says to its operator."""

import json
import urllib.error
import urllib.request

from conftest import awslogs, free_port, register, run_task, wait_until

UNTIL_READY = 'until grep -q READY "$ECS_CONTAINER_METADATA_FILE"; do :; done; '


def test_a_container_reads_what_it_is_from_a_file_that_it_cannot_write(own_gantry, name, monkeypatch):
    monkeypatch.setenv("ECS_ENABLE_CONTAINER_METADATA", "true")
    gantry = own_gantry(apart=True)
    port = free_port()
    script = (UNTIL_READY + 'cat "$ECS_CONTAINER_METADATA_FILE"; echo; '
              'echo x > "$ECS_CONTAINER_METADATA_FILE" || echo refused; exec sleep 1000')
    definition = register(gantry, name, {
        "command": ["sh", "-c", script], "user": "alice", "stopTimeout": 2, "logConfiguration": awslogs(f"/{name}"),
        "portMappings": [{"containerPort": 80, "hostPort": port}],
    })
    task = run_task(gantry, definition)
    running = gantry.wait_for_status(task, "RUNNING")
    lines = wait_until(lambda: "refused" in (lines := gantry.logs(f"/{name}")) and lines, 30, "a refused write")
    seen = json.loads(lines[0])
    assert (seen["TaskARN"], seen["ContainerName"]) == (task, "main")
    assert (seen["TaskDefinitionFamily"], seen["TaskDefinitionRevision"]) == (name, "1")
    assert (seen["Cluster"], seen["ContainerInstanceARN"]) == ("default", running["containerInstanceArn"])
    assert seen["ContainerID"] == running["containers"][0]["runtimeId"]
    assert seen["PortMappings"] == [
        {"ContainerPort": 80, "HostPort": port, "BindIp": "0.0.0.0", "Protocol": "tcp"}]
    assert seen["Networks"][0]["NetworkMode"] == "bridge"
    assert seen["ImageName"].endswith("/busybox:1") and seen["AvailabilityZone"]

    # It is whole again after its agent was killed, whenever that was.
    files = list(gantry.folder.glob("agent/etc/*/metadata/ecs-container-metadata.json"))
    assert len(files) == 1
    gantry.kill("agent")
    files[0].write_text("{}")
    gantry.start("agent")
    wait_until(lambda: json.loads(files[0].read_text()) == seen, 30, "the file as it was")
    gantry.client("ecs").stop_task(task=task)
    gantry.wait_for_status(task, "STOPPED")
    wait_until(lambda: not files[0].exists(), 30, "the end of the file")


def test_without_the_operators_word_there_is_no_such_file(gantry, name):
    definition = register(gantry, name, {"command": ["sh", "-c", 'test -z "$ECS_CONTAINER_METADATA_FILE"']})
    done = gantry.wait_for_status(run_task(gantry, definition), "STOPPED")
    assert done["containers"][0]["exitCode"] == 0


def test_an_agent_says_what_runs_on_its_machine(own_gantry, name, monkeypatch):
    port = free_port()
    monkeypatch.setenv("GANTRY_INTROSPECTION_PORT", str(port))
    gantry = own_gantry()

    def ask(path):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/{path}", timeout=10) as answer:
            return json.load(answer)

    definition = register(gantry, name, {"command": ["sleep", "1000"], "stopTimeout": 2})
    task = gantry.wait_for_status(run_task(gantry, definition), "RUNNING")
    about = ask("metadata")
    assert (about["Cluster"], about["ContainerInstanceArn"]) == ("default", task["containerInstanceArn"])
    assert about["Version"].startswith("Gantry Agent - v")
    [shown] = ask("tasks")["Tasks"]
    assert (shown["Arn"], shown["Family"], shown["KnownStatus"]) == (task["taskArn"], name, "RUNNING")
    container = task["containers"][0]["runtimeId"]
    assert [each["DockerId"] for each in shown["Containers"]] == [container]
    assert ask(f"tasks?taskarn={task['taskArn']}") == ask(f"tasks?dockerid={container}") == shown
    try:
        ask("tasks?dockerid=nobody")
        raise AssertionError("a container that is not there was found")
    except urllib.error.HTTPError as error:
        assert error.code == 404
    gantry.client("ecs").stop_task(task=task["taskArn"])
    gantry.wait_for_status(task["taskArn"], "STOPPED")
    wait_until(lambda: ask("tasks")["Tasks"] == [], 30, "the end of the task")
