"""The server is killed between the stages of a blue/green deployment, at many moments: the deployment ends as it should,
and no task is there twice."""

import pytest
from conftest import image, register, wait_until
from test_deployments import Hook, deployment, service, sleeper, wait_for

COUNT = 2


class StageHook(Hook):
    """A hook that lets a stage go on once the test says so; until then it wants to be called again."""

    def __init__(self):
        self.said = {}
        super().__init__()

    @property
    def answer(self):
        status = self.said.get(self.asked[-1]["lifecycleStage"])
        return {"hookStatus": status} if status else {"hookStatus": "IN_PROGRESS", "callBackDelay": 1}

    @answer.setter
    def answer(self, _):
        pass


@pytest.fixture
def hook():
    hook = StageHook()
    yield hook
    hook.server.shutdown()


def restart(gantry):
    gantry.kill("server")
    gantry.start("server")


def tasks(gantry, name):
    ecs = gantry.client("ecs")
    arns = [arn for status in ("RUNNING", "STOPPED")
            for arn in ecs.list_tasks(serviceName=name, desiredStatus=status)["taskArns"]]
    return ecs.describe_tasks(tasks=arns)["tasks"]


def by_definition(gantry, name):
    counts = {}
    for task in tasks(gantry, name):
        counts[task["taskDefinitionArn"]] = counts.get(task["taskDefinitionArn"], 0) + 1
    return counts


def alive(gantry, name):
    return [task for task in tasks(gantry, name) if task["lastStatus"] != "STOPPED"]


def begin(gantry, name, hook):
    ecs = gantry.client("ecs")
    first = sleeper(gantry, name)
    ecs.create_service(serviceName=name, taskDefinition=first, desiredCount=COUNT)
    wait_for(gantry, service(gantry, name)["currentServiceDeployment"], "SUCCESSFUL")
    stages = ["PRE_SCALE_UP", "POST_SCALE_UP", "POST_TEST_TRAFFIC_SHIFT", "POST_PRODUCTION_TRAFFIC_SHIFT"]
    configuration = {
        "strategy": "BLUE_GREEN", "bakeTimeInMinutes": 0,
        "lifecycleHooks": [{"hookTargetArn": hook.url, "lifecycleStages": stages}],
    }
    return first, stages, configuration


def killed_in_each(gantry, hook, arn, stages):
    """Kills the server while each stage waits for its hook, and once more right after the hook has let it go on."""
    for stage in stages:
        wait_for(gantry, arn, stage=stage)
        restart(gantry)
        calls = len(hook.asked)
        wait_until(lambda: len(hook.asked) > calls, 30, f"the call in {stage}")
        assert deployment(gantry, arn)["lifecycleStage"] == stage
        hook.said[stage] = "SUCCEEDED"
        wait_until(lambda: deployment(gantry, arn).get("lifecycleStage") != stage, 30, f"the end of {stage}")
        restart(gantry)


def test_green_takes_over_through_kills_in_every_stage(own_gantry, name, hook):
    gantry = own_gantry(apart=True)
    first, stages, configuration = begin(gantry, name, hook)
    second = sleeper(gantry, name)
    arn = gantry.client("ecs").update_service(
        service=name, taskDefinition=second, deploymentConfiguration=configuration)["service"]["currentServiceDeployment"]
    killed_in_each(gantry, hook, arn, stages)
    wait_for(gantry, arn, "SUCCESSFUL")
    now = service(gantry, name)
    assert (now["taskDefinition"], now["runningCount"], len(now["deployments"])) == (second, COUNT, 1)
    # As many tasks as were wanted, and never one more, of either side.
    assert by_definition(gantry, name) == {first: COUNT, second: COUNT}
    assert {task["taskDefinitionArn"] for task in alive(gantry, name)} == {second}


def test_blue_stays_through_kills_on_the_way_back(own_gantry, name, hook):
    gantry = own_gantry(apart=True)
    first, stages, configuration = begin(gantry, name, hook)
    before = {task["taskArn"] for task in alive(gantry, name)}
    second = sleeper(gantry, name)
    arn = gantry.client("ecs").update_service(
        service=name, taskDefinition=second, deploymentConfiguration=configuration)["service"]["currentServiceDeployment"]
    killed_in_each(gantry, hook, arn, stages[:2])
    wait_for(gantry, arn, stage=stages[2])
    hook.said[stages[2]] = "FAILED"
    wait_until(lambda: deployment(gantry, arn)["status"].startswith("ROLLBACK"), 30, "the way back")
    restart(gantry)
    wait_for(gantry, arn, "ROLLBACK_SUCCESSFUL")
    assert service(gantry, name)["taskDefinition"] == first
    # The same tasks as before: blue was never touched.
    assert {task["taskArn"] for task in alive(gantry, name)} == before
    assert by_definition(gantry, name) == {first: COUNT, second: COUNT}


def test_a_green_that_cannot_start_goes_back_through_kills(own_gantry, name):
    gantry = own_gantry(apart=True)
    ecs = gantry.client("ecs")
    first = sleeper(gantry, name)
    ecs.create_service(serviceName=name, taskDefinition=first, desiredCount=COUNT)
    wait_for(gantry, service(gantry, name)["currentServiceDeployment"], "SUCCESSFUL")
    before = {task["taskArn"] for task in alive(gantry, name)}
    breaker = {"enable": True, "rollback": True, "thresholdConfiguration": {"type": "COUNT", "value": 2}}
    configuration = {"strategy": "BLUE_GREEN", "bakeTimeInMinutes": 0, "deploymentCircuitBreaker": breaker}
    bad = register(gantry, name, {"image": image(gantry) + "-missing"})
    arn = ecs.update_service(
        service=name, taskDefinition=bad, deploymentConfiguration=configuration)["service"]["currentServiceDeployment"]
    restart(gantry)
    wait_until(lambda: deployment(gantry, arn)["status"].startswith("ROLLBACK"), 60, "the way back")
    restart(gantry)
    wait_for(gantry, arn, "ROLLBACK_SUCCESSFUL")
    assert {task["taskArn"] for task in alive(gantry, name)} == before
