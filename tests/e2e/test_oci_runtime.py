"""`--runtime runc`: the same shim executes an OCI runtime instead of our own starter."""

import re
import subprocess

from conftest import GANTRY, run_to_end, wait_until
from test_exec import channel, printed, processes, start


def test_a_task_runs_under_runc_with_limits_and_filter(own_gantry, name):
    gantry = own_gantry(extra=["--runtime", "runc"])
    task, lines = run_to_end(
        gantry, name, "grep -E 'Seccomp:|CapEff' /proc/self/status; id -u; exit 5", user="1000")
    assert task["containers"][0]["exitCode"] == 5
    status = "\n".join(lines)
    assert re.search(r"Seccomp:\s+2", status) and re.search(r"CapEff:\s+0{16}", status)
    assert lines[-1] == "1000"


def test_users_run_commands_under_runc(own_gantry, name):
    gantry = own_gantry(extra=["--runtime", "runc"], apart=True)
    task = start(gantry, name, {"user": "1000", "workingDirectory": "/tmp", "readonlyRootFilesystem": True})
    shell = channel(gantry, task, "/bin/sh", size=(91, 33))
    shell.until("# ")
    shell.type("stty size; id -u; pwd\n")
    shell.until("33 91\r\n0\r\n/tmp\r\n")
    shell.resize(120, 40)
    shell.type("stty size\n")
    shell.until("40 120")
    shell.type("sleep 1234\n")
    wait_until(lambda: processes(gantry, task, "sleep 1234"), what="the sleep")
    shell.type(b"\x03")
    shell.type("echo code $?; sleep 1235 &\n")
    shell.until("code 130")
    shell.type("exit 7\n")
    assert shell.to_end() == "The command exited with code 7."
    assert processes(gantry, task, "sleep 1235") == 0, "it was killed with its session"

    command = [GANTRY, "exec", task, "--data-dir", str(gantry.folder), "--"]
    script = "head -c 100000000 /dev/zero; echo problem >&2; exit 9"
    done = subprocess.run([*command, "sh", "-c", script], stdin=subprocess.DEVNULL, capture_output=True, timeout=120)
    assert (done.returncode, len(done.stdout), done.stderr) == (9, 100_000_000, b"problem\n")
    done = subprocess.run([*command, "nope"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    assert done.returncode == 127 and 'exec: "nope": executable file not found in $PATH' in done.stderr

    left = channel(gantry, task, "sh -c 'echo up; sleep 5151'")
    left.until("up")
    gantry.kill("agent")
    gantry.start("agent")
    assert left.to_end() == "The session ended because the agent of its host restarted."
    wait_until(lambda: gantry.task(task)["connectivity"] == "CONNECTED", what="the agent's return")
    assert processes(gantry, task, "sleep 5151") == 0
    assert printed(gantry, task, "echo after") == ("after\n", "")

    last = channel(gantry, task, "sh -c 'echo up; sleep 5152'")
    last.until("up")
    gantry.client("ecs").stop_task(task=task)
    assert last.to_end() == "The session ended because its container stopped."
