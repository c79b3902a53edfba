"""`kill -9` while a lifecycle rule deletes, and while clients push: what was answered is there, and nothing dangles."""

import json
import random
import signal
import subprocess
import threading
import time

import pytest

from conftest import GANTRY, make
from image_clients import CONFIG, LAYER, MANIFEST, digest

IMAGES, KEPT = 150, 20


@pytest.fixture
def server(scratch):
    gantry = make(scratch, server_only=True).start()
    yield gantry
    gantry.stop()


def blob(ecr, repository, data):
    upload = ecr.initiate_layer_upload(repositoryName=repository)["uploadId"]
    ecr.upload_layer_part(repositoryName=repository, uploadId=upload, partFirstByte=0, partLastByte=len(data) - 1,
                          layerPartBlob=data)
    ecr.complete_layer_upload(repositoryName=repository, uploadId=upload, layerDigests=[digest(data)])
    return {"digest": digest(data), "size": len(data)}


def manifest(config, layer, number):
    return json.dumps({
        "schemaVersion": 2, "mediaType": MANIFEST, "config": {"mediaType": CONFIG, **config},
        "layers": [{"mediaType": LAYER, **layer}], "annotations": {"number": str(number)}})


def tags(ecr, repository):
    pages = ecr.get_paginator("list_images").paginate(repositoryName=repository)
    return {image["imageTag"] for page in pages for image in page["imageIds"]}


def whole(server):
    done = server.run("registry", "verify", "--output", "json", check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def kill_and_start(server):
    server.kill("server", signal.SIGKILL)
    server.start()


def test_a_lifecycle_run_that_is_killed_loses_nothing_it_should_keep(server, name):
    ecr = server.client("ecr")
    ecr.create_repository(repositoryName=name)
    config, layer = blob(ecr, name, b"{}"), blob(ecr, name, b"a layer")
    for number in range(IMAGES):
        ecr.put_image(repositoryName=name, imageTag=f"{number:04}", imageManifest=manifest(config, layer, number))
    newest = {f"{number:04}" for number in range(IMAGES - KEPT, IMAGES)}
    ecr.put_lifecycle_policy(repositoryName=name, lifecyclePolicyText=json.dumps({"rules": [{
        "rulePriority": 1, "description": "keep the newest few images of the repository, whatever they are called",
        "selection": {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": KEPT},
        "action": {"type": "expire"}}]}))
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    dice = random.Random(seed)
    run = [GANTRY, "registry", "lifecycle", "run", name, "--data-dir", str(server.folder)]
    for _ in range(4):
        running = subprocess.Popen(run, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(dice.uniform(0.01, 0.25))
        kill_and_start(server)
        running.wait(60)
        assert newest <= tags(server.client("ecr"), name)
        whole(server)
    server.run("registry", "lifecycle", "run", name)
    assert tags(server.client("ecr"), name) == newest
    whole(server)


def test_pushes_that_were_answered_survive_a_kill(server, name):
    ecr = server.client("ecr")
    ecr.create_repository(repositoryName=name)
    config, layer = blob(ecr, name, b"{}"), blob(ecr, name, b"a layer")
    answered = set()

    def push(first):
        number = first
        try:
            while True:
                ecr.put_image(
                    repositoryName=name, imageTag=f"{number:06}", imageManifest=manifest(config, layer, number))
                answered.add(f"{number:06}")
                number += 4
        # The server was killed under it.
        except Exception:
            pass

    for round in range(3):
        pushers = [threading.Thread(target=push, args=(round * 10_000 + first,)) for first in range(4)]
        for pusher in pushers:
            pusher.start()
        time.sleep(0.4)
        server.kill("server", signal.SIGKILL)
        for pusher in pushers:
            pusher.join()
        server.start()
        ecr = server.client("ecr")
        assert answered and answered <= tags(ecr, name)
        whole(server)
