"""`--runtime runc`: the same shim executes an OCI runtime instead of our own starter."""

import re

from conftest import run_to_end


def test_a_task_runs_under_runc_with_limits_and_filter(own_gantry, name):
    gantry = own_gantry(extra=["--runtime", "runc"])
    task, lines = run_to_end(
        gantry, name, "grep -E 'Seccomp:|CapEff' /proc/self/status; id -u; exit 5", user="1000")
    assert task["containers"][0]["exitCode"] == 5
    status = "\n".join(lines)
    assert re.search(r"Seccomp:\s+2", status) and re.search(r"CapEff:\s+0{16}", status)
    assert lines[-1] == "1000"
