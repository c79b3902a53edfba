"""The one port over TLS: API, registry, agent's connection and the operator's commands."""

import json
import signal
import ssl
import subprocess
import urllib.request

from conftest import GANTRY, awslogs, busybox_rootfs, make, wait_until


def certificates(folder):
    """A certificate authority of our own and a certificate for localhost."""

    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-days", "2",
            "-subj", "/CN=test authority")
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out", "request.pem", "-subj", "/CN=localhost")
    (folder / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    openssl("x509", "-req", "-in", "request.pem", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out",
            "cert.pem", "-days", "2", "-extfile", "names")
    return folder / "ca.pem", folder / "cert.pem", folder / "key.pem"


def test_a_task_runs_with_everything_over_tls(scratch, name, tmp_path, monkeypatch):
    authority, certificate, key = certificates(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))  # the agent and the commands trust it
    gantry = make(scratch)
    url = f"https://127.0.0.1:{gantry.port}"
    trust = ssl.create_default_context(cafile=str(authority))
    log = open(gantry.folder / "up.log", "ab")
    process = subprocess.Popen(
        [GANTRY, "up", "--data-dir", str(gantry.folder), "--listen", f"127.0.0.1:{gantry.port}", "--tls-cert",
         str(certificate), "--tls-key", str(key), "--log-level", "info"], stdout=log, stderr=log)
    try:
        def healthy():
            assert process.poll() is None, gantry.log()
            try:
                return urllib.request.urlopen(f"{url}/healthz", timeout=1, context=trust).status == 200
            except OSError:
                return False

        wait_until(healthy, 30, "an answer over TLS")
        gantry.run("push", str(busybox_rootfs(gantry.folder / "rootfs")), "busybox:1")
        ecs = gantry.client("ecs", endpoint_url=url, verify=str(authority))
        wait_until(lambda: ecs.list_clusters()["clusterArns"], what="the default cluster")
        arn = wait_until(lambda: ecs.list_container_instances()["containerInstanceArns"], what="an instance")[0]
        wait_until(lambda: ecs.describe_container_instances(containerInstances=[arn])[
            "containerInstances"][0]["agentConnected"], what="the agent's connection")
        ecs.register_task_definition(family=name, containerDefinitions=[{
            "name": "c", "image": f"localhost:{gantry.port}/busybox:1", "memory": 32,
            "command": ["sh", "-c", "echo over tls; exit 4"], "logConfiguration": awslogs(f"/{name}")}])
        task = ecs.run_task(taskDefinition=name, launchType="EC2")["tasks"][0]["taskArn"]

        def ended():
            found = ecs.describe_tasks(tasks=[task])["tasks"][0]
            return found if found["lastStatus"] == "STOPPED" else None

        container = wait_until(ended, 60, "the end of the task")["containers"][0]
        assert container.get("exitCode") == 4, container
        assert "over tls" in gantry.run("logs", f"/{name}").stdout
        clusters = json.loads(gantry.run("status", "--output", "json").stdout)["clusters"]
        assert [each["cluster"]["clusterName"] for each in clusters] == ["default"]
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
        gantry.run("teardown")
