"""API calls with Signature Version 4 verified, by wrk, beside moto_server.

One signed request is sent again and again (a signature is good for five minutes), so the client costs nothing and the
server verifies each. Writes are durable in Gantry and in memory in moto.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
import time

import botocore.auth
import botocore.awsrequest
import botocore.credentials

from common import Gantry, ROOT, free_port, table, wait_until

SECONDS = 5
TASKS = 10_000
DEFINITION = {"family": "bench", "containerDefinitions": [
    {"name": "c", "image": "busybox", "memory": 16, "environment": [{"name": "A", "value": "x" * 100}]}]}


def signed_headers(url, operation, body, key, secret):
    request = botocore.awsrequest.AWSRequest("POST", url + "/", data=body, headers={
        "X-Amz-Target": f"AmazonEC2ContainerServiceV20141113.{operation}", "Content-Type": "application/x-amz-json-1.1"})
    botocore.auth.SigV4Auth(botocore.credentials.Credentials(key, secret), "ecs", "us-east-1").add_auth(request)
    return dict(request.headers)


def wrk(url, operation, body, key, secret, clients):
    lines = ['wrk.method = "POST"', f"wrk.body = [==[{body}]==]"]
    lines += [f"wrk.headers[{json.dumps(k)}] = {json.dumps(v)}" for k, v in
              signed_headers(url, operation, body, key, secret).items()]
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write("\n".join(lines))
        script.flush()
        out = subprocess.run(["wrk", "-t1", f"-c{clients}", f"-d{SECONDS}", "--latency", "-s", script.name, url + "/"],
                             capture_output=True, text=True).stdout
    if "Non-2xx" in out:
        sys.exit(f"{operation} was refused:\n{out}")
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", out)[1])
    latency = {share: value for share, value in re.findall(r"^\s+(50|99)%\s+(\S+)", out, re.M)}
    return f"{rate:,.0f}/s ({latency.get('50')} / {latency.get('99')})"


def start_moto():
    port = free_port()
    program = shutil.which("moto_server", path=str(ROOT / ".venv/bin")) or sys.exit("pip install 'moto[server]'")
    process = subprocess.Popen([program, "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    import urllib.request

    def up():
        try:
            return urllib.request.urlopen(f"http://127.0.0.1:{port}/moto-api/", timeout=1)
        except OSError:
            return None

    wait_until(up)
    return process, f"http://127.0.0.1:{port}"


def calls(some_task):
    return [
        ("ListClusters", "{}"),
        ("DescribeTasks", json.dumps({"cluster": "bench", "tasks": [some_task]})),
        ("RegisterTaskDefinition (a write)", json.dumps(DEFINITION)),
    ]


def fill(client, register_instances):
    """10,000 tasks that stay as they are: no agent picks them up."""
    client.create_cluster(clusterName="bench")
    client.register_task_definition(**DEFINITION)
    return register_instances(client)


def connect_agent(gantry, container_instance_arn):
    """An agent that says it is there and then only listens: its tasks stay PENDING."""
    import threading

    import websocket

    url = f"{gantry.url}/agent/v1/connect"
    request = botocore.awsrequest.AWSRequest("GET", url)
    credentials = botocore.credentials.Credentials(
        gantry.environment["AWS_ACCESS_KEY_ID"], gantry.environment["AWS_SECRET_ACCESS_KEY"])
    botocore.auth.SigV4Auth(credentials, "ecs", "us-east-1").add_auth(request)
    headers = [f"{name}: {value}" for name, value in request.headers.items() if name.lower() != "host"]
    agent = websocket.create_connection(url.replace("http", "ws", 1), header=headers, timeout=600)
    agent.send(json.dumps({"type": "hello", "protocolVersion": 1, "containerInstanceArn": container_instance_arn,
                           "agentVersion": "0.1.0", "bootId": "bench", "tasks": []}))

    def listen():
        try:
            while agent.recv():
                pass
        except Exception:
            pass  # the server has ended

    def live():
        try:
            while True:
                time.sleep(10)
                agent.send(json.dumps({"type": "heartbeat"}))
        except Exception:
            pass

    for work in (listen, live):
        threading.Thread(target=work, daemon=True).start()
    return agent


def gantry_tasks(gantry):
    def go(client):
        resources = [{"name": "CPU", "type": "INTEGER", "integerValue": 1_000_000},
                     {"name": "MEMORY", "type": "INTEGER", "integerValue": 1_000_000},
                     {"name": "PORTS", "type": "STRINGSET", "stringSetValue": []},
                     {"name": "PORTS_UDP", "type": "STRINGSET", "stringSetValue": []}]
        registered = client.register_container_instance(
            cluster="bench", totalResources=resources, versionInfo={"agentVersion": "1.0.0"})
        arn = registered["containerInstance"]["containerInstanceArn"]
        connect_agent(gantry, arn)
        wait_until(lambda: client.describe_container_instances(cluster="bench", containerInstances=[arn])[
            "containerInstances"][0]["agentConnected"])
        arns = []
        while len(arns) < TASKS:
            answer = client.run_task(cluster="bench", taskDefinition="bench", count=10, launchType="EC2")
            if answer["failures"]:
                sys.exit(str(answer["failures"]))
            arns += [task["taskArn"] for task in answer["tasks"]]
        return arns[TASKS // 2]
    return fill(gantry.client("ecs"), go)


def main():
    rows = []
    gantry = Gantry("server")
    try:
        began = time.monotonic()
        task = gantry_tasks(gantry)
        filled = TASKS / (time.monotonic() - began)
        key, secret = gantry.environment["AWS_ACCESS_KEY_ID"], gantry.environment["AWS_SECRET_ACCESS_KEY"]
        for operation, body in calls(task):
            cells = [wrk(gantry.url, operation.split(" ")[0], body, key, secret, clients) for clients in (1, 16, 64)]
            rows.append(["Gantry", operation, *cells])
    finally:
        gantry.end()
    process, url = start_moto()
    try:
        for operation, body in calls("none"):
            if operation == "DescribeTasks":
                continue  # moto runs tasks only on EC2 machines of its own making; ListClusters tells the same
            cells = [wrk(url, operation.split(" ")[0], body, "AKIA", "secret", clients) for clients in (1, 16, 64)]
            rows.append(["moto_server", operation, *cells])
    finally:
        process.terminate()
    table(f"API: calls per second (p50 / p99), Signature Version 4 verified, {TASKS:,} tasks in the store",
          ["server", "call", "1 client", "16 clients", "64 clients"], rows)
    print(f"\nRunTask with count 10 from one boto3 client filled the store at {filled:,.0f} tasks/s, each call durable.")


if __name__ == "__main__":
    main()
