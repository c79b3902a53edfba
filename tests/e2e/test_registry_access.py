"""Who may do what in the registry, as real clients see it: policies of repositories and of the registry, and accounts."""

import base64
import json
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from access import refusal
from conftest import AWS_V1, REGION, make
from image_clients import Docker, Image, run

OWN = "000000000000"
OTHER = "111122223333"
PULL = ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer", "ecr:BatchCheckLayerAvailability"]
HOSTS = Path("/etc/hosts")


@pytest.fixture(scope="module")
def registry(scratch):
    gantry = make(scratch, server_only=True).start()
    gantry.run("account", "create", OTHER)
    yield gantry
    gantry.stop()


@pytest.fixture(scope="module")
def host(registry):
    """The name of our own account's registry. Not every resolver knows that *.localhost is this machine."""
    line = f"127.0.0.1 {OWN}.localhost # gantry e2e {registry.port}\n"
    with HOSTS.open("a") as hosts:
        hosts.write(line)
    yield f"{OWN}.localhost:{registry.port}"
    HOSTS.write_text(HOSTS.read_text().replace(line, ""))


@pytest.fixture(scope="module")
def other(registry):
    """An ECR client of the other account's root."""
    environment = json.loads(registry.run("env", "--account", OTHER, "--output", "json").stdout)
    return registry.client("ecr", aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
                           aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"])


@pytest.fixture(scope="module")
def docker(registry, host):
    """A docker that is logged in nowhere yet."""
    folder = tempfile.mkdtemp(prefix="d-", dir="/var/tmp")
    client = Docker(registry, folder)
    client.call("logout", client.host)
    yield client
    client.close()
    shutil.rmtree(folder, ignore_errors=True)


def password(ecr):
    token = ecr.get_authorization_token()["authorizationData"][0]["authorizationToken"]
    return base64.b64decode(token).decode().split(":", 1)[1]


def policy(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": [
        {"Effect": effect, "Principal": principal, "Action": actions} for effect, principal, actions in statements]})


@pytest.fixture
def repository(registry, name, scratch):
    """A repository with an image under the tag 1."""
    registry.client("ecr").create_repository(repositoryName=name)
    image = Image(f"{scratch}/{name}", f"in {name}")
    run("skopeo", "copy", "--dest-creds", f"AWS:{password(registry.client('ecr'))}", "--dest-tls-verify=false",
        f"oci-archive:{image.oci_archive()}", f"docker://localhost:{registry.port}/{name}:1")
    return name


def skopeo_pull(host, name, secret):
    command = ["skopeo", "inspect", "--creds", f"AWS:{secret}", "--tls-verify=false", f"docker://{host}/{name}:1"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def sentence(name, action, because):
    return (f"User: arn:aws:iam::{OTHER}:root is not authorized to perform: ecr:{action} on resource: "
            f"arn:aws:ecr:{REGION}:{OWN}:repository/{name} {because}")


def test_an_account_made_while_the_server_runs_is_there_at_once(registry, other):
    made = registry.run("account", "create", "222233334444")
    assert "222233334444" in made.stderr
    again = registry.run("account", "create", "222233334444", check=False)
    assert again.returncode != 0 and "is there already" in again.stderr
    assert registry.run("account", "list").stdout.split() == [OWN, OTHER, "222233334444"]
    for account in (OTHER, "222233334444"):
        environment = json.loads(registry.run("env", "--account", account, "--output", "json").stdout)
        assert environment["AWS_ACCOUNT_ID"] == account
        sts = registry.client("sts", aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
                              aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"])
        assert sts.get_caller_identity()["Arn"] == f"arn:aws:iam::{account}:root"
    # Each has a registry of its own.
    other.create_repository(repositoryName="mine")
    assert [each["repositoryName"] for each in other.describe_repositories()["repositories"]] == ["mine"]
    assert "mine" not in [each["repositoryName"] for each in
                          registry.client("ecr").describe_repositories()["repositories"]]


def test_another_account_pulls_with_docker_and_skopeo_once_it_may(registry, other, docker, host, repository):
    ecr = registry.client("ecr")
    secret = password(other)
    docker.call("login", "--username", "AWS", "--password-stdin", host, input=secret)
    denied = sentence(repository, "BatchGetImage", "because no resource-based policy allows the ecr:BatchGetImage action")
    for what in (docker.call("pull", f"{host}/{repository}:1", check=False), skopeo_pull(host, repository, secret)):
        assert what.returncode != 0
        assert denied in what.stderr
    # Whether a repository exists is not told.
    absent = docker.call("pull", f"{host}/{repository}-not:1", check=False)
    assert denied.replace(repository, f"{repository}-not") in absent.stderr

    ecr.set_repository_policy(repositoryName=repository, policyText=policy(("Allow", {"AWS": OTHER}, PULL)))
    assert docker.pull(f"{host}/{repository}:1") == f"in {repository}"
    assert skopeo_pull(host, repository, secret).returncode == 0
    # Pulling is all it may.
    assert "denied" in refused_push(docker, host, repository)

    ecr.set_repository_policy(repositoryName=repository, policyText=policy(
        ("Allow", {"AWS": OTHER}, PULL), ("Deny", {"AWS": OTHER}, ["ecr:BatchGetImage"])))
    stopped = docker.call("pull", f"{host}/{repository}:1", check=False)
    assert sentence(repository, "BatchGetImage", "with an explicit deny in a resource-based policy") in stopped.stderr


def refused_push(docker, host, repository):
    image = Image(docker.folder / "push", "not wanted")
    reference = f"{host}/{repository}:2"
    docker.call("import", image.rootfs_tar(), reference)
    pushed = docker.call("push", reference, check=False)
    docker.call("rmi", reference)
    assert pushed.returncode != 0
    return pushed.stderr


def test_calls_of_another_account_are_decided_likewise(registry, other, repository):
    ecr = registry.client("ecr")
    ids = dict(registryId=OWN, repositoryName=repository, imageIds=[{"imageTag": "1"}])
    code, message = refusal(other.batch_get_image, **ids)
    assert code == "AccessDeniedException"
    assert message == sentence(
        repository, "BatchGetImage", "because no resource-based policy allows the ecr:BatchGetImage action")
    assert refusal(other.describe_images, registryId=OWN, repositoryName=repository)[0] == "AccessDeniedException"
    ecr.set_repository_policy(repositoryName=repository, policyText=policy(
        ("Allow", "*", ["ecr:BatchGetImage", "ecr:List*"])))
    assert other.batch_get_image(**ids)["images"][0]["registryId"] == OWN
    assert other.list_images(registryId=OWN, repositoryName=repository)["imageIds"][0]["imageTag"] == "1"
    assert refusal(other.describe_images, registryId=OWN, repositoryName=repository)[0] == "AccessDeniedException"
    ecr.delete_repository_policy(repositoryName=repository)
    assert refusal(other.batch_get_image, **ids)[0] == "AccessDeniedException"


def test_a_deny_holds_in_ones_own_account(registry, docker, host, repository):
    ecr = registry.client("ecr")
    docker.call("login", "--username", "AWS", "--password-stdin", host, input=password(ecr))
    ecr.set_repository_policy(repositoryName=repository, policyText=policy(
        ("Deny", {"AWS": OWN}, ["ecr:GetDownloadUrlForLayer", "ecr:PutImage", "ecr:DescribeImages"])))
    assert "explicit deny in a resource-based policy" in docker.call(
        "pull", f"{host}/{repository}:1", check=False).stderr
    assert "ecr:PutImage" in refused_push(docker, host, repository)
    assert refusal(ecr.describe_images, repositoryName=repository)[0] == "AccessDeniedException"
    assert ecr.list_images(repositoryName=repository)["imageIds"]
    ecr.delete_repository_policy(repositoryName=repository)
    assert docker.pull(f"{host}/{repository}:1") == f"in {repository}"


def test_the_policy_of_the_registry(registry, other, repository):
    ecr = registry.client("ecr")
    ids = dict(registryId=OWN, repositoryName=repository, imageIds=[{"imageTag": "1"}])
    arn = f"arn:aws:ecr:{REGION}:{OWN}:repository/{repository}"

    def put(*statements):
        ecr.put_registry_policy(policyText=json.dumps({"Version": "2012-10-17", "Statement": [
            {"Effect": effect, "Principal": principal, "Action": ["ecr:BatchGetImage"], "Resource": arn}
            for effect, principal in statements]}))

    assert refusal(ecr.get_registry_policy)[0] == "RegistryPolicyNotFoundException"
    put(("Allow", {"AWS": OTHER}))
    assert other.batch_get_image(**ids)["images"]
    put(("Allow", {"AWS": OTHER}), ("Deny", "*"))
    assert refusal(other.batch_get_image, **ids)[0] == "AccessDeniedException"
    assert refusal(ecr.batch_get_image, **ids)[0] == "AccessDeniedException"
    ecr.delete_registry_policy()
    assert ecr.batch_get_image(**ids)["images"]


def test_what_is_no_policy_and_what_would_lock_one_out(registry, repository):
    def set_policy(document, *more):
        return registry.aws("ecr", "set-repository-policy", "--repository-name", repository, "--policy-text",
                            json.dumps(document), *more, program=AWS_V1, check=False)

    statement = {"Effect": "Allow", "Principal": "*", "Action": "ecr:BatchGetImage"}
    refused = set_policy({"Version": "2012-10-17", "Statement": [{**statement, "Resource": "*"}]})
    assert "InvalidParameterException" in refused.stderr
    assert "'PolicyText' failed to satisfy constraint: 'Invalid repository policy provided'" in refused.stderr
    lock_out = {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Principal": "*", "Action": "ecr:*"}]}
    refused = set_policy(lock_out)
    assert "InvalidParameterException" in refused.stderr
    assert set_policy(lock_out, "--force").returncode == 0
    ecr = registry.client("ecr")
    assert refusal(ecr.list_images, repositoryName=repository)[0] == "AccessDeniedException"
    # The root gets back in.
    text = ecr.get_repository_policy(repositoryName=repository)["policyText"]
    assert json.loads(text) == lock_out
    ecr.delete_repository_policy(repositoryName=repository)
    assert ecr.list_images(repositoryName=repository)["imageIds"]
