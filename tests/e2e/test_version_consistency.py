"""All tasks of a service deployment run the image that its tag stood for when the deployment began."""

from conftest import SOON_HEALTHY, busybox_rootfs, image, register, wait_until


def push(gantry, tag, mark):
    root = busybox_rootfs(gantry.folder / f"rootfs-{mark}")
    (root / "etc/mark").write_text(mark)
    gantry.run("push", str(root), f"{tag}", "--cmd", '["sh"]')


def digests(ecs, service, count):
    """The digests of the service's running tasks, once there are so many of its newest deployment and no others."""
    def there():
        found = ecs.describe_services(services=[service])["services"][0]
        if len(found["deployments"]) != 1 or found["runningCount"] != count or found["desiredCount"] != count:
            return None
        tasks = ecs.describe_tasks(tasks=ecs.list_tasks(serviceName=service)["taskArns"])["tasks"]
        return tasks if len(tasks) == count else None

    tasks = wait_until(there, 120, f"{count} tasks")
    return {task["containers"][0]["imageDigest"] for task in tasks}


def tagged(gantry, repository, tag):
    found = gantry.client("ecr").batch_get_image(repositoryName=repository, imageIds=[{"imageTag": tag}])
    return found["images"][0]["imageId"]["imageDigest"]


def revision_images(ecs, service):
    found = ecs.describe_services(services=[service])["services"][0]
    arn = found["currentServiceRevisions"][0]["arn"]
    return ecs.describe_service_revisions(serviceRevisionArns=[arn])["serviceRevisions"][0]["containerImages"]


def test_a_moved_tag_is_followed_by_the_next_deployment_and_not_before(own_gantry, name):
    gantry = own_gantry(apart=True, settings=SOON_HEALTHY)
    ecs = gantry.client("ecs")
    push(gantry, f"{name}:1", "old")
    old = tagged(gantry, name, "1")
    definition = register(
        gantry, name, {"image": image(gantry, f"{name}:1"), "command": ["sleep", "1000"], "memory": 16,
         "stopTimeout": 2})
    free = register(
        gantry, f"{name}-free",
        {"image": image(gantry, f"{name}:1"), "command": ["sleep", "1000"], "memory": 16, "stopTimeout": 2,
         "versionConsistency": "disabled"})
    ecs.create_service(serviceName="web", taskDefinition=definition, desiredCount=1)
    ecs.create_service(serviceName="free", taskDefinition=free, desiredCount=1)
    assert digests(ecs, "web", 1) == {old}
    assert digests(ecs, "free", 1) == {old}
    assert revision_images(ecs, "web") == [
        {"containerName": "main", "image": image(gantry, f"{name}:1"), "imageDigest": old}]
    assert "imageDigest" not in revision_images(ecs, "free")[0]

    push(gantry, f"{name}:1", "new")
    new = tagged(gantry, name, "1")
    assert new != old
    # The digest is in the store, not in the server's memory.
    gantry.kill("server")
    gantry.start("server")
    for service in ("web", "free"):
        ecs.update_service(service=service, desiredCount=3)
    assert digests(ecs, "web", 3) == {old}
    assert digests(ecs, "free", 3) == {old, new}

    ecs.update_service(service="web", forceNewDeployment=True)
    assert digests(ecs, "web", 3) == {new}
    assert revision_images(ecs, "web")[0]["imageDigest"] == new
