"""Anything at all may arrive at the port: the answer is a clear 4xx, and the server goes on."""

import http.client
import json
import random
import socket

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import pytest

SERVICES = {
    "ecs": "AmazonEC2ContainerServiceV20141113",
    "ecr": "AmazonEC2ContainerRegistry_V20150921",
    "logs": "Logs_20140328",
}


def send(gantry, method, path, body=b"", headers=None, timeout=60):
    connection = http.client.HTTPConnection("127.0.0.1", gantry.port, timeout=timeout)
    connection.request(method, path, body, headers or {})
    answer = connection.getresponse()
    return answer.status, answer.read()


def signed(gantry, service, operation, body, secret=None):
    environment = gantry.environment
    credentials = botocore.credentials.Credentials(
        environment["AWS_ACCESS_KEY_ID"], secret or environment["AWS_SECRET_ACCESS_KEY"])
    request = botocore.awsrequest.AWSRequest("POST", f"{gantry.url}/", data=body, headers={
        "X-Amz-Target": f"{SERVICES[service]}.{operation}", "Content-Type": "application/x-amz-json-1.1"})
    botocore.auth.SigV4Auth(credentials, service, "us-east-1").add_auth(request)
    return send(gantry, "POST", "/", body, dict(request.headers))


@pytest.fixture(autouse=True)
def still_healthy(gantry):
    yield
    assert gantry.healthy()


@pytest.mark.parametrize("body", [
    b"", b"{", b"[]", b"null", b"\x00\xff", b'{"cluster": 5}', b'{"cluster": {"a": 1}}', b'{"tasks": "x"}',
    b'{"tasks": [' + b"[" * 5000, b'{"containerDefinitions": [{"name": null}]}', b'{"family": "\\ud800"}',
    json.dumps({"family": "x" * 100_000}).encode(), json.dumps({"count": 2**63}).encode(),
])
@pytest.mark.parametrize("operation", ["RunTask", "RegisterTaskDefinition", "CreateService", "DescribeTasks"])
def test_broken_json_is_a_client_error(gantry, operation, body):
    status, answer = signed(gantry, "ecs", operation, body)
    assert 400 <= status < 500, answer
    assert json.loads(answer)["__type"]


def test_random_documents_never_break_an_operation(gantry):
    seed = random.randrange(2**32)
    print("seed", seed)
    chance = random.Random(seed)

    def value(depth=0):
        kind = chance.randrange(8 if depth < 4 else 5)
        if kind < 5:
            return [None, chance.randrange(-2**40, 2**40), chance.choice(["", "a", "FARGATE", "\u0000", "a" * 5000]),
                    chance.random() < 0.5, chance.random() * 1e300][kind]
        if kind == 5:
            return [value(depth + 1) for _ in range(chance.randrange(4))]
        names = ["cluster", "tasks", "taskDefinition", "count", "family", "containerDefinitions", "name", "image",
                 "service", "serviceName", "desiredCount", "tags", "overrides", "networkConfiguration", "nextToken",
                 "maxResults", "repositoryName", "imageIds", "logGroupName", "logEvents", "memory", "volumes"]
        return {chance.choice(names): value(depth + 1) for _ in range(chance.randrange(5))}

    import boto3
    for service in SERVICES:
        for operation in boto3.client(service, region_name="us-east-1").meta.service_model.operation_names:
            if operation in ("StartLiveTail",):
                continue
            for _ in range(3):
                document = value()
                body = json.dumps(document if isinstance(document, dict) else {"cluster": document}).encode()
                status, answer = signed(gantry, service, operation, body)
                assert status < 500, (seed, service, operation, body, answer)


def test_a_body_of_100_megabytes_is_refused(gantry):
    status, _ = send(gantry, "POST", "/", b"x" * 100_000_000, {
        "X-Amz-Target": f"{SERVICES['ecs']}.ListClusters", "Content-Type": "application/x-amz-json-1.1"})
    assert status == 413


@pytest.mark.parametrize("target, code", [
    ("AmazonEC2ContainerServiceV20141113.NoSuchThing", "UnknownOperationException"),
    ("NoSuchService.ListThings", "UnknownOperationException"),
])
def test_unknown_operations_say_so(gantry, target, code):
    environment = gantry.environment
    credentials = botocore.credentials.Credentials(
        environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"])
    request = botocore.awsrequest.AWSRequest("POST", f"{gantry.url}/", data=b"{}", headers={
        "X-Amz-Target": target, "Content-Type": "application/x-amz-json-1.1"})
    botocore.auth.SigV4Auth(credentials, "ecs", "us-east-1").add_auth(request)
    status, answer = send(gantry, "POST", "/", b"{}", dict(request.headers))
    assert (status, json.loads(answer)["__type"]) == (400, code)


def test_wrong_secrets_keys_and_missing_signatures_are_told_apart(gantry):
    status, answer = signed(gantry, "ecs", "ListClusters", b"{}", secret="wrong")
    assert (status, json.loads(answer)["__type"]) == (400, "InvalidSignatureException")
    status, answer = send(gantry, "POST", "/", b"{}", {
        "X-Amz-Target": f"{SERVICES['ecs']}.ListClusters", "Content-Type": "application/x-amz-json-1.1"})
    assert (status, json.loads(answer)["__type"]) == (400, "MissingAuthenticationTokenException")
    unknown = gantry.client("ecs", aws_access_key_id="AKIAUNKNOWN000000000")
    with pytest.raises(unknown.exceptions.ClientError) as refused:
        unknown.list_clusters()
    assert refused.value.response["Error"]["Code"] == "UnrecognizedClientException"
    sts = gantry.client("sts", aws_secret_access_key="wrong")
    with pytest.raises(sts.exceptions.ClientError) as refused:
        sts.get_caller_identity()
    assert refused.value.response["Error"]["Code"] == "SignatureDoesNotMatch"
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


def test_presigned_requests_are_believed(gantry):
    url = gantry.client("sts").generate_presigned_url("get_caller_identity", HttpMethod="GET")
    status, answer = send(gantry, "GET", url[len(gantry.url):])
    assert status == 200 and b":root" in answer


@pytest.mark.parametrize("bytes_sent", [b"\x16\x03\x01\x02\x00", b"GET / HTTP/9.9\r\n\r\n", b"A" * 200_000, b"\r\n" * 100])
def test_what_is_no_http_is_cut_off(gantry, bytes_sent):
    with socket.create_connection(("127.0.0.1", gantry.port), timeout=10) as stream:
        stream.sendall(bytes_sent)
        stream.shutdown(socket.SHUT_WR)
        answer = b""
        try:
            while chunk := stream.recv(4096):
                answer += chunk
        except ConnectionResetError:
            pass
    assert answer == b"" or b" 4" in answer.split(b"\r\n")[0], answer[:100]


@pytest.mark.parametrize("path", [
    "/v2/../../etc/passwd/manifests/x", "/v2/a/blobs/sha256:zz", "/v2/%2e%2e/tags/list", "/v2/A/tags/list",
    "/v2/a/manifests/" + "x" * 3000, "/v2//tags/list", "/nothing", "/agent/v1/connect",
])
def test_odd_paths_are_client_errors(gantry, path):
    status, _ = send(gantry, "GET", path)
    assert 400 <= status < 500
