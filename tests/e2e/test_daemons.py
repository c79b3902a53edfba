"""Managed daemons with boto3: on every instance of a provider, also on a new one; updates, a broken image, the end."""

import pytest
from botocore.exceptions import ClientError
from conftest import SOON_HEALTHY, image, make, push_busybox, register, remove_everything, wait_until
from test_custom_scheduler import Second
from test_exec import gantry_exec, printed


@pytest.fixture
def gantry(scratch):
    instance = make(scratch, apart=True, settings=SOON_HEALTHY)
    instance.extra = ["--capacity-provider", "workers"]
    instance.start("server")
    ecs = instance.client("ecs")
    ecs.create_cluster(clusterName="default")
    ecs.create_capacity_provider(name="workers", autoScalingGroupProvider={"autoScalingGroupArn": "workers"})
    ecs.put_cluster_capacity_providers(
        cluster="default", capacityProviders=["workers", "FARGATE"], defaultCapacityProviderStrategy=[])
    push_busybox(instance)
    yield instance
    remove_everything(instance)


def define(gantry, family, command, reference="busybox:1", **more):
    return gantry.client("ecs").register_daemon_task_definition(
        family=family,
        containerDefinitions=[{
            "name": "main", "image": image(gantry, reference), "memory": 32, "essential": True, "command": command,
            "stopTimeout": 2}],
        **more)["daemonTaskDefinitionArn"]


def provider_arn(ecs, name):
    return ecs.describe_capacity_providers(capacityProviders=[name])["capacityProviders"][0]["capacityProviderArn"]


def tasks_of(ecs, daemon):
    arns = ecs.list_tasks(daemonName=daemon)["taskArns"]
    return ecs.describe_tasks(tasks=arns, include=["TAGS"])["tasks"] if arns else []


def running(ecs, daemon, count, definition=None):
    """The daemon's tasks once so many run (of this definition)."""
    def there():
        tasks = [task for task in tasks_of(ecs, daemon) if task["lastStatus"] == "RUNNING"]
        right = all(definition in (None, task["taskDefinitionArn"]) for task in tasks)
        return tasks if len(tasks) == count and right else None

    return wait_until(there, 90, f"{count} tasks of {daemon}")


def deployment(ecs, arn):
    answer = ecs.describe_daemon_deployments(daemonDeploymentArns=[arn])
    assert not answer["failures"]
    return answer["daemonDeployments"][0]


def ended(ecs, arn, seconds=180):
    over = ("SUCCESSFUL", "STOPPED", "ROLLBACK_SUCCESSFUL", "ROLLBACK_FAILED")
    return wait_until(lambda: [one for one in [deployment(ecs, arn)] if one["status"] in over], seconds, "the end")[0]


def test_a_daemon_follows_its_instances_through_updates_and_goes(gantry, name):
    ecs = gantry.client("ecs")
    first = define(gantry, name, ["sleep", "1000"], tags=[{"key": "of", "value": "definition"}])
    assert first.endswith(f":daemon-task-definition/{name}:1")
    shown = ecs.describe_daemon_task_definition(daemonTaskDefinition=name)["daemonTaskDefinition"]
    assert (shown["status"], shown["pidMode"]) == ("ACTIVE", "none")
    assert shown["containerDefinitions"][0]["command"] == ["sleep", "1000"]
    # Families of the two kinds of task definition do not meet.
    ordinary = register(gantry, name, {"command": ["sleep", "1000"], "memory": 32})
    assert ordinary.endswith(f":task-definition/{name}:1")

    workers = provider_arn(ecs, "workers")
    with pytest.raises(ClientError, match="UnsupportedFeatureException"):
        ecs.create_daemon(daemonName=name, daemonTaskDefinitionArn=first,
                          capacityProviderArns=[provider_arn(ecs, "FARGATE")])
    asked = dict(
        daemonName=name, daemonTaskDefinitionArn=first, capacityProviderArns=[workers], clientToken="once",
        deploymentConfiguration={"drainPercent": 50.0}, propagateTags="DAEMON", enableECSManagedTags=True,
        tags=[{"key": "team", "value": "ops"}])
    made = ecs.create_daemon(**asked)
    assert made["status"] == "ACTIVE"
    assert ecs.create_daemon(**asked)["daemonArn"] == made["daemonArn"]
    assert [one["daemonArn"] for one in ecs.list_daemons()["daemonSummariesList"]] == [made["daemonArn"]]
    assert tasks_of(ecs, name) == []

    # An instance comes: the daemon is there before anything else is.
    ecs.create_service(serviceName="web", taskDefinition=ordinary, desiredCount=1)
    gantry.start("agent")
    task = running(ecs, name, 1)[0]
    assert (task["group"], task["capacityProviderName"]) == (f"daemon:{name}", "workers")
    tags = {tag["key"]: tag["value"] for tag in task["tags"]}
    assert tags == {"team": "ops", "aws:ecs:clusterName": "default", "aws:ecs:daemonName": name}
    assert ecs.list_tasks(family=name, desiredStatus="STOPPED")["taskArns"] == []
    wait_until(lambda: ecs.describe_services(services=["web"])["services"][0]["runningCount"] == 1, 60, "the service")
    web = ecs.describe_tasks(tasks=ecs.list_tasks(serviceName="web")["taskArns"])["tasks"][0]
    assert web["createdAt"] > task["startedAt"]
    assert ended(ecs, made["deploymentArn"])["status"] == "SUCCESSFUL"

    # And one more.
    second = Second(gantry, "--capacity-provider", "workers")
    try:
        both = running(ecs, name, 2)
        assert len({task["containerInstanceArn"] for task in both}) == 2
        detail = ecs.describe_daemon(daemonArn=made["daemonArn"])["daemon"]
        assert detail["currentRevisions"][0]["totalRunningCount"] == 2
        assert detail["currentRevisions"][0]["capacityProviders"][0]["arn"] == workers

        # A new revision goes from instance to instance, also when the server dies.
        newer = define(gantry, name, ["sleep", "2000"])
        update = ecs.update_daemon(
            daemonArn=made["daemonArn"], daemonTaskDefinitionArn=newer, capacityProviderArns=[workers])
        gantry.kill("server")
        gantry.start("server")
        done = ended(ecs, update["deploymentArn"])
        assert done["status"] == "SUCCESSFUL"
        assert done["targetDaemonRevision"]["totalRunningInstanceCount"] == 2
        assert done["deploymentConfiguration"]["drainPercent"] == 50.0
        running(ecs, name, 2, newer)
        revision = ecs.describe_daemon_revisions(daemonRevisionArns=[done["targetDaemonRevision"]["arn"]])
        revision = revision["daemonRevisions"][0]
        assert (revision["daemonTaskDefinitionArn"], revision["propagateTags"]) == (newer, "DAEMON")
        assert revision["containerImages"][0]["imageDigest"].startswith("sha256:")

        # Nothing is ever on an instance twice.
        everything = ecs.list_tasks(daemonName=name, desiredStatus="STOPPED")["taskArns"]
        assert len(everything) == 2

        # Deleted, it leaves; the definition can go then.
        gone = ecs.delete_daemon(daemonArn=made["daemonArn"])
        assert gone["status"] == "DELETE_IN_PROGRESS"
        assert ended(ecs, gone["deploymentArn"])["status"] == "SUCCESSFUL"
        assert not [task for task in tasks_of(ecs, name) if task["lastStatus"] == "RUNNING"]
        with pytest.raises(ClientError, match="DaemonNotFoundException"):
            ecs.describe_daemon(daemonArn=made["daemonArn"])
        listed = ecs.list_daemon_deployments(daemonArn=made["daemonArn"])["daemonDeployments"]
        assert [one["daemonDeploymentArn"] for one in listed] == [
            gone["deploymentArn"], update["deploymentArn"], made["deploymentArn"]]
        ecs.delete_daemon_task_definition(daemonTaskDefinition=first)
        wait_until(
            lambda: ecs.describe_daemon_task_definition(daemonTaskDefinition=first)["daemonTaskDefinition"]["status"]
            == "DELETED", what="the end of the definition")
        listed = ecs.list_daemon_task_definitions(family=name, status="ALL")["daemonTaskDefinitions"]
        assert [one["arn"] for one in listed] == [newer]
    finally:
        second.stop()


def test_a_broken_image_goes_back_and_commands_run_where_they_are_enabled(gantry, name):
    ecs = gantry.client("ecs")
    gantry.start("agent")
    gantry.wait_for_instance()
    good = define(gantry, name, ["sleep", "1000"])
    workers = provider_arn(ecs, "workers")
    made = ecs.create_daemon(daemonName=name, daemonTaskDefinitionArn=good, capacityProviderArns=[workers],
                             critical=False, enableExecuteCommand=True)
    assert ended(ecs, made["deploymentArn"])["status"] == "SUCCESSFUL"
    bad = define(gantry, name, ["sleep", "1000"], "busybox:not-there")
    update = ecs.update_daemon(daemonArn=made["daemonArn"], daemonTaskDefinitionArn=bad, capacityProviderArns=[workers])
    done = ended(ecs, update["deploymentArn"])
    assert done["status"] == "ROLLBACK_SUCCESSFUL"
    assert done["circuitBreaker"]["status"] == "TRIGGERED"
    before = deployment(ecs, made["deploymentArn"])["targetDaemonRevision"]["arn"]
    assert done["rollback"]["rollbackTargetDaemonRevisionArn"] == before
    # Commands run in the tasks of a revision that allows them; one that does not say is as the one before.
    for revision in (before, done["targetDaemonRevision"]["arn"]):
        shown = ecs.describe_daemon_revisions(daemonRevisionArns=[revision])
        assert shown["daemonRevisions"][0]["enableExecuteCommand"] is True
    task = running(ecs, name, 1, good)[0]
    assert task["enableExecuteCommand"] is True
    assert task["containers"][0]["managedAgents"][0]["lastStatus"] == "RUNNING"
    assert printed(gantry, task["taskArn"], "echo in the daemon")[0] == "in the daemon\n"
    done = gantry_exec(gantry, task["taskArn"], "--", "sh", "-c", "echo in; exit 5")
    assert (done.returncode, done.stdout) == (5, "in\n")
