"""Parameter Store with boto3 and both AWS CLIs: versions, labels, hierarchies, pages; values that survive a kill and are
nowhere in the files; and who may read which."""

import datetime
import json

import pytest

from access import refusal, user
from conftest import AWS_V1, AWS_V2, REGION, found_in_files

VALUE = "correct-horse-battery-staple"


def arn(name):
    return f"arn:aws:ssm:{REGION}:000000000000:parameter/{name}"


def test_versions_and_labels_survive_a_kill_and_values_are_nowhere_in_the_files(server):
    ssm = server.client("ssm")
    made = ssm.put_parameter(Name="/prod/db", Value=f"{VALUE}-1", Type="SecureString", Description="of the shop",
                             Tags=[{"Key": "team", "Value": "a"}])
    assert (made["Version"], made["Tier"]) == (1, "Standard")
    again = refusal(ssm.put_parameter, Name="/prod/db", Value="x", Type="SecureString")
    assert again == ("ParameterAlreadyExists", "The parameter already exists. To overwrite this value, set the "
                     "overwrite option in the request to true.")
    assert ssm.put_parameter(Name="/prod/db", Value=f"{VALUE}-2", Overwrite=True)["Version"] == 2
    labelled = ssm.label_parameter_version(Name="/prod/db", ParameterVersion=1, Labels=["stable", "9bad"])
    assert (labelled["InvalidLabels"], labelled["ParameterVersion"]) == (["9bad"], 1)
    server.kill("server")
    server.start()
    current = ssm.get_parameter(Name="/prod/db", WithDecryption=True)["Parameter"]
    assert (current["Value"], current["Version"], current["Type"]) == (f"{VALUE}-2", 2, "SecureString")
    assert current["ARN"] == arn("prod/db") and current["DataType"] == "text"
    stable = ssm.get_parameter(Name="/prod/db:stable", WithDecryption=True)["Parameter"]
    assert (stable["Value"], stable["Selector"], stable["Name"]) == (f"{VALUE}-1", ":stable", "/prod/db")
    first = ssm.get_parameter(Name=f"{arn('prod/db')}:1", WithDecryption=True)["Parameter"]
    assert first["Value"] == f"{VALUE}-1"
    hidden = ssm.get_parameter(Name="/prod/db")["Parameter"]["Value"]
    assert VALUE not in hidden
    missing = refusal(ssm.get_parameter, Name="/prod/db:9")
    assert missing == ("ParameterVersionNotFound", "Systems Manager could not find version 9 of /prod/db. Verify the "
                       "version and try again.")
    history = ssm.get_parameter_history(Name="/prod/db", WithDecryption=True)["Parameters"]
    assert [(each["Version"], each["Value"], each["Labels"]) for each in history] == [
        (1, f"{VALUE}-1", ["stable"]), (2, f"{VALUE}-2", [])]
    assert history[0]["LastModifiedUser"] == "arn:aws:iam::000000000000:root"
    server.stop()
    assert found_in_files(server.folder, VALUE) == []


@pytest.mark.parametrize("program", [AWS_V1, AWS_V2])
def test_the_cli_does_everything(server, program):
    def aws(*arguments, **options):
        return server.aws("ssm", *arguments, program=program, **options)

    aws("put-parameter", "--name", "/shop/a", "--type", "String", "--value", "1", "--allowed-pattern", "[0-9]+")
    refused = aws("put-parameter", "--name", "/shop/a", "--overwrite", "--value", "x", check=False)
    assert "ParameterPatternMismatchException" in refused.stderr
    aws("put-parameter", "--name", "/shop/b", "--type", "StringList", "--value", "x,y")
    aws("put-parameter", "--name", "/shop/deep/c", "--type", "SecureString", "--value", "hush")
    below = aws("get-parameters-by-path", "--path", "/shop")["Parameters"]
    assert [each["Name"] for each in below] == ["/shop/a", "/shop/b"]
    # The CLI follows the pages by itself.
    deep = aws("get-parameters-by-path", "--path", "/shop", "--recursive", "--with-decryption", "--page-size", "1")
    assert [each["Value"] for each in deep["Parameters"]] == ["1", "x,y", "hush"]
    several = aws("get-parameters", "--names", "/shop/a", "/shop/none")
    assert [each["Value"] for each in several["Parameters"]] == ["1"]
    assert several["InvalidParameters"] == ["/shop/none"]
    aws("label-parameter-version", "--name", "/shop/a", "--labels", "prod")
    removed = aws("unlabel-parameter-version", "--name", "/shop/a", "--parameter-version", "1", "--labels", "prod", "no")
    assert (removed["RemovedLabels"], removed["InvalidLabels"]) == (["prod"], ["no"])
    tagging = ["--resource-type", "Parameter", "--resource-id", "/shop/a"]
    aws("add-tags-to-resource", *tagging, "--tags", "Key=team,Value=a", "Key=stage,Value=prod")
    aws("remove-tags-from-resource", *tagging, "--tag-keys", "stage")
    assert aws("list-tags-for-resource", *tagging)["TagList"] == [{"Key": "team", "Value": "a"}]
    [described] = aws("describe-parameters", "--parameter-filters", "Key=tag:team,Values=a")["Parameters"]
    assert (described["Name"], described["AllowedPattern"], described["Version"]) == ("/shop/a", "[0-9]+", 1)
    secure = aws("describe-parameters", "--filters", "Key=Type,Values=SecureString")["Parameters"]
    assert [each["KeyId"] for each in secure] == ["alias/aws/ssm"]
    deleted = aws("delete-parameters", "--names", "/shop/a", "/shop/none")
    assert (deleted["DeletedParameters"], deleted["InvalidParameters"]) == (["/shop/a"], ["/shop/none"])
    aws("delete-parameter", "--name", "/shop/b")
    assert "ParameterNotFound" in aws("delete-parameter", "--name", "/shop/b", check=False).stderr


def test_a_parameter_expires(server):
    ssm = server.client("ssm")
    soon = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=1)
    policy = {"Type": "Expiration", "Version": "1.0", "Attributes": {"Timestamp": soon.isoformat()}}
    brief = dict(Name="brief", Type="String", Value="v", Policies=json.dumps([policy]))
    assert refusal(ssm.put_parameter, **brief)[0] == "ValidationException"
    ssm.put_parameter(**brief, Tier="Advanced")
    [described] = ssm.describe_parameters()["Parameters"]
    assert described["Tier"] == "Advanced" and described["Policies"][0]["PolicyType"] == "Expiration"
    notice = {"Type": "NoChangeNotification", "Version": "1.0", "Attributes": {"After": "1", "Unit": "Days"}}
    refused = refusal(ssm.put_parameter, **{**brief, "Name": "other", "Policies": json.dumps([notice])}, Tier="Advanced")
    assert refused[0] == "InvalidPolicyTypeException" and "NoChangeNotification" in refused[1]


def test_who_may_read_is_decided_by_name(server):
    root = server.client("ssm")
    for name in ["/prod/db", "/prod/web", "/test/db"]:
        root.put_parameter(Name=name, Value="v", Type="String", Tags=[{"Key": "stage", "Value": name.split("/")[1]}])
    reader = user(server, "ssm", "reader",
                  {"Effect": "Allow", "Action": ["ssm:GetParameter", "ssm:GetParameters", "ssm:GetParametersByPath"],
                   "Resource": arn("prod/*")},
                  {"Effect": "Deny", "Action": "ssm:*", "Resource": arn("prod/web")})
    assert reader.get_parameter(Name="/prod/db")["Parameter"]["Value"] == "v"
    assert reader.get_parameter(Name=arn("prod/db"))["Parameter"]["Value"] == "v"
    code, message = refusal(reader.get_parameter, Name="/test/db")
    assert code == "AccessDeniedException"
    assert message == ("User: arn:aws:iam::000000000000:user/reader is not authorized to perform: ssm:GetParameter on "
                       f"resource: {arn('test/db')} because no identity-based policy allows the ssm:GetParameter action")
    assert refusal(reader.get_parameter, Name="/prod/web:1")[0] == "AccessDeniedException"
    assert refusal(reader.get_parameters, Names=["/prod/db", "/test/db"])[0] == "AccessDeniedException"
    assert refusal(reader.get_parameter, Name="/none")[0] == "AccessDeniedException"
    assert len(reader.get_parameters_by_path(Path="/prod")["Parameters"]) == 2
    assert refusal(reader.get_parameters_by_path, Path="/", Recursive=True)[0] == "AccessDeniedException"
    assert refusal(reader.put_parameter, Name="/prod/db", Value="w", Overwrite=True)[0] == "AccessDeniedException"
    tagged = user(server, "ssm", "tagged", {
        "Effect": "Allow", "Action": "ssm:GetParameter", "Resource": "*",
        "Condition": {"StringEquals": {"ssm:ResourceTag/stage": "test"}}})
    assert tagged.get_parameter(Name="/test/db")["Parameter"]["Value"] == "v"
    assert refusal(tagged.get_parameter, Name="/prod/db")[0] == "AccessDeniedException"
    maker = user(server, "ssm", "maker",
                 {"Effect": "Allow", "Action": "ssm:PutParameter", "Resource": "*",
                  "Condition": {"StringEquals": {"ssm:Overwrite": "false"}}})
    maker.put_parameter(Name="/new", Value="v", Type="String")
    assert refusal(maker.put_parameter, Name="/new", Value="w", Overwrite=True)[0] == "AccessDeniedException"
    with_tags = dict(Name="/new/2", Value="v", Type="String", Tags=[{"Key": "a", "Value": "b"}])
    assert "ssm:AddTagsToResource" in refusal(maker.put_parameter, **with_tags)[1]


def test_a_secret_is_read_as_a_parameter_with_the_readers_own_permissions(server):
    secret = server.client("secretsmanager").create_secret(Name="prod/db", SecretString=VALUE)
    name = "/aws/reference/secretsmanager/prod/db"
    read = server.client("ssm").get_parameter(Name=name, WithDecryption=True)["Parameter"]
    assert (read["Value"], read["ARN"], read["Type"]) == (VALUE, secret["ARN"], "SecureString")
    assert json.loads(read["SourceResult"])["VersionId"] == secret["VersionId"]
    assert refusal(server.client("ssm").get_parameter, Name=name) == (
        "ValidationException", "WithDecryption flag must be True for retrieving a Secret Manager secret.")
    reader = user(server, "ssm", "reader", {"Effect": "Allow", "Action": "ssm:GetParameter", "Resource": "*"})
    code, message = refusal(reader.get_parameter, Name=name, WithDecryption=True)
    assert code == "AccessDeniedException" and "secretsmanager:GetSecretValue" in message
    assert refusal(server.client("ssm").get_parameter, Name=name + "none", WithDecryption=True)[0] == "ParameterNotFound"
