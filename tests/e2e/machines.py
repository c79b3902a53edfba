"""Several machines on one: each a network and mount namespace of its own, joined by a bridge, with a server over TLS.

A machine has its own interfaces, its own data directory and its own agent; it shares the kernel. It can lose its link,
or everything that runs on it, and come back.
"""

import os
import shutil
import signal
import ssl
import subprocess
import tempfile
import urllib.request
from pathlib import Path

from conftest import GANTRY, SOON_HEALTHY, Gantry, cgroup_of, wait_until

AGENT_CONFIG = "heartbeat_seconds = 1\n"
SERVER_CONFIG = "agent_timeout_seconds = 3\ninstance_lost_after_seconds = 6\n" + SOON_HEALTHY


def command(*arguments, check=True, **options):
    done = subprocess.run([str(each) for each in arguments], capture_output=True, text=True, timeout=60, **options)
    assert not check or done.returncode == 0, f"{arguments}: {done.stderr}"
    return done


class Segment:
    """A bridge that the machines are plugged into, and the address of this machine on it."""

    def __init__(self):
        number = os.getpid() % 200 + 20
        self.bridge = f"gt{os.getpid() % 100000}"
        self.prefix = f"10.201.{number}"
        self.address = f"{self.prefix}.1"
        command("ip", "link", "add", self.bridge, "type", "bridge")
        command("ip", "address", "add", f"{self.address}/24", "dev", self.bridge)
        command("ip", "link", "set", self.bridge, "up")

    def remove(self):
        command("ip", "link", "delete", self.bridge, check=False)


class Server(Gantry):
    """A server over TLS on a segment, with short time-outs."""

    def __init__(self, folder, segment, config=SERVER_CONFIG):
        super().__init__(folder, server_only=True)
        self.segment = segment
        self.certificates()
        self.config = self.folder / "server.toml"
        self.config.write_text(config)
        os.environ["SSL_CERT_FILE"] = str(self.authority)  # for the operator's commands
        os.environ["AWS_CA_BUNDLE"] = str(self.authority)

    def certificates(self):
        def openssl(*arguments):
            subprocess.run(["openssl", *arguments], cwd=self.folder, check=True, capture_output=True)

        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-days", "2",
                "-subj", "/CN=test authority")
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out", "request.pem", "-subj",
                "/CN=gantry")
        (self.folder / "names").write_text(f"subjectAltName=DNS:localhost,IP:127.0.0.1,IP:{self.segment.address}\n")
        openssl("x509", "-req", "-in", "request.pem", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out",
                "cert.pem", "-days", "2", "-extfile", "names")
        self.authority = self.folder / "ca.pem"

    @property
    def url(self):
        return f"https://{self.segment.address}:{self.port}"

    def start(self, role="server"):
        log = open(self.folder / "server.log", "ab")
        self.processes["server"] = subprocess.Popen(
            [GANTRY, "server", "--data-dir", str(self.folder), "--listen", f"0.0.0.0:{self.port}", "--config",
             str(self.config), "--tls-cert", str(self.folder / "cert.pem"), "--tls-key", str(self.folder / "key.pem"),
             "--log-level", "info"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_until(self.healthy, 30, f"the server (see {log.name})")
        return self

    def healthy(self):
        assert self.processes["server"].poll() is None, self.log("server")
        trust = ssl.create_default_context(cafile=str(self.authority))
        try:
            with urllib.request.urlopen(f"{self.url}/healthz", timeout=1, context=trust) as answer:
                return answer.status == 200
        except OSError:
            return False

    def token(self, *options):
        return self.run("instance", "token", "create", *options).stdout.strip()

    def instances(self, cluster="default"):
        """The registered instances by their machines' ids."""
        ecs = self.client("ecs")
        arns = ecs.list_container_instances(cluster=cluster)["containerInstanceArns"]
        if not arns:
            return {}
        found = ecs.describe_container_instances(cluster=cluster, containerInstances=arns)["containerInstances"]
        return {each["ec2InstanceId"]: each for each in found}


class Machine:
    """A host of its own, as far as one kernel can hold several."""

    def __init__(self, root, server, number):
        self.folder = Path(tempfile.mkdtemp(prefix=f"m{number}-", dir=root))
        self.server = server
        self.number = number
        self.link = f"{server.segment.bridge}-{number}"
        self.address = f"{server.segment.prefix}.{number + 10}"
        self.agent = None
        self.config = self.folder / "agent.toml"
        self.config.write_text(AGENT_CONFIG)
        aside = self.folder / "cgroups"
        aside.mkdir()
        # /sys shows the interfaces of whoever mounted it.
        script = (f"mount --rbind /sys/fs/cgroup {aside} && mount -t sysfs sysfs /sys && "
                  f"mount --rbind {aside} /sys/fs/cgroup && ip link set lo up && echo ready && exec sleep infinity")
        self.holder = subprocess.Popen(["unshare", "--net", "--mount", "--propagation", "private", "sh", "-c", script],
                                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        assert self.holder.stdout.readline() == b"ready\n"
        command("ip", "link", "add", self.link, "type", "veth", "peer", "name", "eth0", "netns", self.holder.pid)
        command("ip", "link", "set", self.link, "master", server.segment.bridge, "up")
        self.inside("ip", "address", "add", f"{self.address}/24", "dev", "eth0")
        self.inside("ip", "link", "set", "eth0", "up")
        self.inside("ip", "route", "add", "default", "via", server.segment.address)

    def enter(self, *arguments):
        return ["nsenter", "-t", str(self.holder.pid), "-n", "-m", *(str(each) for each in arguments)]

    def inside(self, *arguments, check=True):
        return command(*self.enter(*arguments), check=check)

    @property
    def data(self):
        return self.folder / "data"

    def start(self, *options, environment=None):
        """Starts the agent; without options it must have joined before."""
        log = open(self.folder / "agent.log", "ab")
        arguments = [GANTRY, "agent", "--data-dir", self.data, "--server", self.server.url, "--ca",
                     self.server.authority, "--config", self.config, "--log-level", "info", *options]
        clean = {key: value for key, value in os.environ.items() if key != "SSL_CERT_FILE"}
        self.agent = subprocess.Popen(self.enter(*arguments), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                      env={**clean, **(environment or {})})
        return self

    def join(self, *token_options, cluster=None):
        path = self.folder / "token"
        path.write_text(self.server.token(*token_options))
        self.start("--join-token-file", path, *(["--cluster", cluster] if cluster else []))
        self.connected(cluster or "default")
        return self

    @property
    def id(self):
        import json
        return json.loads((self.data / "agent/identity.json").read_text())["joined"]["machineId"]

    def instance(self, cluster="default"):
        return self.server.instances(cluster).get(self.id)

    @property
    def arn(self):
        return self.instance()["containerInstanceArn"]

    def connected(self, cluster="default"):
        def is_connected():
            assert self.agent.poll() is None, self.log()
            if not (self.data / "agent/identity.json").exists():
                return None
            try:
                instance = self.instance(cluster)
            except Exception:  # the cluster, or the name, is not there yet
                return None
            return instance if instance and instance["agentConnected"] else None

        return wait_until(is_connected, 30, f"the connection of machine {self.number}")

    def log(self):
        return (self.folder / "agent.log").read_text(errors="replace")[-5000:]

    def unplug(self):
        command("ip", "link", "set", self.link, "down")

    def plug(self):
        command("ip", "link", "set", self.link, "up")

    def kill_agent(self):
        if self.agent is not None:
            self.agent.kill()
            self.agent.wait(30)

    def processes(self):
        """Everything that lives in the machine's network namespace or below it, but for the holder."""
        own = os.readlink(f"/proc/{self.holder.pid}/ns/mnt")
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == self.holder.pid:
                continue
            try:
                root = str(self.folder)
                command_line = (entry / "cmdline").read_bytes().decode(errors="replace")
                cgroup = (entry / "cgroup").read_text()
                if os.readlink(entry / "ns/mnt") == own or root in command_line or self.cgroup in cgroup:
                    found.append(int(entry.name))
            except OSError:
                continue
        return found

    @property
    def cgroup(self):
        return cgroup_of(self.data)

    def lose_power(self):
        """Everything on the machine dies at once, containers and all; its link is gone."""
        self.unplug()
        for _ in range(5):
            for process in self.processes():
                try:
                    os.kill(process, signal.SIGKILL)
                except OSError:
                    pass
        if self.agent is not None:
            self.agent.wait(30)

    def containers(self, marker):
        """Pids of processes whose command line holds `marker` in this machine's containers."""
        found = []
        for process in self.processes():
            try:
                line = Path(f"/proc/{process}/cmdline").read_bytes().decode(errors="replace")
                inside = self.cgroup in Path(f"/proc/{process}/cgroup").read_text()
            except OSError:
                continue
            if inside and marker in line:
                found.append(process)
        return found

    def remove(self):
        self.kill_agent()
        self.inside(GANTRY, "teardown", "--data-dir", self.data, check=False)
        for process in self.processes():
            try:
                os.kill(process, signal.SIGKILL)
            except OSError:
                pass
        self.holder.kill()
        self.holder.wait(30)
        command("ip", "link", "delete", self.link, check=False)
        shutil.rmtree(self.folder, ignore_errors=True)
