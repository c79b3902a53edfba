"""Secrets Manager with boto3 and both AWS CLIs: values that survive a kill, are nowhere in the files, and are read only
by who may; and the pull-through cache that logs in with one."""

import json
import os
import string
import tempfile

import pytest

from access import refusal, user
from conftest import AWS_V1, AWS_V2, REGION, found_in_files, make
from image_clients import Image, Skopeo

SECRET = "correct-horse-battery-staple"


@pytest.fixture
def server(scratch):
    """Makes Gantrys without an agent: `server(upstreams={HOST: {...}})`."""
    made = []

    def build(upstreams=None):
        config = os.path.join(tempfile.mkdtemp(prefix="gantry-", dir=scratch), "gantry.toml")
        with open(config, "w") as file:
            for host, keys in (upstreams or {}).items():
                file.write(f"[registry.upstreams.{json.dumps(host)}]\n")
                file.writelines(f"{key} = {json.dumps(value)}\n" for key, value in keys.items())
        gantry = make(scratch, server_only=True, config=config).start()
        made.append(gantry)
        return gantry

    yield build
    for gantry in made:
        gantry.stop()


def test_values_survive_a_kill_and_are_nowhere_in_the_files(server):
    gantry = server()
    secrets = gantry.client("secretsmanager")
    made = secrets.create_secret(Name="prod/db", SecretString=f"{SECRET}-1", Tags=[{"Key": "team", "Value": "a"}])
    secrets.put_secret_value(SecretId="prod/db", SecretBinary=f"{SECRET}-2".encode())
    secrets.update_secret(SecretId=made["ARN"], SecretString=f"{SECRET}-3", Description="of the shop")
    refusal(secrets.put_secret_value, SecretId="prod/db", SecretString=SECRET, SecretBinary=SECRET.encode())
    gantry.kill("server")
    gantry.start()
    current = secrets.get_secret_value(SecretId="prod/db")
    assert current["SecretString"] == f"{SECRET}-3" and current["VersionStages"] == ["AWSCURRENT"]
    previous = secrets.get_secret_value(SecretId="prod/db", VersionStage="AWSPREVIOUS")
    assert previous["SecretBinary"] == f"{SECRET}-2".encode()
    first = secrets.get_secret_value(SecretId="prod/db", VersionId=made["VersionId"])
    assert first["SecretString"] == f"{SECRET}-1"
    described = secrets.describe_secret(SecretId="prod/db")
    assert described["Description"] == "of the shop" and described["Tags"] == [{"Key": "team", "Value": "a"}]
    versions = secrets.list_secret_version_ids(SecretId="prod/db", IncludeDeprecated=True)["Versions"]
    assert len(versions) == 3
    gantry.stop()
    assert found_in_files(gantry.folder, SECRET) == []


@pytest.mark.parametrize("program", [AWS_V1, AWS_V2])
def test_the_cli_does_everything(server, program, tmp_path):
    gantry = server()

    def aws(*arguments, **options):
        return gantry.aws("secretsmanager", *arguments, program=program, **options)

    value = tmp_path / "value.json"
    value.write_text('{"user":"ann","password":"one"}')
    aws("create-secret", "--name", "app", "--secret-string", f"file://{value}")
    aws("put-secret-value", "--secret-id", "app", "--secret-string", "two", "--version-stages", "AWSPENDING")
    stages = aws("describe-secret", "--secret-id", "app")["VersionIdsToStages"]
    holder = {stage: version for version, all_ in stages.items() for stage in all_}
    aws("update-secret-version-stage", "--secret-id", "app", "--version-stage", "AWSCURRENT",
        "--remove-from-version-id", holder["AWSCURRENT"], "--move-to-version-id", holder["AWSPENDING"])
    assert aws("get-secret-value", "--secret-id", "app")["SecretString"] == "two"
    refused = aws("update-secret-version-stage", "--secret-id", "app", "--version-stage", "AWSCURRENT",
                  "--move-to-version-id", holder["AWSCURRENT"], check=False)
    assert "The parameter RemoveFromVersionId can't be empty" in refused.stderr
    aws("tag-resource", "--secret-id", "app", "--tags", "Key=a,Value=b", "Key=c,Value=d")
    aws("untag-resource", "--secret-id", "app", "--tag-keys", "a")
    [listed] = aws("list-secrets", "--filters", "Key=tag-key,Values=c")["SecretList"]
    assert listed["Name"] == "app" and listed["Tags"] == [{"Key": "c", "Value": "d"}]
    password = aws("get-random-password", "--password-length", "40", "--exclude-punctuation")["RandomPassword"]
    assert len(password) == 40 and set(password) <= set(string.ascii_letters + string.digits)
    assert aws("delete-secret", "--secret-id", "app", "--recovery-window-in-days", "7")["Name"] == "app"
    gone = aws("get-secret-value", "--secret-id", "app", check=False)
    assert "because it was marked for deletion" in gone.stderr
    assert aws("list-secrets")["SecretList"] == []
    aws("restore-secret", "--secret-id", "app")
    aws("delete-secret", "--secret-id", "app", "--force-delete-without-recovery")
    assert "can't find the specified secret" in aws("describe-secret", "--secret-id", "app", check=False).stderr


def test_who_may_read_is_decided_by_policies_of_users_and_of_secrets(server):
    gantry = server()
    secrets = gantry.client("secretsmanager")
    arn = secrets.create_secret(Name="team-a/db", SecretString=SECRET)["ARN"]
    secrets.create_secret(Name="team-b/db", SecretString=SECRET)
    ann = user(gantry, "secretsmanager", "ann", {"Effect": "Allow", "Action": "secretsmanager:*",
                               "Resource": "arn:aws:secretsmanager:*:*:secret:team-a/*"})
    assert ann.get_secret_value(SecretId="team-a/db")["SecretString"] == SECRET
    code, sentence = refusal(ann.get_secret_value, SecretId="team-b/db")
    assert code == "AccessDeniedException"
    assert sentence.startswith("User: arn:aws:iam::000000000000:user/ann is not authorized to perform: "
                               "secretsmanager:GetSecretValue on resource: arn:aws:secretsmanager:us-east-1:")
    # What is not there is refused as what is.
    assert refusal(ann.get_secret_value, SecretId="team-c/db")[0] == "AccessDeniedException"
    assert refusal(ann.list_secrets)[0] == "AccessDeniedException"
    bob = user(gantry, "secretsmanager", "bob", {"Effect": "Allow", "Action": "secretsmanager:BatchGetSecretValue", "Resource": "*"})
    batch = bob.batch_get_secret_value(SecretIdList=[arn, "team-b/db"])
    assert [error["ErrorCode"] for error in batch["Errors"]] == ["AccessDeniedException"] * 2
    secrets.put_resource_policy(SecretId=arn, ResourcePolicy=json.dumps({
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::000000000000:user/bob"},
                       "Action": "secretsmanager:GetSecretValue", "Resource": "*"}]}))
    batch = bob.batch_get_secret_value(SecretIdList=[arn, "team-b/db"])
    assert [value["SecretString"] for value in batch["SecretValues"]] == [SECRET]
    assert len(batch["Errors"]) == 1
    assert json.loads(secrets.get_resource_policy(SecretId=arn)["ResourcePolicy"])["Statement"]


def test_the_pull_through_cache_logs_in_with_a_secret(server):
    first = server()
    first.client("ecr").create_repository(repositoryName="app")
    pusher = Skopeo(first, first.folder / "skopeo")
    pusher.push(Image(first.folder / "made", "from the first"), f"{pusher.host}/app:1")
    second = server({"first.example": {"url": first.url}})
    secrets, ecr = second.client("secretsmanager"), second.client("ecr")
    missing = f"arn:aws:secretsmanager:{REGION}:000000000000:secret:ecr-pullthroughcache/first-AbCdEf"
    create = dict(ecrRepositoryPrefix="first", upstreamRegistryUrl="first.example")
    assert refusal(ecr.create_pull_through_cache_rule, credentialArn=missing, **create)[0] == "SecretNotFoundException"
    arn = secrets.create_secret(Name="ecr-pullthroughcache/first", SecretString=json.dumps(
        {"username": "AWS", "accessToken": "wrong"}))["ARN"]
    deny = {"Version": "2012-10-17", "Statement": [
        {"Effect": "Deny", "Principal": "*", "Action": "secretsmanager:GetSecretValue", "Resource": "*"}]}
    secrets.put_resource_policy(SecretId=arn, ResourcePolicy=json.dumps(deny))
    refused = refusal(ecr.create_pull_through_cache_rule, credentialArn=arn, **create)
    assert refused[0] == "UnableToAccessSecretException"
    secrets.delete_resource_policy(SecretId=arn)
    ecr.create_pull_through_cache_rule(credentialArn=arn, **create)
    validated = ecr.validate_pull_through_cache_rule(ecrRepositoryPrefix="first")
    assert not validated["isValid"] and "refuses access" in validated["failure"]
    puller = Skopeo(second, second.folder / "skopeo")
    with pytest.raises(AssertionError):
        puller.pull(f"{puller.host}/first/app:1")
    secrets.put_secret_value(SecretId=arn, SecretString=json.dumps(
        {"username": "AWS", "accessToken": pusher.password}))
    assert ecr.validate_pull_through_cache_rule(ecrRepositoryPrefix="first")["isValid"]
    assert puller.pull(f"{puller.host}/first/app:1") == "from the first"
    assert pusher.password not in second.log("server")


def test_a_secret_that_the_key_does_not_open_says_so(server):
    gantry = server()
    secrets, ecr = gantry.client("secretsmanager"), gantry.client("ecr")
    arn = secrets.create_secret(Name="ecr-pullthroughcache/quay", SecretString=json.dumps(
        {"username": "u", "accessToken": SECRET}))["ARN"]
    gantry.kill("server")
    # Another key: that of the root stays in the file of the credentials.
    (gantry.folder / "encryption-key").write_bytes(os.urandom(32))
    gantry.start()
    assert refusal(secrets.get_secret_value, SecretId=arn) == (
        "DecryptionFailure", "Secrets Manager can't decrypt the protected secret text using the provided KMS key.")
    refused = refusal(ecr.create_pull_through_cache_rule, ecrRepositoryPrefix="quay", upstreamRegistryUrl="quay.io",
                      credentialArn=arn)
    assert refused[0] == "UnableToDecryptSecretValueException"
