"""What ECS tells of tasks, services and instances, as `gantry events` shows it."""

import json

from conftest import register, run_to_end, wait_until


def events(gantry, detail_type, resource):
    lines = gantry.run("events", "--output", "json", "--lines", "1000").stdout.splitlines()
    told = [json.loads(line) for line in lines]
    return [one for one in told if one["detail-type"] == detail_type and resource in one["resources"][0]]


def test_a_task_tells_every_step(gantry, name):
    task, _ = run_to_end(gantry, name, "exit 3")
    told = wait_until(
        lambda: [one for one in [events(gantry, "ECS Task State Change", task["taskArn"])]
                 if one and one[-1]["detail"]["lastStatus"] == "STOPPED"], what="the last event")[0]
    statuses = [one["detail"]["lastStatus"] for one in told]
    assert statuses[0] == "PENDING" and "RUNNING" in statuses and statuses[-1] == "STOPPED"
    versions = [one["detail"]["version"] for one in told]
    assert versions == sorted(versions)
    last = told[-1]
    assert last["source"] == "aws.ecs" and last["account"] == "000000000000"
    assert last["detail"]["stopCode"] == "EssentialContainerExited"
    assert last["detail"]["containers"][0]["exitCode"] == 3
    assert last["detail"]["stoppedAt"].endswith("Z") and last["detail"]["clusterArn"].endswith("cluster/default")
    instance = task["containerInstanceArn"]
    assert wait_until(lambda: events(gantry, "ECS Container Instance State Change", instance), what="the instance's")


def test_a_service_tells_its_deployment_and_its_tasks(gantry, name):
    definition = register(gantry, name, {"command": ["sleep", "1000"]})
    ecs = gantry.client("ecs")
    ecs.create_service(serviceName=name, taskDefinition=definition, desiredCount=2)
    resource = f"service/default/{name}"
    [started] = wait_until(lambda: events(gantry, "ECS Service Action", resource), what="the start of the tasks")[:1]
    assert (started["detail"]["eventType"], started["detail"]["eventName"]) == ("INFO", "TASKS_STARTED")
    [begun] = events(gantry, "ECS Deployment State Change", resource)[:1]
    assert begun["detail"]["eventName"] == "SERVICE_DEPLOYMENT_IN_PROGRESS"
    assert begun["detail"]["deploymentId"].startswith("ecs-svc/")
    ecs.delete_service(service=name, force=True)


def test_a_daemon_runs_once_on_the_instance(gantry, name):
    definition = register(gantry, name, {"command": ["sleep", "1000"]})
    ecs = gantry.client("ecs")
    ecs.create_service(serviceName=name, taskDefinition=definition, schedulingStrategy="DAEMON")

    def running():
        [service] = ecs.describe_services(services=[name])["services"]
        return service if service["runningCount"] == 1 else None

    service = wait_until(running, what="the daemon's task")
    assert (service["schedulingStrategy"], service["desiredCount"]) == ("DAEMON", 1)
    assert ecs.list_services(schedulingStrategy="DAEMON")["serviceArns"][0].endswith(name)
    ecs.delete_service(service=name, force=True)
