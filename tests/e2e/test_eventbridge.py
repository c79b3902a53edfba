"""EventBridge with boto3 and the AWS CLI: from what happens to a task to an endpoint, a log group, another task."""

import http.server
import datetime
import json
import queue
import signal
import threading

import botocore.exceptions
import pytest
from conftest import make, register, run_task, wait_until

ACCOUNT = "000000000000"
EVENTS_ROLE = "arn:aws:iam::aws:policy/service-role/AmazonEC2ContainerServiceEventsRole"


class Endpoint:
    """An HTTP endpoint that answers with `status` and keeps the events that it was sent."""

    def __init__(self, port=0):
        self.status = 200
        self.events = queue.Queue()
        endpoint = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                endpoint.events.put((json.loads(body), self.path, dict(self.headers)))
                self.send_response(endpoint.status)
                self.send_header("location", "http://127.0.0.1:1/")
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server.server_address[1]}/hook"

    def next(self, seconds=30):
        return self.events.get(timeout=seconds)[0]

    def next_of(self, matches, seconds=30):
        """The next event for which `matches` holds; those before are forgotten."""
        return wait_until(lambda: next((one for one in [self.next(seconds)] if matches(one)), None), seconds)

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def endpoint():
    endpoint = Endpoint()
    yield endpoint
    endpoint.close()


@pytest.fixture
def rule(gantry, name):
    """Makes rules with one target of the shared Gantry, and removes them."""
    events = gantry.client("events")
    made = []

    def put(pattern, arn, suffix="", **target):
        made.append(name + suffix)
        events.put_rule(Name=name + suffix, EventPattern=json.dumps(pattern))
        answer = events.put_targets(Rule=name + suffix, Targets=[{"Id": "t", "Arn": arn, **target}])
        assert answer["FailedEntryCount"] == 0
        return name + suffix

    yield put
    for each in made:
        events.remove_targets(Rule=each, Ids=["t"])
        events.delete_rule(Name=each)


def fault(call, **arguments):
    with pytest.raises(botocore.exceptions.ClientError) as raised:
        call(**arguments)
    return raised.value.response["Error"]


def stopped(group, **more):
    return {
        "source": ["aws.ecs"],
        "detail-type": ["ECS Task State Change"],
        "detail": {"lastStatus": ["STOPPED"], "group": [{"suffix": group}], **more},
    }


def test_a_task_that_stops_is_told_to_an_endpoint(gantry, name, endpoint, rule):
    parameters = {"HeaderParameters": {"x-who": "me"}, "QueryStringParameters": {"a": "b c"}}
    containers = {"exitCode": [{"numeric": [">", 2]}]}
    rule(stopped(name, containers=containers), endpoint.url, HttpParameters=parameters)
    fine = run_task(gantry, register(gantry, name, {"command": ["true"]}))
    gantry.wait_for_status(fine, "STOPPED")
    task = run_task(gantry, register(gantry, name, {"command": ["sh", "-c", "exit 3"]}))
    event, path, headers = endpoint.events.get(timeout=60)
    assert event["detail"]["taskArn"] == task and event["resources"] == [task]
    assert (event["version"], event["account"], event["region"]) == ("0", ACCOUNT, "us-east-1")
    assert path == "/hook?a=b+c" and headers["x-who"] == "me"
    assert headers["content-type"] == "application/json"


def test_events_of_the_log_are_sent_again(gantry, name, endpoint, rule):
    events = gantry.client("events")
    entry = {"Source": f"app.{name}", "Resources": []}
    kinds = ["a", "b", "a"]
    begin = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(seconds=1)
    put = events.put_events(
        Entries=[{**entry, "DetailType": kind, "Detail": json.dumps({"n": n})} for n, kind in enumerate(kinds)])
    # The rule comes later than the events; what it never got it gets now.
    rule({"source": [f"app.{name}"], "detail-type": ["a"]}, endpoint.url)
    end = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=5)
    times = ["--from", begin.strftime("%Y-%m-%dT%H:%M:%SZ"), "--to", end.strftime("%Y-%m-%dT%H:%M:%SZ")]
    said = gantry.run("events", "replay", "--rule", name, "--name", "again", "--output", "json", *times).stdout
    assert json.loads(said) == {"replayName": "again", "events": 2}
    got = [endpoint.next(), endpoint.next()]
    assert [one["detail"]["n"] for one in got] == [0, 2]
    assert [one["replay-name"] for one in got] == ["again", "again"]
    assert [one["id"] for one in got] == [put["Entries"][0]["EventId"], put["Entries"][2]["EventId"]]
    earlier = ["--from", "2020-01-01T00:00:00Z", "--to", "2020-01-02T00:00:00Z"]
    said = gantry.run("events", "replay", "--rule", name, "--output", "json", *earlier).stdout
    assert json.loads(said)["events"] == 0
    missing = gantry.run("events", "replay", "--rule", f"{name}-none", *times, check=False)
    assert missing.returncode != 0 and "does not exist" in missing.stderr


def test_an_event_of_ones_own_takes_every_way(gantry, name, endpoint, rule):
    group = f"/aws/events/{name}"
    gantry.client("logs").create_log_group(logGroupName=group)
    pattern = {"source": [f"app.{name}"], "$or": [{"detail": {"kind": ["a"]}}, {"detail-type": [{"prefix": "B"}]}]}
    rule(pattern, f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:{group}", suffix="-log")
    transformer = {
        "InputPathsMap": {"kind": "$.detail.kind", "who": "$.resources[0]"},
        "InputTemplate": '{"text": "<kind> by <who>", "kind": <kind>, "rule": <aws.events.rule-name>}',
    }
    rule(pattern, endpoint.url, suffix="-http", InputTransformer=transformer)
    entries = [
        {"Source": f"app.{name}", "DetailType": kind, "Detail": json.dumps({"kind": detail}), "Resources": ["ann"]}
        for kind, detail in [("A", "a"), ("A", "c"), ("Bc", "b")]
    ]
    answer = gantry.client("events").put_events(Entries=entries)
    assert answer["FailedEntryCount"] == 0 and all(entry["EventId"] for entry in answer["Entries"])
    assert endpoint.next() == {"text": "a by ann", "kind": "a", "rule": f"{name}-http"}
    assert endpoint.next()["kind"] == "b"
    lines = wait_until(lambda: [one for one in [gantry.logs(group, name)] if len(one) == 2], what="the log events")[0]
    assert [json.loads(line)["detail"]["kind"] for line in lines] == ["a", "b"]
    shown = gantry.run("events", "--output", "json", "--source", f"app.{name}", "--detail-type", "A").stdout
    assert [json.loads(line)["detail"]["kind"] for line in shown.splitlines()] == ["a", "c"]
    pattern = json.dumps({"source": [f"app.{name}"], "detail": {"kind": [{"anything-but": "a"}]}})
    shown = gantry.run("events", "--output", "json", "--pattern", pattern).stdout
    assert [json.loads(line)["detail"]["kind"] for line in shown.splitlines()] == ["c", "b"]
    assert "is not an event pattern" in gantry.run("events", "--pattern", "{}", check=False).stderr


def events_role(gantry, name, service="events.amazonaws.com"):
    iam = gantry.client("iam")
    statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    trust = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    iam.attach_role_policy(RoleName=name, PolicyArn=EVENTS_ROLE)
    return role


def test_an_event_runs_a_task_with_the_role_of_the_target(gantry, name, rule):
    definition = register(gantry, name, {"command": ["sh", "-c", "exit $CODE"]})
    template = '{"containerOverrides": [{"name": "main", "environment": [{"name": "CODE", "value": "<code>"}]}]}'
    transformer = {"InputPathsMap": {"code": "$.detail.code"}, "InputTemplate": template}
    cluster = f"arn:aws:ecs:us-east-1:{ACCOUNT}:cluster/default"
    parameters = {"TaskDefinitionArn": definition, "TaskCount": 1, "LaunchType": "EC2"}
    target = dict(EcsParameters=parameters, InputTransformer=transformer)
    pattern = {"source": [f"app.{name}"]}
    for suffix, service in [("", "events.amazonaws.com"), ("-not", "lambda.amazonaws.com")]:
        rule(pattern, cluster, suffix=suffix, RoleArn=events_role(gantry, name + suffix, service), **target)
    put = {"Source": f"app.{name}", "DetailType": "Run", "Detail": json.dumps({"code": 7})}
    gantry.client("events").put_events(Entries=[put])
    ecs = gantry.client("ecs")

    def ended():
        tasks = ecs.list_tasks(family=name, desiredStatus="STOPPED")["taskArns"]
        tasks = ecs.describe_tasks(tasks=tasks)["tasks"] if tasks else []
        return [task for task in tasks if task["lastStatus"] == "STOPPED"]

    [task] = wait_until(ended, 60, "the end of the task")
    assert task["containers"][0]["exitCode"] == 7
    assert task["startedBy"] == f"events-rule/{name}"[:36]
    # The role that trusts somebody else ran nothing.
    wait_until(lambda: "may not assume the role" in gantry.log(), what="the refusal")
    assert len(ended()) == 1 and not ecs.list_tasks(family=name)["taskArns"]


def test_an_event_survives_kill_9_of_the_server_between_the_change_and_the_delivery(scratch):
    endpoint = Endpoint()
    gantry = make(scratch, server_only=True).start()
    try:
        events, ecs = gantry.client("events"), gantry.client("ecs")
        ecs.create_cluster(clusterName="c")
        events.put_rule(Name="services", EventPattern=json.dumps({"detail-type": ["ECS Deployment State Change"]}))
        events.put_targets(Rule="services", Targets=[{"Id": "t", "Arn": endpoint.url}])
        document = {"family": "f", "containerDefinitions": [{"name": "main", "image": "i", "memory": 64}]}
        ecs.register_task_definition(**document)
        seen = set()
        for number in range(12):
            # Killed with the answer: at whatever point of the event's way the server is.
            service = ecs.create_service(cluster="c", serviceName=f"s{number}", taskDefinition="f", desiredCount=1)
            gantry.kill("server", signal.SIGKILL)
            gantry.start()
            wanted = service["service"]["serviceArn"]
            while wanted not in seen:
                seen.update(endpoint.next(60)["resources"])
    finally:
        endpoint.close()
        gantry.stop()


def test_a_target_that_is_down_is_tried_again_also_after_a_restart(scratch):
    endpoint = Endpoint()
    endpoint.status = 503
    gantry = make(scratch, server_only=True).start()
    try:
        events = gantry.client("events")
        events.put_rule(Name="all", EventPattern=json.dumps({"source": ["app"]}))
        dead = {"Id": "dead", "Arn": "http://127.0.0.1:1/"}
        refused = {"Id": "metadata", "Arn": "http://169.254.169.254/latest/meta-data/"}
        events.put_targets(Rule="all", Targets=[{"Id": "t", "Arn": endpoint.url}, dead, refused])
        events.put_events(Entries=[{"Source": "app", "DetailType": "D", "Detail": '{"n": 1}'}])
        assert endpoint.next()["detail"]["n"] == 1
        wait_until(lambda: "a network that event_targets does not allow" in gantry.log("server"))
        gantry.kill("server", signal.SIGKILL)
        endpoint.status = 200
        while not endpoint.events.empty():
            endpoint.events.get()
        gantry.start()
        assert endpoint.next()["detail"]["n"] == 1
        # The other one still waits, and holds up nobody.
        events.put_events(Entries=[{"Source": "app", "DetailType": "D", "Detail": '{"n": 2}'}])
        assert endpoint.next()["detail"]["n"] == 2
    finally:
        endpoint.close()
        gantry.stop()


def test_rules_and_buses_are_kept_and_refused_as_the_service_does(gantry, name):
    events = gantry.client("events")
    bus = events.create_event_bus(Name=name, Tags=[{"Key": "k", "Value": "v"}])["EventBusArn"]
    assert bus == f"arn:aws:events:us-east-1:{ACCOUNT}:event-bus/{name}"
    assert [one["Name"] for one in events.list_event_buses(NamePrefix=name)["EventBuses"]] == [name]
    put = dict(Name="r", EventBusName=name, EventPattern='{"source": ["a"]}')
    arn = events.put_rule(**put, Description="d", Tags=[{"Key": "a", "Value": "b"}])["RuleArn"]
    assert arn == f"arn:aws:events:us-east-1:{ACCOUNT}:rule/{name}/r"
    events.tag_resource(ResourceARN=arn, Tags=[{"Key": "c", "Value": "d"}])
    events.untag_resource(ResourceARN=arn, TagKeys=["a"])
    assert events.list_tags_for_resource(ResourceARN=arn)["Tags"] == [{"Key": "c", "Value": "d"}]
    events.disable_rule(Name="r", EventBusName=bus)
    assert events.describe_rule(Name="r", EventBusName=name)["State"] == "DISABLED"
    events.enable_rule(Name="r", EventBusName=name)
    [listed] = events.list_rules(EventBusName=name)["Rules"]
    assert (listed["State"], listed["Description"], listed["EventBusName"]) == ("ENABLED", "d", name)

    targets = [{"Id": str(number), "Arn": f"http://127.0.0.1:1/{number}"} for number in range(5)]
    events.put_targets(Rule="r", EventBusName=name, Targets=targets)
    assert events.list_rule_names_by_target(TargetArn=targets[3]["Arn"], EventBusName=name)["RuleNames"] == ["r"]
    page = events.list_targets_by_rule(Rule="r", EventBusName=name, Limit=3)
    rest = events.list_targets_by_rule(Rule="r", EventBusName=name, NextToken=page["NextToken"])
    assert [one["Id"] for one in page["Targets"] + rest["Targets"]] == list("01234")
    more = [{"Id": "5", "Arn": "http://h/"}]
    assert fault(events.put_targets, Rule="r", EventBusName=name, Targets=more)["Code"] == "LimitExceededException"
    refused = fault(events.put_targets, Rule="r", EventBusName=name,
                    Targets=[{"Id": "1", "Arn": f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:f"}])
    assert refused["Code"] == "ValidationException" and "lambda" in refused["Message"]
    queued = {"Id": "1", "Arn": "http://h/", "DeadLetterConfig": {"Arn": f"arn:aws:sqs:us-east-1:{ACCOUNT}:q"}}
    assert "SQS" in fault(events.put_targets, Rule="r", EventBusName=name, Targets=[queued])["Message"]

    assert fault(events.delete_event_bus, Name=name)["Message"] == "Event bus can't be deleted since it has rules."
    in_use = fault(events.delete_rule, Name="r", EventBusName=name)
    assert in_use["Message"] == "Rule can't be deleted since it has targets."
    removed = events.remove_targets(Rule="r", EventBusName=name, Ids=list("012345"))
    assert [one["TargetId"] for one in removed["FailedEntries"]] == ["5"]
    events.delete_rule(Name="r", EventBusName=name)
    events.delete_event_bus(Name=name)
    assert fault(events.describe_event_bus, Name=name)["Code"] == "ResourceNotFoundException"

    wrong = fault(events.put_rule, Name=name, EventPattern='{"source": "a"}')
    assert wrong["Code"] == "InvalidEventPatternException"
    assert wrong["Message"] == 'Event pattern is not valid. Reason: "source" must be an object or an array'
    assert "ScheduleExpression is not valid" in fault(events.put_rule, Name=name, ScheduleExpression="x")["Message"]
    entries = [{"Source": "aws.ecs", "DetailType": "D", "Detail": "{}"}, {"Source": "a", "DetailType": "D", "Detail": "["}]
    answer = events.put_events(Entries=entries)
    codes = [one["ErrorCode"] for one in answer["Entries"]]
    assert (answer["FailedEntryCount"], codes) == (2, ["NotAuthorizedForSourceException", "MalformedDetail"])


def test_the_aws_cli_makes_rules_and_tests_patterns(gantry, name):
    arn = gantry.aws("events", "put-rule", "--name", name, "--schedule-expression", "rate(5 minutes)")["RuleArn"]
    assert arn.endswith(f":rule/{name}")
    shown = gantry.aws("events", "describe-rule", "--name", name)
    assert (shown["ScheduleExpression"], shown["State"]) == ("rate(5 minutes)", "ENABLED")
    gantry.aws("events", "delete-rule", "--name", name)
    event = {"id": "1", "account": ACCOUNT, "source": "aws.ecs", "time": "2026-01-01T00:00:00Z", "region": "us-east-1",
             "resources": [], "detail-type": "T", "detail": {"ip": "10.1.2.3"}}
    for cidr, expected in [("10.0.0.0/8", True), ("192.168.0.0/16", False)]:
        pattern = json.dumps({"detail": {"ip": [{"cidr": cidr}]}})
        tested = gantry.aws("events", "test-event-pattern", "--event-pattern", pattern, "--event", json.dumps(event))
        assert tested["Result"] is expected


def test_who_may_put_which_targets_and_pass_which_roles_policies_say(gantry, name):
    iam = gantry.client("iam")
    iam.create_user(UserName=name)
    statements = [
        {"Effect": "Allow", "Action": "events:PutRule", "Resource": f"arn:aws:events:*:*:rule/{name}"},
        {"Effect": "Allow", "Action": "events:PutTargets", "Resource": "*",
         "Condition": {"StringLike": {"events:TargetArn": ["https://hooks.example/*", "arn:aws:ecs:*"]}}},
    ]
    document = json.dumps({"Version": "2012-10-17", "Statement": statements})
    iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=document)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    events = gantry.client("events", aws_access_key_id=key["AccessKeyId"], aws_secret_access_key=key["SecretAccessKey"])
    events.put_rule(Name=name, EventPattern='{"source": ["a"]}')
    assert fault(events.put_rule, Name="other", EventPattern='{"source": ["a"]}')["Code"] == "AccessDeniedException"
    good = {"Id": "1", "Arn": "https://hooks.example/a"}
    events.put_targets(Rule=name, Targets=[good])
    both = fault(events.put_targets, Rule=name, Targets=[good, {"Id": "2", "Arn": "http://127.0.0.1:2375/"}])
    assert both["Code"] == "AccessDeniedException" and "events:PutTargets" in both["Message"]
    cluster = f"arn:aws:ecs:us-east-1:{ACCOUNT}:cluster/default"
    with_role = {"Id": "3", "Arn": cluster, "RoleArn": f"arn:aws:iam::{ACCOUNT}:role/x",
                 "EcsParameters": {"TaskDefinitionArn": f"arn:aws:ecs:us-east-1:{ACCOUNT}:task-definition/f:1"}}
    passed = fault(events.put_targets, Rule=name, Targets=[with_role])
    assert passed["Code"] == "AccessDeniedException" and "iam:PassRole" in passed["Message"]
    root = gantry.client("events")
    root.remove_targets(Rule=name, Ids=["1"])
    root.delete_rule(Name=name)


def test_image_pushes_are_told_to_rules(gantry, name, endpoint, rule):
    pattern = {"source": ["aws.ecr"], "detail": {"action-type": ["PUSH"], "repository-name": [name]}}
    rule(pattern, endpoint.url)
    gantry.run("push", str(gantry.folder / "busybox-rootfs"), f"{name}:1", "--cmd", '["sh"]')
    assert endpoint.next()["detail"]["image-tag"] == "1"

