"""The main job: an image pushed by a real client, run by the unmodified AWS CLI as a task and as a service."""

import json
import subprocess
import tempfile
import urllib.request

import pytest

from conftest import AWS_V1, AWS_V2, busybox_rootfs, image, wait_until


@pytest.mark.parametrize("program", [AWS_V1, AWS_V2], ids=["aws-v1", "aws-v2"])
def test_a_task_runs_prints_and_ends(gantry, name, program):
    def aws(*arguments):
        return gantry.aws(*arguments, program=program)

    aws("ecs", "create-cluster", "--cluster-name", name)
    definition = {
        "family": name,
        "containerDefinitions": [{
            "name": "hello",
            "image": image(gantry),
            "memory": 32,
            "command": ["sh", "-c", "echo hello from $GREETER; exit 3"],
            "environment": [{"name": "GREETER", "value": "a task"}],
            "logConfiguration": {"logDriver": "awslogs", "options": {
                "awslogs-group": f"/{name}", "awslogs-region": "us-east-1", "awslogs-stream-prefix": "w",
                "awslogs-create-group": "true"}},
        }],
    }
    aws("ecs", "register-task-definition", "--cli-input-json", json.dumps(definition))
    started = aws("ecs", "run-task", "--task-definition", name)
    assert started["failures"] == []
    arn = started["tasks"][0]["taskArn"]
    gantry.wait_for_status(arn, "STOPPED")
    task = aws("ecs", "describe-tasks", "--tasks", arn)["tasks"][0]
    assert task["stopCode"] == "EssentialContainerExited"
    assert task["stoppedReason"] == "Essential container in task exited"
    assert task["containers"][0]["exitCode"] == 3
    # Version 1 of the CLI has no `logs tail`.
    assert "hello from a task" in str(gantry.aws("logs", "tail", f"/{name}", program=AWS_V2))
    assert "hello from a task" in str(aws("logs", "filter-log-events", "--log-group-name", f"/{name}"))


def test_a_service_answers_is_replaced_and_scales(gantry, name):
    definition = {
        "family": name,
        "containerDefinitions": [{
            "name": "web",
            "image": image(gantry),
            "memory": 32,
            "command": ["sh", "-c", "echo I am $(hostname) > /www/index.html; exec httpd -f -p 80 -h /www"],
            "portMappings": [{"containerPort": 80}],
        }],
    }
    aws = gantry.aws
    aws("ecs", "register-task-definition", "--cli-input-json", json.dumps(definition))
    aws("ecs", "create-service", "--service-name", name, "--task-definition", name, "--desired-count", "2")
    ecs = gantry.client("ecs")
    ecs.get_waiter("services_stable").wait(services=[name], WaiterConfig={"Delay": 1, "MaxAttempts": 60})

    def running():
        arns = ecs.list_tasks(serviceName=name)["taskArns"]
        tasks = ecs.describe_tasks(tasks=arns)["tasks"] if arns else []
        return [task for task in tasks if task["lastStatus"] == "RUNNING"]

    def page(task):
        port = task["containers"][0]["networkBindings"][0]["hostPort"]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
            return answer.read().decode()

    pages = {wait_until(lambda: page(task), what="the page") for task in running()}
    assert len(pages) == 2

    victim = running()[0]
    ecs.stop_task(task=victim["taskArn"], reason="a test")
    others = wait_until(
        lambda: [t for t in running() if t["taskArn"] != victim["taskArn"]][1:] and running(), what="a replacement")
    assert victim["taskArn"] not in [task["taskArn"] for task in others]

    aws("ecs", "update-service", "--service", name, "--desired-count", "0")
    wait_until(lambda: not ecs.list_tasks(serviceName=name)["taskArns"], what="scaling to 0")
    aws("ecs", "delete-service", "--service", name)
    ecs.get_waiter("services_inactive").wait(services=[name], WaiterConfig={"Delay": 1, "MaxAttempts": 60})


def test_an_image_pushed_by_skopeo_runs(gantry, name, tmp_path):
    aws = gantry.aws
    repository = aws("ecr", "create-repository", "--repository-name", name)["repository"]
    assert repository["repositoryUri"] == f"localhost:{gantry.port}/{name}"
    password = aws("ecr", "get-login-password").strip()

    # An OCI archive made by podman's tools from a root filesystem; skopeo pushes it.
    root = busybox_rootfs(tmp_path / "root")
    subprocess.run(["tar", "-C", root, "-cf", tmp_path / "root.tar", "."], check=True)
    short = tempfile.mkdtemp(prefix="pm", dir="/var/tmp")  # podman refuses long paths
    storage = ["--root", f"{short}/s", "--runroot", f"{short}/r", "--storage-driver", "vfs"]
    subprocess.run(["podman", *storage, "import", "-q", tmp_path / "root.tar", f"{name}:1"], check=True)
    subprocess.run(
        ["podman", *storage, "save", "-q", "--format", "oci-archive", "-o", tmp_path / "image.tar", f"{name}:1"],
        check=True)
    subprocess.run(
        ["skopeo", "copy", "-q", "--dest-tls-verify=false", "--dest-creds", f"AWS:{password}",
         f"oci-archive:{tmp_path}/image.tar", f"docker://localhost:{gantry.port}/{name}:1"], check=True)

    subprocess.run(["rm", "-rf", short], check=True)

    images = aws("ecr", "describe-images", "--repository-name", name)["imageDetails"]
    assert images[0]["imageTags"] == ["1"]
    aws("ecs", "register-task-definition", "--cli-input-json", json.dumps({
        "family": name,
        "containerDefinitions": [
            {"name": "c", "image": image(gantry, f"{name}:1"), "memory": 32, "command": ["true"]}],
    }))
    arn = aws("ecs", "run-task", "--task-definition", name)["tasks"][0]["taskArn"]
    task = gantry.wait_for_status(arn, "STOPPED")
    assert task["containers"][0]["exitCode"] == 0
    assert task["containers"][0]["imageDigest"] == images[0]["imageDigest"]
