"""Deployments with real clients: circuit breaker, alarms, two sides, hooks, and `gantry deploy`."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import botocore.exceptions
import pytest
from conftest import image, register, wait_until


def sleeper(gantry, name):
    """Healthy after seconds: without a check, a task counts only after it has run for 40."""
    check = {"command": ["CMD-SHELL", "exit 0"], "interval": 5}
    return register(gantry, name, {"command": ["sleep", "1000"], "stopTimeout": 2, "healthCheck": check})


def create(gantry, name, definition, **options):
    service = gantry.client("ecs").create_service(serviceName=name, taskDefinition=definition, desiredCount=1, **options)
    return service["service"]


def service(gantry, name):
    return gantry.client("ecs").describe_services(services=[name])["services"][0]


def deployment(gantry, arn):
    return gantry.client("ecs").describe_service_deployments(serviceDeploymentArns=[arn])["serviceDeployments"][0]


def wait_for(gantry, arn, status=None, stage=None, seconds=150):
    def reached():
        now = deployment(gantry, arn)
        same = status in (None, now["status"]) and stage in (None, now.get("lifecycleStage"))
        return now if same else None
    return wait_until(reached, seconds, f"{status or stage} of {arn}")


def update(gantry, name, **changes):
    return gantry.client("ecs").update_service(service=name, **changes)["service"]["currentServiceDeployment"]


def delete(gantry, name):
    gantry.client("ecs").delete_service(service=name, force=True)


class Hook:
    """An HTTP hook that answers as it is told, and keeps what it was asked."""

    def __init__(self):
        self.asked, self.answer = [], {"hookStatus": "SUCCEEDED"}
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                hook.asked.append(json.loads(body))
                answer = json.dumps(hook.answer).encode()
                self.send_response(200)
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def hook():
    hook = Hook()
    yield hook
    hook.server.shutdown()


def test_the_circuit_breaker_trips_and_the_last_good_revision_comes_back(gantry, name):
    breaker = {"enable": True, "rollback": True, "thresholdConfiguration": {"type": "COUNT", "value": 2}}
    first = create(gantry, name, sleeper(gantry, name), deploymentConfiguration={"deploymentCircuitBreaker": breaker})
    good = wait_for(gantry, first["currentServiceDeployment"], "SUCCESSFUL")
    assert good["deploymentCircuitBreaker"] == {"status": "MONITORING_COMPLETE", "failureCount": 0, "threshold": 2}
    bad = register(gantry, name, {"image": image(gantry) + "-missing"})
    arn = update(gantry, name, taskDefinition=bad)
    failed = wait_for(gantry, arn, "ROLLBACK_SUCCESSFUL")
    assert failed["deploymentCircuitBreaker"]["status"] == "TRIGGERED"
    assert failed["deploymentCircuitBreaker"]["failureCount"] >= 2
    assert failed["rollback"]["serviceRevisionArn"] == good["targetServiceRevision"]["arn"]
    now = service(gantry, name)
    assert now["taskDefinition"] == first["taskDefinition"] and now["currentServiceDeployment"] == arn
    assert any("deployment failed: tasks failed to start." in event["message"] for event in now["events"])
    delete(gantry, name)


def test_an_alarm_takes_a_deployment_back(gantry, name):
    alarm = f"{name}-high"
    configuration = {"bakeTimeInMinutes": 1, "alarms": {"alarmNames": [alarm], "enable": True, "rollback": True}}
    gantry.run("alarm", "set", alarm, "OK", "--reason", "quiet")
    definition = sleeper(gantry, name)
    create(gantry, name, definition)
    arn = service(gantry, name)["currentServiceDeployment"]
    wait_for(gantry, arn, "SUCCESSFUL")
    arn = update(gantry, name, taskDefinition=sleeper(gantry, name), deploymentConfiguration=configuration)
    assert deployment(gantry, arn)["alarms"] == {"status": "MONITORING", "alarmNames": [alarm]}
    gantry.run("alarm", "set", alarm, "ALARM")
    failed = wait_for(gantry, arn, "ROLLBACK_SUCCESSFUL")
    assert failed["alarms"] == {"status": "TRIGGERED", "alarmNames": [alarm], "triggeredAlarmNames": [alarm]}
    assert service(gantry, name)["taskDefinition"] == definition
    listed = {one["name"]: one for one in json.loads(gantry.run("alarm", "list", "--output", "json").stdout)}
    assert listed[alarm]["state"] == "ALARM"
    delete(gantry, name)


def test_green_waits_for_its_hooks_and_takes_over(gantry, name, hook):
    first = sleeper(gantry, name)
    create(gantry, name, first)
    wait_for(gantry, service(gantry, name)["currentServiceDeployment"], "SUCCESSFUL")
    configuration = {
        "strategy": "BLUE_GREEN", "bakeTimeInMinutes": 0,
        "lifecycleHooks": [
            {"hookTargetArn": hook.url, "lifecycleStages": ["PRE_SCALE_UP"], "hookDetails": {"team": "a"}},
            {"targetType": "PAUSE", "lifecycleStages": ["POST_TEST_TRAFFIC_SHIFT"]},
        ],
    }
    hook.answer = {"hookStatus": "IN_PROGRESS", "callBackDelay": 1}
    second = sleeper(gantry, name)
    arn = update(gantry, name, taskDefinition=second, deploymentConfiguration=configuration)
    wait_until(lambda: len(hook.asked) >= 2, what="the second call of the hook")
    asked = hook.asked[0]
    assert asked["lifecycleStage"] == "PRE_SCALE_UP" and asked["hookDetails"] == {"team": "a"}
    assert asked["productionTrafficWeights"][asked["targetServiceRevisionArn"]] == 0
    hook.answer = {"hookStatus": "SUCCEEDED"}
    paused = wait_for(gantry, arn, stage="POST_TEST_TRAFFIC_SHIFT")
    [detail] = paused["lifecycleHookDetails"]
    assert (detail["targetType"], detail["status"], detail["timeoutAction"]) == ("PAUSE", "AWAITING_ACTION", "ROLLBACK")
    weights = paused["targetServiceRevision"]
    assert (weights["requestedProductionTrafficWeight"], weights["requestedTestTrafficWeight"]) == (0, 100)
    [source] = paused["sourceServiceRevisions"]
    assert source["requestedProductionTrafficWeight"] == 100 and source["runningTaskCount"] == 1
    ecs = gantry.client("ecs")
    ecs.continue_service_deployment(serviceDeploymentArn=arn, hookId=detail["hookId"])
    done = wait_for(gantry, arn, "SUCCESSFUL")
    assert done["targetServiceRevision"]["requestedProductionTrafficWeight"] == 100
    now = service(gantry, name)
    assert now["taskDefinition"] == second and len(now["deployments"]) == 1
    with pytest.raises(botocore.exceptions.ClientError, match="InvalidParameterException"):
        ecs.continue_service_deployment(serviceDeploymentArn=arn, hookId=detail["hookId"])
    delete(gantry, name)


def test_a_task_as_a_hook_decides(gantry, name):
    first = sleeper(gantry, name)
    create(gantry, name, first)
    wait_for(gantry, service(gantry, name)["currentServiceDeployment"], "SUCCESSFUL")
    check = register(gantry, f"{name}-check", {"command": ["sh", "-c", "exit 4"]})
    configuration = {
        "strategy": "CANARY", "canaryConfiguration": {"canaryPercent": 10, "canaryBakeTimeInMinutes": 0},
        "lifecycleHooks": [{"hookTargetArn": check, "lifecycleStages": ["PRE_SCALE_UP"]}],
    }
    arn = update(gantry, name, taskDefinition=sleeper(gantry, name), deploymentConfiguration=configuration)
    failed = wait_for(gantry, arn, "ROLLBACK_SUCCESSFUL")
    assert "PRE_SCALE_UP" in failed["statusReason"]
    assert service(gantry, name)["taskDefinition"] == first
    delete(gantry, name)


def test_a_stopped_deployment_goes_back(gantry, name):
    first = sleeper(gantry, name)
    create(gantry, name, first)
    wait_for(gantry, service(gantry, name)["currentServiceDeployment"], "SUCCESSFUL")
    arn = update(gantry, name, taskDefinition=sleeper(gantry, name))
    ecs = gantry.client("ecs")
    ecs.stop_service_deployment(serviceDeploymentArn=arn)
    wait_for(gantry, arn, "ROLLBACK_SUCCESSFUL")
    assert service(gantry, name)["taskDefinition"] == first
    with pytest.raises(botocore.exceptions.ClientError, match="ConflictException"):
        ecs.stop_service_deployment(serviceDeploymentArn=arn)
    delete(gantry, name)


@pytest.mark.parametrize("configuration, words", [
    ({"strategy": "BLUE_GREEN"}, "bakeTimeInMinutes is required"),
    ({"strategy": "LINEAR", "linearConfiguration": {"stepPercent": 2.9}}, "stepPercent must be between 3.0 and 100.0"),
    ({"strategy": "CANARY", "canaryConfiguration": {"canaryPercent": 1.25}}, "in steps of 0.1"),
    ({"linearConfiguration": {"stepPercent": 10}}, "only be specified with the LINEAR"),
    ({"strategy": "BLUE_GREEN", "bakeTimeInMinutes": 1441}, "between 0 and 1440"),
    ({"earlySuccessCriteria": {"enable": True, "healthyPercent": 50}}, "less than minimumHealthyPercent"),
    ({"lifecycleHooks": [{"targetType": "PAUSE", "lifecycleStages": ["PRE_SCALE_UP"]}]}, "lifecycleHooks can only"),
])
def test_what_cannot_be_is_refused(gantry, name, configuration, words):
    with pytest.raises(botocore.exceptions.ClientError, match=words):
        create(gantry, name, sleeper(gantry, name), deploymentConfiguration=configuration)


def test_gantry_deploy_shows_how_it_goes(gantry, name):
    first = sleeper(gantry, name)
    create(gantry, name, first)
    wait_for(gantry, service(gantry, name)["currentServiceDeployment"], "SUCCESSFUL")
    done = gantry.run("deploy", name, "--image", image(gantry), "--output", "json")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines[-1]["result"] == "SUCCESSFUL"
    assert any("has started 1 tasks" in line.get("event", "") for line in lines)
    now = service(gantry, name)
    assert now["taskDefinition"] != first and now["taskDefinition"].endswith(":2")

    breaker = {"enable": True, "rollback": True, "thresholdConfiguration": {"type": "COUNT", "value": 1}}
    update(gantry, name, deploymentConfiguration={"deploymentCircuitBreaker": breaker})
    failed = gantry.run("deploy", name, "--image", "main=" + image(gantry) + "-missing", check=False)
    assert failed.returncode == 1 and "ROLLBACK_SUCCESSFUL" in failed.stdout
    wrong = gantry.run("deploy", name, "--image", "other=x", check=False)
    assert wrong.returncode == 1 and "there is no container other" in wrong.stderr
    quick = gantry.run("deploy", name, "--task-definition", first, "--no-wait")
    assert quick.stdout.startswith("begun: arn:aws:ecs:")
    delete(gantry, name)
