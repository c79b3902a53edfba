"""crane, oras and the credential helper of ECR against a real registry: what people do with them, how a refusal reads,
and long lists. Signatures and builds have a file of their own."""

import base64
import hashlib
import hmac
import json
import subprocess
from pathlib import Path

import pytest

from access import allow, user
from conftest import REGION, make
from image_clients import Image, digest
from later_clients import LaterClients, program
from test_image_clients import http
from test_registry_access import HOSTS, password

ACCOUNT = "000000000000"


@pytest.fixture(scope="module")
def second(scratch):
    gantry = make(scratch, server_only=True).start()
    yield gantry
    gantry.stop()


@pytest.fixture(scope="module")
def clients(registry, second):
    return LaterClients(registry.folder / "clients", registry, second)


@pytest.fixture(scope="module")
def layer(registry):
    return Image(registry.folder / "made", "by crane").rootfs_tar()


@pytest.fixture
def repository(registry, name):
    """A repository of our registry, with its host."""
    registry.client("ecr").create_repository(repositoryName=name)
    return f"localhost:{registry.port}/{name}"


def test_crane_makes_changes_and_moves_images(registry, second, clients, layer, repository, name):
    crane = clients.crane
    host = f"localhost:{registry.port}"
    secret = registry.aws("ecr", "get-login-password").strip()
    crane("auth", "login", "-u", "AWS", "-p", secret, host)
    crane("append", "--new_layer", layer, "--new_tag", f"{repository}:1")
    crane("mutate", f"{repository}:1", "--label", "a=b", "--tag", f"{repository}:labelled")
    assert json.loads(crane("config", f"{repository}:labelled"))["config"]["Labels"] == {"a": "b"}
    crane("index", "append", "-m", f"{repository}:1", "-m", f"{repository}:labelled", "-t", f"{repository}:index")
    crane("flatten", f"{repository}:labelled", "-t", f"{repository}:flat")
    crane("tag", f"{repository}:1", "again")
    for tag in ("1", "labelled", "index", "flat"):
        crane("validate", "--remote", f"{repository}:{tag}")
    assert crane("ls", repository).split() == ["1", "again", "flat", "index", "labelled"]
    assert name in crane("catalog", host).split()
    crane("pull", "--format", "oci", f"{repository}:index", clients.folder / "layout")
    crane("push", "--index", clients.folder / "layout", f"{repository}:pushed")
    crane("validate", "--remote", f"{repository}:pushed")
    # To another repository, whose layers are mounted, to another registry and back.
    registry.client("ecr").create_repository(repositoryName=f"{name}/copy")
    second.client("ecr").create_repository(repositoryName="far")
    mounted = clients.call("crane", "copy", f"{repository}:1", f"{repository}/copy:1").stderr
    assert mounted.count("mounted blob") == 2, mounted
    crane("copy", f"{repository}:index", f"localhost:{second.port}/far:index")
    crane("copy", f"localhost:{second.port}/far:index", f"{repository}/copy:back")
    assert clients.digest(f"{repository}/copy:back") == clients.digest(f"{repository}:index")
    crane("delete", f"{repository}:again")
    assert "again" not in crane("ls", repository).split()
    kept = clients.refused("crane", "delete", f"{repository}@{clients.digest(f'{repository}:1')}")
    assert "DENIED: Requested image referenced by manifest list" in kept


def test_oras_moves_files_and_what_is_about_them(registry, second, clients, repository):
    oras = clients.oras
    clients.run("oras", "login", "--plain-http", "-u", "AWS", "--password-stdin", f"localhost:{registry.port}",
                stdin=registry.aws("ecr", "get-login-password"))
    (clients.folder / "report.txt").write_text("all is well")
    oras("push", f"{repository}:files", "report.txt:text/plain", "--artifact-type", "application/x.files")
    for kind in ("application/x.one", "application/x.two"):
        oras("attach", f"{repository}:files", "report.txt", "--artifact-type", kind, "--annotation", "k=v")
    listed = json.loads(oras("discover", f"{repository}:files", "--format", "json"))["manifests"]
    assert sorted(each["artifactType"] for each in listed) == ["application/x.one", "application/x.two"]
    assert all(each["annotations"]["k"] == "v" for each in listed)
    [one] = json.loads(oras("discover", f"{repository}:files", "--format", "json", "--artifact-type",
                            "application/x.one"))["manifests"]
    assert one["artifactType"] == "application/x.one"
    # With all that is about it to another registry.
    second.client("ecr").create_repository(repositoryName="files")
    there = f"localhost:{second.port}/files:1"
    clients.run("oras", "cp", "-r", "--from-plain-http", "--to-plain-http", f"{repository}:files", there)
    assert len(json.loads(oras("discover", there, "--format", "json"))["manifests"]) == 2
    oras("pull", there, "-o", "out")
    assert (clients.folder / "out/report.txt").read_text() == "all is well"
    oras("tag", f"{repository}:files", "f2", "f3")
    assert clients.run("oras", "repo", "tags", "--plain-http", repository).split() == ["f2", "f3", "files"]
    (clients.folder / "blob").write_text("a blob")
    blob = f"{repository}@{digest(b'a blob')}"
    clients.run("oras", "blob", "push", "--plain-http", blob, "blob")
    assert clients.run("oras", "blob", "fetch", "--plain-http", "-o", "-", blob) == "a blob"
    clients.run("oras", "blob", "delete", "--plain-http", "-f", blob)
    manifest = clients.run("oras", "manifest", "fetch", "--plain-http", f"{repository}:files")
    (clients.folder / "manifest.json").write_text(manifest)
    clients.run("oras", "manifest", "delete", "--plain-http", "-f", f"{repository}@{digest(manifest.encode())}")
    clients.run("oras", "manifest", "push", "--plain-http", f"{repository}:a,b", "manifest.json")
    assert clients.run("oras", "repo", "tags", "--plain-http", repository).split() == ["a", "b"]


def test_thousands_of_tags_are_listed_page_by_page(registry, clients, layer, repository, name):
    clients.crane("append", "--new_layer", layer, "--new_tag", f"{repository}:0")
    manifest = json.loads(clients.crane("manifest", f"{repository}:0"))
    kind = {"Content-Type": manifest["mediaType"]}
    wanted = {"0"}
    for number in range(50):
        # An image has 1,000 tags at most.
        body = json.dumps({**manifest, "annotations": {"image": str(number // 10)}})
        tags = [f"n{number}-{each}" for each in range(50)]
        query = "&".join(f"tag={tag}" for tag in tags)
        answer = http(registry, "PUT", f"{name}/manifests/{tags[0]}?{query}", data=body, headers=kind)
        assert answer.status_code == 201, answer.text
        wanted.update(tags)
    assert sorted(clients.crane("ls", repository).split()) == sorted(wanted)
    assert sorted(clients.run("oras", "repo", "tags", "--plain-http", repository).split()) == sorted(wanted)


def expired(gantry, secret):
    """The same password, good until long ago."""
    def encoded(data):
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    claims = secret.split(".")[0]
    claims = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
    payload = encoded(json.dumps({**claims, "expires_ms": 1000}).encode())
    signed = b"".join(len(part).to_bytes(8, "big") + part for part in (b"token", payload.encode()))
    key = (gantry.folder / "registry/token.key").read_bytes()
    return f"{payload}.{encoded(hmac.new(key, signed, hashlib.sha256).digest())}"


def test_refusals_read_well(registry, clients, layer, repository, name):
    host, crane = f"localhost:{registry.port}", clients.crane
    crane("append", "--new_layer", layer, "--new_tag", f"{repository}:1")
    crane("mutate", f"{repository}:1", "--label", "a=b", "--tag", f"{repository}:other")
    no_such = f"The repository with name '{name}/no' does not exist in the registry with id '{ACCOUNT}'"
    for refused in (
        clients.refused("crane", "append", "--new_layer", layer, "--new_tag", f"{repository}/no:1"),
        clients.refused("crane", "ls", f"{repository}/no"),
        clients.refused("oras", "repo", "tags", "--plain-http", f"{repository}/no"),
    ):
        assert no_such in refused
    (clients.folder / "file").write_text("file")
    wrong = f"{repository}@sha256:{'1' * 64}"
    assert f"does not match the digest of the uploaded content '{digest(b'file')}'" in clients.refused(
        "oras", "blob", "push", "--plain-http", wrong, "file")
    (clients.folder / "manifest").write_text(crane("manifest", f"{repository}:1"))
    assert "does not match the image's digest" in clients.refused(
        "oras", "manifest", "push", "--plain-http", wrong, "manifest")

    registry.client("ecr").put_image_tag_mutability(repositoryName=name, imageTagMutability="IMMUTABLE")
    assert (f"The image tag '1' already exists in the '{name}' repository and cannot be overwritten because the tag is "
            "immutable.") in clients.refused("crane", "tag", f"{repository}:other", "1")

    reading = ["ecr:GetAuthorizationToken", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    reader = LaterClients(clients.folder / "reader")
    reader.log_in({host: password(user(registry, "ecr", name, allow(reading)))})
    assert reader.crane("export", f"{repository}:1", "-")
    arn = f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/{name}"
    for action, command in {
        "PutImage": ("crane", "tag", f"{repository}:1", "mine"),
        "ListImages": ("oras", "repo", "tags", "--plain-http", repository),
        "BatchDeleteImage": ("crane", "delete", f"{repository}:1"),
        "InitiateLayerUpload": ("oras", "blob", "push", "--plain-http", repository, clients.folder / "file"),
    }.items():
        assert (f"User: arn:aws:iam::{ACCOUNT}:user/{name} is not authorized to perform: ecr:{action} on resource: {arn} "
                f"because no identity-based policy allows the ecr:{action} action") in reader.refused(*command)

    secret = registry.aws("ecr", "get-login-password").strip()
    reader.log_in({host: expired(registry, secret)})
    for command in (("crane", "ls", repository), ("oras", "pull", "--plain-http", f"{repository}:1")):
        assert "Your authorization token has expired. Reauthenticate and try again." in reader.refused(*command)
    reader.log_in({host: secret[:-4] + "AAAA"})
    assert "401 Unauthorized: Not Authorized" in reader.refused("crane", "ls", repository)


# The other file that writes to /etc/hosts: never at the same time.
@pytest.mark.xdist_group("test_registry_access")
def test_the_credential_helper_of_ecr_logs_in(scratch, tmp_path, layer, monkeypatch):
    """It knows registries by the names that ECR gives them: the registry must have such a name, and TLS."""
    helper = program("docker-credential-ecr-login")
    name = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"

    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=tmp_path, check=True, capture_output=True)

    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out", "cert.pem", "-days", "2",
            "-subj", "/CN=localhost", "-addext", f"subjectAltName=DNS:localhost,DNS:{name},IP:127.0.0.1")
    gantry = make(scratch, server_only=True)
    gantry.scheme = "https"
    gantry.server_extra = ["--tls-cert", f"{tmp_path}/cert.pem", "--tls-key", f"{tmp_path}/key.pem",
                           "--registry-host", f"{name}:{gantry.port}"]
    monkeypatch.setenv("SSL_CERT_FILE", f"{tmp_path}/cert.pem")
    line = f"127.0.0.1 {name} # gantry e2e {gantry.port}\n"
    with HOSTS.open("a") as hosts:
        hosts.write(line)
    try:
        gantry.start()
        clients = LaterClients(tmp_path / "clients")
        clients.environment |= {**gantry.environment, "AWS_CA_BUNDLE": f"{tmp_path}/cert.pem"}
        clients.environment["PATH"] = f"{Path(helper).parent}:{clients.environment['PATH']}"
        (clients.folder / "config.json").write_text(json.dumps({"credHelpers": {f"{name}:{gantry.port}": "ecr-login"}}))
        ecr = gantry.client("ecr", verify=f"{tmp_path}/cert.pem")
        uri = ecr.create_repository(repositoryName="app")["repository"]["repositoryUri"]
        assert uri == f"{name}:{gantry.port}/app"
        clients.crane("append", "--new_layer", layer, "--new_tag", f"{uri}:1")
        assert clients.run("oras", "repo", "tags", uri).split() == ["1"]
    finally:
        gantry.stop()
        HOSTS.write_text(HOSTS.read_text().replace(line, ""))
