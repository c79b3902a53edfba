"""What is built, and what is signed and said about it: BuildKit, cosign and notation against a real registry, and the
registry's own signatures as notation sees them."""

import json
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from conftest import make, wait_until
from image_clients import Docker, Image
from later_clients import LaterClients, program

PROFILE = "arn:aws:signer:us-east-1:000000000000:/signing-profiles/release"
HTTP = "--allow-http-registry"


@pytest.fixture(scope="module")
def second(scratch, registry):
    """A Gantry that pulls through from the first."""
    folder = Path(tempfile.mkdtemp(prefix="second-", dir=scratch))
    (folder / "password").write_text(registry.aws("ecr", "get-login-password").strip())
    (folder / "gantry.toml").write_text(
        f'[registry.upstreams."first.example"]\nurl = "{registry.url}"\nusername = "AWS"\n'
        f'password_file = "{folder}/password"\n')
    gantry = make(scratch, server_only=True, config=folder / "gantry.toml").start()
    gantry.client("ecr").create_pull_through_cache_rule(
        ecrRepositoryPrefix="up", upstreamRegistryUrl="first.example")
    yield gantry
    gantry.stop()


@pytest.fixture(scope="module")
def clients(registry, second):
    return LaterClients(registry.folder / "clients", registry, second)


@pytest.fixture
def repository(registry, name):
    registry.client("ecr").create_repository(repositoryName=name)
    return f"localhost:{registry.port}/{name}"


def pushed(clients, folder, repository, label):
    """The reference by digest of a new image."""
    layer = Image(folder / "made", "signed").rootfs_tar()
    clients.crane("append", "--new_layer", layer, "--new_tag", f"{repository}:base")
    return clients.crane("mutate", f"{repository}:base", "--label", f"is={label}", "--tag", f"{repository}:{label}")


@pytest.fixture(scope="module")
def keys(clients):
    for prefix in ("cosign", "other"):
        clients.run("cosign", "generate-key-pair", "--output-key-prefix", prefix)


def verify(clients, image, *more, key="cosign.pub", by="cosign", **environment):
    arguments = ("verify", HTTP, "--insecure-ignore-tlog", "--key", key, *more, image)
    return json.loads(clients.run(by, *arguments, **environment))


def test_cosign_signs_under_tags(registry, second, clients, keys, repository, name):
    image = pushed(clients, registry.folder, repository, "one")
    sign = ("sign", "-y", HTTP, "--tlog-upload=false", "--key", "cosign.key")
    clients.run("cosign", *sign, image)
    digest = image.split("@")[1]
    [signature] = verify(clients, image)
    assert signature["critical"]["image"]["docker-manifest-digest"] == digest
    assert "no matching signatures" in clients.refused(
        "cosign", "verify", HTTP, "--insecure-ignore-tlog", "--key", "other.pub", image)
    (clients.folder / "sbom.json").write_text('{"spdxVersion": "SPDX-2.3"}')
    clients.run("cosign", "attach", "sbom", HTTP, "--sbom", "sbom.json", image)
    clients.run("cosign", "attest", "-y", HTTP, "--tlog-upload=false", "--key", "cosign.key", "--predicate", "sbom.json",
                "--type", "spdxjson", image)
    clients.run("cosign", "verify-attestation", HTTP, "--insecure-ignore-tlog", "--key", "cosign.pub", "--type",
                "spdxjson", image)
    tree = clients.run("cosign", "tree", HTTP, image)
    assert all(kind in tree for kind in ("Signatures", "Attestations", "SBOMs")), tree
    assert len([tag for tag in clients.crane("ls", repository).split() if tag.startswith("sha256-")]) == 3

    # An index with what is about it, to another registry. cosign puts the index itself under the tag where older
    # clients keep a list of referrers; its platforms are not about it.
    index = f"{repository}:index"
    clients.crane("index", "append", "-m", image, "-m", f"{repository}:base", "-t", index)
    clients.run("cosign", *sign, f"{repository}@{clients.digest(index)}")
    second.client("ecr").create_repository(repositoryName=f"copied/{name}")
    there = f"localhost:{second.port}/copied/{name}:1"
    clients.run("cosign", "copy", HTTP, index, there)
    assert verify(clients, there)
    found = json.loads(clients.oras("discover", there, "--format", "json"))
    assert not found["manifests"], found
    # And through the cache.
    assert verify(clients, f"localhost:{second.port}/up/{name}@{digest}")


def test_cosign_signs_with_referrers(registry, second, clients, keys, repository, name):
    older = pushed(clients, registry.folder, repository, "older")
    sign = ("sign", "-y", HTTP, "--tlog-upload=false", "--key", "cosign.key")
    clients.run("cosign", *sign, "--registry-referrers-mode=oci-1-1", older, COSIGN_EXPERIMENTAL="1")
    assert verify(clients, older, "--experimental-oci11")
    assert not [tag for tag in clients.crane("ls", repository).split() if tag.startswith("sha256-")]
    # What version 3 does unasked.
    newer = pushed(clients, registry.folder, repository, "newer")
    clients.run("cosign-3", *sign, "--use-signing-config=false", newer)
    assert verify(clients, newer, by="cosign-3")
    assert "via OCI referrer" in clients.run("cosign-3", "tree", HTTP, newer)
    digest = newer.split("@")[1]
    listed = registry.client("ecr").list_image_referrers(repositoryName=name, subjectId={"imageDigest": digest})
    assert [each["artifactType"] for each in listed["referrers"]] == ["application/vnd.dev.sigstore.bundle.v0.3+json"]
    # It asks for them first, before the image has been pulled through.
    assert verify(clients, f"localhost:{second.port}/up/{name}@{digest}", by="cosign-3")


def trust(clients, repository, store):
    (clients.folder / "policy.json").write_text(json.dumps({"version": "1.0", "trustPolicies": [{
        "name": "only", "registryScopes": [repository], "signatureVerification": {"level": "strict"},
        "trustStores": [f"ca:{store}"], "trustedIdentities": ["*"]}]}))
    clients.run("notation", "policy", "import", "--force", "policy.json")


def test_notation_signs_and_verifies_what_the_registry_signed(registry, second, clients, repository, name):
    secret = registry.aws("ecr", "get-login-password").strip()
    login = {"NOTATION_USERNAME": "AWS", "NOTATION_PASSWORD": secret}

    def notation(verb, *arguments, call=clients.run, **environment):
        return call("notation", verb, "--insecure-registry", *arguments, **login, **environment)

    image = pushed(clients, registry.folder, repository, "one")
    clients.run("notation", "cert", "generate-test", "--default", "test.example")
    notation("sign", image)
    notation("sign", "--signature-format", "cose", "-m", "built=here", image)
    assert notation("list", image).count("sha256:") == 3
    assert "built: here" in notation("inspect", image)
    trust(clients, repository, "test.example")
    assert "Successfully verified" in notation("verify", image)

    # Those of the registry itself: of an image and of an index.
    ecr = registry.client("ecr")
    ecr.put_signing_configuration(signingConfiguration={"rules": [{
        "signingProfileArn": PROFILE, "repositoryFilters": [{"filter": f"{name}/*", "filterType": "WILDCARD_MATCH"}]}]})
    signed = f"{name}/signed"
    ecr.create_repository(repositoryName=signed)
    clients.crane("copy", image, f"{repository}/signed:1")
    clients.crane("index", "append", "-m", f"{repository}/signed:1", "-t", f"{repository}/signed:index")
    certificate = clients.folder / "release.pem"
    certificate.write_text(registry.run("registry", "signing-certificate", PROFILE).stdout)
    clients.run("notation", "cert", "add", "--type", "ca", "--store", "release", certificate)
    trust(clients, f"{repository}/signed", "release")
    for tag in ("1", "index"):
        def complete():
            told = ecr.describe_image_signing_status(repositoryName=signed, imageId={"imageTag": tag})
            return [each["status"] for each in told["signingStatuses"]] == ["COMPLETE"]

        wait_until(complete, 30, f"the signature of {tag}")
        by_digest = f"{repository}/signed@{clients.digest(f'{repository}/signed:{tag}')}"
        assert "Successfully verified" in notation("verify", by_digest)
    assert "signingAgent: gantry/" in notation("inspect", by_digest)
    # Through the cache of another Gantry, where the password is another.
    through = f"localhost:{second.port}/up/{signed}"
    trust(clients, through, "release")
    login["NOTATION_PASSWORD"] = second.aws("ecr", "get-login-password").strip()
    assert "Successfully verified" in notation("verify", f"{through}@{by_digest.split('@')[1]}")
    # Whoever trusts another certificate does not believe it.
    trust(clients, through, "test.example")
    refused = notation("verify", f"{through}@{by_digest.split('@')[1]}", call=clients.refused)
    assert "signature verification failed" in refused


class BuildKit(Docker):
    """The newer dockerd of tools/clients with its store of images in containerd: BuildKit with all its exporters."""

    storage = "native"

    def log_in(self):
        self.program = program("dockerd")
        (self.folder / "daemon.json").write_text('{"features": {"containerd-snapshotter": true}}')
        self.options = ("--config-file", self.folder / "daemon.json")
        super().log_in()

    def buildx(self, *arguments):
        environment = {"DOCKER_HOST": self.socket, "BUILDX_CONFIG": str(self.folder / "buildx"), "HOME": str(self.folder),
                       "DOCKER_CONFIG": str(self.folder / "config"), "PATH": "/usr/bin:/bin"}
        command = [program("docker-buildx"), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout + done.stderr


@pytest.fixture
def buildkit(registry):
    program("docker-buildx")
    folder = tempfile.mkdtemp(prefix="b-", dir="/var/tmp")
    client = BuildKit(registry, folder)
    yield client
    client.close()
    shutil.rmtree(folder, ignore_errors=True)


def test_buildkit_builds_from_its_cache_for_two_platforms(registry, clients, buildkit, repository):
    source = buildkit.folder / "source"
    source.mkdir()
    shutil.copy("/bin/busybox", source / "busybox")
    (source / "Dockerfile").write_text(
        "FROM scratch AS base\nCOPY busybox /bin/busybox\nFROM base AS built\n"
        "RUN --network=none [\"/bin/busybox\", \"sh\", \"-c\", \"echo built > /marker\"]\n"
        "FROM base\nCOPY --from=built /marker /marker\n")
    build = ("build", "--progress", "plain", "--push")
    for kind in ("image-manifest=true,oci-mediatypes=true", "image-manifest=false,oci-mediatypes=true"):
        cache = f"type=registry,ref={repository}:cache"
        buildkit.buildx(*build, "--provenance=false", "--cache-to", f"{cache},mode=max,{kind}", "-t", f"{repository}:1",
                        source)
        buildkit.buildx("prune", "-af")
        said = buildkit.buildx(*build, "--provenance=false", "--cache-from", cache, "-t", f"{repository}:2", source)
        assert said.count("CACHED") == 3, said
        assert clients.digest(f"{repository}:1") == clients.digest(f"{repository}:2")
    assert buildkit.pull(f"{repository}:1") == "built\n"

    buildkit.buildx(*build, "--platform", "linux/amd64,linux/arm64", "--provenance=mode=max", "--target", "base",
                    "-t", f"{repository}:two", source)
    children = json.loads(clients.crane("manifest", f"{repository}:two"))["manifests"]
    assert [each["platform"]["architecture"] for each in children] == ["amd64", "arm64", "unknown", "unknown"]
    provenance = buildkit.buildx("imagetools", "inspect", f"{repository}:two", "--format", "{{json .Provenance}}")
    assert set(json.loads(provenance)) == {"linux/amd64", "linux/arm64"}
    buildkit.buildx("imagetools", "create", "-t", f"{repository}:both", f"{repository}:1", f"{repository}:two")
    assert len(json.loads(clients.crane("manifest", f"{repository}:both"))["manifests"]) >= 4
    done = registry.run("registry", "verify", "--output", "json", check=False)
    assert done.returncode == 0, done.stdout + done.stderr
