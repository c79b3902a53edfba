"""Valid requests, broken in thousands of small ways: every answer is a clear one, and the server goes on.

Bounded in time, seeded, and a failure names its seed: `MUTATION_SEED=N pytest tests/e2e/test_mutations.py` repeats it.
"""

import http.client
import json
import os
import random
import time
import uuid

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import botocore.session
import pytest

SECONDS = 4
"""For each of the tests here."""

TARGETS = {
    "ecs": "AmazonEC2ContainerServiceV20141113",
    "ecr": "AmazonEC2ContainerRegistry_V20150921",
    "logs": "Logs_20140328",
}
NOT_A_JSON_ANSWER = {"StartLiveTail"}
ODD_VALUES = [
    None, True, 0, -1, 2**31, 2**63, -2**70, 1.5, 1e308, "", " ", "\0", "\ud7ff", "a" * 300, "x" * 70_000, "../../etc",
    "arn:aws:ecs:us-east-1:000000000000:cluster/", "arn:", ":", "/", "%", "é", [], [[]], [None], {}, {"": ""}, {"a": [{}]},
]


@pytest.fixture
def chance():
    seed = int(os.environ.get("MUTATION_SEED") or random.randrange(2**32))
    print("MUTATION_SEED", seed)
    return random.Random(seed)


@pytest.fixture(autouse=True)
def still_healthy(gantry):
    yield
    assert gantry.healthy()


class Wire:
    """One connection that is kept, and made again when the server closes it."""

    def __init__(self, gantry):
        self.gantry = gantry
        self.connection = None

    def send(self, method, path, body=b"", headers=None):
        for attempt in range(2):
            try:
                if self.connection is None:
                    self.connection = http.client.HTTPConnection("127.0.0.1", self.gantry.port, timeout=30)
                self.connection.putrequest(method, path, skip_accept_encoding=True)
                for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
                    self.connection.putheader(name, value)
                self.connection.endheaders(body)
                answer = self.connection.getresponse()
                return answer.status, answer.read()
            except (ConnectionError, http.client.HTTPException):
                # A server may close on a request that it cannot read.
                self.connection = None
        return 400, b""


def sign(gantry, service, target, body):
    environment = gantry.environment
    credentials = botocore.credentials.Credentials(
        environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"])
    request = botocore.awsrequest.AWSRequest("POST", f"{gantry.url}/", data=body, headers={
        "X-Amz-Target": target, "Content-Type": "application/x-amz-json-1.1"})
    botocore.auth.SigV4Auth(credentials, service, "us-east-1").add_auth(request)
    return dict(request.headers)


def example(shape, chance, depth=0):
    """A value of a shape of the model, now and then without its optional members."""
    kind = shape.type_name
    if kind == "structure":
        wanted = [name for name in shape.members
                  if name in shape.required_members or (depth < 4 and chance.random() < 0.4)]
        return {name: example(shape.members[name], chance, depth + 1) for name in wanted}
    if kind == "list":
        return [example(shape.member, chance, depth + 1) for _ in range(chance.randrange(3))]
    if kind == "map":
        return {f"k{n}": example(shape.value, chance, depth + 1) for n in range(chance.randrange(3))}
    if kind == "string":
        return chance.choice(shape.enum) if getattr(shape, "enum", None) else chance.choice(["default", "a", "web:1", "x-1"])
    if kind == "boolean":
        return chance.random() < 0.5
    if kind in ("integer", "long"):
        return chance.randrange(0, 100)
    if kind == "timestamp":
        return 1_700_000_000
    return 1.0 if kind in ("double", "float") else "YQ=="


def mutated(value, chance):
    """The value with one thing in it changed."""
    if isinstance(value, dict) and value and chance.random() < 0.85:
        name = chance.choice(list(value))
        copy = dict(value)
        how = chance.randrange(5)
        if how == 0:
            del copy[name]
        elif how == 1:
            copy[name.swapcase()] = copy.pop(name)
        elif how == 2:
            # serde would read a structure from this.
            copy[name] = list(value[name].values()) if isinstance(value[name], dict) else [value[name]]
        else:
            copy[name] = mutated(value[name], chance)
        return copy
    if isinstance(value, list) and value and chance.random() < 0.85:
        place = chance.randrange(len(value))
        how = chance.randrange(3)
        if how == 0:
            return value * chance.choice([2, 40])
        replacement = list(value[place].values()) if how == 1 and isinstance(value[place], dict) \
            else mutated(value[place], chance)
        return value[:place] + [replacement] + value[place + 1:]
    return chance.choice(ODD_VALUES)


def scrambled(data, chance):
    """Bytes with a few of them changed, dropped or doubled."""
    data = bytearray(data)
    for _ in range(chance.randrange(1, 4)):
        place = chance.randrange(len(data) + 1)
        how = chance.randrange(3)
        if how == 0 and place < len(data):
            data[place] = chance.randrange(256)
        elif how == 1:
            del data[place:place + chance.randrange(1, 9)]
        else:
            data[place:place] = data[max(0, place - 9):place] or b"\0"
    return bytes(data)


def test_bodies_of_every_operation(gantry, chance):
    session = botocore.session.get_session()
    operations = []
    for service in TARGETS:
        model = session.get_service_model(service)
        operations += [(service, model.operation_model(name)) for name in model.operation_names
                       if name not in NOT_A_JSON_ANSWER]
    wire, began, count = Wire(gantry), time.monotonic(), 0
    while time.monotonic() < began + 2 * SECONDS:
        chance.shuffle(operations)
        for service, operation in operations:
            if time.monotonic() > began + 2 * SECONDS:
                break
            shape = operation.input_shape
            document = example(shape, chance) if shape else {}
            body = json.dumps(mutated(document, chance)).encode()
            if chance.random() < 0.2:
                body = scrambled(body, chance)
            headers = sign(gantry, service, f"{TARGETS[service]}.{operation.name}", body)
            status, answer = wire.send("POST", "/", body, headers)
            context = (service, operation.name, body[:2000], status, answer[:500])
            assert status < 500 or b"NotImplemented" in answer or status == 501, context
            if status != 200:
                assert json.loads(answer)["__type"], context
            count += 1
    assert count > 100, f"only {count} requests"


def test_signatures(gantry, chance):
    wire, began = Wire(gantry), time.monotonic()
    body = b"{}"
    good = sign(gantry, "ecs", f"{TARGETS['ecs']}.ListClusters", body)
    assert wire.send("POST", "/", body, good)[0] == 200
    while time.monotonic() < began + SECONDS / 2:
        name = chance.choice([name for name in good if name.lower() != "host"])
        value = scrambled(good[name].encode(), chance)
        # What cannot stand in a header is no test of ours.
        value = bytes(byte for byte in value if 32 <= byte < 127).decode().strip()
        headers = {**good, name: value}
        if chance.random() < 0.1:
            del headers[name]
        status, answer = wire.send("POST", "/", body, headers)
        assert status < 500, (headers, answer)
        if name.lower() == "authorization" and "Signature=" in value:
            signature = value.split("Signature=")[1]
            if len(signature) != 64 or signature != good[name].split("Signature=")[1]:
                assert status != 200, headers


def registry_token(gantry):
    return gantry.client("ecr").get_authorization_token()["authorizationData"][0]["authorizationToken"]


def test_paths_of_the_registry(gantry, chance):
    wire, began = Wire(gantry), time.monotonic()
    headers = {"Authorization": f"Basic {registry_token(gantry)}"}
    digest = "sha256:" + "a" * 64
    words = ["busybox", "1", "blobs", "uploads", "manifests", "tags", "list", "referrers", "_catalog", digest, "..", ".", "",
             "%2e%2e", "%00", "%", "a" * 300, "sha256:", "sha512:zz", str(uuid.uuid4()), "Ä".encode().hex(), "?n=-1",
             "?last=%ff&n=99999999999", "?digest=" + digest, "?mount=" + digest + "&from=busybox", "?artifactType=%"]
    while time.monotonic() < began + SECONDS:
        path = "/v2/" + "/".join(chance.choice(words) for _ in range(chance.randrange(7)))
        method = chance.choice(["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS"])
        if method == "DELETE" and "busybox" in path:
            continue
        extra = chance.choice([{}, {"Range": "bytes=5-1"}, {"Content-Range": "0-x"}, {"Content-Type": "a/b"}])
        body = b"" if method in ("GET", "HEAD") else chance.choice([b"", b"{}", b"\0" * 100])
        status, answer = wire.send(method, path, body, {**headers, **extra})
        assert status < 500, (method, path, extra, status, answer[:300])


def test_manifests(gantry, chance):
    wire, began = Wire(gantry), time.monotonic()
    headers = {"Authorization": f"Basic {registry_token(gantry)}"}
    status, answer = wire.send("GET", "/v2/busybox/manifests/1", headers={
        **headers, "Accept": "application/vnd.oci.image.manifest.v1+json,application/vnd.docker.distribution.manifest.v2+json"})
    assert status == 200
    manifest = json.loads(answer)
    kinds = ["application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.index.v1+json",
             "application/vnd.docker.distribution.manifest.v2+json", "text/plain", ""]
    while time.monotonic() < began + SECONDS / 2:
        body = json.dumps(mutated(manifest, chance)).encode()
        if chance.random() < 0.3:
            body = scrambled(body, chance)
        status, answer = wire.send("PUT", "/v2/busybox/manifests/mutant", body, {
            **headers, "Content-Type": chance.choice(kinds)})
        assert status < 500, (body, status, answer[:300])
        if status >= 400:
            assert json.loads(answer)["errors"][0]["code"], (body, answer)
