"""Capacity providers with boto3: an instance of a provider, tasks that wait for it, updates and deletions."""

import pytest
from botocore.exceptions import ClientError
from conftest import make, push_busybox, register, remove_everything, wait_until


@pytest.fixture
def gantry(scratch):
    instance = make(scratch, apart=True)
    instance.start("server")
    yield instance
    remove_everything(instance)


def provider(ecs, name):
    return ecs.describe_capacity_providers(capacityProviders=[name])["capacityProviders"][0]


def test_a_task_waits_for_an_instance_of_its_provider(gantry):
    ecs = gantry.client("ecs")
    ecs.create_cluster(clusterName="default")
    ecs.create_capacity_provider(
        name="workers",
        autoScalingGroupProvider={"autoScalingGroupArn": "workers", "managedScaling": {"status": "ENABLED"}},
    )
    ecs.put_cluster_capacity_providers(
        cluster="default",
        capacityProviders=["workers"],
        defaultCapacityProviderStrategy=[{"capacityProvider": "workers", "weight": 1}],
    )
    wait_until(
        lambda: ecs.describe_clusters(include=["ATTACHMENTS"])["clusters"][0]["attachmentsStatus"] == "UPDATE_COMPLETE",
        what="the attachment",
    )
    push_busybox(gantry)
    register(gantry, "sleeper", {"command": ["sleep", "600"]})
    waiting = ecs.run_task(taskDefinition="sleeper")["tasks"][0]
    assert (waiting["lastStatus"], waiting["capacityProviderName"]) == ("PROVISIONING", "workers")
    assert "containerInstanceArn" not in waiting

    # The wait outlives the server.
    gantry.kill("server")
    gantry.start("server")
    assert gantry.task(waiting["taskArn"])["lastStatus"] == "PROVISIONING"
    gantry.extra = ["--capacity-provider", "workers"]
    gantry.start("agent")
    running = gantry.wait_for_status(waiting["taskArn"], "RUNNING")
    found = ecs.describe_container_instances(containerInstances=[running["containerInstanceArn"]])
    assert found["containerInstances"][0]["capacityProviderName"] == "workers"

    with pytest.raises(ClientError, match="The specified capacity provider is in use and cannot be removed."):
        ecs.put_cluster_capacity_providers(
            cluster="default", capacityProviders=[], defaultCapacityProviderStrategy=[])

    answer = ecs.update_capacity_provider(
        name="workers", autoScalingGroupProvider={"managedScaling": {"targetCapacity": 80}})
    assert answer["capacityProvider"]["updateStatus"] == "UPDATE_IN_PROGRESS"
    wait_until(lambda: provider(ecs, "workers")["updateStatus"] == "UPDATE_COMPLETE", what="the update")
    assert provider(ecs, "workers")["autoScalingGroupProvider"]["managedScaling"]["targetCapacity"] == 80

    ecs.delete_capacity_provider(capacityProvider="workers")
    wait_until(lambda: provider(ecs, "workers")["updateStatus"] == "DELETE_FAILED", what="the refusal")
    assert "associated with cluster: default" in provider(ecs, "workers")["updateStatusReason"]
