"""What one client pushes, every other pulls; and the artifacts that are no container images."""

import json
import shutil
import tempfile

import pytest
import requests

from image_clients import CLIENTS, Image, digest, run


@pytest.fixture(scope="module")
def clients(registry):
    """Makes each client when it is first asked for."""
    # Podman refuses long paths for its runtime files, sockets too.
    folder = tempfile.mkdtemp(prefix="c-", dir="/var/tmp")
    made = {}

    def get(name):
        if name not in made:
            made[name] = CLIENTS[name](registry, f"{folder}/{name}")
        return made[name]

    yield get
    for client in made.values():
        client.close()
    # The daemons may leave mounts.
    for line in open("/proc/mounts"):
        if f" {folder}/" in line:
            run("umount", "-l", line.split()[1])
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def pushed(registry, clients):
    """The reference that a client has pushed its image to, and the marker in it."""
    done = {}

    def get(name):
        if name not in done:
            marker = f"pushed by {name}"
            reference = f"localhost:{registry.port}/by/{name}:1"
            registry.client("ecr").create_repository(repositoryName=f"by/{name}")
            clients(name).push(Image(registry.folder / f"made-{name}", marker), reference)
            done[name] = (reference, marker)
        return done[name]

    return get


@pytest.mark.parametrize("puller", CLIENTS)
@pytest.mark.parametrize("pusher", CLIENTS)
def test_what_one_pushes_another_pulls(pushed, clients, pusher, puller):
    reference, marker = pushed(pusher)
    assert clients(puller).pull(reference) == marker


@pytest.mark.parametrize("pusher", CLIENTS)
def test_both_doors_tell_the_same_of_a_push(registry, pushed, pusher):
    reference, _ = pushed(pusher)
    ecr = registry.client("ecr")
    [detail] = ecr.describe_images(repositoryName=f"by/{pusher}")["imageDetails"]
    assert detail["imageTags"] == ["1"]
    answer = http(registry, "HEAD", f"by/{pusher}/manifests/1")
    assert answer.headers["Docker-Content-Digest"] == detail["imageDigest"]
    assert answer.headers["Content-Type"] == detail["imageManifestMediaType"]


def http(registry, method, path, **options):
    """A request below /v2/ with the account's password."""
    if not hasattr(registry, "password"):
        registry.password = registry.aws("ecr", "get-login-password").strip()
    return requests.request(
        method, f"{registry.url}/v2/{path}", auth=("AWS", registry.password), timeout=30, **options)


def push_blob(registry, repository, data):
    answer = http(registry, "POST", f"{repository}/blobs/uploads/?digest={digest(data)}", data=data,
                  headers={"Content-Type": "application/octet-stream"})
    assert answer.status_code == 201, answer.text
    return {"digest": digest(data), "size": len(data)}


def push_manifest(registry, repository, reference, media_type, document):
    body = json.dumps({"schemaVersion": 2, "mediaType": media_type, **document}).encode()
    answer = http(registry, "PUT", f"{repository}/manifests/{reference or digest(body)}", data=body,
                  headers={"Content-Type": media_type})
    assert answer.status_code == 201, answer.text
    assert answer.headers["Docker-Content-Digest"] == digest(body)
    return answer, {"mediaType": media_type, "digest": digest(body), "size": len(body)}


MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
EMPTY = "application/vnd.oci.empty.v1+json"


@pytest.fixture
def repository(registry, name):
    registry.client("ecr").create_repository(repositoryName=name)
    return name


def test_a_helm_chart(registry, repository):
    config = push_blob(registry, repository, b'{"name":"web","version":"1.2.3","apiVersion":"v2"}')
    chart = push_blob(registry, repository, b"a chart, packed")
    push_manifest(registry, repository, "1.2.3", MANIFEST, {
        "config": {"mediaType": "application/vnd.cncf.helm.config.v1+json", **config},
        "layers": [{"mediaType": "application/vnd.cncf.helm.chart.content.v1.tar+gzip", **chart}]})
    [detail] = registry.client("ecr").describe_images(repositoryName=repository)["imageDetails"]
    assert detail["artifactMediaType"] == "application/vnd.cncf.helm.config.v1+json"
    assert detail["imageSizeInBytes"] == config["size"] + chart["size"]
    assert http(registry, "GET", f"{repository}/blobs/{chart['digest']}").content == b"a chart, packed"


def test_a_signature_in_both_ways(registry, repository):
    """As a tag made of the subject's digest (the older way), and as a referrer."""
    config, layer = (push_blob(registry, repository, data) for data in (b"{}", b"the image"))
    _, image = push_manifest(registry, repository, "1", MANIFEST, {
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", **config},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", **layer}]})
    payload = push_blob(registry, repository, b'{"critical":{}}')
    signed = {"mediaType": "application/vnd.dev.cosign.simplesigning.v1+json",
              "annotations": {"dev.cosignproject.cosign/signature": "MEUCIQ"}, **payload}
    tag = image["digest"].replace(":", "-") + ".sig"
    push_manifest(registry, repository, tag, MANIFEST, {
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", **config}, "layers": [signed]})
    assert http(registry, "GET", f"{repository}/manifests/{tag}").json()["layers"][0] == signed

    kind = "application/vnd.dev.cosign.artifact.sig.v1+json"
    answer, signature = push_manifest(registry, repository, None, MANIFEST, {
        "artifactType": kind, "config": {"mediaType": EMPTY, **config}, "layers": [signed], "subject": image,
        "annotations": {"made": "today"}})
    assert answer.headers["OCI-Subject"] == image["digest"]
    found = http(registry, "GET", f"{repository}/referrers/{image['digest']}?artifactType={kind}")
    assert found.headers["OCI-Filters-Applied"] == "artifactType"
    assert found.json()["manifests"] == [{**signature, "artifactType": kind, "annotations": {"made": "today"}}]


def test_a_buildkit_cache(registry, repository):
    """Cache manifests as BuildKit exports them with `image-manifest=true`, and an image with an attestation."""
    config, layer = (push_blob(registry, repository, data) for data in (b'{"layers":[]}', b"cached"))
    _, cache = push_manifest(registry, repository, "cache", MANIFEST, {
        "config": {"mediaType": "application/vnd.buildkit.cacheconfig.v0", **config},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", **layer}]})
    attestation = push_blob(registry, repository, b'{"_type":"https://in-toto.io/Statement/v0.1"}')
    _, statement = push_manifest(registry, repository, None, MANIFEST, {
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", **config},
        "layers": [{"mediaType": "application/vnd.in-toto+json", **attestation}]})
    push_manifest(registry, repository, "built", INDEX, {"manifests": [
        {**cache, "platform": {"architecture": "amd64", "os": "linux"}},
        {**statement, "platform": {"architecture": "unknown", "os": "unknown"},
         "annotations": {"vnd.docker.reference.type": "attestation-manifest"}}]})
    tags = http(registry, "GET", f"{repository}/tags/list").json()["tags"]
    assert tags == ["built", "cache"]
    # A child that an index needs stays.
    gone = registry.client("ecr").batch_delete_image(
        repositoryName=repository, imageIds=[{"imageDigest": statement["digest"]}])
    assert gone["failures"][0]["failureCode"] == "ImageReferencedByManifestList"


def test_oras_pushes_files_and_gets_them_back(clients, registry, repository):
    client = clients("oras")
    source = client.folder / "report.txt"
    source.write_text("all is well")
    reference = f"localhost:{registry.port}/{repository}:files"
    client.client.push(target=reference, files=[f"{source}:text/plain"], disable_path_validation=True, quiet=True)
    out = client.folder / "got"
    files = client.client.pull(target=reference, outdir=str(out), allowed_media_type=["text/plain"])
    assert [open(path).read() for path in files] == ["all is well"]
    assert client.client.get_tags(reference) == ["files"]
