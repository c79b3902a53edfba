"""Roles of tasks: credentials, metadata and the agent's API as the programs in the containers see them."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import boto3
import botocore.config
import pytest
from botocore.exceptions import ClientError

from access import allow, role
from conftest import (
    HOST_NETWORK, REGION, awslogs, found_in_files, image, make, push_busybox, register, remove_everything, run_task,
    run_to_end, wait_until)

pytestmark = HOST_NETWORK
ACCOUNT = "000000000000"
CREDENTIALS = "wget -qO- http://169.254.170.2$AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"


def client(gantry, service, credentials):
    """A client with what the endpoint answered."""
    return boto3.client(
        service, endpoint_url=gantry.url, region_name=REGION, aws_access_key_id=credentials["AccessKeyId"],
        aws_secret_access_key=credentials["SecretAccessKey"], aws_session_token=credentials["Token"],
        config=botocore.config.Config(retries={"max_attempts": 1}))


def identity(gantry, credentials):
    """Who the credentials say one is; the error's code when they do not hold."""
    try:
        return client(gantry, "sts", credentials).get_caller_identity()["Arn"]
    except ClientError as error:
        return error.response["Error"]["Code"]


def in_mode(mode):
    """What a task definition and RunTask need for a network mode."""
    if mode != "awsvpc":
        return {"networkMode": mode}, {}
    network = {"awsvpcConfiguration": {"subnets": ["subnet-roles"]}}
    return {"networkMode": "awsvpc"}, {"networkConfiguration": network}


def printed(gantry, name):
    try:
        return gantry.logs(f"/{name}")
    except gantry.client("logs").exceptions.ResourceNotFoundException:
        return []


def python_rootfs(folder):
    """A root filesystem with the Python that runs this test, and boto3."""
    root = Path(folder)
    stdlib = Path(sysconfig.get_path("stdlib"))
    skip = shutil.ignore_patterns("test", "tests", "__pycache__", "idlelib", "tkinter", "ensurepip", "dist-packages",
                                  "site-packages", "config-*")
    shutil.copytree(stdlib, root / str(stdlib).lstrip("/"), ignore=skip, symlinks=True)
    program = Path(os.path.realpath(sys.executable))
    libraries = set()
    for binary in [program, *stdlib.glob("lib-dynload/*.so")]:
        found = subprocess.run(["ldd", str(binary)], capture_output=True, text=True).stdout
        libraries |= set(re.findall(r"(/\S+\.so\S*)", found))
    for path in [str(program), *libraries]:
        to = root / path.lstrip("/")
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(os.path.realpath(path), to)
    site = Path(boto3.__file__).parents[1]
    modules = root / "modules"
    for name in ("boto3", "botocore", "jmespath", "s3transfer", "urllib3", "dateutil", "six.py"):
        source = site / name
        if source.is_dir():
            # Of the descriptions of all services only those that are asked for here.
            wanted = {"ecs", "sts", "logs", "iam"}
            def unwanted(path, names):
                inside = Path(path) == site / "botocore" / "data"
                return [n for n in names if n == "__pycache__"
                        or inside and (Path(path) / n).is_dir() and n not in wanted]
            shutil.copytree(source, modules / name, ignore=unwanted)
        else:
            modules.mkdir(exist_ok=True)
            shutil.copy(source, modules / name)
    (root / "tmp").mkdir(exist_ok=True)
    return root, str(program)


@pytest.fixture(scope="module")
def open_gantry(scratch):
    """A Gantry that containers can call; the credentials of its tasks hold for a short time only."""
    config = Path(scratch) / "roles.toml"
    config.write_text("task_credentials_seconds = 20\ninsecure = true\n")
    gantry = make(scratch, config=config, listen="0.0.0.0").start()
    gantry.wait_for_instance()
    push_busybox(gantry)
    root, program = python_rootfs(gantry.folder / "python-rootfs")
    gantry.run("push", str(root), "python:1", "--cmd", json.dumps([program]))
    gantry.python = program
    yield gantry
    remove_everything(gantry)


BOTO = """
import json, os, urllib.request
import boto3
from botocore.exceptions import ClientError

route = [line.split() for line in open("/proc/net/route")][1:]
gateway = next(r[2] for r in route if r[1] == "00000000") if os.environ["MODE"] != "host" else "0100007F"
address = ".".join(str(b) for b in reversed(bytes.fromhex(gateway)))
os.environ["AWS_ENDPOINT_URL"] = "http://%s:%s" % (address, os.environ["PORT"])

def attempt(service, call, **arguments):
    try:
        answer = getattr(boto3.client(service), call)(**arguments)
        answer.pop("ResponseMetadata")
        return answer
    except ClientError as error:
        return error.response["Error"]["Code"]

def get(uri):
    return json.load(urllib.request.urlopen(uri, timeout=5))

print(json.dumps({
    "who": attempt("sts", "get_caller_identity")["Arn"],
    "allowed": attempt("ecs", "list_clusters"),
    "denied": attempt("ecs", "list_services"),
    "other": attempt("iam", "list_users"),
    "method": boto3.Session().get_credentials().method,
    "region": boto3.Session().region_name,
    "task": get(os.environ["ECS_CONTAINER_METADATA_URI_V4"] + "/task"),
    "container": get(os.environ["ECS_CONTAINER_METADATA_URI"]),
    "stats": get(os.environ["ECS_CONTAINER_METADATA_URI_V4"] + "/stats"),
    "all stats": get(os.environ["ECS_CONTAINER_METADATA_URI_V4"] + "/task/stats"),
    "tags": get(os.environ["ECS_CONTAINER_METADATA_URI_V4"] + "/taskWithTags").get("TaskTags"),
    "environment": os.environ["AWS_EXECUTION_ENV"],
}), flush=True)
"""


@pytest.mark.parametrize("mode", ["bridge", "host", "awsvpc"])
def test_boto3_without_configuration_may_do_what_the_task_role_may(open_gantry, name, mode):
    gantry = open_gantry
    definition_part, run_part = in_mode(mode)
    arn = role(gantry, allow("ecs:ListClusters"))
    container = {
        "image": image(gantry, "python:1"), "memory": 256, "command": ["-c", BOTO], "entryPoint": [gantry.python],
        "environment": [{"name": "PORT", "value": str(gantry.port)}, {"name": "MODE", "value": mode},
                        {"name": "PYTHONPATH", "value": "/modules"}],
        "logConfiguration": awslogs(f"/{name}"),
    }
    definition = register(gantry, name, container, taskRoleArn=arn, **definition_part)
    task = run_task(gantry, definition, tags=[{"key": "team", "value": "a"}], **run_part)
    ended = gantry.wait_for_status(task, "STOPPED", 90)
    lines = printed(gantry, name)
    assert ended["containers"][0].get("exitCode") == 0, (ended, lines)
    seen = json.loads(lines[0])
    task_id = task.rsplit("/", 1)[1]
    assert seen["who"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/{arn.rsplit('/', 1)[1]}/{task_id}"
    assert seen["allowed"] == {"clusterArns": [f"arn:aws:ecs:{REGION}:{ACCOUNT}:cluster/default"]}
    assert (seen["denied"], seen["other"]) == ("AccessDeniedException", "AccessDenied")
    assert (seen["method"], seen["region"]) == ("container-role", REGION)
    assert seen["environment"] == "AWS_ECS_EC2"
    shown = seen["task"]
    assert (shown["TaskARN"], shown["Family"], shown["Revision"]) == (task, name, "1")
    assert (shown["KnownStatus"], shown["LaunchType"]) == ("RUNNING", "EC2")
    assert shown["Containers"][0]["Networks"][0]["NetworkMode"] == mode
    assert seen["container"]["Name"] == "main" and seen["container"]["KnownStatus"] == "RUNNING"
    assert seen["stats"]["cpu_stats"]["cpu_usage"]["total_usage"] > 0
    assert seen["stats"]["memory_stats"]["usage"] > 0
    assert list(seen["all stats"]) == [seen["container"]["DockerId"]]
    assert seen["tags"] == {"team": "a"}
    if mode == "awsvpc":
        network = shown["Containers"][0]["Networks"][0]
        interface = {each["name"]: each["value"] for each in ended["attachments"][0]["details"]}
        assert network["IPv4Addresses"] == [interface["privateIPv4Address"]]
        assert seen["stats"]["networks"]["eth0"]["rx_bytes"] > 0


def credentials_of(gantry, name, number=0):
    """The `number`th document that a task of this name has printed."""
    def found():
        documents = [json.loads(line) for line in printed(gantry, name) if line.startswith('{"RoleArn"')]
        return documents[number] if len(documents) > abs(number) or (number < 0 and documents) else None

    return wait_until(found, 60, "credentials")


def test_credentials_rotate_and_end_with_the_task(open_gantry, name):
    gantry = open_gantry
    arn = role(gantry, allow("ecs:ListClusters"))
    script = f"while true; do {CREDENTIALS}; echo; sleep 1; done"
    tasks = {}
    for mode in ("bridge", "host", "awsvpc"):
        definition_part, run_part = in_mode(mode)
        definition = register(
            gantry, f"{name}{mode}",
            {"command": ["sh", "-c", script], "logConfiguration": awslogs(f"/{name}{mode}"), "stopTimeout": 2},
            taskRoleArn=arn, **definition_part)
        tasks[f"{name}{mode}"] = run_task(gantry, definition, **run_part)
        gantry.wait_for_status(tasks[f"{name}{mode}"], "RUNNING")

    def who(task):
        return f"arn:aws:sts::{ACCOUNT}:assumed-role/{arn.rsplit('/', 1)[1]}/{task.rsplit('/', 1)[1]}"

    def newer(each):
        lines = (json.loads(line) for line in printed(gantry, each) if line.startswith("{"))
        return next((line for line in lines if line["AccessKeyId"] != first[each]["AccessKeyId"]), None)

    first = {each: credentials_of(gantry, each) for each in tasks}
    for each, task in tasks.items():
        assert first[each]["RoleArn"] == arn and first[each]["AccessKeyId"].startswith("ASIA")
        assert identity(gantry, first[each]) == who(task)
    for each, task in tasks.items():
        assert wait_until(lambda: newer(each), 60, "new credentials")["Expiration"] > first[each]["Expiration"]
        wait_until(lambda: identity(gantry, first[each]) == "ExpiredToken", 60, "the end of the first credentials")
        newest = credentials_of(gantry, each, -1)
        assert identity(gantry, newest) == who(task)

        # Nothing of them is on disk, but where the task itself has printed them.
        assert found_in_files(gantry.folder, newest["SecretAccessKey"], "-s", "--exclude-dir=logs") == []

        gantry.client("ecs").stop_task(task=task)
        gantry.wait_for_status(task, "STOPPED")
        for ended in (newest, credentials_of(gantry, each, -1)):
            assert identity(gantry, ended) in ("InvalidClientTokenId", "ExpiredToken")


def test_running_tasks_get_credentials_again_after_a_kill(own_gantry, name):
    gantry = own_gantry()
    arn = role(gantry, allow("ecs:ListClusters"))
    tasks = []
    for mode in ("bridge", "host"):
        script = f"while true; do {CREDENTIALS} 2>/dev/null; echo; sleep 1; done"
        definition = register(
            gantry, f"{name}{mode}", {"command": ["sh", "-c", script], "logConfiguration": awslogs(f"/{name}{mode}")},
            taskRoleArn=arn, networkMode=mode)
        tasks.append((f"{name}{mode}", run_task(gantry, definition)))
        gantry.wait_for_status(tasks[-1][1], "RUNNING")
    before = {each: credentials_of(gantry, each)["AccessKeyId"] for each, _ in tasks}
    gantry.kill()
    gantry.start()
    gantry.wait_for_instance()
    for each, task in tasks:
        def again():
            documents = [json.loads(line) for line in printed(gantry, each) if line.startswith('{"RoleArn"')]
            return next((one for one in documents if one["AccessKeyId"] != before[each]), None)

        given = wait_until(again, 60, "credentials after the restart")
        assert identity(gantry, given).endswith(task.rsplit("/", 1)[1])
        assert gantry.task(task)["lastStatus"] == "RUNNING"


@pytest.mark.parametrize("mode", ["bridge", "host", "awsvpc"])
def test_a_task_reaches_nothing_of_others(open_gantry, name, mode):
    gantry = open_gantry
    definition_part, run_part = in_mode(mode)
    arn = role(gantry, allow("*"))
    # The victim tells its ids, as somebody careless might.
    victim = register(
        gantry, f"{name}v", {"command": ["sh", "-c", "env; sleep 1000"], "logConfiguration": awslogs(f"/{name}v")},
        taskRoleArn=arn, **in_mode("bridge")[0])
    task = run_task(gantry, victim)
    variables = wait_until(
        lambda: dict(line.split("=", 1) for line in printed(gantry, f"{name}v") if "=" in line) or None, 60, "its ids")
    wanted = {"CREDENTIALS": variables["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"],
              "METADATA": variables["ECS_CONTAINER_METADATA_URI_V4"], "AGENT": variables["ECS_AGENT_URI"]}
    script = """
    code() { wget -S -qO /tmp/out "$1" 2>&1 | grep -o 'HTTP/1.1 [0-9]*' | tail -1 | cut -d' ' -f2; }
    echo "credentials $(code http://169.254.170.2$CREDENTIALS)"
    echo "metadata $(code $METADATA/task)"
    echo "protection $(code $AGENT/task-protection/v1/state)"
    echo "own $(code $ECS_CONTAINER_METADATA_URI_V4/task)"
    echo "guess $(code http://169.254.170.2/v2/credentials/00000000-0000-4000-8000-000000000000)"
    echo "none $(code http://169.254.170.2/v2/credentials/)"
    echo "traversal $(code http://169.254.170.2/v4/../v2/credentials/x)"
    echo "roleless ${AWS_CONTAINER_CREDENTIALS_RELATIVE_URI:-nothing}"
    echo "sockets $(find / -xdev -type s 2>/dev/null | wc -l)"
    """
    container = {"command": ["sh", "-c", script], "logConfiguration": awslogs(f"/{name}"),
                 "environment": [{"name": key, "value": value} for key, value in wanted.items()]}
    definition = register(gantry, name, container, **definition_part)
    gantry.wait_for_status(run_task(gantry, definition, **run_part), "STOPPED")
    seen = dict(line.split(" ", 1) for line in printed(gantry, name))
    assert seen["credentials"] == "400" and seen["metadata"] == "404" and seen["protection"] == "404", seen
    assert seen["own"] == "200" and seen["guess"] == "400" and seen["none"] == "400", seen
    assert seen["traversal"] != "200" and seen["roleless"] == "nothing" and seen["sockets"] == "0", seen
    gantry.client("ecs").stop_task(task=task)


def test_other_containers_and_the_host_do_not_reach_an_endpoint(open_gantry, name):
    """By address: the endpoint of a task is in its own network namespace."""
    gantry = open_gantry
    arn = role(gantry)
    victim = register(
        gantry, f"{name}v", {"command": ["sh", "-c", "hostname -i; sleep 1000"],
                             "logConfiguration": awslogs(f"/{name}v")}, taskRoleArn=arn)
    task = run_task(gantry, victim)
    address = wait_until(lambda: printed(gantry, f"{name}v"), 60, "its address")[0].split()[0]
    _, lines = run_to_end(
        gantry, name,
        f"for port in 80 51679 51678; do nc -w 2 {address} $port </dev/null 2>/dev/null && echo open || echo closed; done; "
        "ip route | grep -o 'via [0-9.]*' | cut -d' ' -f2 | while read gateway; do "
        "for port in 80 51679 51678; do nc -w 2 $gateway $port </dev/null 2>/dev/null && echo open || echo closed; done; done")
    assert lines == ["closed"] * 6
    gantry.client("ecs").stop_task(task=task)


def test_a_web_server_on_port_80_and_the_endpoint_do_not_meet(open_gantry, name):
    gantry = open_gantry
    arn = role(gantry, allow("ecs:ListClusters"))
    script = (f"mkdir -p /www; echo mine > /www/index.html; httpd -p 80 -h /www; sleep 1; "
              f"wget -qO- http://127.0.0.1/index.html; {CREDENTIALS}; echo")
    _, lines = run_to_end(gantry, name, script, task={"taskRoleArn": arn, "networkMode": "awsvpc"},
                          run=in_mode("awsvpc")[1])
    assert lines[0] == "mine" and json.loads(lines[1])["RoleArn"] == arn


def test_roles_that_cannot_be_taken_on_are_refused(open_gantry, name):
    gantry = open_gantry
    ecs = gantry.client("ecs")
    sentence = ("ECS was unable to assume the role '{}' that was provided for this task. Please verify that the role "
                "being passed has the proper trust relationship and permissions and that your IAM user has permissions "
                "to pass this role.")
    for arn in (f"arn:aws:iam::{ACCOUNT}:role/none", role(gantry, service="ec2.amazonaws.com"),
                "arn:aws:iam::111122223333:role/foreign"):
        for member in ("taskRoleArn", "executionRoleArn"):
            definition = register(gantry, name, {"command": ["true"]}, **{member: arn})
            with pytest.raises(ClientError) as refusal:
                ecs.run_task(taskDefinition=definition)
            assert refusal.value.response["Error"] == {"Code": "ClientException", "Message": sentence.format(arn)}
    good = register(gantry, name, {"command": ["true"]})
    with pytest.raises(ClientError):
        ecs.run_task(taskDefinition=good, overrides={"taskRoleArn": f"arn:aws:iam::{ACCOUNT}:role/none"})
    arn = f"arn:aws:iam::{ACCOUNT}:role/none"
    definition = register(gantry, name, {"command": ["sleep", "1000"]}, taskRoleArn=arn)
    ecs.create_service(serviceName=name, taskDefinition=definition, desiredCount=1)
    def events():
        return [event["message"] for event in ecs.describe_services(services=[name])["services"][0]["events"]]

    expected = f"(service {name}) failed to launch a task with (error {sentence.format(arn)})."
    wait_until(lambda: expected in events(), 30, "the event")
    ecs.delete_service(service=name, force=True)


def test_an_override_replaces_the_task_role(open_gantry, name):
    gantry = open_gantry
    written, other = role(gantry), role(gantry, allow("ecs:ListClusters"))
    _, lines = run_to_end(gantry, name, f"{CREDENTIALS}; echo", task={"taskRoleArn": written},
                          run={"overrides": {"taskRoleArn": other}})
    assert json.loads(lines[0])["RoleArn"] == other


def test_the_execution_role_pulls_and_logs(open_gantry, name):
    gantry = open_gantry
    full = role(gantry, managed=["service-role/AmazonECSTaskExecutionRolePolicy"])
    gantry.client("logs").create_log_group(logGroupName=f"/{name}")
    options = awslogs(f"/{name}")
    del options["options"]["awslogs-create-group"]
    _, lines = run_to_end(gantry, name, "echo delivered", logConfiguration=options, task={"executionRoleArn": full})
    assert lines == ["delivered"]

    # Who may not fetch a token does not get the image, whatever the machine may.
    nothing = role(gantry)
    fresh = f"{name}:1"
    root = gantry.folder / "busybox-rootfs"
    gantry.run("push", str(root), fresh, "--cmd", '["true"]')
    definition = register(gantry, name, {"image": image(gantry, fresh)}, executionRoleArn=nothing)
    task = gantry.wait_for_status(run_task(gantry, definition), "STOPPED")
    reason = task["containers"][0]["reason"]
    assert reason.startswith("CannotPullECRContainerError: AccessDeniedException: User: arn:aws:sts::"), reason
    assert f"/{task['taskArn'].rsplit('/', 1)[1]} is not authorized to perform: ecr:GetAuthorizationToken" in reason

    pulls = role(gantry, allow(["ecr:GetAuthorizationToken", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer",
                                "ecr:BatchCheckLayerAvailability"]))
    definition = register(
        gantry, name, {"image": image(gantry, fresh), "logConfiguration": options}, executionRoleArn=pulls)
    task = gantry.wait_for_status(run_task(gantry, definition), "STOPPED")
    reason = task["containers"][0]["reason"]
    assert "failed to create Cloudwatch log stream" in reason and "logs:CreateLogStream" in reason, reason


def test_a_fargate_task_says_what_its_execution_role_lacks(own_gantry, name):
    gantry = own_gantry()
    nothing = role(gantry)
    definition = register(
        gantry, name, {"memory": None, "image": image(gantry)}, executionRoleArn=nothing, networkMode="awsvpc",
        requiresCompatibilities=["FARGATE"], cpu="256", memory="512")
    task = gantry.wait_for_status(
        run_task(gantry, definition, launchType="FARGATE", networkConfiguration=in_mode("awsvpc")[1]["networkConfiguration"]),
        "STOPPED")
    assert task["stoppedReason"].startswith(
        "ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval failed: "
        "unable to retrieve ecr registry auth: service call has been retried 1 time(s): AccessDeniedException: "), task


PROTECT = """
wget -qO- $ECS_AGENT_URI/task-protection/v1/state; echo
body='{"ProtectionEnabled":true,"ExpiresInMinutes":60}'
address=${ECS_AGENT_URI#http://169.254.170.2}
printf 'PUT %s/task-protection/v1/state HTTP/1.1\\r\\nHost: a\\r\\nConnection: close\\r\\nContent-Length: %s\\r\\n\\r\\n%s' \
  "$address" "${#body}" "$body" | nc 169.254.170.2 80 | tail -1; echo
printf 'PUT %s/task-protection/v1/state HTTP/1.1\\r\\nHost: a\\r\\nConnection: close\\r\\nContent-Length: 2\\r\\n\\r\\n{}' \
  "$address" | nc 169.254.170.2 80 | tail -1; echo
sleep 1000
"""


def test_a_task_protects_itself_with_its_role(open_gantry, name):
    gantry = open_gantry
    ecs = gantry.client("ecs")
    arn = role(gantry, allow(["ecs:GetTaskProtection", "ecs:UpdateTaskProtection"]))
    definition = register(
        gantry, name, {"command": ["sh", "-c", PROTECT], "logConfiguration": awslogs(f"/{name}")}, taskRoleArn=arn)
    ecs.create_service(serviceName=name, taskDefinition=definition, desiredCount=1)
    lines = wait_until(lambda: (found := printed(gantry, name)) and len(found) >= 3 and found, 60, "its answers")
    task = ecs.list_tasks(serviceName=name)["taskArns"][0]
    assert json.loads(lines[0]) == {"protection": {"ProtectionEnabled": False, "TaskArn": task}}
    protected = json.loads(lines[1])["protection"]
    assert protected["ProtectionEnabled"] is True and protected["ExpirationDate"].endswith("Z")
    refused = json.loads(lines[2])["error"]
    assert refused["Code"] == "InvalidParameterException" and "ProtectionEnabled" in refused["Message"]
    found = ecs.get_task_protection(cluster="default", tasks=[task])["protectedTasks"][0]
    assert found["protectionEnabled"] is True
    ecs.delete_service(service=name, force=True)


def test_without_the_permission_a_task_is_not_protected(open_gantry, name):
    gantry = open_gantry
    script = "wget -qO- $ECS_AGENT_URI/task-protection/v1/state 2>&1 | grep -o 'HTTP/1.1 [0-9]*'"
    _, lines = run_to_end(gantry, name, script, task={"taskRoleArn": role(gantry)})
    assert lines == ["HTTP/1.1 400"]
    _, lines = run_to_end(gantry, f"{name}n", script)
    assert lines == ["HTTP/1.1 403"]
