"""Volumes of every kind, seen from inside; and attempts to get out of them."""

import json
import os
import re
import subprocess
import uuid
from pathlib import Path

import access
import pytest

from conftest import HOST_NETWORK, awslogs, register, run_task, run_to_end, wait_until

pytestmark = HOST_NETWORK
FILE_SYSTEM = "fs-0123456789abcdef0"
ECS = "ecs.amazonaws.com"


@pytest.fixture(scope="module")
def file_system(tmp_path_factory):
    return tmp_path_factory.mktemp("fs")


@pytest.fixture(scope="module")
def with_file_systems(request, scratch, file_system):
    """A Gantry that knows a file system with an access point."""
    from conftest import make, push_busybox, remove_everything

    config = file_system.parent / f"{file_system.name}.toml"
    config.write_text(
        f"[file_systems.{FILE_SYSTEM}]\npath = '{file_system}'\n"
        f"[file_systems.{FILE_SYSTEM}.access_points.fsap-1]\n"
        "path = '/apps/web'\nowner_uid = 1000\nowner_gid = 1000\npermissions = '750'\n"
        f"[file_systems.{FILE_SYSTEM}.access_points.fsap-2]\npath = '/out'\n")
    gantry = make(scratch, config=config).start()
    gantry.wait_for_instance()
    push_busybox(gantry)
    yield gantry
    remove_everything(gantry)


def efs(**changes):
    return {"name": "data", "efsVolumeConfiguration": {"fileSystemId": FILE_SYSTEM, **changes}}


def at(path="/data", **changes):
    return [{"sourceVolume": "data", "containerPath": path, **changes}]


def run_with(gantry, name, script, volume, mount=None, **container):
    """Runs `script` with the volume to its end; returns (task, printed lines). A task that never started printed none."""
    family = f"{name}-{uuid.uuid4().hex[:6]}"
    definition = register(gantry, family, {
        "command": ["sh", "-c", script], "logConfiguration": awslogs(f"/{family}"), "mountPoints": mount or at(),
        **container}, volumes=[volume])
    task = gantry.wait_for_status(run_task(gantry, definition), "STOPPED")
    started = "exitCode" in task["containers"][0]
    return task, gantry.logs(f"/{family}") if started else []


def reason(task):
    return task["containers"][0].get("reason") or task["stoppedReason"]


# -- Docker volumes ---------------------------------------------------------------------------------------------


def docker(**configuration):
    return {"name": "data", "dockerVolumeConfiguration": configuration}


def test_a_docker_volume_of_the_task_goes_with_it(gantry, name):
    for _ in range(2):
        _, lines = run_with(gantry, name, "ls /data; touch /data/x; ls /data", docker(scope="task", driver="local"))
        assert lines == ["x"]


def test_a_shared_docker_volume_stays_and_must_be_there_unless_it_is_made(gantry, name):
    def shared(**changes):
        return {"name": name, "dockerVolumeConfiguration": {"scope": "shared", **changes}}

    mount = [{"sourceVolume": name, "containerPath": "/data"}]
    task, _ = run_with(gantry, name, "true", shared(), mount)
    assert f"volume detection failed, volume '{name}' does not exist and autoprovision is set to false" in reason(task)
    run_with(gantry, name, "echo kept > /data/x", shared(autoprovision=True, labels={"a": "b"}), mount)
    _, lines = run_with(gantry, name, "cat /data/x", shared(), mount)
    assert lines[-1] == "kept"


def test_driver_options_mount_a_tmpfs_that_the_containers_share(gantry, name):
    volume = docker(driverOpts={"type": "tmpfs", "device": "tmpfs", "o": "size=4m,uid=1000,mode=0700"})
    definition = register(
        gantry, name,
        {"name": "first", "essential": False, "command": ["sh", "-c", "echo one > /data/x"], "mountPoints": at()},
        {"name": "main", "dependsOn": [{"containerName": "first", "condition": "SUCCESS"}], "mountPoints": at(),
         "command": ["sh", "-c", "[ $(cat /data/x) = one ] && [ $(stat -c %u:%a /data) = 1000:700 ] && "
                                 "df -k /data | grep -q 4096 && ! dd if=/dev/zero of=/data/big bs=1M count=5"]},
        volumes=[volume])
    arn = run_task(gantry, definition)
    task = gantry.wait_for_status(arn, "STOPPED")
    assert [container["exitCode"] for container in task["containers"]] == [0, 0], task
    wait_until(lambda: arn.rsplit("/")[-1] not in open("/proc/mounts").read(), 30, "the end of the mount")


def test_driver_options_bind_a_directory_that_is_there(gantry, name, tmp_path):
    (tmp_path / "given").write_text("from the host")
    options = {"type": "none", "o": "bind,ro", "device": str(tmp_path)}
    _, lines = run_with(gantry, name, "cat /data/given; echo; touch /data/x 2>&1", docker(driverOpts=options))
    assert lines[0] == "from the host" and "Read-only file system" in lines[1]
    missing = options | {"device": str(tmp_path / "missing")}
    task, _ = run_with(gantry, f"{name}b", "true", docker(driverOpts=missing))
    assert re.match(r"CannotCreateVolumeError: failed to mount local volume: .*no such file", reason(task)), task
    assert not (tmp_path / "missing").exists()


@pytest.mark.parametrize("configuration, refused", [
    ({"driver": "rexray/ebs"}, "driver 'rexray/ebs'"),
    ({"driverOpts": {"type": "ext4", "device": "/dev/vda"}}, "driverOpts type 'ext4'"),
    ({"driverOpts": {"type": "overlay", "device": "x", "o": "lowerdir=/etc"}}, "driverOpts type 'overlay'"),
    ({"driverOpts": {"size": "1g"}}, "driverOpts 'size'"),
])
def test_what_would_reach_disks_of_the_host_is_refused_by_name(gantry, name, configuration, refused):
    definition = register(gantry, name, {"mountPoints": at()}, volumes=[docker(**configuration)])
    with pytest.raises(gantry.client("ecs").exceptions.ClientError, match=re.escape(refused)):
        run_task(gantry, definition)


# -- EFS --------------------------------------------------------------------------------------------------------


def test_an_efs_volume_is_the_file_system_of_its_id(with_file_systems, name, file_system):
    (file_system / "apps").mkdir(exist_ok=True)
    run_with(with_file_systems, name, "echo kept > /data/apps/x", efs())
    assert (file_system / "apps/x").read_text() == "kept\n"
    _, lines = run_with(with_file_systems, name, "cat /data/x; touch /data/y 2>&1", efs(rootDirectory="/apps"),
                        at(readOnly=True))
    assert lines[0] == "kept" and "Read-only file system" in lines[1]


def test_an_access_point_is_made_for_its_owner_and_shows_nothing_else(with_file_systems, name, file_system):
    volume = efs(transitEncryption="ENABLED", authorizationConfig={"accessPointId": "fsap-1"})
    _, lines = run_with(with_file_systems, name, "touch /data/x && stat -c %u:%g:%a /data; ls -a /data/..", volume,
                        user="1000:1000")
    assert lines[0] == "1000:1000:750"
    assert (file_system / "apps/web/x").exists()


def test_an_unknown_file_system_is_told_in_the_services_words(with_file_systems, name):
    definition = register(with_file_systems, name, {"mountPoints": at()},
                          volumes=[{"name": "data", "efsVolumeConfiguration": {"fileSystemId": "fs-99"}}])
    task = with_file_systems.wait_for_status(run_task(with_file_systems, definition), "STOPPED")
    assert task["stoppedReason"].startswith(
        "ResourceInitializationError: failed to invoke EFS utils commands to set up EFS volumes: stderr: Failed to resolve "
        '"fs-99.efs.us-east-1.amazonaws.com"')


def test_fargate_tasks_have_efs_volumes_too(with_file_systems, name, file_system):
    definition = register(
        with_file_systems, name,
        {"memory": None, "command": ["sh", "-c", "echo fargate > /data/fargate"], "mountPoints": at()},
        requiresCompatibilities=["FARGATE"], networkMode="awsvpc", cpu="256", memory="512", volumes=[efs()])
    arn = run_task(with_file_systems, definition, launchType="FARGATE",
                   networkConfiguration={"awsvpcConfiguration": {"subnets": ["subnet-e2e"]}})
    task = with_file_systems.wait_for_status(arn, "STOPPED", 90)
    assert task["containers"][0]["exitCode"] == 0, task
    assert (file_system / "fargate").read_text() == "fargate\n"


@pytest.mark.parametrize("root", ["/../..", "/out", "/out/shadow", "/loop/../out", "/apps/../../../etc", "/missing"])
def test_no_root_directory_leads_out_of_the_file_system(with_file_systems, name, file_system, root):
    for link, target in (("out", "/etc"), ("loop", ".")):
        if not (file_system / link).is_symlink():
            (file_system / link).symlink_to(target)
    task, lines = run_with(with_file_systems, name, "ls /data; cat /data/shadow /data/hostname", efs(rootDirectory=root))
    assert "exitCode" not in task["containers"][0] and lines == [], lines
    assert "failed to invoke EFS utils commands" in task["stoppedReason"], task


def test_a_link_that_a_task_makes_in_its_file_system_does_not_help_the_next_task(with_file_systems, name, file_system):
    run_with(with_file_systems, name, "rm -rf /data/mine; ln -s / /data/mine; ln -s ../../.. /data/up", efs())
    for root in ("/mine", "/up", "/mine/etc"):
        task, lines = run_with(with_file_systems, name, "ls /data", efs(rootDirectory=root))
        assert lines == [] and "EFS utils" in task["stoppedReason"], (root, task)
    volume = efs(transitEncryption="ENABLED", authorizationConfig={"accessPointId": "fsap-2"})
    run_with(with_file_systems, name, "rm -f /data/out; ln -s /etc /data/out", efs())
    task, lines = run_with(with_file_systems, name, "ls /data", volume)
    assert lines == [] and "EFS utils" in task["stoppedReason"], task


# -- EBS --------------------------------------------------------------------------------------------------------


def at_launch(gantry, name, script, **task):
    """A task definition with a volume that is configured at launch."""
    container = {"command": ["sh", "-c", script], "mountPoints": at()}
    if "requiresCompatibilities" in task:
        container["memory"] = None
    else:
        container["logConfiguration"] = awslogs(f"/{name}")
    return register(gantry, name, container | task.pop("container", {}),
                    volumes=[{"name": "data", "configuredAtLaunch": True}], **task)


def managed(role, size=1, **changes):
    return [{"name": "data", "managedEBSVolume": {"roleArn": role, "sizeInGiB": size, "filesystemType": "ext4", **changes}}]


def attachment(task):
    """Status and details of the task's volume."""
    [found] = [each for each in task["attachments"] if each["type"] == "AmazonElasticBlockStorage"]
    return found["status"], {detail["name"]: detail["value"] for detail in found["details"]}


def managed_files(gantry):
    folder = gantry.folder / "agent/managed-volumes"
    return sorted(os.listdir(folder)) if folder.exists() else []


def mounted(gantry):
    """Mounts of volumes, and loop devices that have a file of this Gantry."""
    with open("/proc/mounts") as file:
        mounts = [line for line in file if f"{gantry.folder}/agent/volume-mounts" in line]
    backing = [path.read_text() for path in Path("/sys/block").glob("loop*/loop/backing_file")]
    return mounts + [path for path in backing if str(gantry.folder) in path]


def test_an_ebs_volume_has_its_size_outlives_the_agent_and_goes_with_its_task(with_file_systems, name):
    gantry = with_file_systems
    script = ("df -k /data | tail -1; stat -c %u:%g:%a /data; echo mine > /data/mine && cat /data/mine; "
              "fallocate -l 900000000 /data/a && echo fits; fallocate -l 200000000 /data/b 2>&1; "
              "trap 'exit 0' TERM; sleep 100000 & wait")
    definition = at_launch(gantry, name, script, container={"user": "1000:1000"})
    foreign, role = access.role(gantry), access.role(gantry, service=ECS)
    refused = gantry.client("ecs").exceptions.InvalidParameterException
    with pytest.raises(refused, match="configuredAtLaunch volume but no volume configuration"):
        run_task(gantry, definition)
    with pytest.raises(refused, match="unable to assume the configured ECS Infrastructure Role"):
        run_task(gantry, definition, volumeConfigurations=managed(foreign))
    arn = run_task(gantry, definition, volumeConfigurations=managed(role))
    status, details = attachment(gantry.wait_for_status(arn, "RUNNING"))
    volume = details.pop("volumeId")
    assert (status, details) == ("ATTACHED", {"roleArn": role, "volumeName": "data", "deleteOnTermination": "true"})
    lines = wait_until(lambda: (found := gantry.logs(f"/{name}")) and len(found) >= 5 and found, 30, "five lines")
    assert 900_000 < int(lines[0].split()[1]) < 1 << 20, lines
    assert lines[1:4] == ["0:0:775", "mine", "fits"] and "No space left on device" in lines[4], lines
    image = gantry.folder / f"agent/managed-volumes/{volume}.img"
    assert image.stat().st_blocks * 512 >= 1 << 30, "the disk keeps its room"

    gantry.kill()
    # As an agent leaves it that is killed while it makes a volume, and whose task's record is lost.
    left = image.with_name("vol-0left.json")
    left.write_text(image.with_suffix(".json").read_text().replace(volume, "vol-0left").replace(arn, arn[:-8] + "0" * 8))
    left.with_suffix(".unfinished").write_text("half")
    gantry.start()
    gantry.wait_for_instance()
    wait_until(lambda: managed_files(gantry) == [f"{volume}.img", f"{volume}.json"], 30, "the end of what was left")
    assert attachment(gantry.task(arn))[0] == "ATTACHED" and mounted(gantry)
    gantry.client("ecs").stop_task(task=arn)
    assert attachment(gantry.wait_for_status(arn, "STOPPED"))[0] == "DELETED"
    wait_until(lambda: not managed_files(gantry) and not mounted(gantry), 30, "the end of the volume")


def test_an_ebs_volume_that_is_to_stay_stays_and_one_without_room_says_so(with_file_systems, name, tmp_path):
    gantry = with_file_systems
    definition, role = at_launch(gantry, name, "echo kept > /data/kept"), access.role(gantry, service=ECS)
    tags = [{"resourceType": "volume", "tags": [{"key": "of", "value": name}]}]
    stays = managed(role, terminationPolicy={"deleteOnTermination": False}, tagSpecifications=tags)
    del stays[0]["managedEBSVolume"]["filesystemType"]
    task = gantry.wait_for_status(run_task(gantry, definition, volumeConfigurations=stays), "STOPPED")
    status, details = attachment(task)
    wait_until(lambda: not mounted(gantry), 30, "the end of the mount")
    image = gantry.folder / f"agent/managed-volumes/{details['volumeId']}.img"
    assert status == "DETACHED" and image.exists()
    document = json.loads(image.with_suffix(".json").read_text())
    assert document["taskArn"] == task["taskArn"] and document["tags"]["of"] == name
    assert document["filesystemType"] == "xfs", "that of ECS when none is named"
    subprocess.run(["mount", "-o", "loop,ro", image, tmp_path], check=True)
    kept = (tmp_path / "kept").read_text()
    subprocess.run(["umount", tmp_path], check=True)
    assert kept == "kept\n"

    answer = gantry.client("ecs").run_task(taskDefinition=definition, volumeConfigurations=managed(role, 16384))
    assert [each["reason"] for each in answer["failures"]] == ["RESOURCE:DISK"] and not answer["tasks"], answer
    assert managed_files(gantry) == [image.name, image.with_suffix(".json").name]
    image.unlink()
    image.with_suffix(".json").unlink()


def test_each_task_of_a_service_has_an_ebs_volume_of_its_own(with_file_systems, name):
    gantry = with_file_systems
    ecs, role = gantry.client("ecs"), access.role(gantry, service=ECS)
    fargate = {"requiresCompatibilities": ["FARGATE"], "networkMode": "awsvpc", "cpu": "256", "memory": "512"}
    definition = at_launch(gantry, name, "exec sleep 100000", **fargate)
    network = {"awsvpcConfiguration": {"subnets": ["subnet-e2e"]}}
    # Old tasks need not wait until new ones have run for a while.
    at_once = {"minimumHealthyPercent": 0, "maximumPercent": 100}
    ecs.create_service(serviceName=name, taskDefinition=definition, desiredCount=2, launchType="FARGATE",
                       networkConfiguration=network, volumeConfigurations=managed(role),
                       deploymentConfiguration=at_once)

    def volumes(size):
        """Ids of the volumes of the service's tasks, when two run and all have files of that size."""
        arns = ecs.list_tasks(serviceName=name)["taskArns"]
        tasks = ecs.describe_tasks(tasks=arns)["tasks"] if arns else []
        if len(tasks) != 2 or any(task["lastStatus"] != "RUNNING" for task in tasks):
            return None
        ids = {attachment(task)[1]["volumeId"] for task in tasks}
        sizes = {(gantry.folder / f"agent/managed-volumes/{each}.img").stat().st_size >> 30 for each in ids}
        return ids if len(ids) == 2 and sizes == {size} else None

    first = wait_until(lambda: volumes(1), 60, "two tasks with volumes")
    ecs.update_service(service=name, volumeConfigurations=managed(role))
    [service] = ecs.describe_services(services=[name])["services"]
    assert [each["volumeConfigurations"] for each in service["deployments"]] == [managed(role)]
    ecs.update_service(service=name, volumeConfigurations=managed(role, 2))
    second = wait_until(lambda: volumes(2), 60, "two tasks with larger volumes")
    assert not first & second
    [service] = ecs.describe_services(services=[name])["services"]
    revision = service["currentServiceRevisions"][0]["arn"]
    [revision] = ecs.describe_service_revisions(serviceRevisionArns=[revision])["serviceRevisions"]
    assert revision["volumeConfigurations"] == managed(role, 2)
    ecs.delete_service(service=name, force=True)
    wait_until(lambda: not managed_files(gantry) and not mounted(gantry), 60, "the end of the volumes")


# -- attempts to get out ----------------------------------------------------------------------------------------


def test_links_in_a_volume_lead_into_the_container_not_to_the_host(gantry, name, tmp_path):
    (tmp_path / "passwd").symlink_to("/etc/passwd")
    (tmp_path / "up").symlink_to("../../../../../../etc")
    volume = {"name": "data", "host": {"sourcePath": str(tmp_path)}}
    _, lines = run_with(gantry, name, "cat /data/passwd | wc -l; ls /data/up | sort | tr '\\n' ' '", volume)
    host = sorted(os.listdir("/etc"))
    assert int(lines[0]) == 2, "the image's own two users"
    assert lines[1].split() != host and len(lines[1].split()) < 10


def test_a_mount_path_with_tricks_stays_in_the_container(gantry, name, tmp_path):
    target = "/a/../../../../../../" + str(tmp_path).lstrip("/") + "/planted"
    _, lines = run_with(gantry, name, f"touch '{target}/x' && echo done", {"name": "data"}, at(target))
    assert not (tmp_path / "planted").exists()
    assert lines in (["done"], []), lines


def test_devices_of_the_host_are_denied(gantry, name):
    disk = sorted(os.listdir("/sys/block"))[0]
    with open(f"/sys/block/{disk}/dev") as file:
        major, minor = file.read().strip().split(":")
    script = (f"mknod /tmp/disk b {major} {minor} && echo made; head -c 1 /tmp/disk 2>&1; mknod /tmp/mem c 1 1; "
              "head -c 1 /tmp/mem 2>&1; mknod /tmp/kmsg c 1 11; head -c 1 /tmp/kmsg 2>&1")
    _, lines = run_to_end(gantry, name, script)
    assert lines[0] == "made"
    assert [line.split(": ")[-1] for line in lines[1:]] == ["Operation not permitted"] * 3, lines


def test_a_device_that_was_asked_for_has_the_permissions_that_were_given(gantry, name):
    devices = [{"hostPath": "/dev/zero", "containerPath": "/dev/nothing", "permissions": ["read"]},
               {"hostPath": "/dev/loop-control"}]
    if not os.path.exists("/dev/loop-control"):
        devices.pop()
    _, lines = run_to_end(gantry, name, "head -c 2 /dev/nothing | od -An -tx1; ls /dev/loop-control",
                          linuxParameters={"devices": devices})
    assert lines[0].split() == ["00", "00"]
    assert len(devices) == 1 or lines[1] == "/dev/loop-control"


def test_the_agents_files_and_sockets_are_out_of_reach(gantry, name):
    """In host mode abstract sockets of the host are in reach: none of them is the agent's, nor any port but the API's."""
    script = (f"ls {gantry.folder} 2>&1; grep -c '@gantry' /proc/net/unix; ls /proc/1/root/var/lib 2>&1 | head -1; "
              "cat /sys/fs/cgroup/cgroup.procs 2>/dev/null | wc -l; ls -d /proc/[0-9]* | wc -l")
    _, lines = run_to_end(gantry, name, script, task={"networkMode": "host"})
    assert "No such file" in lines[0] and lines[1] == "0"
    assert int(lines[-1]) < 10, "no process of the host"


def test_the_control_plane_is_not_in_reach_of_a_bridge_task(gantry, name):
    script = (f"for host in 127.0.0.1 $(ip route | awk '/default/ {{print $3}}'); do "
              f"nc -w 2 $host {gantry.port} < /dev/null && echo reached; done 2> /dev/null; echo end")
    _, lines = run_to_end(gantry, name, script)
    assert lines == ["end"]
