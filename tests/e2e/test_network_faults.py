"""What stands in the packet filter of a task's own network: faults that it asks for, and the way to its proxy."""

import json
import subprocess

import pytest
from botocore.exceptions import ClientError

from conftest import GANTRY, HOST_NETWORK, register, run_task, wait_until

pytestmark = HOST_NETWORK
NETWORK = {"awsvpcConfiguration": {"subnets": ["subnet-faults"]}}
# The status of an answer and its body: busybox's wget keeps the body of a refusal to itself.
ASK = """
uri="$ECS_AGENT_URI/fault/v1/$1"
printf 'POST %s HTTP/1.1\\r\\nHost: a\\r\\nConnection: close\\r\\nContent-Length: %d\\r\\n\\r\\n%s' \\
    "${uri#http://169.254.170.2}" "${#2}" "$2" | nc 169.254.170.2 80 | sed -n -e '1p' -e '$p'
"""


def run_in_awsvpc(gantry, family, script, **task):
    """Runs a task; its ARN and address."""
    definition = register(gantry, family, {"command": ["sh", "-c", script]}, networkMode="awsvpc", **task)
    options = {"networkConfiguration": NETWORK, "enableExecuteCommand": True}
    arn = run_task(gantry, definition, **options)
    shown = gantry.wait_for_status(arn, "RUNNING", 60)
    details = {each["name"]: each["value"] for each in shown["attachments"][0]["details"]}
    return arn, details["privateIPv4Address"]


def inside(gantry, task, script, *arguments):
    command = [GANTRY, "exec", task, "--data-dir", str(gantry.folder), "--", "sh", "-c", script, "sh", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def fault(gantry, task, what, **body):
    """What the task is answered: status and JSON."""
    done = inside(gantry, task, ASK, what, json.dumps(body) if body else "")
    assert done.returncode == 0, done.stderr
    head, answer = done.stdout.splitlines()
    return int(head.split()[1]), json.loads(answer)


def reaches(gantry, task, address, port=8000):
    return inside(gantry, task, f"timeout 2 wget -qO- http://{address}:{port}/").stdout.strip() == "here"


def test_a_task_swallows_a_port_of_another_until_it_stops_to(own_gantry, name):
    gantry = own_gantry()
    serving = "echo here >/www/index.html; httpd -p 8000 -h /www; httpd -f -p 8001 -h /www"
    _, peer = run_in_awsvpc(gantry, f"{name}-peer", serving)
    task, address = run_in_awsvpc(gantry, name, serving, enableFaultInjection=True)
    other, _ = run_in_awsvpc(gantry, f"{name}-other", "sleep 600")
    wait_until(lambda: reaches(gantry, task, peer), 30, "an answer of the peer")

    hole = {"Port": 8000, "Protocol": "tcp", "TrafficType": "egress"}
    blackhole = "network-blackhole-port"
    assert fault(gantry, task, f"{blackhole}/status", **hole) == (200, {"Status": "not-running"})
    assert fault(gantry, task, f"{blackhole}/start", **hole) == (200, {"Status": "running"})
    assert not reaches(gantry, task, peer)
    assert reaches(gantry, task, peer, 8001) and reaches(gantry, other, peer)

    # Nobody forgets it, and the metadata tells of the definition.
    gantry.kill()
    gantry.start("up")
    metadata = "wget -qO- $ECS_CONTAINER_METADATA_URI_V4"
    wait_until(lambda: inside(gantry, task, metadata).returncode == 0, 30, "the endpoint")
    assert fault(gantry, task, f"{blackhole}/status", **hole) == (200, {"Status": "running"})
    assert not reaches(gantry, task, peer)
    shown = json.loads(inside(gantry, task, f"{metadata}/task").stdout)
    assert shown["FaultInjectionEnabled"] is True
    assert fault(gantry, task, f"{blackhole}/stop", **hole) == (200, {"Status": "stopped"})
    assert reaches(gantry, task, peer)

    # What comes in, with somebody spared.
    incoming = {**hole, "TrafficType": "ingress"}
    assert fault(gantry, task, f"{blackhole}/start", **incoming) == (200, {"Status": "running"})
    assert not reaches(gantry, other, address)
    fault(gantry, task, f"{blackhole}/stop", **incoming)
    spared = {**incoming, "SourcesToFilter": ["10.0.0.0/8", "2001:db8::1"]}
    assert fault(gantry, task, f"{blackhole}/start", **spared) == (200, {"Status": "running"})
    assert reaches(gantry, other, address)
    # Its own endpoint stays in reach, whatever it swallows.
    for port in (80, 51679):
        for direction in ("ingress", "egress"):
            swallow = {"Port": port, "Protocol": "tcp", "TrafficType": direction}
            assert fault(gantry, task, f"{blackhole}/start", **swallow) == (200, {"Status": "running"})
    assert fault(gantry, task, f"{blackhole}/status", **spared) == (200, {"Status": "running"})

    for what, body, refusal in [
        (f"{blackhole}/start", {}, "required request body is missing"),
        (f"{blackhole}/start", {"Port": 1}, "required parameter Protocol is missing"),
        (f"{blackhole}/start", {**hole, "Protocol": "icmp"}, "invalid value icmp for parameter Protocol"),
        (f"{blackhole}/start", {**hole, "SourcesToFilter": ["x"]}, "invalid value x for parameter SourcesToFilter"),
        ("network-packet-loss/start", {"LossPercent": 101}, "invalid value 101 for parameter LossPercent"),
        ("network-packet-loss/start", {"LossPercent": 1}, "required parameter Sources is missing"),
        ("network-latency/start", {"DelayMilliseconds": 1}, "required parameter JitterMilliseconds is missing"),
    ]:
        assert fault(gantry, task, what, **body) == (400, {"Error": refusal})
    assert fault(gantry, other, f"{blackhole}/start", **hole) == (
        400, {"Error": f"enableFaultInjection is not enabled for task: {other}"})

    # What the task sends is lost, to whom it says.
    loss = {"LossPercent": 100, "Sources": ["10.0.0.0/8"]}
    running = (409, {"Error": "There is already one network packet loss fault running"})
    latency = {"DelayMilliseconds": 1, "JitterMilliseconds": 0, "Sources": ["10.0.0.0/8"]}
    assert fault(gantry, task, "network-packet-loss/start", **loss) == (200, {"Status": "running"})
    assert not reaches(gantry, task, peer)
    assert fault(gantry, task, "network-packet-loss/start", **loss) == running
    assert fault(gantry, task, "network-latency/start", **latency) == running
    assert fault(gantry, task, "network-latency/status") == (200, {"Status": "not-running"})
    assert fault(gantry, task, "network-packet-loss/stop") == (200, {"Status": "stopped"})
    assert reaches(gantry, task, peer)
    spared = {**loss, "SourcesToFilter": [peer], "FlowsPercent": 100}
    assert fault(gantry, task, "network-packet-loss/start", **spared) == (200, {"Status": "running"})
    assert reaches(gantry, task, peer)
    assert fault(gantry, task, "network-packet-loss/status") == (200, {"Status": "running"})
    fault(gantry, task, "network-packet-loss/stop")
    # Not every kernel can delay packets; none only says that it does.
    answer = fault(gantry, task, "network-latency/start", **latency)
    runs = fault(gantry, task, "network-latency/status")
    if answer[0] == 200:
        assert (answer, runs) == ((200, {"Status": "running"}), (200, {"Status": "running"}))
    else:
        refusal = ("network-latency is not supported on this container instance: "
                   "its kernel has no queueing disciplines prio and netem")
        assert (answer, runs) == ((500, {"Error": refusal}), (200, {"Status": "not-running"}))
    assert reaches(gantry, task, peer)


def test_faults_need_a_network_of_the_tasks_own(gantry, name):
    with pytest.raises(ClientError, match="enableFaultInjection is not supported when networkMode=bridge."):
        register(gantry, name, {}, enableFaultInjection=True)
    definition = register(gantry, name, {}, enableFaultInjection=True, networkMode="host")
    with pytest.raises(ClientError, match="enableFaultInjection with networkMode host"):
        run_task(gantry, definition)


def test_connections_are_led_to_the_tasks_proxy(gantry, name):
    """By a proxy that says which way a connection came, and a task outside that has the same ports."""
    _, peer = run_in_awsvpc(gantry, f"{name}-peer", "echo here >/www/index.html; httpd -f -p 8000 -h /www")
    serve = "".join(
        f"mkdir /dev/shm/{way}; echo {way} >/dev/shm/{way}/index.html; httpd -p {port} -h /dev/shm/{way}; "
        for way, port in (("ingress", 15000), ("egress", 15001)))
    properties = {"ProxyIngressPort": "15000", "ProxyEgressPort": "15001", "AppPorts": "8000,8001", "IgnoredUID": "1000",
                  "IgnoredGID": "", "EgressIgnoredIPs": "169.254.170.2", "EgressIgnoredPorts": ""}
    proxy = {"type": "APPMESH", "containerName": "proxy",
             "properties": [{"name": key, "value": value} for key, value in properties.items()]}
    definition = register(
        gantry, name,
        {"name": "proxy", "user": "1000", "command": [
            "sh", "-c", f"{serve} until wget -qO /dev/shm/own http://{peer}:8000/; do sleep 0.1; done; sleep 600"]},
        # The first answer that it gets is the proxy's already: before the proxy listens there is none.
        {"name": "app", "command": [
            "sh", "-c", f"until wget -qO /www/first http://{peer}:8000/; do sleep 0.1; done; httpd -f -p 8000 -h /www"]},
        networkMode="awsvpc", proxyConfiguration=proxy)
    task = run_task(gantry, definition, networkConfiguration=NETWORK, enableExecuteCommand=True)
    shown = gantry.wait_for_status(task, "RUNNING", 60)
    address = {each["name"]: each["value"] for each in shown["attachments"][0]["details"]}["privateIPv4Address"]

    def does(container, script):
        command = [GANTRY, "exec", task, container, "--data-dir", str(gantry.folder), "--", "sh", "-c", script]
        return subprocess.run(command, capture_output=True, text=True, timeout=60).stdout.strip()

    wait_until(lambda: does("app", "wget -qO- http://127.0.0.1:8000/first"), 30, "the application")
    wait_until(lambda: does("proxy", "cat /dev/shm/own"), 30, "the proxy's own answer")
    said = [does("app", "cat /www/first"), does("app", f"wget -qO- http://{peer}:8000/"), does("proxy", "cat /dev/shm/own")]
    assert said == ["egress", "egress", "here"]
    outside = register(gantry, f"{name}-outside", {"command": ["sleep", "600"]}, networkMode="awsvpc")
    outside = run_task(gantry, outside, networkConfiguration=NETWORK, enableExecuteCommand=True)
    gantry.wait_for_status(outside, "RUNNING", 60)
    assert inside(gantry, outside, f"wget -qO- http://{address}:8000/").stdout.strip() == "ingress"
    # The task's endpoint is not the proxy's business.
    assert json.loads(does("app", "wget -qO- $ECS_CONTAINER_METADATA_URI_V4"))["Name"] == "app"

    wrong = {**proxy, "properties": [*proxy["properties"], {"name": "AppPorts", "value": "http"}]}
    with pytest.raises(ClientError, match="proxyConfiguration has the invalid value 'http' for property AppPorts"):
        register(gantry, name, {"name": "proxy"}, networkMode="awsvpc", proxyConfiguration=wrong)
