"""Users and roles with policies of their own, and how a call is refused."""

import json
import uuid

import pytest
from botocore.exceptions import ClientError


def policy(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(action, resource="*"):
    return {"Effect": "Allow", "Action": action, "Resource": resource}


def refusal(call, **arguments):
    """The code and the sentence with which a call is refused."""
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return caught.value.response["Error"]["Code"], caught.value.response["Error"]["Message"]


def user(gantry, service, name, *statements):
    """A client of a service for a new user with these permissions."""
    iam = gantry.client("iam")
    iam.create_user(UserName=name)
    iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=policy(*statements))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return gantry.client(service, aws_access_key_id=key["AccessKeyId"], aws_secret_access_key=key["SecretAccessKey"])


def role(gantry, *statements, service="ecs-tasks.amazonaws.com", trust=None, managed=(), name=None):
    """The ARN of a new role with these permissions, which the service may take on."""
    iam, name = gantry.client("iam"), name or f"r{uuid.uuid4().hex[:10]}"
    trust = trust or {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=policy(trust))["Role"]["Arn"]
    if statements:
        iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=policy(*statements))
    for each in managed:
        iam.attach_role_policy(RoleName=name, PolicyArn=f"arn:aws:iam::aws:policy/{each}")
    return arn
