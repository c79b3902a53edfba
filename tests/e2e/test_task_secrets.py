"""Secrets of tasks: looked at from inside the container, read with the execution role, and nowhere else. Environment
files out of a real S3 server, and a private registry."""

import json
import os
import subprocess
import tempfile
import time

import pytest
from botocore.exceptions import ClientError

import access
from conftest import (
    REGION, awslogs, found_in_files, make, push_busybox, register, run_task, run_to_end, s3_server, wait_until)
from log_receivers import Servers, port_of

VALUE = "correct-horse-battery-staple"
EVERYTHING = {"Effect": "Allow", "Action": ["secretsmanager:GetSecretValue", "ssm:GetParameters"], "Resource": "*"}
LOGS = {"Effect": "Allow", "Action": "logs:*", "Resource": "*"}
PULL = {"Effect": "Allow", "Action": "ecr:*", "Resource": "*"}


def role(gantry, name, *statements, **more):
    """The ARN of a role with these permissions besides those for logs and pulls."""
    return access.role(gantry, *statements, LOGS, PULL, name=name, **more)


def secret(gantry, name, value):
    return gantry.client("secretsmanager").create_secret(Name=name, SecretString=value)["ARN"]


def secrets_of(**values):
    return [{"name": name, "valueFrom": value} for name, value in values.items()]


def stopped(gantry, name, task=None, **container):
    """The reason of a task that does not start."""
    definition = register(gantry, name, {"command": ["true"], **container}, **(task or {}))
    ended = gantry.wait_for_status(run_task(gantry, definition), "STOPPED")
    assert ended["stopCode"] == "TaskFailedToStart"
    return ended["stoppedReason"]


def test_values_are_there_inside_whatever_form_they_are_referred_to_in(gantry, name):
    ssm, secrets = gantry.client("ssm"), gantry.client("secretsmanager")
    plain = secret(gantry, f"{name}/plain", "first")
    version = secrets.describe_secret(SecretId=plain)
    first = next(iter(version["VersionIdsToStages"]))
    secrets.put_secret_value(SecretId=plain, SecretString="second")
    document = secret(gantry, f"{name}/json", json.dumps({"user": "shop", "port": 5432, "deep": {"a": [1]}, "ü": "é\nx"}))
    ssm.put_parameter(Name=f"/{name}/secure", Value="hush", Type="SecureString")
    ssm.put_parameter(Name=f"{name}-plain", Value="a=b", Type="String")
    ssm.put_parameter(Name=f"{name}-plain", Value="newer", Overwrite=True)
    _, lines = run_to_end(
        gantry, name, "for n in WHOLE PREVIOUS OLD USER_NAME PORT DEEP SECURE BYARN PLAIN ONE OVERRIDDEN; do "
        "eval echo \\\"$n=\\$$n\\\"; done; echo $AWS_EXECUTION_ENV",
        secrets=secrets_of(
            WHOLE=plain, PREVIOUS=f"{plain}::AWSPREVIOUS:", OLD=f"{plain}:::{first}", USER_NAME=f"{document}:user::",
            PORT=f"{document}:port::", DEEP=f"{document}:deep::", SECURE=f"/{name}/secure",
            BYARN=f"arn:aws:ssm:{REGION}:000000000000:parameter/{name}/secure", PLAIN=f"{name}-plain",
            ONE=f"{name}-plain:1", OVERRIDDEN=f"{name}-plain"),
        task={"executionRoleArn": role(gantry, name, EVERYTHING)},
        run={"overrides": {"executionRoleArn": "", "containerOverrides": [
            {"name": "main", "environment": [{"name": "OVERRIDDEN", "value": "by the override"}]}]}})
    assert lines == [
        "WHOLE=second", "PREVIOUS=first", "OLD=first", "USER_NAME=shop", "PORT=5432", 'DEEP={"a":[1]}', "SECURE=hush",
        "BYARN=hush", "PLAIN=newer", "ONE=a=b", "OVERRIDDEN=newer", "AWS_ECS_EC2"]


@pytest.fixture
def servers():
    servers = Servers()
    yield servers
    servers.stop()


def test_values_are_nowhere_but_in_the_container(own_gantry, name, servers):
    gantry = own_gantry()
    arn = secret(gantry, "app", json.dumps({"password": VALUE, "token": f"{VALUE}-token"}))
    gantry.client("ssm").put_parameter(Name="/app", Value=f"{VALUE}-ssm", Type="SecureString")
    collector = servers.splunk(f"{VALUE}-token")
    seen = '[ "$A" = "$(echo %s | rev)" ] && touch /tmp/seen' % VALUE[::-1]
    container = {
        "command": ["sh", "-c", f"{seen}; while echo line; do sleep 0.5; done"],
        "secrets": secrets_of(A=f"{arn}:password::", B="/app"),
        "logConfiguration": {
            "logDriver": "splunk", "options": {"splunk-url": f"http://127.0.0.1:{port_of(collector)}"},
            "secretOptions": secrets_of(**{"splunk-token": f"{arn}:token::"})},
        "healthCheck": {"command": ["CMD-SHELL", f"test -e /tmp/seen && {seen}"], "interval": 5, "retries": 10},
        "linuxParameters": {"initProcessEnabled": True},
    }
    definition = register(gantry, name, container, executionRoleArn=role(gantry, name, EVERYTHING))
    task = run_task(gantry, definition)
    wait_until(lambda: gantry.task(task)["healthStatus"] == "HEALTHY", 60, "a health check that sees the secret")
    assert collector.received.until(len)[0]["event"]["line"] == "line", "sent with the token"
    told = [
        gantry.client("ecs").describe_tasks(cluster="default", tasks=[task], include=["TAGS"]),
        gantry.client("ecs").describe_task_definition(taskDefinition=definition),
        gantry.client("secretsmanager").describe_secret(SecretId=arn),
        gantry.client("ssm").describe_parameters(),
        gantry.client("ssm").get_parameter_history(Name="/app"),
    ]
    assert VALUE not in json.dumps(told, default=str)
    listed = subprocess.run(["ps", "axeww"], capture_output=True, text=True, user="nobody")
    assert listed.returncode == 0 and VALUE not in listed.stdout
    # The whole data directory: store, records, bundles, logs. A container's own file system is its own affair.
    assert found_in_files(gantry.folder, VALUE, "-s") == []
    assert VALUE not in gantry.log()
    # It was there to be found: the container's own process has it, for root to see.
    processes = [pid for pid in os.listdir("/proc") if pid.isdigit()]

    def has_value(pid):
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                return VALUE.encode() in file.read()
        except OSError:
            return False

    assert any(has_value(pid) for pid in processes)
    # A new agent process asks again when a container is started again, and to deliver what one prints.
    gantry.kill()
    killed = time.time()
    gantry.start()
    gantry.wait_for_instance()
    collector.received.until(lambda entries: any(float(entry["time"]) > killed for entry in entries))
    assert gantry.task(task)["lastStatus"] == "RUNNING"
    wait_until(lambda: gantry.task(task)["healthStatus"] == "HEALTHY", 60, "a health check of the next agent")
    assert found_in_files(gantry.folder, VALUE, "-s") == []


def test_a_container_that_is_started_again_gets_its_values_again(own_gantry, name):
    gantry = own_gantry()
    container = {
        # A container that ran for less than a minute is not started again.
        "command": ["sh", "-c", 'echo "got ${#A}"; exec sleep 62'], "secrets": secrets_of(A=secret(gantry, "app", VALUE)),
        "restartPolicy": {"enabled": True, "restartAttemptPeriod": 60}, "logConfiguration": awslogs(f"/{name}"),
    }
    definition = register(gantry, name, container, executionRoleArn=role(gantry, name, EVERYTHING))
    task = run_task(gantry, definition)
    gantry.wait_for_status(task, "RUNNING")
    # The next agent process has never had the values.
    gantry.kill()
    gantry.start()
    gantry.wait_for_instance()
    wait_until(lambda: gantry.logs(f"/{name}") == [f"got {len(VALUE)}"] * 2, 90, "the second start")


def test_what_is_missing_or_forbidden_stops_the_task_with_the_services_words(gantry, name):
    arn = secret(gantry, f"{name}/db", json.dumps({"user": "shop"}))
    account = "000000000000"
    weak = role(gantry, f"{name}-weak")
    strong = role(gantry, f"{name}-strong", EVERYTHING)
    reason = stopped(gantry, name, secrets=secrets_of(A=arn), task={"executionRoleArn": weak})
    session = f"arn:aws:sts::{account}:assumed-role/{name}-weak/"
    assert reason.startswith(
        f"ResourceInitializationError: fetching secret data from AWS Secrets Manager in region {REGION}: secret {arn}: "
        f"AccessDeniedException: User: {session}")
    assert "is not authorized to perform: secretsmanager:GetSecretValue on resource: " + arn in reason
    splunk = {"logDriver": "splunk", "options": {"splunk-url": "http://127.0.0.1:1"},
              "secretOptions": secrets_of(**{"splunk-token": arn})}
    assert stopped(gantry, name, logConfiguration=splunk, task={"executionRoleArn": weak}).startswith(
        reason[:reason.index(session) + len(session)])
    reason = stopped(gantry, name, secrets=secrets_of(A="/x"), task={"executionRoleArn": weak})
    assert reason.startswith(
        f"ResourceInitializationError: fetching secret data from SSM Parameter Store in {REGION}: AccessDeniedException: ")
    assert f"ssm:GetParameters on resource: arn:aws:ssm:{REGION}:{account}:parameter/x" in reason
    reason = stopped(gantry, name, secrets=secrets_of(A=f"/{name}/none", B="none:3"), task={"executionRoleArn": strong})
    assert reason == ("ResourceInitializationError: fetching secret data from SSM Parameter Store in us-east-1: "
                      f"invalid parameters: /{name}/none,none:3")
    # A binary secret that is read as a parameter has no value that could be a variable's.
    gantry.client("secretsmanager").create_secret(Name=f"{name}/binary", SecretBinary=b"\0")
    binary = f"/aws/reference/secretsmanager/{name}/binary"
    reason = stopped(gantry, name, secrets=secrets_of(A=binary), task={"executionRoleArn": strong})
    assert reason.endswith(f"invalid parameters: {binary}")
    reason = stopped(gantry, name, secrets=secrets_of(A=f"{arn}:password::"), task={"executionRoleArn": strong})
    assert reason.endswith("retrieved secret from Secrets Manager did not contain json key password")
    missing = f"arn:aws:secretsmanager:{REGION}:{account}:secret:{name}/none-AbCdEf"
    reason = stopped(gantry, name, secrets=secrets_of(A=missing), task={"executionRoleArn": strong})
    assert f"The task can't retrieve the secret with ARN '{missing}' from AWS Secrets Manager" in reason
    reason = stopped(gantry, name, secrets=secrets_of(A=f"{arn}:password"), task={"executionRoleArn": strong})
    assert "an invalid ARN format for the AWS Secrets Manager secret was specified" in reason


def test_a_role_that_does_not_trust_tasks_is_not_used(gantry, name):
    arn = secret(gantry, f"{name}/db", VALUE)
    other = role(gantry, name, EVERYTHING, service="ec2.amazonaws.com")
    try:
        reason = stopped(gantry, name, secrets=secrets_of(A=arn), task={"executionRoleArn": other})
    except ClientError as refused:
        reason = refused.response["Error"]["Message"]
    assert f"ECS was unable to assume the role '{other}'" in reason


@pytest.fixture(scope="module")
def buckets():
    with s3_server("conf") as served:
        yield served


FILES = {"Effect": "Allow", "Action": ["s3:GetObject", "s3:GetBucketLocation"],
         "Resource": ["arn:aws:s3:::conf", "arn:aws:s3:::conf/*"]}


def test_environment_files_come_from_a_bucket(own_gantry, buckets, name, scratch):
    endpoint, s3 = buckets
    s3.put_object(Bucket="conf", Key="a/one.env", Body=f"# comment\nA=one\nB=one\nSECRET={VALUE}\nno line\n Q = x \n".encode())
    s3.put_object(Bucket="conf", Key="two.env", Body=b"B=two\nC=two\nD=two\nPATH=/bin:/extra\n")
    config = os.path.join(tempfile.mkdtemp(prefix="gantry-", dir=scratch), "gantry.toml")
    with open(config, "w") as file:
        file.write(f'[task_files]\nendpoint = "{endpoint}"\nregion = "{REGION}"\naccess_key_id = "id"\n'
                   'secret_access_key = "the-secret"\n')
    gantry = own_gantry(config=config)
    files = [{"type": "s3", "value": f"arn:aws:s3:::conf/{key}"} for key in ("a/one.env", "two.env")]
    task = {"executionRoleArn": role(gantry, name, FILES)}
    _, lines = run_to_end(
        gantry, name, "echo $A $B $C $D $E; echo ${#SECRET}; tr '\\0' '\\n' < /proc/$$/environ | grep '^ Q '; echo $PATH", environmentFiles=files,
        environment=[{"name": "A", "value": "definition"}, {"name": "E", "value": "definition"}], task=task)
    assert lines == ["definition one two two definition", str(len(VALUE)), " Q = x ", "/bin:/extra"]
    assert found_in_files(gantry.folder, VALUE, "-s") == []
    missing = [{"type": "s3", "value": "arn:aws:s3:::conf/none.env"}]
    reason = stopped(gantry, name, environmentFiles=missing, task=task)
    assert reason == ("ResourceInitializationError: unable to download env file with key none.env from bucket conf, "
                      "error: NoSuchKey: The specified key does not exist.")
    reason = stopped(gantry, name, environmentFiles=files, task={"executionRoleArn": role(gantry, f"{name}-weak")})
    assert "error: AccessDenied: User: " in reason and "s3:GetBucketLocation" in reason
    outside = [{"type": "s3", "value": "arn:aws:s3:::conf/../other/x.env"}]
    assert "not the ARN of an object" in stopped(gantry, name, environmentFiles=outside, task=task)
    log_router_is_configured_by_bucket_and_secret(gantry, s3, name)


def log_router_is_configured_by_bucket_and_secret(gantry, s3, name):
    """Its configuration includes a file of the bucket, and names variables that have the secret options of its senders."""
    s3.put_object(Bucket="conf", Key="router/extra.conf", Body="[SERVICE]\n    Flush 1 # é\n".encode())
    strong, weak = role(gantry, f"{name}-router", FILES, EVERYTHING), role(gantry, f"{name}-other", EVERYTHING)

    def task_of(key, role):
        options = {"config-file-type": "s3", "config-file-value": f"arn:aws:s3:::conf/{key}",
                   "enable-ecs-log-metadata": "false"}
        show = "cd /fluent-bit/etc; cat external.conf; grep @ fluent-bit.conf; tail -n 5 fluent-bit.conf; echo ${#apikey_1}"
        sender = {"name": "sender", "command": ["true"], "essential": False, "logConfiguration": {
            "logDriver": "awsfirelens", "options": {"Name": "datadog", "tls": "on"},
            "secretOptions": secrets_of(apikey=arn)}}
        router = {"command": ["sh", "-c", show], "firelensConfiguration": {"type": "fluentbit", "options": options},
                  "logConfiguration": awslogs(f"/{name}-router")}
        definition = register(gantry, name, router, sender, executionRoleArn=role)
        return gantry.wait_for_status(run_task(gantry, definition), "STOPPED")

    arn = secret(gantry, f"{name}/key", VALUE)
    ended = task_of("router/extra.conf", strong)
    lines = [line.strip() for line in gantry.logs(f"/{name}-router") if line.strip()]
    assert lines == [
        "[SERVICE]", "Flush 1 # é", "@INCLUDE /fluent-bit/etc/external.conf", "Name datadog", "Match sender-firelens*",
        "apikey ${apikey_1}", "tls on", str(len(VALUE))], ended
    assert found_in_files(gantry.folder, VALUE, "-s") == []
    failed = "ResourceInitializationError: unable to download firelens s3 config file: unable to download s3 config "
    reason = task_of("none.conf", strong)["stoppedReason"]
    assert reason == f"{failed}none.conf from bucket conf: NoSuchKey: The specified key does not exist."
    reason = task_of("router/extra.conf", weak)["stoppedReason"]
    assert reason.startswith(f"{failed}router/extra.conf from bucket conf: AccessDenied: User: "), reason


def test_environment_files_without_a_bucket_are_refused(gantry, name):
    files = [{"type": "s3", "value": "arn:aws:s3:::conf/a.env"}]
    reason = stopped(gantry, name, environmentFiles=files, task={"executionRoleArn": role(gantry, name, FILES)})
    assert reason == ("ResourceInitializationError: unable to download env file with key a.env from bucket conf, error: "
                      "there is no S3-compatible service: the operator names one in [task_files]")


def test_an_image_of_a_private_registry_is_pulled_with_a_secret(gantry, name, scratch):
    private = make(scratch, server_only=True).start()
    try:
        push_busybox(private)
        login = {"username": "AWS", "password": private.aws("ecr", "get-login-password").strip()}
        good, bad = secret(gantry, f"{name}/good", json.dumps(login)), secret(gantry, f"{name}/bad", "no json")
        task = {"executionRoleArn": role(gantry, name, EVERYTHING)}
        reference = f"localhost:{private.port}/busybox:1"
        _, lines = run_to_end(gantry, name, "echo pulled", image=reference,
                              repositoryCredentials={"credentialsParameter": good}, task=task)
        assert lines == ["pulled"]
        reason = stopped(gantry, name, image=reference, repositoryCredentials={"credentialsParameter": bad}, task=task)
        assert "asm fetching authorization data" in reason
        anonymous = register(gantry, name, {"command": ["true"], "image": reference.replace(":1", ":2")})
        refused = gantry.wait_for_status(run_task(gantry, anonymous), "STOPPED")
        assert "CannotPullContainerError" in refused["containers"][0]["reason"]
        assert login["password"] not in gantry.log()
    finally:
        private.stop()
