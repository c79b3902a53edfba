"""The registry clients that tools/clients unpacks into .tools: where they are, and a set of them with a configuration of
its own, logged in to one or more Gantrys."""

import base64
import json
import os
import subprocess
from pathlib import Path

import pytest

from conftest import ROOT

TOOLS = ROOT / ".tools"
PROGRAMS = {
    "cosign": "trixie/usr/bin/cosign",
    "cosign-3": "sid/usr/bin/cosign",
    "crane": "sid/usr/bin/crane",
    "docker-buildx": "trixie/usr/libexec/docker/cli-plugins/docker-buildx",
    "docker-credential-ecr-login": "trixie/usr/bin/docker-credential-ecr-login",
    "dockerd": "trixie/usr/sbin/dockerd",
    "notation": "sid/usr/bin/notation",
    "oras": "trixie/usr/bin/oras",
}


def program(name):
    """The path of a client. One that Debian does not have any more skips the test; one that is not set up fails it."""
    path = TOOLS / PROGRAMS[name]
    if path.exists():
        return str(path)
    missing = TOOLS / "missing"
    for line in missing.read_text().splitlines() if missing.exists() else ():
        left_out, reason = line.split(" ", 1)
        if left_out == PROGRAMS[name]:
            pytest.skip(f"{name}: {reason}")
    raise AssertionError(f"{path} is missing: run tools/setup test")


class LaterClients:
    """The clients with a folder for what they keep, logged in to these Gantrys."""

    def __init__(self, folder, *gantrys):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        passwords = {f"localhost:{each.port}": each.aws("ecr", "get-login-password").strip() for each in gantrys}
        self.environment = {
            **os.environ, "HOME": str(self.folder), "DOCKER_CONFIG": str(self.folder), "COSIGN_PASSWORD": "secret",
            "XDG_CONFIG_HOME": str(self.folder / "config"), "XDG_CACHE_HOME": str(self.folder / "cache"),
        }
        self.log_in(passwords)

    def log_in(self, passwords):
        """As the clients write it down themselves; notation keeps no password without a keychain."""
        auths = {host: {"auth": base64.b64encode(f"AWS:{password}".encode()).decode()}
                 for host, password in passwords.items()}
        (self.folder / "config.json").write_text(json.dumps({"auths": auths}))

    def call(self, name, *arguments, check=True, stdin=None, **environment):
        """Runs a client in the folder; the finished process."""
        command = [program(name), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=self.folder, input=stdin,
                              env={**self.environment, **environment})
        assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done

    def run(self, name, *arguments, **options):
        return self.call(name, *arguments, **options).stdout

    def refused(self, name, *arguments, **options):
        """What a client says that must not succeed."""
        done = self.call(name, *arguments, check=False, **options)
        assert done.returncode != 0, f"{name} {arguments} succeeded: {done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def crane(self, *arguments):
        return self.run("crane", *arguments).strip()

    def oras(self, *arguments):
        """oras with a sub-command of one word, over plain HTTP."""
        return self.run("oras", *arguments, "--plain-http")

    def digest(self, reference):
        return self.crane("digest", reference)
