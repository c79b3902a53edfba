"""The less common fields of a container definition, each seen from inside the container."""

import subprocess

import pytest

from conftest import busybox_rootfs, image, register, run_task, run_to_end


def test_standard_input_is_open_when_it_is_interactive_and_empty_otherwise(gantry, name):
    script = "readlink /proc/self/fd/0; timeout 1 cat; echo $?"
    _, closed = run_to_end(gantry, name, script)
    assert closed == ["/dev/null", "0"], "the end of the input comes at once"
    _, opened = run_to_end(gantry, f"{name}i", script, interactive=True)
    assert opened[0].startswith("pipe:") and opened[1] != "0", "it does not come"


def test_a_pseudo_terminal_is_one_stream(gantry, name):
    _, lines = run_to_end(gantry, name, "tty; test -t 0 && test -t 1 && test -t 2 && echo all; echo $TERM",
                          pseudoTerminal=True)
    assert lines[0].startswith("/dev/") and lines[1:] == ["all", "xterm"]


@pytest.mark.parametrize("mode", ["task", "host", None])
def test_pid_modes(gantry, name, mode):
    """How many processes named like the other container's does one see?"""
    marker = f"sleep 98{name[-4:]}" if name[-4:].isdigit() else "sleep 98765"
    task = {"pidMode": mode} if mode else {}
    definition = register(
        gantry, name,
        {"name": "other", "command": marker.split(), "stopTimeout": 2},
        {"name": "main", "dependsOn": [{"containerName": "other", "condition": "START"}],
         "command": ["sh", "-c", f"n=$(ps | grep -c '{marker[:-1]}[{marker[-1]}]'); h=$(ps | grep -c '[k]thread'); "
                                 "exit $((n > 0 ? (h > 0 ? 12 : 11) : 10))"]}, **task)
    done = gantry.wait_for_status(run_task(gantry, definition), "STOPPED")
    codes = {container["name"]: container.get("exitCode") for container in done["containers"]}
    assert codes["main"] == {"task": 11, "host": 12, None: 10}[mode]


@pytest.mark.parametrize("mode, shared", [("task", True), ("host", True), (None, False), ("none", False)])
def test_ipc_modes_share_dev_shm_or_do_not(gantry, name, mode, shared):
    task = {"ipcMode": mode} if mode else {}
    definition = register(
        gantry, name,
        {"name": "other", "command": ["sh", "-c", f"touch /dev/shm/{name}; exec sleep 1000"], "stopTimeout": 2,
         "healthCheck": {"command": ["CMD-SHELL", f"test -e /dev/shm/{name}"], "interval": 5}},
        {"name": "main", "dependsOn": [{"containerName": "other", "condition": "HEALTHY"}],
         "command": ["sh", "-c", f"test -e /dev/shm/{name}"]}, **task)
    done = gantry.wait_for_status(run_task(gantry, definition), "STOPPED", 90)
    codes = {container["name"]: container.get("exitCode") for container in done["containers"]}
    assert codes["main"] == (0 if shared else 1)
    if mode == "host":
        subprocess.run(["rm", "-f", f"/dev/shm/{name}"], check=True)


def test_links_are_names_of_other_containers(gantry, name):
    definition = register(
        gantry, name,
        {"name": "db", "command": ["sh", "-c", "echo found > /www/index.html; exec httpd -f -p 80 -h /www"],
         "stopTimeout": 2, "healthCheck": {"command": ["CMD-SHELL", "nc -w 2 127.0.0.1 80 < /dev/null"], "interval": 5}},
        {"name": "main", "links": ["db:database"], "dependsOn": [{"containerName": "db", "condition": "HEALTHY"}],
         # No name service in a static program: the file that it would read is looked at.
         "command": ["sh", "-c", "grep -q '\tdatabase db$' /etc/hosts && "
                                 "printf 'GET / HTTP/1.0\r\n\r\n' | nc -w 2 $(awk '/database/ {print $1}' /etc/hosts) 80 "
                                 "| grep found"]})
    done = gantry.wait_for_status(run_task(gantry, definition), "STOPPED", 90)
    assert {container["name"]: container.get("exitCode") for container in done["containers"]}["main"] == 0, done


def test_volumes_of_an_image_are_filled_and_passed_on(gantry, name, tmp_path):
    root = busybox_rootfs(tmp_path / "rootfs")
    (root / "content").mkdir()
    (root / "content/given").write_text("of the image\n")
    gantry.run("push", str(root), f"{name}:1", "--cmd", '["sh"]')
    reference = image(gantry, f"{name}:1")
    definition = register(
        gantry, name,
        {"name": "source", "image": reference, "essential": False, "command": ["sh", "-c", "echo more > /content/more"],
         "mountPoints": [{"sourceVolume": "content", "containerPath": "/content"}]},
        {"name": "main", "volumesFrom": [{"sourceContainer": "source", "readOnly": True}],
         "dependsOn": [{"containerName": "source", "condition": "SUCCESS"}],
         "command": ["sh", "-c", "[ \"$(cat /content/given /content/more | tr '\\n' ,)\" = 'of the image,more,' ] && "
                                 "! touch /content/x"]},
        volumes=[{"name": "content"}])
    done = gantry.wait_for_status(run_task(gantry, definition), "STOPPED")
    assert [container["exitCode"] for container in done["containers"]] == [0, 0], done


def test_no_new_privileges_is_set_when_it_is_asked_for(gantry, name):
    _, lines = run_to_end(gantry, name, "grep NoNewPrivs /proc/self/status", dockerSecurityOptions=["no-new-privileges"])
    assert lines == ["NoNewPrivs:\t1"]


def test_swap_is_limited_beside_memory(gantry, name):
    script = ("cat /sys/fs/cgroup/memory.swap.max 2>/dev/null || "
              "cat /sys/fs/cgroup/memory/memory.memsw.limit_in_bytes 2>/dev/null || echo none; "
              "cat /sys/fs/cgroup/memory/memory.swappiness 2>/dev/null")
    _, lines = run_to_end(gantry, name, script, memory=32, linuxParameters={"maxSwap": 16, "swappiness": 7})
    # Version 2 counts swap alone, version 1 memory and swap, and some hosts do not count it.
    assert lines[0] in ("none", str(16 << 20), str(48 << 20)), lines
    assert lines[1:] in ([], ["7"]), lines


def test_networking_can_be_disabled_for_one_container(gantry, name):
    _, lines = run_to_end(gantry, name, "ls /sys/class/net", disableNetworking=True)
    assert lines == ["lo"]


def test_system_controls_are_the_containers_own(gantry, name):
    controls = [{"namespace": "kernel.msgmax", "value": "12345"}, {"namespace": "net.ipv4.ip_default_ttl", "value": "77"}]
    _, lines = run_to_end(gantry, name, "cat /proc/sys/kernel/msgmax /proc/sys/net/ipv4/ip_default_ttl",
                          systemControls=controls)
    assert lines == ["12345", "77"]
    own = [open(f"/proc/sys/{path}").read().strip() for path in ("kernel/msgmax", "net/ipv4/ip_default_ttl")]
    assert own[0] != "12345" and own[1] != "77"


@pytest.mark.parametrize("container, task, refused", [
    ({"credentialSpecs": ["credentialspecdomainless:arn:aws:ssm:x"]}, {}, "credentialSpecs"),
    ({"dockerSecurityOptions": ["apparmor:docker-default"]}, {}, "dockerSecurityOptions 'apparmor:docker-default'"),
    ({"dockerSecurityOptions": ["label:type:x"]}, {}, "dockerSecurityOptions 'label:type:x'"),
])
def test_what_has_no_effect_here_is_refused_by_name(gantry, name, container, task, refused):
    definition = register(gantry, name, container, **task)
    with pytest.raises(gantry.client("ecs").exceptions.ClientError) as error:
        run_task(gantry, definition)
    assert refused in str(error.value)


def test_agent_settings_have_their_ecs_names(own_gantry, name, monkeypatch):
    monkeypatch.setenv("ECS_TASK_PIDS_LIMIT", "20")
    monkeypatch.setenv("ECS_DISABLE_PRIVILEGED", "true")
    monkeypatch.setenv("ECS_INSTANCE_ATTRIBUTES", '{"stack": "e2e"}')
    monkeypatch.setenv("ECS_AVAILABLE_LOGGING_DRIVERS", '["awslogs","json-file"]')
    monkeypatch.setenv("ECS_RESERVED_MEMORY", "100")
    gantry = own_gantry()
    instance = gantry.wait_for_instance()
    attributes = {each["name"]: each.get("value") for each in instance["attributes"]}
    assert attributes["stack"] == "e2e"
    drivers = {each.rsplit(".", 1)[1] for each in attributes if ".logging-driver." in each}
    assert drivers == {"awslogs", "json-file"}
    assert "com.amazonaws.ecs.capability.privileged-container" not in attributes
    definition = register(gantry, f"{name}p", {"privileged": True})
    answer = gantry.client("ecs").run_task(taskDefinition=definition, launchType="EC2")
    assert answer["failures"][0]["reason"] == "ATTRIBUTE", answer
    task, lines = run_to_end(gantry, name, "i=0; while [ $i -lt 30 ]; do sleep 5 & i=$((i+1)); done; echo all")
    assert "all" not in lines, "no more than twenty processes"


def test_pulling_once_does_not_ask_again(own_gantry, name, monkeypatch):
    """`always` sees a moved tag, `once` goes on with the image that was pulled before."""
    for behavior, expected in (("once", "old"), ("always", "new")):
        monkeypatch.setenv("ECS_IMAGE_PULL_BEHAVIOR", behavior)
        gantry = own_gantry()
        root = busybox_rootfs(gantry.folder / "versions")
        for text in ("old", "new"):
            (root / "version").write_text(text)
            gantry.run("push", str(root), "version:1", "--cmd", '["sh"]')
            _, lines = run_to_end(gantry, f"{name}{text}", "cat /version; echo", image=image(gantry, "version:1"))
        assert lines == [expected], behavior
