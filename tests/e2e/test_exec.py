"""ECS Exec: with the plugin's protocol, with the AWS CLI up to the plugin, and with `gantry exec`."""

import fcntl
import hashlib
import json
import os
import pty
import signal
import stat
import struct
import subprocess
import tempfile
import termios
import threading
import time

import pytest

from conftest import (
    AWS_V1, GANTRY, HOST_NETWORK, REGION, awslogs, free_port, register, run_task, s3_server, wait_until)
from access import allow, refusal, role
from exec_channel import Channel
from holding_proxy import HoldingProxy

NOT_ENABLED = (
    "The execute command failed because execute command was not enabled when the task was run or the execute command "
    "agent isn\u2019t running. Wait and try again or run a new task with execute command enabled and try again.")
SLEEP = ["sh", "-c", "trap exit TERM; sleep 100000 & wait"]


def start(gantry, name, *containers, **options):
    """A running task with ECS Exec; its ARN."""
    task_level = options.pop("task", {})
    containers = containers or ({},)
    definition = register(gantry, name, *[{"command": SLEEP, **each} for each in containers], **task_level)
    arn = run_task(gantry, definition, **{"enableExecuteCommand": True, **options})
    gantry.wait_for_status(arn, "RUNNING")
    return arn


def execute(gantry, task, command, **options):
    ecs = options.pop("client", None) or gantry.client("ecs")
    return ecs.execute_command(task=task, command=command, interactive=True, **options)


def channel(gantry, task, command, size=(80, 24), **options):
    return Channel(execute(gantry, task, command, **options)["session"], size)


def printed(gantry, task, command, **options):
    """What a command prints, and the closing text."""
    opened = channel(gantry, task, command, **options)
    text = opened.to_end()
    return opened.output.decode(errors="replace").replace("\r\n", "\n"), text


def processes(gantry, task, pattern):
    """How many processes of the container have `pattern` in their command line."""
    out, _ = printed(gantry, task, f"sh -c \"ps -o args | grep -c '[{pattern[0]}]{pattern[1:]}'\"")
    return int(out)


@pytest.fixture
def task(gantry, name):
    return start(gantry, name)


def test_the_command_runs_as_root_in_the_containers_namespaces_and_as_confined(gantry, name):
    task = start(gantry, name, {
        "user": "alice", "environment": [{"name": "WHO", "value": "me"}], "workingDirectory": "/tmp",
        "dockerSecurityOptions": ["no-new-privileges"], "linuxParameters": {"capabilities": {"drop": ["NET_RAW"]}}})
    described = gantry.task(task)
    assert described["enableExecuteCommand"] is True
    agent = described["containers"][0]["managedAgents"][0]
    assert (agent["name"], agent["lastStatus"]) == ("ExecuteCommandAgent", "RUNNING") and agent["lastStartedAt"]
    script = (
        "id -u; echo $WHO $HOME $TERM; pwd; tty; cat /proc/1/cmdline | tr '\\0' ' '; echo; for p in 1 self; do grep -E 'NoNewPrivs|Seccomp:|CapBnd' /proc/$p/status; done")
    out, text = printed(gantry, task, f'sh -c "{script}"'.replace("$", "\\$"))
    lines = out.splitlines()
    assert text == ""
    assert lines[:3] == ["0", "me /root xterm-256color", "/tmp"] and lines[3].startswith("/dev/pts/")
    assert lines[4].startswith("sh -c trap")
    assert lines[5:8] == lines[8:11], "the same bounds as the container's own first process"
    confined = dict(line.split(":\t") for line in lines[8:11])
    assert confined["Seccomp"] == "2" and confined["NoNewPrivs"] == "1"
    assert not int(confined["CapBnd"], 16) & (1 << 13), "NET_RAW was dropped"
    # Who has other capabilities than process 1 may not look at its namespaces; here both are root's.
    plain = start(gantry, f"{name}-p")
    kinds = "pid net ipc uts mnt cgroup"
    out, _ = printed(gantry, plain, f"sh -c 'for n in {kinds}; do readlink /proc/self/ns/$n; readlink /proc/1/ns/$n; done'")
    links = out.split()
    assert len(links) == 12 and links[::2] == links[1::2]


def test_a_shell_with_a_prompt_keys_sizes_and_ctrl_c(gantry, task):
    shell = channel(gantry, task, "/bin/sh", size=(91, 33))
    shell.until("# ")
    shell.type("stty size")
    shell.type("\n")
    shell.until("33 91")
    shell.resize(120, 40)
    shell.type("stty size\n")
    shell.until("40 120")
    shell.type("sleep 1234\n")
    shell.until("sleep 1234\r\n")
    wait_until(lambda: processes(gantry, task, "sleep 1234"), what="the sleep")
    shell.type(b"\x03")
    shell.type("echo code $?\n")
    shell.until("code 130")
    shell.type("exit 7\n")
    assert shell.to_end() == "The command exited with code 7."


def test_a_terminal_without_a_size_works_too(gantry, task):
    shell = channel(gantry, task, "/bin/sh", size=None)
    shell.type("echo $((6*7))\n")
    # Only at the prompt is the end of the input a key like others.
    shell.until("42\r\n/ # ")
    shell.type(b"\x04")
    assert shell.to_end() == ""


def test_repeated_and_reordered_input_is_taken_once_and_in_order(gantry, task):
    shell = channel(gantry, task, "/bin/sh")
    shell.until("# ")
    sent = []
    real = shell.socket.send_binary
    shell.socket.send_binary = sent.append
    for part in ("echo o", "ne tw", "o three\n"):
        shell.type(part)
    shell.socket.send_binary = real
    for frame in [sent[2], sent[1], sent[1], sent[0], sent[2]]:
        real(frame)
    shell.type("exit\n")
    assert shell.to_end() == ""
    # Once as it was typed, once as it was said.
    assert shell.output.count(b"one two three") == 2, shell.output


def test_output_is_whole_over_lost_connections(gantry, task):
    ssm = gantry.client("ssm")
    counting = channel(gantry, task, "seq 1 200000")
    for turn in range(3):
        counting.until(f"\n{20000 * (turn + 1)}\r\n")
        counting.lose()
        counting.resume(ssm)
    assert counting.to_end() == ""
    numbers = counting.output.decode().replace("\r", "").split()
    assert numbers == [str(number) for number in range(1, 200001)]


def test_a_token_opens_its_own_session_once(gantry, task):
    session = execute(gantry, task, "/bin/sh")["session"]
    other = execute(gantry, task, "/bin/sh")["session"]
    wrong = Channel({**session, "tokenValue": other["tokenValue"]})
    assert "token is not valid" in wrong.to_end()
    right = Channel(session)
    right.until("# ")
    again = Channel(session)
    assert "token is not valid" in again.to_end()
    right.type("echo still here\n")
    right.until("\r\nstill here")
    ended = gantry.client("ssm").terminate_session(SessionId=session["sessionId"])
    assert ended["SessionId"] == session["sessionId"]
    assert right.to_end() == "The session was terminated."


def test_sessions_are_described_and_counted(gantry, task):
    ssm = gantry.client("ssm")
    target = "ecs:default_{}_{}".format(task.rsplit("/")[-1], gantry.task(task)["containers"][0]["runtimeId"])
    assert ssm.get_connection_status(Target=target)["Status"] == "connected"
    started = ssm.start_session(
        Target=target, DocumentName="AmazonECS-ExecuteInteractiveCommand", Parameters={"command": ["echo hello"]})

    def described(state):
        found = ssm.describe_sessions(State=state, Filters=[{"key": "Target", "value": target}])["Sessions"]
        return [(each["SessionId"], each["Status"]) for each in found]

    assert [each for each, _ in described("Active")] == [started["SessionId"]]
    hello = Channel(started)
    hello.to_end()
    assert b"hello" in hello.output
    wait_until(lambda: described("History") == [(started["SessionId"], "Terminated")], what="the end of the session")
    assert described("Active") == []
    assert ssm.resume_session(SessionId=started["SessionId"])["TokenValue"] == ""
    opened = [execute(gantry, task, "sleep 1000")["session"]["sessionId"] for _ in range(20)]
    code, message = refusal(execute, gantry=gantry, task=task, command="true")
    assert code == "ClientException" and "too many open sessions" in message
    for each in opened:
        ssm.terminate_session(SessionId=each)
    wait_until(lambda: described("Active") == [], what="the end of all sessions")


def test_what_cannot_be_is_refused_as_by_the_real_service(gantry, name, task):
    ecs = gantry.client("ecs")
    without = run_task(gantry, register(gantry, f"{name}-w", {"command": SLEEP}))
    gantry.wait_for_status(without, "RUNNING")
    assert "managedAgents" not in gantry.task(without)["containers"][0]
    two = start(gantry, f"{name}-2", {"name": "a"}, {"name": "b"})
    stopped = start(gantry, f"{name}-s")
    ecs.stop_task(task=stopped)
    gantry.wait_for_status(stopped, "STOPPED")
    ecs.create_cluster(clusterName=name)
    invalid = "InvalidParameterException"
    for arguments, expected in [
        (dict(task=without, command="sh", interactive=True), (invalid, NOT_ENABLED)),
        (dict(task=stopped, command="sh", interactive=True), (invalid, NOT_ENABLED)),
        (dict(task=task, command="sh", interactive=False), (invalid, "Interactive is the only mode supported currently.")),
        (dict(task=two, command="sh", interactive=True),
         (invalid, "The container name is required when the task has more than one container.")),
        (dict(task=two, command="sh", interactive=True, container="c"),
         (invalid, "The container c was not found in the task.")),
        (dict(task=task, command="echo 'a", interactive=True),
         (invalid, "The command is empty, too long, or has a quote that is not closed.")),
        (dict(task="0" * 32, command="sh", interactive=True), (invalid, "The referenced task was not found.")),
        (dict(task=task.rsplit("/")[-1], command="sh", interactive=True, cluster=name),
         (invalid, "The referenced task was not found.")),
        (dict(task="0" * 32, command="sh", interactive=True, cluster="nope"),
         ("ClusterNotFoundException", "Cluster not found.")),
    ]:
        assert refusal(ecs.execute_command, **arguments) == expected
    assert printed(gantry, two, "hostname", container="b")[1] == ""
    out, text = printed(gantry, task, "/no/such/program")
    assert text == 'Unable to start command: exec: "/no/such/program": stat /no/such/program: no such file or directory'


def test_only_who_may_opens_a_session(gantry, name):
    allowed, other = start(gantry, name, {"name": "app"}, {"name": "side"}), start(gantry, f"{name}-o")
    iam = gantry.client("iam")
    iam.create_user(UserName=name)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    ecs = gantry.client("ecs", aws_access_key_id=key["AccessKeyId"], aws_secret_access_key=key["SecretAccessKey"])

    def allow(**conditions):
        iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=json.dumps({
            "Version": "2012-10-17", "Statement": {
                "Effect": "Allow", "Action": "ecs:ExecuteCommand",
                "Resource": [allowed, "arn:aws:ecs:us-east-1:000000000000:cluster/default"], **conditions}}))

    denied = refusal(execute, gantry=gantry, client=ecs, task=allowed, container="app", command="true")
    assert denied[0] == "AccessDeniedException" and "ecs:ExecuteCommand" in denied[1]
    allow()
    assert printed(gantry, allowed, "echo hi", container="app", client=ecs)[0] == "hi\n"
    assert refusal(execute, gantry=gantry, client=ecs, task=other, command="true")[0] == "AccessDeniedException"
    allow(Condition={"StringEquals": {"ecs:container-name": "app"}})
    assert printed(gantry, allowed, "echo hi", container="app", client=ecs)[0] == "hi\n"
    code, _ = refusal(execute, gantry=gantry, client=ecs, task=allowed, container="side", command="true")
    assert code == "AccessDeniedException"
    # A session that somebody else opened is not theirs to resume.
    session = execute(gantry, allowed, "sleep 1000", container="app")["session"]["sessionId"]
    ssm = gantry.client("ssm", aws_access_key_id=key["AccessKeyId"], aws_secret_access_key=key["SecretAccessKey"])
    assert refusal(ssm.resume_session, SessionId=session)[0] == "AccessDeniedException"
    assert refusal(ssm.terminate_session, SessionId=session)[0] == "AccessDeniedException"


def test_an_event_tells_who_opened_a_session(gantry, task):
    session = execute(gantry, task, "echo 'a b'")["session"]

    def told():
        done = gantry.run("events", "--output", "json", "--detail-type", "AWS API Call via CloudTrail")
        events = [json.loads(line) for line in done.stdout.splitlines()]
        found = [each for each in events if session["sessionId"] in json.dumps(each)]
        return found[0] if found else None

    event = wait_until(told, what="the event")
    detail = event["detail"]
    assert detail["eventName"] == "ExecuteCommand" and detail["requestParameters"]["command"] == "echo 'a b'"
    assert detail["userIdentity"]["arn"].endswith(":root") and detail["requestParameters"]["task"] == task
    assert session["tokenValue"] not in json.dumps(event)


PLUGIN = """#!/bin/sh
[ $# = 0 ] && { echo "The Session Manager plugin was installed successfully. Use the AWS CLI to start a session."; exit 0; }
for argument in "$@"; do printf '%s\\n' "$argument"; done > "$RECORD"
"""


def test_the_aws_cli_hands_the_plugin_what_it_needs(gantry, task, tmp_path):
    plugin = tmp_path / "session-manager-plugin"
    plugin.write_text(PLUGIN)
    plugin.chmod(plugin.stat().st_mode | stat.S_IXUSR)
    environment = {**os.environ, **gantry.environment, "PATH": f"{tmp_path}:{os.environ['PATH']}",
                   "RECORD": str(tmp_path / "arguments")}
    done = subprocess.run(
        [AWS_V1, "ecs", "execute-command", "--task", task, "--interactive", "--command", "echo from the cli"],
        capture_output=True, text=True, env=environment, timeout=60)
    assert done.returncode == 0, done.stderr
    session, region, action, profile, target, endpoint = (tmp_path / "arguments").read_text().splitlines()
    runtime_id = gantry.task(task)["containers"][0]["runtimeId"]
    assert (region, action, profile) == ("us-east-1", "StartSession", "")
    assert json.loads(target) == {"Target": f"ecs:default_{task.rsplit('/')[-1]}_{runtime_id}"}
    assert endpoint.rstrip("/") == gantry.url
    session = json.loads(session)
    assert session["streamUrl"].startswith(f"ws://127.0.0.1:{gantry.port}/v1/data-channel/{session['sessionId']}")
    echo = Channel(session)
    assert echo.to_end() == "" and b"from the cli" in echo.output


def test_nothing_of_a_session_lives_on(gantry, task):
    shell = channel(gantry, task, "/bin/sh")
    shell.until("# ")
    shell.type("(trap '' HUP; exec sleep 4242) & sleep 4243 &\n")
    wait_until(lambda: processes(gantry, task, "sleep 424") >= 2, what="the sleeps")
    shell.type("exit\n")
    shell.to_end()
    wait_until(lambda: processes(gantry, task, "sleep 424") == 0, what="the end of the sleeps")
    opened = Channel(execute(gantry, task, "sh -c 'setsid sleep 4245; true'")["session"])
    while not opened.ready:
        opened.step()
    wait_until(lambda: processes(gantry, task, "sleep 4245"), what="the sleep")
    gantry.client("ssm").terminate_session(SessionId=opened.id)
    assert opened.to_end() == "The session was terminated."
    wait_until(lambda: processes(gantry, task, "sleep 4245") == 0, what="the end of the sleep")


def test_a_session_ends_with_its_container(gantry, task):
    shell = channel(gantry, task, "/bin/sh")
    shell.until("# ")
    gantry.client("ecs").stop_task(task=task)
    assert shell.to_end() == "The session ended because its container stopped."
    gantry.wait_for_status(task, "STOPPED")


def test_a_command_runs_in_a_container_that_is_about_to_stop(gantry, name):
    waits = "trap 'until [ -e /go ]; do sleep 0.1; done; exit 3' TERM; sleep 100000 & wait"
    task = start(gantry, name, {"command": ["sh", "-c", waits], "stopTimeout": 110})
    gantry.client("ecs").stop_task(task=task)
    assert printed(gantry, task, "touch /go")[1] in ("", "The session ended because its container stopped.")
    gantry.wait_for_status(task, "STOPPED")
    assert gantry.task(task)["containers"][0]["exitCode"] == 3


@HOST_NETWORK
def test_services_pass_it_on_and_fargate_has_it_too(gantry, name):
    ecs = gantry.client("ecs")
    definition = register(gantry, name, {"command": SLEEP})
    ecs.create_service(serviceName=name, taskDefinition=definition, desiredCount=1, launchType="EC2",
                       enableExecuteCommand=True)
    wait_until(lambda: ecs.describe_services(services=[name])["services"][0]["runningCount"] == 1, what="the service")
    assert ecs.describe_services(services=[name])["services"][0]["enableExecuteCommand"] is True
    done = gantry_exec(gantry, name, "--", "sh", "-c", "echo $0 $1; exit 5", "a b", "c")
    assert (done.returncode, done.stdout) == (5, "a b c\n")
    ecs.update_service(service=name, enableExecuteCommand=False)
    assert ecs.describe_services(services=[name])["services"][0]["enableExecuteCommand"] is False
    ecs.delete_service(service=name, force=True)
    fargate = start(gantry, f"{name}-f", task={
        "requiresCompatibilities": ["FARGATE"], "networkMode": "awsvpc", "cpu": "256", "memory": "512"},
        launchType="FARGATE", networkConfiguration={"awsvpcConfiguration": {"subnets": ["subnet-exec"]}})
    assert printed(gantry, fargate, "echo on fargate")[0] == "on fargate\n"


def gantry_exec(gantry, *arguments):
    """`gantry exec` with arguments that may have a `--` among them."""
    command = [GANTRY, "exec", "--data-dir", str(gantry.folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)


# -- gantry exec -----------------------------------------------------------------------------------------------------


def test_gantry_exec_passes_bytes_and_the_exit_code(gantry, task):
    blob = os.urandom(3_000_000)
    command = [GANTRY, "exec", task.rsplit("/")[-1][:12], "--data-dir", str(gantry.folder), "--"]
    done = subprocess.run([*command, "sh", "-c", "cat; echo problem >&2; exit 9"], input=blob, capture_output=True, timeout=60)
    assert (done.returncode, done.stdout == blob, done.stderr) == (9, True, b"problem\n")
    done = subprocess.run([*command, "sha256sum"], input=blob, capture_output=True, timeout=60)
    assert done.stdout.decode().split()[0] == hashlib.sha256(blob).hexdigest()
    done = subprocess.run([*command, "head", "-c", "100000000", "/dev/zero"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=120)
    assert len(done.stdout) == 100_000_000 and done.returncode == 0
    done = subprocess.run([*command, "nope"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 127 and 'exec: "nope": executable file not found in $PATH' in done.stderr
    done = subprocess.run([*command, "sh", "-c", "kill -9 $$"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 137


def test_gantry_exec_on_a_terminal(gantry, task):
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 101, 0, 0))
    before = termios.tcgetattr(slave)
    process = subprocess.Popen([GANTRY, "exec", task, "--data-dir", str(gantry.folder)],
                               stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
    seen = bytearray()
    threading.Thread(target=lambda: drain(master, seen), daemon=True).start()

    def expect(text):
        wait_until(lambda: text in seen, what=f"{text} in {bytes(seen[-500:])}")

    expect(b"# ")
    os.write(master, b"stty size\r")
    expect(b"33 101")
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 44, 111, 0, 0))
    process.send_signal(signal.SIGWINCH)
    time_left = time.monotonic() + 10
    while b"44 111" not in seen:
        assert time.monotonic() < time_left, bytes(seen)
        os.write(master, b"stty size\r")
        wait_until(lambda: b"# " in seen[-10:], what="the prompt")
    os.write(master, b"sleep 1234\r")
    wait_until(lambda: processes(gantry, task, "sleep 1234"), what="the sleep")
    os.write(master, b"\x03")
    os.write(master, b"echo it was $?\r")
    expect(b"it was 130")
    os.write(master, b"exit 3\r")
    assert process.wait(30) == 3
    assert termios.tcgetattr(slave) == before, "the terminal is as it was"


def drain(descriptor, into):
    try:
        while part := os.read(descriptor, 65536):
            into.extend(part)
    except OSError:
        pass


def test_gantry_exec_hints(gantry, name, task):
    without = run_task(gantry, register(gantry, f"{name}-w", {"command": SLEEP}))
    gantry.wait_for_status(without, "RUNNING")
    two = start(gantry, f"{name}-2", {"name": "a"}, {"name": "b"})
    for arguments, problem, hint in [
        (["nothing"], "no running task and no service of cluster default is called nothing", "gantry status"),
        ([without], "was started without ECS Exec", "--enable-execute-command"),
        ([two], "the task has several containers", "a, b"),
        ([two, "c"], "the task has no container c", "a, b"),
        ([""], "no task is named", "gantry status"),
        (["/"], "no task is named", "gantry status"),
    ]:
        done = gantry_exec(gantry, *arguments)
        assert done.returncode == 1 and problem in done.stderr and hint in done.stderr, done.stderr
    assert gantry_exec(gantry, two, "b", "--", "echo", "in b").stdout == "in b\n"


def test_gantry_exec_takes_a_service_of_that_name_before_the_beginning_of_an_id(gantry, name, task):
    ecs = gantry.client("ecs")
    prefix = task.rsplit("/")[-1][:10]
    definition = register(gantry, name, {"command": SLEEP, "environment": [{"name": "WHO", "value": "service"}]})
    who = ["--", "sh", "-c", "echo ${WHO:-task}"]
    assert gantry_exec(gantry, prefix, *who).stdout == "task\n"
    ecs.create_service(serviceName=prefix, taskDefinition=definition, desiredCount=2, enableExecuteCommand=True)

    def runs(count):
        return ecs.describe_services(services=[prefix])["services"][0]["runningCount"] == count

    wait_until(lambda: runs(2), 60, "two tasks of the service")
    done = gantry_exec(gantry, prefix, *who)
    assert done.returncode == 1 and f"{prefix} may be any of 2 tasks" in done.stderr and "name one: " in done.stderr
    ecs.update_service(service=prefix, desiredCount=1)
    wait_until(lambda: runs(1), 60, "one task of the service")
    assert gantry_exec(gantry, prefix, *who).stdout == "service\n"
    for whole in [task, task.rsplit("/")[-1]]:
        assert gantry_exec(gantry, whole, *who).stdout == "task\n"
    ecs.delete_service(service=prefix, force=True)


# -- restarts --------------------------------------------------------------------------------------------------------


def test_a_session_survives_the_server_and_ends_with_its_agent(own_gantry, name):
    gantry = own_gantry(apart=True)
    task = start(gantry, name)
    counting = channel(gantry, task, "sh -c 'for i in $(seq 1 50000); do echo line $i; done; read x; echo got $x'")
    counting.until("line 5000\r\n")
    gantry.kill("server")
    gantry.start("server")
    wait_until(lambda: resumed(gantry, counting), what="the server's return")
    counting.until("line 50000\r\n")
    counting.type("this\n")
    counting.until("got this")
    assert counting.to_end() == ""
    lines = [line for line in counting.output.decode().splitlines() if line.startswith("line ")]
    assert lines == [f"line {number}" for number in range(1, 50001)]

    shell = channel(gantry, task, "sh -c 'echo up; sleep 5151'")
    shell.until("up")
    gantry.kill("agent")
    gantry.start("agent")
    assert shell.to_end() == "The session ended because the agent of its host restarted."
    wait_until(lambda: gantry.task(task)["connectivity"] == "CONNECTED", what="the agent's return")
    out, text = printed(gantry, task, "sh -c \"ps -o args | grep -c '[s]leep 5151'; echo after\"")
    assert "0\nafter" in out and text == "", "the container went on, the session's process did not"


def resumed(gantry, opened):
    try:
        opened.resume(gantry.client("ssm"))
        return True
    except Exception:
        return False


# -- logging ---------------------------------------------------------------------------------------------------------


TRANSCRIPT = ["logs:CreateLogStream", "logs:PutLogEvents"]


def test_transcripts_go_where_the_cluster_says(gantry, name):
    ecs, logs = gantry.client("ecs"), gantry.client("logs")
    logs.create_log_group(logGroupName=f"/{name}")
    ecs.update_cluster(cluster="default", configuration={"executeCommandConfiguration": {
        "logging": "OVERRIDE", "logConfiguration": {"cloudWatchLogGroupName": f"/{name}"}}})
    try:
        may = role(gantry, allow(TRANSCRIPT))
        task = start(gantry, name, task={"taskRoleArn": may})
        session = execute(gantry, task, "sh -c 'echo for the record; seq 1 3'")["session"]
        assert Channel(session).to_end() == ""
        events = wait_until(
            lambda: logs.filter_log_events(logGroupName=f"/{name}", logStreamNames=[session["sessionId"]])["events"],
            what="the transcript")
        assert "".join(event["message"] for event in events).split() == ["for", "the", "record", "1", "2", "3"]
        may_not = start(gantry, f"{name}-n", task={"taskRoleArn": role(gantry)})
        code, message = refusal(execute, gantry=gantry, task=may_not, command="true")
        assert code == "InvalidParameterException" and "logs:CreateLogStream" in message
        roleless = start(gantry, f"{name}-r")
        assert "no task role" in refusal(execute, gantry=gantry, task=roleless, command="true")[1]
    finally:
        ecs.update_cluster(cluster="default", configuration={"executeCommandConfiguration": {"logging": "DEFAULT"}})
    logged = start(gantry, f"{name}-d", {"logConfiguration": awslogs(f"/{name}-own", "p")}, task={
        "taskRoleArn": role(gantry, allow(TRANSCRIPT))})
    session = execute(gantry, logged, "echo by default")["session"]
    assert Channel(session).to_end() == ""
    stream = f"p/main/{session['sessionId']}"
    events = wait_until(lambda: logs.filter_log_events(logGroupName=f"/{name}-own", logStreamNames=[stream])["events"],
                        what="the transcript")
    assert events[0]["message"].strip() == "by default"


IN_BUCKET = [allow(["s3:GetBucketLocation", "s3:GetEncryptionConfiguration"], "arn:aws:s3:::transcripts"),
             allow("s3:PutObject", "arn:aws:s3:::transcripts/prod/*")]
NOT_LOGGED = "The execute command failed because the session could not be logged: "


def log_to(gantry, **configuration):
    gantry.client("ecs").update_cluster(cluster="default", configuration={"executeCommandConfiguration": {
        "logging": "OVERRIDE", "logConfiguration": configuration}})


def with_buckets(scratch, endpoint):
    """A configuration with the S3-compatible service at `endpoint`."""
    config = os.path.join(tempfile.mkdtemp(prefix="gantry-", dir=scratch), "gantry.toml")
    with open(config, "w") as file:
        file.write(f'[task_files]\nendpoint = "{endpoint}"\nregion = "{REGION}"\naccess_key_id = "id"\n'
                   'secret_access_key = "the-secret"\n')
    return config


def test_transcripts_go_into_a_bucket_in_the_name_of_the_task(own_gantry, name, scratch):
    with s3_server("transcripts") as (endpoint, s3):
        gantry = own_gantry(config=with_buckets(scratch, endpoint))
        gantry.client("logs").create_log_group(logGroupName=f"/{name}")
        task = start(gantry, name, task={"taskRoleArn": role(gantry, allow(TRANSCRIPT), *IN_BUCKET)})

        def refused(task, **configuration):
            log_to(gantry, **configuration)
            code, message = refusal(execute, gantry=gantry, task=task, command="true")
            assert code == "InvalidParameterException" and message.startswith(NOT_LOGGED)
            return message.removeprefix(NOT_LOGGED)

        encrypted = {"s3BucketName": "transcripts", "s3KeyPrefix": "prod", "s3EncryptionEnabled": True}
        # New buckets of the real service encrypt; this one does not any more.
        s3.delete_bucket_encryption(Bucket="transcripts")
        assert refused(task, **encrypted) == (
            "We couldn't start the session because encryption is not set up on the selected Amazon S3 bucket. Either "
            "encrypt the bucket or choose an option to enable logging without encryption.")
        s3.put_bucket_encryption(Bucket="transcripts", ServerSideEncryptionConfiguration={
            "Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]})
        assert "s3:PutObject on resource: arn:aws:s3:::transcripts/ecs-execute-command-" in refused(
            task, s3BucketName="transcripts")
        assert "s3:GetBucketLocation" in refused(task, s3BucketName="elsewhere")
        assert "there can be no object" in refused(task, s3BucketName="transcripts", s3KeyPrefix="prod/../other")
        anywhere = start(gantry, f"{name}-a", task={"taskRoleArn": role(gantry, allow("s3:*"))})
        assert refused(anywhere, s3BucketName="elsewhere").startswith("NoSuchBucket: ")
        weak = start(gantry, f"{name}-w", task={"taskRoleArn": role(
            gantry, allow(["s3:GetBucketLocation", "s3:PutObject"]))})
        assert "s3:GetEncryptionConfiguration" in refused(weak, **encrypted)
        assert refused(start(gantry, f"{name}-r"), **encrypted) == "the task has no task role."

        log_to(gantry, cloudWatchLogGroupName=f"/{name}", **encrypted)
        session = execute(gantry, task, "sh -c 'echo for the record; seq 1 3'")["session"]
        assert Channel(session).to_end() == ""
        text = wait_until(lambda: objects(s3).get(f"prod/{session['sessionId']}.log"), what="the transcript")
        assert text.split() == ["for", "the", "record", "1", "2", "3"]
        assert list(objects(s3)) == [f"prod/{session['sessionId']}.log"], "nothing of what was refused"
        events = wait_until(lambda: gantry.client("logs").filter_log_events(
            logGroupName=f"/{name}", logStreamNames=[session["sessionId"]])["events"], what="the log's transcript")
        assert "".join(event["message"] for event in events) == text


def objects(s3):
    """Texts by key."""
    keys = [found["Key"] for found in s3.list_objects_v2(Bucket="transcripts").get("Contents", [])]
    return {key: s3.get_object(Bucket="transcripts", Key=key)["Body"].read().decode() for key in keys}


def test_a_transcript_reaches_its_bucket_after_an_outage_and_a_crash(own_gantry, name, scratch):
    with s3_server("transcripts") as (endpoint, s3):
        way = HoldingProxy(int(endpoint.rsplit(":", 1)[1]))
        try:
            gantry = own_gantry(apart=True, config=with_buckets(scratch, way.url))
            task = start(gantry, name, task={"taskRoleArn": role(gantry, allow(TRANSCRIPT), *IN_BUCKET)})
            gantry.client("logs").create_log_group(logGroupName=f"/{name}")
            log_to(gantry, cloudWatchLogGroupName=f"/{name}", s3BucketName="transcripts", s3KeyPrefix="prod/")
            shells = [channel(gantry, task, "sh -c 'echo up; read x; echo got $x'") for _ in range(2)]
            for number, shell in enumerate(shells):
                shell.until("up")
                served, way.backend = way.backend, free_port()
                shell.type("this\n")
                assert shell.to_end() == ""
                wait_until(lambda: f"{shell.id}" in "".join(
                    line for line in gantry.log("server").splitlines() if "cannot be stored yet" in line),
                    what="the first attempt")
                logged = gantry.logs(f"/{name}", shell.id)
                assert "got this" in "".join(logged), "the log group does not wait for the bucket"
                if number:
                    gantry.kill("server")
                way.backend = served
                if number:
                    gantry.start("server")
                text = wait_until(lambda: objects(s3).get(f"prod/{shell.id}.log"), 90, what="the transcript")
                assert "up" in text and "got this" in text
                assert gantry.logs(f"/{name}", shell.id) == logged, "it has its copy once"
        finally:
            way.close()


def test_a_bucket_is_refused_where_there_are_none(gantry, name):
    task = start(gantry, name, task={"taskRoleArn": role(gantry, *IN_BUCKET)})
    try:
        log_to(gantry, s3BucketName="transcripts")
        assert refusal(execute, gantry=gantry, task=task, command="true") == (
            "InvalidParameterException",
            f"{NOT_LOGGED}there is no S3-compatible service: the operator names one in [task_files]")
    finally:
        gantry.client("ecs").update_cluster(cluster="default", configuration={
            "executeCommandConfiguration": {"logging": "DEFAULT"}})
