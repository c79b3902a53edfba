"""Where tasks go, as boto3 sees it: zones, constraints, strategies, and what is refused."""

import botocore.exceptions
import pytest

from conftest import register


def test_a_machine_stands_for_the_zone_it_was_started_in(own_gantry, name):
    gantry = own_gantry(apart=True, extra=["--availability-zone", "us-east-1b"])
    definition = register(gantry, name, {"command": ["sleep", "1000"]})
    ecs = gantry.client("ecs")

    def run(expression, **more):
        constraint = {"type": "memberOf", "expression": expression}
        return ecs.run_task(taskDefinition=definition, placementConstraints=[constraint], **more)

    here = run("attribute:ecs.availability-zone == us-east-1b and agentConnected == true",
               placementStrategy=[{"type": "spread", "field": "attribute:ecs.availability-zone"},
                                  {"type": "binpack", "field": "memory"}])
    task = gantry.wait_for_status(here["tasks"][0]["taskArn"], "RUNNING")
    assert task["availabilityZone"] == "us-east-1b"

    elsewhere = run("attribute:ecs.availability-zone == us-east-1a")
    assert elsewhere["tasks"] == []
    assert elsewhere["failures"][0]["reason"] == "MemberOf placement constraint unsatisfied."
    assert elsewhere["failures"][0]["arn"] == task["containerInstanceArn"]

    def instances(expression):
        return ecs.list_container_instances(filter=expression)["containerInstanceArns"]

    assert instances("attribute:ecs.availability-zone =~ us-east-1[bc] and runningTasksCount >= 1")
    assert instances(f"task:group == family:{name}")
    assert not instances("attribute:ecs.availability-zone == us-east-1a")

    with pytest.raises(botocore.exceptions.ClientError) as refused:
        run("attribute:ecs.availability-zone is us-east-1b")
    assert refused.value.response["Error"]["Code"] == "InvalidParameterException"
    assert "expected an operator but found is at character 33" in refused.value.response["Error"]["Message"]
