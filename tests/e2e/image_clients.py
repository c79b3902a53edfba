"""The programs that people push and pull images with, each behind the same two verbs.

`push(image, reference)` brings a locally made image into the registry, `pull(reference)` gets it back and returns the
text of the file `/marker` in its root file system, as the client sees it.
"""

import gzip
import hashlib
import io
import json
import shutil
import subprocess
import tarfile
import urllib.request
from pathlib import Path

import oras.client
import requests

from conftest import AWS_V1, wait_until
from later_clients import LaterClients

LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
CONFIG = "application/vnd.oci.image.config.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def run(*command, **options):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=120, **options)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


class Image:
    """A one-layer image whose file `/marker` holds `marker`: its blobs, and a tar and an OCI archive of it. `filler` makes
    it larger."""

    def __init__(self, folder, marker, filler=b""):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            entry = tarfile.TarInfo("marker")
            entry.size = len(marker)
            tar.addfile(entry, io.BytesIO(marker.encode()))
            if filler:
                entry = tarfile.TarInfo("filler")
                entry.size = len(filler)
                tar.addfile(entry, io.BytesIO(filler))
        self.tar = buffer.getvalue()
        self.layer = gzip.compress(self.tar, 1, mtime=0)
        self.config = json.dumps({
            "architecture": "amd64", "os": "linux", "config": {"Cmd": ["/none"]},
            "rootfs": {"type": "layers", "diff_ids": [digest(self.tar)]},
        }).encode()
        self.manifest = json.dumps({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "digest": digest(self.config), "size": len(self.config)},
            "layers": [{"mediaType": LAYER, "digest": digest(self.layer), "size": len(self.layer)}],
        }).encode()

    def rootfs_tar(self):
        path = self.folder / "rootfs.tar"
        path.write_bytes(self.tar)
        return path

    def oci_archive(self):
        path = self.folder / "image.oci"
        index = {"schemaVersion": 2, "manifests": [{
            "mediaType": MANIFEST, "digest": digest(self.manifest), "size": len(self.manifest),
            "annotations": {"org.opencontainers.image.ref.name": "latest", "io.containerd.image.name": "made:latest"},
        }]}
        files = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": json.dumps(index).encode()}
        for blob in (self.layer, self.config, self.manifest):
            files["blobs/sha256/" + digest(blob).removeprefix("sha256:")] = blob
        with tarfile.open(path, "w") as tar:
            for name, data in files.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(data)
                tar.addfile(entry, io.BytesIO(data))
        return path


def marker_of_layers(layers):
    """The text of `/marker` in the last of the layers (compressed or not) that has it."""
    for data in reversed(layers):
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            for entry in tar:
                if entry.name.lstrip("./") == "marker":
                    return tar.extractfile(entry).read().decode()
    raise AssertionError("no layer holds /marker")


def marker_of_tar(path):
    return marker_of_layers([Path(path).read_bytes()])


class Client:
    """What a client is built with: the Gantry, a folder of its own, the registry's host and a password."""

    def __init__(self, gantry, folder):
        self.gantry, self.folder = gantry, Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.host = f"localhost:{gantry.port}"
        self.password = gantry.aws("ecr", "get-login-password").strip()
        self.log_in()

    def log_in(self):
        pass

    def close(self):
        pass

    def parts(self, reference):
        repository, tag = reference.removeprefix(f"{self.host}/").rsplit(":", 1)
        return repository, tag


class Skopeo(Client):
    def log_in(self):
        self.auth = self.folder / "auth.json"
        run("skopeo", "login", "--authfile", self.auth, "--tls-verify=false", "-u", "AWS", "--password-stdin", self.host,
            input=self.password)

    def push(self, image, reference):
        run("skopeo", "copy", "--authfile", self.auth, "--dest-tls-verify=false",
            f"oci-archive:{image.oci_archive()}", f"docker://{reference}")

    def pull(self, reference):
        shutil.rmtree(self.folder / "out", ignore_errors=True)
        run("skopeo", "copy", "--authfile", self.auth, "--src-tls-verify=false",
            f"docker://{reference}", f"dir:{self.folder}/out")
        manifest = json.loads((self.folder / "out/manifest.json").read_text())
        return marker_of_layers([
            (self.folder / "out" / layer["digest"].removeprefix("sha256:")).read_bytes() for layer in manifest["layers"]])


class Podman(Client):
    program = "podman"

    # Podman refuses long paths for its runtime files: `folder` must be a short one.
    @property
    def storage(self):
        return [self.program, "--root", self.folder / "root", "--runroot", self.folder / "run",
                "--storage-driver", "vfs"]

    def log_in(self):
        run(*self.storage, "login", "--tls-verify=false", "--authfile", self.folder / "auth.json", "-u", "AWS",
            "--password-stdin", self.host, input=self.password)

    def push(self, image, reference):
        run(*self.storage, "import", image.rootfs_tar(), reference)
        run(*self.storage, "push", "--tls-verify=false", "--authfile", self.folder / "auth.json", reference)
        run(*self.storage, "rmi", "-f", reference)

    def pull(self, reference):
        run(*self.storage, "rmi", "-f", "-a")
        run(*self.storage, "pull", "--tls-verify=false", "--authfile", self.folder / "auth.json", reference)
        mounted = run(*self.storage, "image", "mount", reference).strip()
        text = (Path(mounted) / "marker").read_text()
        run(*self.storage, "image", "unmount", reference)
        return text


class Buildah(Podman):
    program = "buildah"

    def push(self, image, reference):
        container = run(*self.storage, "from", "scratch").strip()
        run(*self.storage, "add", container, image.rootfs_tar(), "/")
        run(*self.storage, "commit", container, reference)
        run(*self.storage, "push", "--tls-verify=false", "--authfile", self.folder / "auth.json", reference)
        run(*self.storage, "rm", container)

    def pull(self, reference):
        run(*self.storage, "rmi", "-f", "-a")
        container = run(*self.storage, "from", "--tls-verify=false", "--authfile", self.folder / "auth.json",
                        reference).strip().splitlines()[-1]
        text = (Path(run(*self.storage, "mount", container).strip()) / "marker").read_text()
        run(*self.storage, "rm", container)
        return text


class Docker(Client):
    """The daemon of Debian's package, with a root of its own; the first docker on the PATH talks to it."""

    program, storage, options = "/usr/sbin/dockerd", "vfs", ()

    def log_in(self):
        self.socket = f"unix://{self.folder}/d.sock"
        log = open(self.folder / "dockerd.log", "ab")
        self.daemon = subprocess.Popen(
            [self.program, "--data-root", self.folder / "data", "--exec-root", self.folder / "x",
             "--pidfile", self.folder / "pid", "--host", self.socket, "--storage-driver", self.storage,
             "--iptables=false", "--ip6tables=false", "--bridge=none", *self.options],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_until(lambda: (self.folder / "d.sock").exists() and self.call("version", check=False).returncode == 0, 60,
                   f"dockerd ({log.name})")
        self.call("login", "--username", "AWS", "--password-stdin", self.host, input=self.password)

    def call(self, *arguments, check=True, **options):
        command = ["docker", "--config", str(self.folder / "config"), "--host", self.socket, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, **options)
        assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done

    def push(self, image, reference):
        self.call("import", image.rootfs_tar(), reference)
        self.call("push", reference)
        self.call("rmi", reference)

    def pull(self, reference):
        self.call("pull", reference)
        container = self.call("create", reference, "/none").stdout.strip()
        self.call("export", "-o", self.folder / "out.tar", container)
        self.call("rm", container)
        self.call("rmi", reference)
        return marker_of_tar(self.folder / "out.tar")

    def close(self):
        self.daemon.terminate()
        self.daemon.wait(30)


class Containerd(Client):
    """A containerd with folders of its own, and its client ctr."""

    def log_in(self):
        config = self.folder / "config.toml"
        config.write_text(
            f'version = 2\nroot = "{self.folder}/root"\nstate = "{self.folder}/state"\n'
            f'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n[grpc]\naddress = "{self.folder}/c.sock"\n'
            f'[ttrpc]\naddress = "{self.folder}/t.sock"\n')
        log = open(self.folder / "containerd.log", "ab")
        self.daemon = subprocess.Popen(["containerd", "--config", config], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_until(lambda: subprocess.run(
            [*self.ctr, "version"], capture_output=True, text=True).returncode == 0, 60, f"containerd ({log.name})")

    @property
    def ctr(self):
        return ["ctr", "--address", str(self.folder / "c.sock"), "--namespace", "e2e"]

    def push(self, image, reference):
        run(*self.ctr, "images", "import", image.oci_archive())
        run(*self.ctr, "images", "push", "--plain-http", "--user", f"AWS:{self.password}", reference, "made:latest")

    def pull(self, reference):
        run(*self.ctr, "images", "pull", "--plain-http", "--user", f"AWS:{self.password}", "--snapshotter", "native", reference)
        target = self.folder / "m"
        target.mkdir(exist_ok=True)
        run(*self.ctr, "images", "mount", "--snapshotter", "native", reference, target)
        text = (target / "marker").read_text()
        run(*self.ctr, "images", "unmount", "--rm", "--snapshotter", "native", target)
        run(*self.ctr, "images", "rm", reference)
        return text

    def close(self):
        self.daemon.terminate()
        self.daemon.wait(30)


class Oras(Client):
    """The Python package oras."""

    def log_in(self):
        self.client = oras.client.OrasClient(hostname=self.host, insecure=True, auth_backend="basic")
        self.client.login(username="AWS", password=self.password, hostname=self.host, config_path=str(self.folder / "c.json"))

    def push(self, image, reference):
        container = self.client.get_container(reference)
        for name, data, media_type in (("layer", image.layer, LAYER), ("config", image.config, CONFIG)):
            path = self.folder / name
            path.write_bytes(data)
            layer = {"mediaType": media_type, "digest": digest(data), "size": len(data)}
            answer = self.client.upload_blob(str(path), container, layer)
            assert answer.status_code in (200, 201), answer.text
        answer = self.client.upload_manifest(json.loads(image.manifest), container)
        assert answer.status_code == 201, answer.text

    def pull(self, reference):
        container = self.client.get_container(reference)
        manifest = self.client.get_manifest(container, allowed_media_type=[
            MANIFEST, "application/vnd.docker.distribution.manifest.v2+json"])
        return marker_of_layers([
            self.client.get_blob(container, layer["digest"]).content for layer in manifest["layers"]])


class Crane(Client):
    def log_in(self):
        self.clients = LaterClients(self.folder / "later")
        self.clients.crane("auth", "login", "-u", "AWS", "-p", self.password, self.host)

    def push(self, image, reference):
        layout = self.folder / "layout"
        shutil.rmtree(layout, ignore_errors=True)
        with tarfile.open(image.oci_archive()) as archive:
            archive.extractall(layout)
        self.clients.crane("push", layout, reference)

    def pull(self, reference):
        self.clients.crane("export", reference, self.folder / "out.tar")
        return marker_of_tar(self.folder / "out.tar")


class OrasProgram(Client):
    """The program oras, written in Go."""

    def log_in(self):
        self.clients = LaterClients(self.folder / "later")
        self.clients.run("oras", "login", "--plain-http", "-u", "AWS", "--password-stdin", self.host, stdin=self.password)

    def push(self, image, reference):
        self.clients.run("oras", "cp", "--from-oci-layout", "--to-plain-http", f"{image.oci_archive()}:latest", reference)

    def pull(self, reference):
        manifest = json.loads(self.clients.run("oras", "manifest", "fetch", "--plain-http", reference))
        layers = []
        for layer in manifest["layers"]:
            blob = f"{reference.rsplit(':', 1)[0]}@{layer['digest']}"
            self.clients.run("oras", "blob", "fetch", "--plain-http", "-o", self.folder / "layer", blob)
            layers.append((self.folder / "layer").read_bytes())
        return marker_of_layers(layers)


class Boto3(Client):
    """The layer operations of the ECR API."""

    def log_in(self):
        self.ecr = self.gantry.client("ecr")

    def push(self, image, reference):
        repository, tag = self.parts(reference)
        for blob in (image.layer, image.config):
            upload = self.ecr.initiate_layer_upload(repositoryName=repository)["uploadId"]
            self.ecr.upload_layer_part(repositoryName=repository, uploadId=upload, partFirstByte=0,
                                       partLastByte=len(blob) - 1, layerPartBlob=blob)
            try:
                self.ecr.complete_layer_upload(repositoryName=repository, uploadId=upload, layerDigests=[digest(blob)])
            except self.ecr.exceptions.LayerAlreadyExistsException:
                pass
        self.ecr.put_image(repositoryName=repository, imageTag=tag, imageManifest=image.manifest.decode())

    def pull(self, reference):
        repository, tag = self.parts(reference)
        found = self.ecr.batch_get_image(repositoryName=repository, imageIds=[{"imageTag": tag}])
        assert found["failures"] == []
        [pulled] = found["images"]
        assert digest(pulled["imageManifest"].encode()) == pulled["imageId"]["imageDigest"]
        layers = []
        for layer in json.loads(pulled["imageManifest"])["layers"]:
            url = self.ecr.get_download_url_for_layer(repositoryName=repository, layerDigest=layer["digest"])["downloadUrl"]
            with urllib.request.urlopen(url, timeout=30) as answer:
                layers.append(answer.read())
            assert digest(layers[-1]) == layer["digest"]
        return marker_of_layers(layers)


class AwsCli(Client):
    """`aws ecr` put-image and its relatives."""

    def aws(self, *arguments):
        return self.gantry.aws("ecr", *map(str, arguments), program=AWS_V1)

    def push(self, image, reference):
        repository, tag = self.parts(reference)
        for blob in (image.layer, image.config):
            path = self.folder / "blob"
            path.write_bytes(blob)
            known = self.aws("batch-check-layer-availability", "--repository-name", repository,
                             "--layer-digests", digest(blob))["layers"][0]["layerAvailability"]
            if known == "AVAILABLE":
                continue
            upload = self.aws("initiate-layer-upload", "--repository-name", repository)["uploadId"]
            self.aws("upload-layer-part", "--repository-name", repository, "--upload-id", upload,
                     "--part-first-byte", 0, "--part-last-byte", len(blob) - 1, "--layer-part-blob", f"fileb://{path}")
            self.aws("complete-layer-upload", "--repository-name", repository, "--upload-id", upload,
                     "--layer-digests", digest(blob))
        self.aws("put-image", "--repository-name", repository, "--image-tag", tag, "--image-manifest", image.manifest.decode())

    def pull(self, reference):
        repository, tag = self.parts(reference)
        found = self.aws("batch-get-image", "--repository-name", repository, "--image-ids", f"imageTag={tag}")
        assert found["failures"] == []
        layers = []
        for layer in json.loads(found["images"][0]["imageManifest"])["layers"]:
            url = self.aws("get-download-url-for-layer", "--repository-name", repository,
                           "--layer-digest", layer["digest"])["downloadUrl"]
            layers.append(requests.get(url, timeout=30).content)
            assert digest(layers[-1]) == layer["digest"]
        return marker_of_layers(layers)


CLIENTS = {
    "docker": Docker, "podman": Podman, "buildah": Buildah, "skopeo": Skopeo, "containerd": Containerd, "oras": Oras,
    "crane": Crane, "oras-go": OrasProgram, "boto3": Boto3, "aws-cli": AwsCli,
}
