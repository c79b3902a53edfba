"""What a task definition says is what the kernel enforces, seen from inside the container."""

import re
import urllib.request

import pytest

from conftest import HOST_NETWORK, free_port, register, run_task, run_to_end, wait_until

pytestmark = HOST_NETWORK


def test_user_directory_hostname_and_environment(gantry, name):
    task, lines = run_to_end(
        gantry, name, "id; pwd; hostname; echo $A$B", user="alice", workingDirectory="/work/deep",
        hostname="myhost", environment=[{"name": "A", "value": "1"}, {"name": "B", "value": "2"}])
    assert lines[0].startswith("uid=1000(alice) gid=1000(users) groups=") and "2000(extra)" in lines[0]
    assert lines[1:] == ["/work/deep", "myhost", "12"]


def test_cpu_memory_and_pids_have_their_own_namespaces(gantry, name):
    task, lines = run_to_end(gantry, name, "echo $$; ps | wc -l; ls /proc | grep -c '^[0-9]*$'; ip addr | grep -c ': '")
    assert int(lines[0]) <= 2
    assert int(lines[1]) < 10


def test_a_container_over_its_memory_is_killed_and_says_so(gantry, name):
    task, _ = run_to_end(gantry, name, "x=a; while true; do x=$x$x; done", memory=16)
    container = task["containers"][0]
    assert container["exitCode"] == 137
    assert container["reason"].startswith("OutOfMemoryError: Container killed due to memory usage")


def test_the_default_capabilities_and_the_seccomp_filter_are_in_force(gantry, name):
    _, lines = run_to_end(
        gantry, name, "grep -E 'CapEff|Seccomp:|NoNewPrivs' /proc/self/status; unshare -m true; echo $?; mount -t tmpfs x /tmp; echo $?")
    status = dict(line.split(":\t") for line in lines if ":\t" in line)
    assert status["CapEff"] == "00000000a80425fb"  # Docker's default set
    assert status["Seccomp"] == "2"
    assert lines.count("0") == 0, lines


def test_capabilities_are_added_and_dropped(gantry, name):
    _, lines = run_to_end(
        gantry, name, "grep CapEff /proc/self/status",
        linuxParameters={"capabilities": {"add": ["SYS_PTRACE"], "drop": ["NET_RAW", "CHOWN"]}})
    effective = int(re.search(r"([0-9a-f]{16})", lines[0])[1], 16)
    assert effective & (1 << 19) and not effective & (1 << 13) and not effective & 1


def test_privileged_means_all_capabilities_and_devices(gantry, name):
    _, lines = run_to_end(
        gantry, name, "grep -E 'CapEff|Seccomp:' /proc/self/status; ls /dev | wc -l; mount -t tmpfs x /tmp && echo mounted",
        privileged=True)
    assert "Seccomp:\t0" in lines and "mounted" in lines
    assert int(lines[2]) > 30


def test_the_root_file_system_can_be_read_only_with_writable_tmpfs(gantry, name):
    _, lines = run_to_end(
        gantry, name, "touch /x 2>&1; touch /scratch/x && echo written; df -k /scratch | tail -1; mount | grep ' /scratch '",
        readonlyRootFilesystem=True,
        linuxParameters={"tmpfs": [{"containerPath": "/scratch", "size": 8, "mountOptions": ["noexec"]}]})
    assert "Read-only file system" in lines[0]
    assert lines[1] == "written"
    assert "8192" in lines[2] and "noexec" in lines[3]


def test_ulimits_sysctls_shared_memory_and_init(gantry, name):
    _, lines = run_to_end(
        gantry, name,
        "ulimit -n; cat /proc/sys/net/core/somaxconn; df -k /dev/shm | tail -1; cat /proc/1/cmdline | tr '\\0' ' '; echo",
        ulimits=[{"name": "nofile", "softLimit": 777, "hardLimit": 888}],
        systemControls=[{"namespace": "net.core.somaxconn", "value": "321"}],
        linuxParameters={"sharedMemorySize": 16, "initProcessEnabled": True})
    assert lines[0] == "777" and lines[1] == "321" and "16384" in lines[2]
    assert not lines[3].startswith("sh -c"), "an init runs as pid 1"


def test_extra_hosts_dns_and_labels(gantry, name):
    task, lines = run_to_end(
        gantry, name, "cat /etc/hosts /etc/resolv.conf",
        extraHosts=[{"hostname": "db", "ipAddress": "10.9.8.7"}], dnsServers=["10.1.1.1"],
        dnsSearchDomains=["example.com"], dockerLabels={"a": "b"})
    text = "\n".join(lines)
    assert re.search(r"10\.9\.8\.7\s+db", text)
    assert "nameserver 10.1.1.1" in text and "search example.com" in text


def test_volumes_are_shared_between_containers_and_with_the_host(gantry, name, tmp_path):
    (tmp_path / "given").write_text("from the host")
    definition = register(
        gantry, name,
        {"name": "writer", "essential": False, "command": ["sh", "-c", "echo shared > /data/x"],
         "mountPoints": [{"sourceVolume": "scratch", "containerPath": "/data"}]},
        {"name": "reader", "dependsOn": [{"containerName": "writer", "condition": "SUCCESS"}],
         "command": ["sh", "-c", "cat /in/x /host/given; touch /host/y || cp /in/x /out/copied"],
         "mountPoints": [{"sourceVolume": "scratch", "containerPath": "/in"},
                         {"sourceVolume": "host", "containerPath": "/host", "readOnly": True},
                         {"sourceVolume": "out", "containerPath": "/out"}]},
        volumes=[{"name": "scratch"}, {"name": "host", "host": {"sourcePath": str(tmp_path)}},
                 {"name": "out", "host": {"sourcePath": str(tmp_path / "out")}}])
    task = gantry.wait_for_status(run_task(gantry, definition), "STOPPED")
    assert [c["exitCode"] for c in task["containers"]] == [0, 0]
    assert (tmp_path / "out/copied").read_text() == "shared\n"


@pytest.mark.parametrize("mode", ["bridge", "host", "none", "awsvpc"])
def test_network_modes(gantry, name, mode):
    options = {}
    if mode == "awsvpc":
        options = {"run": {"networkConfiguration": {"awsvpcConfiguration": {"subnets": ["subnet-e2e"]}}}}
    task, lines = run_to_end(
        gantry, name, "ls /sys/class/net | sort | tr '\\n' ' '; echo; ip -4 addr show | grep inet | tail -1",
        task={"networkMode": mode}, **options)
    interfaces = lines[0].split()
    if mode == "none":
        assert interfaces == ["lo"]
    elif mode == "host":
        assert len(interfaces) > 2
    else:
        assert interfaces == ["eth0", "lo"]
    if mode == "awsvpc":
        details = {d["name"]: d["value"] for d in task["attachments"][0]["details"]}
        assert details["privateIPv4Address"] in lines[1]
        assert details["subnetId"] == "subnet-e2e"


def test_fargate_runs_without_an_instance_and_enforces_its_size(gantry, name):
    definition = register(
        gantry, name, {"memory": None, "command": ["sh", "-c", "x=a; while true; do x=$x$x; done"]},
        requiresCompatibilities=["FARGATE"], networkMode="awsvpc", cpu="256", memory="512")
    arn = run_task(gantry, definition, launchType="FARGATE",
                   networkConfiguration={"awsvpcConfiguration": {"subnets": ["subnet-e2e"]}})
    task = gantry.wait_for_status(arn, "STOPPED", 90)
    assert "containerInstanceArn" not in task
    assert (task["launchType"], task["cpu"], task["memory"]) == ("FARGATE", "256", "512")
    assert task["containers"][0]["exitCode"] == 137


def test_published_ports_answer_static_dynamic_and_ranges(gantry, name):
    static = free_port()
    definition = register(gantry, name, {
        "command": ["sh", "-c", "echo hi > /www/index.html; httpd -p 81 -h /www; exec httpd -f -p 80 -h /www"],
        "portMappings": [{"containerPort": 80, "hostPort": static}, {"containerPort": 81}]})
    arn = run_task(gantry, definition)
    task = gantry.wait_for_status(arn, "RUNNING")
    bindings = {b["containerPort"]: b["hostPort"] for b in task["containers"][0]["networkBindings"]}
    assert bindings[80] == static and bindings[81] not in (0, static)

    def answers(port):
        try:
            return urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=2).read() == b"hi\n"
        except OSError:
            return False

    for port in bindings.values():
        wait_until(lambda: answers(port), 10, f"an answer on port {port}")
    gantry.client("ecs").stop_task(task=arn)
    gantry.wait_for_status(arn, "STOPPED")
    wait_until(lambda: not answers(static), 10, "the end of the port")


def test_health_checks_depends_on_and_stop_order(gantry, name):
    definition = register(
        gantry, name,
        {"name": "db", "command": ["sh", "-c", "sleep 1; touch /tmp/up; exec sleep 1000"], "stopTimeout": 2,
         "healthCheck": {"command": ["CMD-SHELL", "test -e /tmp/up"], "interval": 5, "startPeriod": 10}},
        {"name": "app", "command": ["sleep", "1000"], "stopTimeout": 2,
         "dependsOn": [{"containerName": "db", "condition": "HEALTHY"}]})
    arn = run_task(gantry, definition)
    task = gantry.wait_for_status(arn, "RUNNING")
    health = {c["name"]: c["healthStatus"] for c in task["containers"]}
    assert health == {"db": "HEALTHY", "app": "UNKNOWN"}
    gantry.client("ecs").stop_task(task=arn, reason="enough")
    task = gantry.wait_for_status(arn, "STOPPED")
    assert (task["stopCode"], task["stoppedReason"]) == ("UserInitiated", "enough")


def test_a_container_restarts_as_its_policy_says(gantry, name):
    task, lines = run_to_end(
        gantry, name, "echo run; exit 7", 200,
        restartPolicy={"enabled": True, "restartAttemptPeriod": 60, "ignoredExitCodes": [7]})
    assert lines == ["run"], "an ignored exit code is final"
    assert task["containers"][0]["exitCode"] == 7
