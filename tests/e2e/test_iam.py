"""IAM and STS as clients see them: who may do what, by whose policies, decided at once."""

import base64
import json
import os
import subprocess
import time
import urllib.error
import urllib.request

import boto3
import botocore
import botocore.config
import pytest
from botocore.exceptions import ClientError

from conftest import AWS_V1, REGION, make
from token_issuer import TokenIssuer

ACCOUNT = "000000000000"


def policy(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(action, resource="*", **rest):
    return {"Effect": "Allow", "Action": action, "Resource": resource, **rest}


def deny(action, resource="*"):
    return {"Effect": "Deny", "Action": action, "Resource": resource}


def trust(principal, **rest):
    return json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Principal": principal, "Action": ["sts:AssumeRole", "sts:TagSession"], **rest}],
        }
    )


class Who:
    """Clients of one principal."""

    def __init__(self, gantry, key):
        self.gantry, self.key = gantry, key

    def client(self, service):
        return boto3.client(
            service,
            endpoint_url=self.gantry.url,
            region_name=REGION,
            aws_access_key_id=self.key["AccessKeyId"],
            aws_secret_access_key=self.key["SecretAccessKey"],
            aws_session_token=self.key.get("SessionToken"),
            config=botocore.config.Config(retries={"max_attempts": 1}),
        )

    def refused(self, api, call, /, **arguments):
        """Calls and returns code and message of the refusal."""
        with pytest.raises(ClientError) as refusal:
            getattr(self.client(api), call)(**arguments)
        error = refusal.value.response["Error"]
        return error["Code"], error["Message"]


@pytest.fixture(scope="module")
def server(scratch):
    """A server without an agent: nothing here runs a container."""
    gantry = make(scratch, server_only=True).start()
    yield gantry
    gantry.stop()


@pytest.fixture(scope="module")
def iam(server):
    return server.client("iam")


@pytest.fixture
def user(server, iam):
    """Makes a user with inline policies; returns its clients."""

    def make(name, *statements, groups=()):
        iam.create_user(UserName=name)
        if statements:
            iam.put_user_policy(UserName=name, PolicyName="inline", PolicyDocument=policy(*statements))
        for group in groups:
            iam.add_user_to_group(GroupName=group, UserName=name)
        return Who(server, iam.create_access_key(UserName=name)["AccessKey"])

    return make


def test_a_user_may_do_what_its_policies_allow_and_nothing_else(user):
    ann = user("ann", allow("ecs:*", f"arn:aws:ecs:{REGION}:{ACCOUNT}:cluster/team-a"), allow("ecs:ListClusters"))
    ecs = ann.client("ecs")
    ecs.create_cluster(clusterName="team-a")
    assert ecs.list_clusters()["clusterArns"]
    code, message = ann.refused("ecs", "create_cluster", clusterName="team-b")
    assert code == "AccessDeniedException"
    arn = f"arn:aws:ecs:{REGION}:{ACCOUNT}:cluster/team-b"
    assert message == (
        f"User: arn:aws:iam::{ACCOUNT}:user/ann is not authorized to perform: ecs:CreateCluster on resource: {arn} "
        "because no identity-based policy allows the ecs:CreateCluster action"
    )
    # What is not there is refused in the same way.
    assert ann.refused("ecs", "delete_service", cluster="x", service="none")[0] == "AccessDeniedException"
    assert ann.refused("iam", "list_users")[0] == "AccessDenied"
    assert ann.client("sts").get_caller_identity()["Arn"] == f"arn:aws:iam::{ACCOUNT}:user/ann"


def test_logs_and_ecr_are_guarded_too(server, user):
    bob = user(
        "bob",
        allow(["logs:CreateLogGroup", "logs:CreateLogStream"], f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/app/*"),
        allow("ecr:*", f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/app/*"),
    )
    logs, ecr = bob.client("logs"), bob.client("ecr")
    logs.create_log_group(logGroupName="/app/web")
    logs.create_log_stream(logGroupName="/app/web", logStreamName="s")
    assert bob.refused("logs", "create_log_group", logGroupName="/other")[0] == "AccessDeniedException"
    assert bob.refused("logs", "describe_log_groups")[0] == "AccessDeniedException"
    ecr.create_repository(repositoryName="app/web")
    assert bob.refused("ecr", "create_repository", repositoryName="other")[0] == "AccessDeniedException"


def test_groups_boundaries_and_explicit_denies(iam, user):
    iam.create_group(GroupName="operators")
    iam.attach_group_policy(GroupName="operators", PolicyArn="arn:aws:iam::aws:policy/AmazonECS_FullAccess")
    eve = user("eve", groups=["operators"])
    eve.client("ecs").list_clusters()
    iam.put_user_policy(UserName="eve", PolicyName="inline", PolicyDocument=policy(deny("ecs:ListClusters")))
    code, message = eve.refused("ecs", "list_clusters")
    assert (code, "with an explicit deny in an identity-based policy" in message) == ("AccessDeniedException", True)
    iam.delete_user_policy(UserName="eve", PolicyName="inline")
    eve.client("ecs").list_clusters()
    iam.remove_user_from_group(GroupName="operators", UserName="eve")
    assert eve.refused("ecs", "list_clusters")[0] == "AccessDeniedException"

    limit = iam.create_policy(PolicyName="limit", PolicyDocument=policy(allow("logs:*")))["Policy"]["Arn"]
    iam.create_user(UserName="fay", PermissionsBoundary=limit)
    iam.attach_user_policy(UserName="fay", PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess")
    fay = Who(eve.gantry, iam.create_access_key(UserName="fay")["AccessKey"])
    fay.client("logs").describe_log_groups()
    assert "because no permissions boundary allows" in fay.refused("ecs", "list_clusters")[1]


def test_a_deleted_or_inactive_key_is_refused_at_once(iam, user):
    gil = user("gil", allow("ecs:*"))
    key = gil.key["AccessKeyId"]
    ecs = gil.client("ecs")
    ecs.list_clusters()
    assert iam.get_access_key_last_used(AccessKeyId=key)["AccessKeyLastUsed"]["ServiceName"] == "ecs"
    iam.update_access_key(UserName="gil", AccessKeyId=key, Status="Inactive")
    assert gil.refused("ecs", "list_clusters")[0] == "UnrecognizedClientException"
    iam.update_access_key(UserName="gil", AccessKeyId=key, Status="Active")
    ecs.list_clusters()
    iam.delete_access_key(UserName="gil", AccessKeyId=key)
    assert gil.refused("ecs", "list_clusters")[0] == "UnrecognizedClientException"
    assert gil.refused("iam", "get_user")[0] == "InvalidClientTokenId"


def test_a_role_is_assumed_by_whom_it_trusts_and_does_what_both_policies_allow(server, iam, user):
    hal = user("hal", allow("sts:AssumeRole", f"arn:aws:iam::{ACCOUNT}:role/deployer"))
    arn = f"arn:aws:iam::{ACCOUNT}:user/hal"
    role = iam.create_role(
        RoleName="deployer",
        AssumeRolePolicyDocument=trust({"AWS": arn}, Condition={"StringEquals": {"sts:ExternalId": "ticket-1"}}),
    )["Role"]
    iam.attach_role_policy(RoleName="deployer", PolicyArn="arn:aws:iam::aws:policy/AmazonECS_FullAccess")
    sts = hal.client("sts")
    arguments = {"RoleArn": role["Arn"], "RoleSessionName": "s1"}
    code, message = hal.refused("sts", "assume_role", **arguments)
    assert code == "AccessDenied" and message.endswith(f"sts:AssumeRole on resource: {role['Arn']}")
    assert hal.refused("sts", "assume_role", RoleArn=role["Arn"] + "2", RoleSessionName="s1")[0] == "AccessDenied"
    answer = sts.assume_role(**arguments, ExternalId="ticket-1")
    assert answer["AssumedRoleUser"]["AssumedRoleId"] == role["RoleId"] + ":s1"
    session = Who(server, answer["Credentials"])
    identity = session.client("sts").get_caller_identity()
    assert identity["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/deployer/s1"
    assert identity["UserId"] == role["RoleId"] + ":s1"
    session.client("ecs").list_clusters()
    assert session.refused("iam", "list_users")[0] == "AccessDenied"

    limited = sts.assume_role(**arguments, ExternalId="ticket-1", Policy=policy(allow("ecs:ListClusters")))
    limited = Who(server, limited["Credentials"])
    limited.client("ecs").list_clusters()
    message = limited.refused("ecs", "list_task_definitions")[1]
    assert "because no session policy allows" in message

    # A token of another session, none, or a changed one is no token of this key.
    stolen = {**session.key, "SessionToken": limited.key["SessionToken"]}
    assert Who(server, stolen).refused("ecs", "list_clusters")[0] == "UnrecognizedClientException"
    without = {key: value for key, value in session.key.items() if key != "SessionToken"}
    assert Who(server, without).refused("ecs", "list_clusters")[0] == "UnrecognizedClientException"
    longest = hal.refused("sts", "assume_role", **arguments, ExternalId="ticket-1", DurationSeconds=7200)
    assert longest == (
        "ValidationError",
        "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
    )

    # The role's policies count as they are now; without the role there is no session.
    iam.detach_role_policy(RoleName="deployer", PolicyArn="arn:aws:iam::aws:policy/AmazonECS_FullAccess")
    assert session.refused("ecs", "list_clusters")[0] == "AccessDeniedException"
    iam.delete_role(RoleName="deployer")
    assert session.refused("ecs", "list_clusters")[0] == "UnrecognizedClientException"


def test_a_trust_policy_means_the_user_it_named_and_not_the_next_of_that_name(iam, user):
    user("ida")
    arn = f"arn:aws:iam::{ACCOUNT}:user/ida"
    iam.create_role(RoleName="for-ida", AssumeRolePolicyDocument=trust({"AWS": arn}))
    iam.delete_access_key(UserName="ida", AccessKeyId=iam.list_access_keys(UserName="ida")["AccessKeyMetadata"][0]["AccessKeyId"])
    old_id = iam.get_user(UserName="ida")["User"]["UserId"]
    iam.delete_user(UserName="ida")
    other = user("ida")
    shown = iam.get_role(RoleName="for-ida")["Role"]["AssumeRolePolicyDocument"]
    assert shown["Statement"][0]["Principal"]["AWS"] == old_id
    refused = other.refused("sts", "assume_role", RoleArn=f"arn:aws:iam::{ACCOUNT}:role/for-ida", RoleSessionName="s1")
    assert refused[0] == "AccessDenied"


def test_passing_a_role_needs_a_permission_of_its_own(iam, user):
    iam.create_role(RoleName="task", AssumeRolePolicyDocument=trust({"Service": "ecs-tasks.amazonaws.com"}))
    arn = f"arn:aws:iam::{ACCOUNT}:role/task"
    jan = user("jan", allow("ecs:*"))
    container = {"name": "c", "image": "i", "memory": 64}
    arguments = {"family": "passed", "taskRoleArn": arn, "containerDefinitions": [container]}
    code, message = jan.refused("ecs", "register_task_definition", **arguments)
    assert code == "AccessDeniedException"
    assert f"is not authorized to perform: iam:PassRole on resource: {arn} because no identity-based policy" in message
    condition = {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}
    iam.put_user_policy(
        UserName="jan", PolicyName="pass", PolicyDocument=policy(allow("iam:PassRole", arn, Condition=condition))
    )
    jan.client("ecs").register_task_definition(**arguments)
    iam.delete_user_policy(UserName="jan", PolicyName="pass")
    assert "iam:PassRole" in jan.refused("ecs", "run_task", taskDefinition="passed")[1]


def test_session_tokens_of_users(server, iam, user):
    kim = user("kim", allow("ecs:ListClusters"))
    session = Who(server, kim.client("sts").get_session_token(DurationSeconds=900)["Credentials"])
    session.client("ecs").list_clusters()
    assert session.client("sts").get_caller_identity()["Arn"] == f"arn:aws:iam::{ACCOUNT}:user/kim"
    assert session.refused("sts", "get_session_token")[0] == "AccessDenied"
    info = session.client("sts")
    assert session.refused("sts", "get_access_key_info", AccessKeyId=session.key["AccessKeyId"])[0] == "AccessDenied"
    iam.put_user_policy(UserName="kim", PolicyName="more", PolicyDocument=policy(allow("sts:GetAccessKeyInfo")))
    assert info.get_access_key_info(AccessKeyId=session.key["AccessKeyId"])["Account"] == ACCOUNT


def test_the_order_in_which_terraform_calls(iam):
    document = trust({"Service": "ecs-tasks.amazonaws.com"})
    created = iam.create_role(RoleName="tf", Path="/teams/", AssumeRolePolicyDocument=document, Tags=[{"Key": "a", "Value": "b"}])
    role = iam.get_role(RoleName="tf")["Role"]
    assert role["Arn"] == created["Role"]["Arn"] == f"arn:aws:iam::{ACCOUNT}:role/teams/tf"
    assert role["AssumeRolePolicyDocument"] == json.loads(document)
    assert (role["Tags"], role["RoleLastUsed"]) == ([{"Key": "a", "Value": "b"}], {})
    assert iam.list_role_policies(RoleName="tf")["PolicyNames"] == []
    assert iam.list_attached_role_policies(RoleName="tf")["AttachedPolicies"] == []
    execution = "arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"
    iam.attach_role_policy(RoleName="tf", PolicyArn=execution)
    iam.put_role_policy(RoleName="tf", PolicyName="p", PolicyDocument=policy(allow("s3:*")))
    assert iam.get_role_policy(RoleName="tf", PolicyName="p")["PolicyDocument"] == json.loads(policy(allow("s3:*")))
    assert iam.get_policy(PolicyArn=execution)["Policy"]["AttachmentCount"] == 1
    assert [role["RoleName"] for role in iam.list_entities_for_policy(PolicyArn=execution)["PolicyRoles"]] == ["tf"]
    with pytest.raises(iam.exceptions.DeleteConflictException, match="must detach all policies first"):
        iam.delete_role(RoleName="tf")
    iam.detach_role_policy(RoleName="tf", PolicyArn=execution)
    iam.delete_role_policy(RoleName="tf", PolicyName="p")
    assert iam.list_instance_profiles_for_role(RoleName="tf")["InstanceProfiles"] == []
    iam.delete_role(RoleName="tf")
    with pytest.raises(iam.exceptions.NoSuchEntityException, match="The role with name tf cannot be found."):
        iam.get_role(RoleName="tf")


def test_versions_of_a_policy(iam):
    arn = iam.create_policy(PolicyName="versions", PolicyDocument=policy(allow("ecs:*")))["Policy"]["Arn"]
    for _ in range(4):
        iam.create_policy_version(PolicyArn=arn, PolicyDocument=policy(allow("ecr:*")), SetAsDefault=True)
    with pytest.raises(iam.exceptions.LimitExceededException, match="up to 5 versions"):
        iam.create_policy_version(PolicyArn=arn, PolicyDocument=policy(allow("ecr:*")))
    assert [version["VersionId"] for version in iam.list_policy_versions(PolicyArn=arn)["Versions"]] == [
        "v5", "v4", "v3", "v2", "v1",
    ]
    iam.set_default_policy_version(PolicyArn=arn, VersionId="v1")
    with pytest.raises(iam.exceptions.DeleteConflictException, match="Cannot delete the default version"):
        iam.delete_policy_version(PolicyArn=arn, VersionId="v1")
    with pytest.raises(iam.exceptions.MalformedPolicyDocumentException):
        iam.create_policy(PolicyName="bad", PolicyDocument='{"Statement": 1}')


def test_everything_of_an_account_is_listed_at_once(iam, user):
    user("pat", allow("ecs:ListClusters"))
    iam.create_role(RoleName="seen", AssumeRolePolicyDocument=trust({"Service": "ecs-tasks.amazonaws.com"}))
    made = iam.create_policy(PolicyName="seen", PolicyDocument=policy(allow("ecs:*")))["Policy"]
    iam.attach_role_policy(RoleName="seen", PolicyArn=made["Arn"])
    used, unused = "arn:aws:iam::aws:policy/AmazonECS_FullAccess", "AmazonEC2ContainerRegistryPowerUser"
    iam.attach_role_policy(RoleName="seen", PolicyArn=used)
    pages = list(iam.get_paginator("get_account_authorization_details").paginate(PaginationConfig={"PageSize": 3}))
    assert len(pages) > 1
    users, roles, policies = (
        {each[name]: each for page in pages for each in page[part]}
        for part, name in (("UserDetailList", "UserName"), ("RoleDetailList", "RoleName"), ("Policies", "PolicyName"))
    )
    assert users["pat"]["UserPolicyList"][0]["PolicyDocument"]["Statement"][0]["Action"] == "ecs:ListClusters"
    attached = {each["PolicyArn"] for each in roles["seen"]["AttachedManagedPolicies"]}
    assert attached == {made["Arn"], used}
    assert roles["seen"]["AssumeRolePolicyDocument"]["Statement"][0]["Principal"]["Service"] == "ecs-tasks.amazonaws.com"
    assert (policies["seen"]["AttachmentCount"], policies["seen"]["PolicyVersionList"][0]["VersionId"]) == (1, "v1")
    assert "AmazonECS_FullAccess" in policies and unused not in policies, "of AWS's policies those in use"
    only = iam.get_account_authorization_details(Filter=["Role"])
    assert only["RoleDetailList"] and not only["UserDetailList"] and not only["Policies"]


def test_simulation_tells_what_would_be_decided(iam, user):
    user("sim", allow("ecs:List*"), deny("ecs:ListTasks"))
    answer = iam.simulate_principal_policy(
        PolicySourceArn=f"arn:aws:iam::{ACCOUNT}:user/sim",
        ActionNames=["ecs:ListClusters", "ecs:ListTasks", "ecs:RunTask"],
    )
    decisions = [result["EvalDecision"] for result in answer["EvaluationResults"]]
    assert decisions == ["allowed", "explicitDeny", "implicitDeny"]


def test_lists_have_pages(iam):
    for number in range(5):
        iam.create_group(GroupName=f"page-{number}", Path="/pages/")
    pages = list(iam.get_paginator("list_groups").paginate(PathPrefix="/pages/", PaginationConfig={"PageSize": 2}))
    assert [len(page["Groups"]) for page in pages] == [2, 2, 1]


def test_the_aws_cli_manages_users_and_roles(server):
    aws = server.aws
    aws("iam", "create-user", "--user-name", "cli")
    key = aws("iam", "create-access-key", "--user-name", "cli")["AccessKey"]
    assert key["AccessKeyId"].startswith("AKIA") and len(key["SecretAccessKey"]) == 40
    aws("iam", "attach-user-policy", "--user-name", "cli", "--policy-arn", "arn:aws:iam::aws:policy/ReadOnlyAccess")
    listed = aws("iam", "list-attached-user-policies", "--user-name", "cli")
    assert listed["AttachedPolicies"][0]["PolicyName"] == "ReadOnlyAccess"
    assert aws("sts", "get-caller-identity")["Arn"].endswith(":root")
    aws("iam", "create-service-linked-role", "--aws-service-name", "ecs.amazonaws.com")
    assert aws("iam", "get-role", "--role-name", "ecsInstanceRole")["Role"]["Path"] == "/"



def test_a_registry_token_gives_what_its_holder_may_do_now(server, iam, user):
    root = server.client("ecr")
    root.create_repository(repositoryName="pulled")
    repository = f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/pulled"
    mia = user("mia", allow("ecr:GetAuthorizationToken"), allow(["ecr:BatchGetImage", "ecr:ListImages"], repository))
    token = mia.client("ecr").get_authorization_token()["authorizationData"][0]["authorizationToken"]

    def status(method, path):
        request = urllib.request.Request(
            f"{server.url}/v2/{path}", method=method, headers={"Authorization": f"Basic {token}"})
        try:
            return urllib.request.urlopen(request, timeout=10).status
        except urllib.error.HTTPError as error:
            return error.code

    assert status("GET", "pulled/tags/list") == 200
    assert status("GET", "pulled/manifests/none") == 404
    assert status("POST", "pulled/blobs/uploads/") == 403
    assert status("GET", "other/tags/list") == 403
    iam.delete_user_policy(UserName="mia", PolicyName="inline")
    assert status("GET", "pulled/tags/list") == 403


def test_identity_providers_are_kept_and_changed_by_whom_policies_let(server, iam, user):
    made = iam.create_open_id_connect_provider(
        Url="https://tenant.example/realms/Build/",
        ClientIDList=["a", "b", "a"],
        ThumbprintList=["0" * 40],
        Tags=[{"Key": "team", "Value": "x"}],
    )
    arn = made["OpenIDConnectProviderArn"]
    assert arn == f"arn:aws:iam::{ACCOUNT}:oidc-provider/tenant.example/realms/Build/"
    assert arn in [each["Arn"] for each in iam.list_open_id_connect_providers()["OpenIDConnectProviderList"]]
    with pytest.raises(iam.exceptions.EntityAlreadyExistsException, match="Provider with url https://tenant.example"):
        iam.create_open_id_connect_provider(Url="https://tenant.example/realms/Build/")
    for url in ("http://tenant.example", "tenant.example", "https://tenant.example?x=y"):
        with pytest.raises(ClientError, match="Invalid Open ID Connect Provider URL"):
            iam.create_open_id_connect_provider(Url=url)
    iam.add_client_id_to_open_id_connect_provider(OpenIDConnectProviderArn=arn, ClientID="c")
    iam.remove_client_id_from_open_id_connect_provider(OpenIDConnectProviderArn=arn, ClientID="a")
    iam.update_open_id_connect_provider_thumbprint(OpenIDConnectProviderArn=arn, ThumbprintList=["f" * 40])
    iam.tag_open_id_connect_provider(OpenIDConnectProviderArn=arn, Tags=[{"Key": "cost", "Value": "7"}])
    tags = iam.list_open_id_connect_provider_tags(OpenIDConnectProviderArn=arn)["Tags"]
    assert tags == [{"Key": "cost", "Value": "7"}, {"Key": "team", "Value": "x"}]
    iam.untag_open_id_connect_provider(OpenIDConnectProviderArn=arn, TagKeys=["cost"])
    found = iam.get_open_id_connect_provider(OpenIDConnectProviderArn=arn)
    assert (found["Url"], found["ClientIDList"]) == ("tenant.example/realms/Build/", ["b", "c"])
    assert (found["ThumbprintList"], found["Tags"]) == (["f" * 40], [{"Key": "team", "Value": "x"}])
    assert iam.get_account_summary()["SummaryMap"]["Providers"] >= 1

    of_team = {"Condition": {"StringEquals": {"aws:ResourceTag/team": "x"}}}
    nan = user("nan", allow("iam:GetOpenIDConnectProvider", "*", **of_team))
    nan.client("iam").get_open_id_connect_provider(OpenIDConnectProviderArn=arn)
    refused = nan.refused("iam", "delete_open_id_connect_provider", OpenIDConnectProviderArn=arn)
    assert refused[0] == "AccessDenied" and f"iam:DeleteOpenIDConnectProvider on resource: {arn}" in refused[1]
    assert nan.refused("iam", "create_open_id_connect_provider", Url="https://x.example")[0] == "AccessDenied"
    iam.delete_open_id_connect_provider(OpenIDConnectProviderArn=arn)
    iam.delete_open_id_connect_provider(OpenIDConnectProviderArn=arn)
    with pytest.raises(iam.exceptions.NoSuchEntityException, match="OpenIDConnect Provider not found for arn"):
        iam.get_open_id_connect_provider(OpenIDConnectProviderArn=arn)


@pytest.fixture
def issuer(iam):
    """An issuer whose tokens for sts.amazonaws.com the account believes, and a role for one of its subjects."""
    issuer = TokenIssuer()
    provider = iam.create_open_id_connect_provider(Url=issuer.url, ClientIDList=["sts.amazonaws.com"])
    issuer.provider = provider["OpenIDConnectProviderArn"]
    conditions = {
        "StringEquals": {f"{issuer.name}:aud": "sts.amazonaws.com", f"{issuer.name}:environment": "prod"},
        "StringLike": {f"{issuer.name}:sub": "repo:octo/*"},
    }
    statement = {
        "Effect": "Allow",
        "Principal": {"Federated": issuer.provider},
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": conditions,
    }
    role = iam.create_role(RoleName="ci", AssumeRolePolicyDocument=policy(statement))["Role"]
    iam.put_role_policy(RoleName="ci", PolicyName="p", PolicyDocument=policy(allow(["ecs:List*", "logs:Describe*"])))
    issuer.role = role["Arn"]
    yield issuer
    iam.delete_role_policy(RoleName="ci", PolicyName="p")
    iam.delete_role(RoleName="ci")
    iam.delete_open_id_connect_provider(OpenIDConnectProviderArn=issuer.provider)
    issuer.stop()


def good_claims(**changes):
    return {"sub": "repo:octo/app", "aud": "sts.amazonaws.com", "environment": "prod", **changes}


def test_a_program_elsewhere_acts_in_a_role_by_its_token_alone(server, iam, issuer, tmp_path, monkeypatch):
    file = tmp_path / "token"
    file.write_text(issuer.token(**good_claims()))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {
        "AWS_ROLE_ARN": issuer.role,
        "AWS_WEB_IDENTITY_TOKEN_FILE": str(file),
        "AWS_ROLE_SESSION_NAME": "run-7",
        "AWS_ENDPOINT_URL": server.url,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    session = boto3.session.Session()
    assert session.client("sts").get_caller_identity()["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/ci/run-7"
    session.client("ecs").list_clusters()
    with pytest.raises(ClientError, match="assumed-role/ci/run-7 is not authorized to perform: ecs:CreateCluster"):
        session.client("ecs").create_cluster(clusterName="x")
    cli = {name: value for name, value in os.environ.items() if name.startswith(("AWS_", "PATH", "HOME"))}
    listed = subprocess.run([AWS_V1, "ecs", "list-clusters"], env=cli, capture_output=True, text=True, timeout=60)
    assert listed.returncode == 0 and "clusterArns" in listed.stdout, listed.stderr
    # A session is over with its role, as others are.
    iam.delete_role_policy(RoleName="ci", PolicyName="p")
    with pytest.raises(ClientError, match="not authorized to perform: ecs:ListClusters"):
        session.client("ecs").list_clusters()
    iam.put_role_policy(RoleName="ci", PolicyName="p", PolicyDocument=policy(allow("ecs:List*")))


def test_a_token_counts_only_as_its_provider_and_its_role_say(server, iam, issuer):
    once = botocore.config.Config(signature_version=botocore.UNSIGNED, retries={"total_max_attempts": 1})
    sts = server.client("sts", config=once)

    def assume(token, **changes):
        arguments = {"RoleArn": issuer.role, "RoleSessionName": "s1", **changes}
        return sts.assume_role_with_web_identity(WebIdentityToken=token, **arguments)

    def refused(token, **changes):
        with pytest.raises(ClientError) as refusal:
            assume(token, **changes)
        return refusal.value.response["Error"]["Code"], refusal.value.response["Error"]["Message"]

    good = issuer.token(**good_claims())
    answer = assume(good, DurationSeconds=900, Policy=policy(allow("ecs:ListClusters")))
    assert (answer["Provider"], answer["Audience"]) == (issuer.provider, "sts.amazonaws.com")
    assert answer["SubjectFromWebIdentityToken"] == "repo:octo/app"
    assert answer["AssumedRoleUser"]["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/ci/s1"
    assert answer["PackedPolicySize"] > 0
    limited = Who(server, answer["Credentials"])
    limited.client("ecs").list_clusters()
    assert limited.refused("logs", "describe_log_groups")[0] == "AccessDeniedException"
    assume(issuer.token("ES256", **good_claims()))
    assume(issuer.token(**good_claims(aud="elsewhere", azp="sts.amazonaws.com")))

    denied = ("AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity")
    head, claims, signature = good.split(".")
    padded = claims + "=" * (-len(claims) % 4)
    other_claims = base64.urlsafe_b64decode(padded).replace(b"octo/app", b"octo/web")
    tampered = f"{head}.{base64.urlsafe_b64encode(other_claims).rstrip(b'=').decode()}.{signature}"
    stranger = TokenIssuer()
    past = int(time.time()) - 7200
    for token, code, message in [
        (issuer.token(**good_claims(aud="elsewhere")), "InvalidIdentityToken", "Incorrect token audience"),
        (issuer.token(**good_claims(azp="elsewhere")), "InvalidIdentityToken", "Incorrect token audience"),
        (issuer.token(**good_claims(sub="repo:other/app")), *denied),
        (issuer.token(**good_claims(environment="test")), *denied),
        (issuer.token(**good_claims(iat=past - 60, exp=past)), "ExpiredTokenException", "Token expired: current date/time"),
        (issuer.token(**good_claims(nbf=past + 14400)), "InvalidIdentityToken", "nbf"),
        (tampered, "InvalidIdentityToken", "could not be validated"),
        (stranger.token(**good_claims(iss=issuer.url)), "InvalidIdentityToken", "could not be validated"),
        (stranger.token(**good_claims()), "InvalidIdentityToken", "No OpenIDConnect provider found in your account for"),
        (issuer.token(**good_claims(iss=issuer.url + "/")), "InvalidIdentityToken", "No OpenIDConnect provider found"),
        (issuer.token("HS256", **good_claims()), "InvalidIdentityToken", "not supported"),
        (issuer.token("none", **good_claims()), "InvalidIdentityToken", "not supported"),
        ("not.a.token", "InvalidIdentityToken", "not a valid JWT"),
    ]:
        assert refused(token)[0] == code and message in refused(token)[1], (message, refused(token))
    stranger.stop()
    assert refused(good, RoleArn=issuer.role + "2") == denied
    assert "MaxSessionDuration" in refused(good, DurationSeconds=7200)[1]
    # An issuer that is known and does not answer.
    made = iam.create_open_id_connect_provider(Url=stranger.url, ClientIDList=["sts.amazonaws.com"])
    assert refused(stranger.token(**good_claims()))[0] == "IDPCommunicationError"
    iam.delete_open_id_connect_provider(OpenIDConnectProviderArn=made["OpenIDConnectProviderArn"])


def test_identities_survive_a_restart_and_secrets_are_not_readable_on_disk(server, iam, user):
    lee = user("lee", allow("ecs:ListClusters"))
    session = Who(server, lee.client("sts").get_session_token()["Credentials"])
    server.kill("server")
    server.start()
    lee.client("ecs").list_clusters()
    session.client("ecs").list_clusters()
    secret = lee.key["SecretAccessKey"].encode()
    for path in server.folder.rglob("*"):
        assert not path.is_file() or secret not in path.read_bytes(), path
