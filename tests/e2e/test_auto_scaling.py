"""Application Auto Scaling with boto3: target tracking out and in on real CPU use, steps, schedules, bounds."""

import json
import time

import pytest
from botocore.exceptions import ClientError
from conftest import make, push_busybox, register, remove_everything, wait_until

TARGET = {
    "ServiceNamespace": "ecs",
    "ResourceId": "service/default/web",
    "ScalableDimension": "ecs:service:DesiredCount",
}


@pytest.fixture
def gantry(scratch):
    # The real numbers are 3 and 15 minutes.
    instance = make(scratch, settings="auto_scaling_high_minutes = 1\nauto_scaling_low_minutes = 1\n").start()
    instance.wait_for_instance()
    push_busybox(instance)
    yield instance
    remove_everything(instance)


def service(gantry, script, desired=1):
    """A service whose tasks may use an eighth of a core each."""
    definition = register(gantry, "web", {"command": ["sh", "-c", script]}, cpu="128", memory="64")
    gantry.client("ecs").create_service(
        serviceName="web", taskDefinition=definition, desiredCount=desired,
        deploymentConfiguration={"minimumHealthyPercent": 0, "maximumPercent": 200})


def counts(gantry):
    found = gantry.client("ecs").describe_services(services=["web"])["services"][0]
    return found["desiredCount"], found["runningCount"]


def top(gantry):
    return json.loads(gantry.run("top", "--output", "json").stdout)


def test_a_busy_service_grows_and_an_idle_one_shrinks(gantry):
    # Busy until a file says otherwise; the volume of the host is shared by all its tasks.
    flag = gantry.folder / "shared"
    flag.mkdir()
    script = "while :; do if [ -e /shared/idle ]; then sleep 1; else i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; fi; done"
    definition = register(
        gantry, "web",
        {"command": ["sh", "-c", script], "mountPoints": [{"sourceVolume": "shared", "containerPath": "/shared"}]},
        cpu="128", memory="64", volumes=[{"name": "shared", "host": {"sourcePath": str(flag)}}])
    gantry.client("ecs").create_service(serviceName="web", taskDefinition=definition, desiredCount=1)
    wait_until(lambda: counts(gantry) == (1, 1), what="the first task")

    scaling = gantry.client("application-autoscaling")
    scaling.register_scalable_target(**TARGET, MinCapacity=1, MaxCapacity=2)
    policy = scaling.put_scaling_policy(
        **TARGET, PolicyName="cpu", PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={
            "TargetValue": 50.0, "ScaleOutCooldown": 0, "ScaleInCooldown": 0,
            "PredefinedMetricSpecification": {"PredefinedMetricType": "ECSServiceAverageCPUUtilization"},
        })
    high, low = (alarm["AlarmName"] for alarm in policy["Alarms"])
    assert "AlarmHigh" in high and "AlarmLow" in low

    def uses_much():
        found = top(gantry)["services"][0]
        return found["cpu"] is not None and found["cpu"] > 50 and found
    seen = wait_until(uses_much, 60, "measured use")
    assert seen["cpuUnits"] > 60 and seen["memory"] > 0
    screen = gantry.run("top", "--once").stdout
    assert "web" in screen and all(len(line) <= 80 for line in screen.splitlines())

    wait_until(lambda: counts(gantry) == (2, 2), 180, "the second task")
    activity = scaling.describe_scaling_activities(ServiceNamespace="ecs")["ScalingActivities"][0]
    assert activity["Description"] == "Setting desired count to 2."
    assert activity["Cause"] == f"monitor alarm {high} in state ALARM triggered policy cpu"
    alarms = json.loads(gantry.run("alarm", "list", "--output", "json").stdout)
    assert {alarm["name"]: alarm["state"] for alarm in alarms}[high] == "ALARM"

    (flag / "idle").touch()
    wait_until(lambda: counts(gantry) == (1, 1), 240, "the service's shrinking")
    done = scaling.describe_scaling_activities(ServiceNamespace="ecs")["ScalingActivities"]
    assert done[1]["StatusCode"] == "Successful"
    assert done[1]["StatusMessage"] == "Successfully set desired count to 2. Change successfully fulfilled by ecs."


def test_steps_schedules_and_bounds(gantry):
    service(gantry, "sleep 600")
    scaling = gantry.client("application-autoscaling")
    with pytest.raises(ClientError, match="ECS service doesn't exist: service/default/nobody"):
        scaling.register_scalable_target(
            **{**TARGET, "ResourceId": "service/default/nobody"}, MinCapacity=1, MaxCapacity=2)
    scaling.register_scalable_target(**TARGET, MinCapacity=1, MaxCapacity=4, Tags={"team": "a"})
    arn = scaling.put_scaling_policy(
        **TARGET, PolicyName="more", PolicyType="StepScaling",
        StepScalingPolicyConfiguration={
            "AdjustmentType": "ChangeInCapacity", "Cooldown": 300,
            "StepAdjustments": [{"MetricIntervalLowerBound": 0.0, "ScalingAdjustment": 2}],
        })["PolicyARN"]
    gantry.run("alarm", "put", "queue", "--action", arn)
    gantry.run("alarm", "set", "queue", "ALARM")
    wait_until(lambda: counts(gantry)[0] == 3, 30, "the step")
    found = scaling.describe_scaling_policies(ServiceNamespace="ecs")["ScalingPolicies"][0]
    assert [alarm["AlarmName"] for alarm in found["Alarms"]] == ["queue"]

    # The alarm still fires and the policy cools down; a schedule does not wait for that. It is due in a moment, and the
    # server is killed before.
    moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() + 6))
    scaling.put_scheduled_action(
        **TARGET, ScheduledActionName="night", Schedule=f"at({moment})",
        ScalableTargetAction={"MinCapacity": 0, "MaxCapacity": 2})
    assert counts(gantry)[0] == 3
    gantry.kill("up")
    gantry.start("up")
    wait_until(lambda: counts(gantry)[0] == 2, 30, "the schedule")
    target = scaling.describe_scalable_targets(ServiceNamespace="ecs")["ScalableTargets"][0]
    assert (target["MinCapacity"], target["MaxCapacity"]) == (0, 2)
    tags = scaling.list_tags_for_resource(ResourceARN=target["ScalableTargetARN"])["Tags"]
    assert tags == {"team": "a"}
    causes = [each["Cause"] for each in scaling.describe_scaling_activities(ServiceNamespace="ecs")["ScalingActivities"]]
    assert len(causes) == 2 and "scheduled action name night was triggered" in causes[0]

    scaling.deregister_scalable_target(**TARGET)
    with pytest.raises(ClientError, match="No scalable target found"):
        scaling.deregister_scalable_target(**TARGET)
