"""GPUs: what CDI specifications describe is offered to tasks, each to one container at a time. The GPUs of these tests
are /dev/null under other names."""

import json
import signal
from pathlib import Path

import botocore.exceptions
import pytest

from conftest import make, push_busybox, register, remove_everything, wait_until

NAMES = ["gpu-a", "gpu-b", "gpu-c"]
GPUS = [f"example.com/gpu={name}" for name in NAMES]


def node(gpu):
    return {"path": f"/dev/gpus/{gpu}", "hostPath": "/dev/null", "permissions": "rw"}


def specification(folder):
    folder.mkdir(parents=True)
    document = {
        "cdiVersion": "0.6.0",
        "kind": "example.com/gpu",
        "containerEdits": {"env": ["GPU_VENDOR=example"]},
        "devices": [{"name": gpu, "containerEdits": {"deviceNodes": [node(gpu)]}} for gpu in NAMES],
    }
    # YAML, as the vendors' tools write it: JSON is a part of it.
    (folder / "example.yaml").write_text(json.dumps(document))
    return folder


def gpus(count):
    return [{"type": "GPU", "value": str(count)}]


@pytest.fixture
def gantry(own_gantry, scratch, name):
    """A server and an agent that offers three GPUs."""
    directory = specification(Path(scratch) / name)
    return own_gantry(apart=True, extra=["--enable-gpu", "--cdi-spec-dir", str(directory)])


def resources(gantry, which):
    ecs = gantry.client("ecs")
    arns = ecs.list_container_instances()["containerInstanceArns"]
    instance = ecs.describe_container_instances(containerInstances=arns)["containerInstances"][0]
    return next(one for one in instance[which] if one["name"] == "GPU")


def free(gantry):
    return resources(gantry, "remainingResources")["stringSetValue"]


def test_a_task_gets_gpus_of_its_own_and_gives_them_back(gantry, name):
    ecs = gantry.client("ecs")
    registered = resources(gantry, "registeredResources")
    assert (registered["type"], registered["stringSetValue"]) == ("STRINGSET", GPUS)

    script = ('ls /dev/gpus; echo x > /dev/gpus/${NVIDIA_VISIBLE_DEVICES#*=} && echo "written $GPU_VENDOR"; '
              'echo "visible=$NVIDIA_VISIBLE_DEVICES"; exec sleep 1000')
    definition = register(
        gantry, name,
        {"name": "one", "command": ["sh", "-c", script], "resourceRequirements": gpus(1), "logConfiguration": {
            "logDriver": "awslogs", "options": {
                "awslogs-group": name, "awslogs-create-group": "true", "awslogs-region": "us-east-1",
                "awslogs-stream-prefix": "w"}}},
        {"name": "other", "command": ["sleep", "1000"], "resourceRequirements": gpus(1)},
        {"name": "none", "command": ["sh", "-c", "test ! -e /dev/gpus && exec sleep 1000"]})
    first = ecs.run_task(taskDefinition=definition)["tasks"][0]["taskArn"]
    task = gantry.wait_for_status(first, "RUNNING")
    held = {container["name"]: container.get("gpuIds", []) for container in task["containers"]}
    assert held == {"one": GPUS[:1], "other": GPUS[1:2], "none": []}
    assert free(gantry) == GPUS[2:]
    printed = wait_until(lambda: [line for line in gantry.logs(name) if "visible=" in line] and gantry.logs(name),
                         what="the container's output")
    assert printed == ["gpu-a", "written example", f"visible={GPUS[0]}"]

    # There are not enough for a second one, before and after the control plane was killed.
    refused = ecs.run_task(taskDefinition=definition)
    assert [failure["reason"] for failure in refused["failures"]] == ["RESOURCE:GPU"]
    gantry.kill("server", signal.SIGKILL)
    gantry.start("server")
    gantry.wait_for_instance()
    refused = ecs.run_task(taskDefinition=definition)
    assert [failure["reason"] for failure in refused["failures"]] == ["RESOURCE:GPU"]
    one = {"containerOverrides": [{"name": "other", "resourceRequirements": gpus(2)}]}
    assert ecs.run_task(taskDefinition=definition, overrides=one)["failures"][0]["reason"] == "RESOURCE:GPU"

    ecs.stop_task(task=first)
    gantry.wait_for_status(first, "STOPPED")
    assert free(gantry) == GPUS
    second = ecs.run_task(taskDefinition=definition, overrides=one)["tasks"][0]["taskArn"]
    task = gantry.wait_for_status(second, "RUNNING")
    assert [container.get("gpuIds") for container in task["containers"]][:2] == [GPUS[:1], GPUS[1:]]


def test_a_service_takes_the_gpus_that_there_are_and_says_what_is_missing(gantry, name):
    ecs = gantry.client("ecs")
    definition = register(gantry, name, {"command": ["sleep", "1000"], "resourceRequirements": gpus(1)})
    ecs.create_service(serviceName=name, taskDefinition=definition, desiredCount=4)

    def service():
        return ecs.describe_services(services=[name])["services"][0]

    wait_until(lambda: service()["runningCount"] == 3, what="three tasks")
    complaint = 'encountered error "RESOURCE:GPU"'
    wait_until(lambda: any(complaint in event["message"] for event in service()["events"]), what="an event")
    tasks = ecs.describe_tasks(tasks=ecs.list_tasks(serviceName=name)["taskArns"])["tasks"]
    assert sorted(container["gpuIds"][0] for task in tasks for container in task["containers"]) == GPUS
    ecs.update_service(service=name, desiredCount=0)
    wait_until(lambda: free(gantry) == GPUS, what="all GPUs free")


def test_fargate_and_what_is_not_built_refuse_gpus_by_name(gantry, name):
    ecs = gantry.client("ecs")
    container = {"name": "main", "image": "busybox:1", "resourceRequirements": gpus(1)}
    with pytest.raises(botocore.exceptions.ClientError) as refused:
        ecs.register_task_definition(
            family=name, containerDefinitions=[container], requiresCompatibilities=["FARGATE"], networkMode="awsvpc",
            cpu="256", memory="512")
    expected = "Fargate compatible task definitions do not support resourceRequirements"
    assert refused.value.response["Error"]["Message"] == expected
    definition = register(gantry, name, {"command": ["true"], "resourceRequirements": gpus("ALL")})
    with pytest.raises(botocore.exceptions.ClientError) as refused:
        ecs.run_task(taskDefinition=definition)
    assert "resourceRequirements type 'GPU' value 'ALL'" in refused.value.response["Error"]["Message"]


def test_an_external_instance_offers_its_gpus_too(scratch, name):
    directory = specification(Path(scratch) / name)
    gantry = make(scratch, apart=True, extra=["--enable-gpu", "--cdi-spec-dir", str(directory)])
    gantry.start("server")
    iam, ssm, ecs = gantry.client("iam"), gantry.client("ssm"), gantry.client("ecs")
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "ssm.amazonaws.com"}, "Action": "sts:AssumeRole"}]}))
    iam.attach_role_policy(
        RoleName=name, PolicyArn="arn:aws:iam::aws:policy/service-role/AmazonEC2ContainerServiceforEC2Role")
    activation = ssm.create_activation(IamRole=name)
    gantry.extra += ["--activation-id", activation["ActivationId"], "--activation-code", activation["ActivationCode"]]
    gantry.start("agent")
    try:
        gantry.wait_for_instance()
        push_busybox(gantry)
        command = ["sh", "-c", f"test $NVIDIA_VISIBLE_DEVICES = {GPUS[0]},{GPUS[1]} && test -c /dev/gpus/gpu-b && sleep 1000"]
        definition = register(gantry, name, {"command": command, "resourceRequirements": gpus(2)})
        arn = ecs.run_task(taskDefinition=definition, launchType="EXTERNAL")["tasks"][0]["taskArn"]
        task = gantry.wait_for_status(arn, "RUNNING")
        assert task["containers"][0]["gpuIds"] == GPUS[:2]
        assert free(gantry) == GPUS[2:]
    finally:
        remove_everything(gantry)
