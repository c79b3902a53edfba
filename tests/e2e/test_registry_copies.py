"""Repositories that pushes create, replication to other regions, and pulling through: with the clients people use, and
with processes that are killed in the middle."""

import json
import os
import signal
import subprocess
import tempfile
import threading
import urllib.request

import pytest

from conftest import REGION, free_port, make, wait_until
from image_clients import CLIENTS, Image, Skopeo, run

THERE = "eu-west-1"


@pytest.fixture
def server(scratch):
    """Makes Gantrys without an agent: `server(upstreams={HOST: {...}})`."""
    made = []

    def build(upstreams=None):
        folder = tempfile.mkdtemp(prefix="gantry-", dir=scratch)
        config = os.path.join(folder, "gantry.toml")
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


class DockerRegistry:
    """Debian's docker-registry: an upstream that asks for no credentials."""

    def __init__(self, scratch):
        self.folder = tempfile.mkdtemp(prefix="upstream-", dir=scratch)
        self.port = free_port()
        self.host = f"localhost:{self.port}"
        with open(f"{self.folder}/config.yml", "w") as file:
            file.write(
                f"version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {self.folder}/data\n"
                f"http:\n  addr: 127.0.0.1:{self.port}\n")

    def start(self):
        log = open(f"{self.folder}/log", "ab")
        self.process = subprocess.Popen(
            ["docker-registry", "serve", f"{self.folder}/config.yml"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)

        def up():
            try:
                return urllib.request.urlopen(f"http://127.0.0.1:{self.port}/v2/", timeout=1)
            except OSError:
                return None

        wait_until(up, 30, f"docker-registry ({log.name})")
        return self

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(30)

    def push(self, image, reference):
        run("skopeo", "copy", "--dest-tls-verify=false", f"oci-archive:{image.oci_archive()}",
            f"docker://{self.host}/{reference}")


@pytest.fixture
def upstream(scratch):
    registry = DockerRegistry(scratch).start()
    yield registry
    registry.kill()


def whole(gantry):
    """Everything that the registry knows of is there, and nothing is left over."""
    done = gantry.run("registry", "verify", "--output", "json", check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def rule(gantry, prefix, host, **more):
    gantry.client("ecr").create_pull_through_cache_rule(
        ecrRepositoryPrefix=prefix, upstreamRegistryUrl=host, **more)


def tags(gantry, repository, region=REGION):
    """The tags of a repository and the digests they point at; nothing when it does not exist."""
    ecr = gantry.client("ecr", region_name=region)
    try:
        pages = ecr.get_paginator("list_images").paginate(repositoryName=repository)
        return {image["imageTag"]: image["imageDigest"] for page in pages for image in page["imageIds"]
                if "imageTag" in image}
    except ecr.exceptions.RepositoryNotFoundException:
        return {}


@pytest.mark.parametrize("client", ["skopeo", "docker"])
def test_a_push_creates_the_repository(server, client):
    gantry = server()
    gantry.client("ecr").create_repository_creation_template(
        prefix="new", appliedFor=["CREATE_ON_PUSH"], imageTagMutability="IMMUTABLE",
        resourceTags=[{"Key": "made", "Value": "by a push"}])
    folder = tempfile.mkdtemp(prefix="c-", dir="/var/tmp")
    pusher = CLIENTS[client](gantry, folder)
    try:
        reference = f"{pusher.host}/new/{client}:1"
        pusher.push(Image(gantry.folder / "made", "hello"), reference)
        assert pusher.pull(reference) == "hello"
        [repository] = gantry.client("ecr").describe_repositories(repositoryNames=[f"new/{client}"])["repositories"]
        assert repository["imageTagMutability"] == "IMMUTABLE"
        with pytest.raises(AssertionError, match="does not exist"):
            pusher.push(Image(gantry.folder / "made", "hello"), f"{pusher.host}/elsewhere/{client}:1")
    finally:
        pusher.close()


def test_images_go_to_other_regions_also_through_a_kill(server):
    gantry = server()
    ecr = gantry.client("ecr")
    ecr.create_repository(repositoryName="app")
    skopeo = Skopeo(gantry, gantry.folder / "skopeo")
    skopeo.push(Image(gantry.folder / "made", "before"), f"{skopeo.host}/app:before")
    destination = {"region": THERE, "registryId": "000000000000"}
    ecr.put_replication_configuration(replicationConfiguration={"rules": [
        {"destinations": [destination], "deleteReplication": {"enabled": True}}]})
    for number in range(8):
        skopeo.push(Image(gantry.folder / "made", f"image {number}"), f"{skopeo.host}/app:v{number}")
    ecr.batch_delete_image(repositoryName="app", imageIds=[{"imageTag": "v0"}])
    backfill = ecr.start_replication_backfill(destination=destination)["replicationBackfillId"]
    gantry.kill("server")
    gantry.start()
    expected = {tag: image for tag, image in tags(gantry, "app").items()}
    assert set(expected) == {"before", *(f"v{number}" for number in range(1, 8))}
    wait_until(lambda: tags(gantry, "app", THERE) == expected, 60, "the images in the other region")
    for tag in expected:
        [status] = ecr.describe_image_replication_status(
            repositoryName="app", imageId={"imageTag": tag})["replicationStatuses"]
        assert status["status"] == "COMPLETE"
    results = wait_until(lambda: (lambda seen: seen if seen["status"] == "COMPLETE" else None)(
        ecr.describe_replication_backfill_results(replicationBackfillId=backfill)), 60, "the end of the backfill")
    assert results["progress"]["completedReplicationCount"] == len(expected)
    whole(gantry)
    # What came by replication can be pulled: the token says which region is meant.
    there = Skopeo.__new__(Skopeo)
    there.gantry, there.folder, there.host = gantry, gantry.folder / "there", skopeo.host
    there.folder.mkdir()
    there.password = gantry.aws("ecr", "get-login-password", "--region", THERE).strip()
    there.log_in()
    assert there.pull(f"{skopeo.host}/app:v3") == "image 3"


def test_images_are_pulled_through_and_then_kept(server, upstream):
    gantry = server({"up.example": {"url": f"http://127.0.0.1:{upstream.port}"}})
    rule(gantry, "up", "up.example")
    assert gantry.client("ecr").validate_pull_through_cache_rule(ecrRepositoryPrefix="up")["isValid"]
    upstream.push(Image(gantry.folder / "made", "from upstream"), "team/web:1")
    skopeo = Skopeo(gantry, gantry.folder / "skopeo")
    reference = f"{skopeo.host}/up/team/web:1"
    assert skopeo.pull(reference) == "from upstream"
    upstream.kill()
    try:
        assert skopeo.pull(reference) == "from upstream"
        got = gantry.client("ecr").batch_get_image(
            repositoryName="up/team/web", imageIds=[{"imageTag": "1"}, {"imageTag": "2"}])
        assert len(got["images"]) == 1
        assert [failure["failureCode"] for failure in got["failures"]] == ["UpstreamUnavailable"]
        with pytest.raises(AssertionError, match="502 Bad Gateway"):
            skopeo.pull(f"{skopeo.host}/up/team/web:2")
        assert not gantry.client("ecr").validate_pull_through_cache_rule(ecrRepositoryPrefix="up")["isValid"]
    finally:
        upstream.start()


def test_docker_pulls_through(server, upstream):
    gantry = server({"up.example": {"url": f"http://127.0.0.1:{upstream.port}"}})
    rule(gantry, "ROOT", "up.example")
    upstream.push(Image(gantry.folder / "made", "by docker"), "web:1")
    docker = CLIENTS["docker"](gantry, tempfile.mkdtemp(prefix="c-", dir="/var/tmp"))
    try:
        assert docker.pull(f"{docker.host}/web:1") == "by docker"
    finally:
        docker.close()


def test_another_gantry_is_an_upstream(server, scratch):
    first = server()
    first.client("ecr").create_repository(repositoryName="app")
    pusher = Skopeo(first, first.folder / "skopeo")
    pusher.push(Image(first.folder / "made", "from the first"), f"{pusher.host}/app:1")
    password = first.folder / "password"
    password.write_text(pusher.password)
    second = server({"first.example": {
        "url": first.url, "username": "AWS", "password_file": str(password)}})
    rule(second, "first", "first.example")
    puller = Skopeo(second, second.folder / "skopeo")
    assert puller.pull(f"{puller.host}/first/app:1") == "from the first"
    # It knows nothing else, and says so.
    with pytest.raises(AssertionError, match="does not exist"):
        puller.pull(f"{puller.host}/first/other:1")


@pytest.mark.parametrize("victim", ["upstream", "gantry"])
def test_a_kill_in_the_middle_of_an_import_is_only_a_delay(server, upstream, victim):
    gantry = server({"up.example": {"url": f"http://127.0.0.1:{upstream.port}"}})
    rule(gantry, "up", "up.example")
    # 200 MB that do not compress.
    image = Image(gantry.folder / "made", "large", os.urandom(200 << 20))
    upstream.push(image, "web:1")
    skopeo = Skopeo(gantry, gantry.folder / "skopeo")
    reference = f"{skopeo.host}/up/web:1"

    def uploading():
        folder = gantry.folder / "registry"
        sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
        return sum(sizes) > 10 << 20

    def pull():
        try:
            skopeo.pull(reference)
        except AssertionError:
            pass

    pulling = threading.Thread(target=pull)
    pulling.start()
    wait_until(uploading, 60, "the import")
    if victim == "upstream":
        upstream.kill()
        upstream.start()
    else:
        gantry.kill("server")
        gantry.start()
    pulling.join(120)
    assert skopeo.pull(reference) == "large"
    whole(gantry)


def test_another_accounts_registry_is_read_in_a_role(server):
    gantry = server()
    gantry.run("account", "create", "111111111111")
    keys = json.loads(gantry.run("env", "--account", "111111111111", "--output", "json").stdout)
    there = dict(aws_access_key_id=keys["AWS_ACCESS_KEY_ID"], aws_secret_access_key=keys["AWS_SECRET_ACCESS_KEY"])
    ecr = gantry.client("ecr")
    ecr.create_repository(repositoryName="app")
    skopeo = Skopeo(gantry, gantry.folder / "skopeo")
    skopeo.push(Image(gantry.folder / "made", "of the first account"), f"{skopeo.host}/app:1")

    iam, theirs = gantry.client("iam", **there), gantry.client("ecr", **there)
    actions = ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    role = iam.create_role(RoleName="puller", AssumeRolePolicyDocument=json.dumps({
        "Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {
            "Service": "pullthroughcache.ecr.amazonaws.com"}}]}))["Role"]["Arn"]
    iam.put_role_policy(RoleName="puller", PolicyName="p", PolicyDocument=json.dumps({
        "Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": actions, "Resource": "*"}]}))
    theirs.create_pull_through_cache_rule(
        ecrRepositoryPrefix="first", upstreamRegistryUrl=f"000000000000.dkr.ecr.{REGION}.amazonaws.com",
        customRoleArn=role)
    assert theirs.validate_pull_through_cache_rule(ecrRepositoryPrefix="first")["isValid"]

    def pulled():
        got = theirs.batch_get_image(repositoryName="first/app", imageIds=[{"imageTag": "1"}])
        return [failure["failureCode"] for failure in got["failures"]] or len(got["images"])

    # Without the repository's consent there is nothing to make a repository for, which is an error of the whole call.
    with pytest.raises(theirs.exceptions.ClientError, match="no resource-based policy allows the ecr:BatchGetImage"):
        pulled()
    ecr.set_repository_policy(repositoryName="app", policyText=json.dumps({
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"AWS": "111111111111"}, "Action": actions}]}))
    assert pulled() == 1
    # The role that is gone opens nothing, and what was brought stays.
    iam.delete_role_policy(RoleName="puller", PolicyName="p")
    assert pulled() == 1
