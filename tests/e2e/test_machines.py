"""Many machines: joining, what an agent may say, loss and return."""

import json
import os
import stat
import subprocess

import pytest

from conftest import make, push_busybox, wait_until
from machines import Machine, Segment, Server


@pytest.fixture(scope="module")
def segment():
    before = {name: os.environ.get(name) for name in ("SSL_CERT_FILE", "AWS_CA_BUNDLE")}
    segment = Segment()
    yield segment
    segment.remove()
    for name, value in before.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value


@pytest.fixture(scope="module")
def server(scratch, segment):
    server = Server(make(scratch).folder, segment).start()
    push_busybox(server)
    server.client("ecs").create_cluster(clusterName="default")
    yield server
    server.stop()


@pytest.fixture
def machines(scratch, server):
    """Makes machines for one test."""
    made = []

    def build(count=1):
        new = [Machine(scratch, server, len(made) + number) for number in range(count)]
        made.extend(new)
        return new

    yield build
    for machine in made:
        machine.remove()
    ecs = server.client("ecs")
    for service in ecs.list_services(cluster="default")["serviceArns"]:
        ecs.delete_service(cluster="default", service=service, force=True)
    for instance in server.instances().values():
        ecs.deregister_container_instance(containerInstance=instance["containerInstanceArn"], force=True)


def define(server, family, script="exec sleep 1000", **changes):
    container = {"name": "main", "image": f"localhost:{server.port}/busybox:1", "memory": 32, "essential": True,
                 "command": ["sh", "-c", script], "stopTimeout": 2}
    ecs = server.client("ecs")
    return ecs.register_task_definition(family=family, containerDefinitions=[container], **changes)["taskDefinition"][
        "taskDefinitionArn"]


def tasks_of(server, service):
    """The tasks of a service that are wanted, by their ARNs."""
    ecs = server.client("ecs")
    arns = ecs.list_tasks(serviceName=service)["taskArns"]
    if not arns:
        return {}
    return {task["taskArn"]: task for task in ecs.describe_tasks(tasks=arns)["tasks"]}


def running(server, service, count):
    def enough():
        tasks = tasks_of(server, service)
        return tasks if len(tasks) == count and all(t["lastStatus"] == "RUNNING" for t in tasks.values()) else None

    return wait_until(enough, 60, f"{count} running tasks of {service}")


def test_a_machine_joins_with_a_token_and_keeps_its_own_key(server, machines, name):
    one, two = machines(2)
    one.join()
    identity = one.data / "agent/identity.json"
    assert stat.S_IMODE(identity.stat().st_mode) == 0o600
    token = (one.folder / "token").read_text()
    assert token.split("-")[2] not in identity.read_text()
    # Used up.
    two.start("--join-token-file", one.folder / "token")
    assert two.agent.wait(30) != 0
    assert "token" in two.log() and token.split("-")[2] not in two.log()
    # It runs something, pulled from the registry over TLS.
    task = server.client("ecs").run_task(taskDefinition=define(server, name, "exit 7"))["tasks"][0]["taskArn"]
    assert server.wait_for_status(task, "STOPPED")["containers"][0]["exitCode"] == 7
    # The agent is killed and needs no token to come back, as the same instance.
    arn = one.arn
    one.kill_agent()
    (one.folder / "token").unlink()
    wait_until(lambda: not one.instance()["agentConnected"], what="the loss of the agent")
    one.start().connected()
    assert one.arn == arn


def test_tokens_are_listed_and_revoked(server, machines):
    (one,) = machines(1)
    token = server.token("--uses", "3", "--ttl", "600", "--cluster", "edge")
    listed = json.loads(server.run("instance", "token", "list", "--output", "json").stdout)
    mine = next(each for each in listed if token.split("-")[1] == each["id"])
    assert (mine["uses_left"], mine["cluster"]) == (3, "edge")
    assert token.split("-")[2] not in json.dumps(listed)
    server.run("instance", "token", "revoke", mine["id"])
    one.start(environment={"GANTRY_JOIN_TOKEN": token})
    assert one.agent.wait(30) != 0
    assert "JoinTokenRefused" in one.log()


def test_a_deregistered_machine_does_not_come_back_by_itself(server, machines):
    (one,) = machines(1)
    one.join()
    arn = one.arn
    ecs = server.client("ecs")
    ecs.deregister_container_instance(containerInstance=arn)
    wait_until(lambda: "MachineRevoked" in one.log(), 30, "the refusal of the machine's identity")
    assert one.id not in server.instances()
    assert one.agent.poll() is None, "it goes on with what it has"


def test_a_machine_is_listed_and_put_out(server, machines):
    (one,) = machines(1)
    one.join()
    listed = json.loads(server.run("instance", "list", "--output", "json").stdout)
    assert one.id in [machine["id"] for machine in listed]
    assert one.id in server.run("instance", "list").stdout
    server.run("instance", "revoke", one.id)
    wait_until(lambda: "MachineRevoked" in one.log(), 30, "the refusal of the machine's identity")
    wait_until(lambda: not one.instance()["agentConnected"], what="the end of its connection")


def session_of(machine, server):
    """The temporary credentials that a machine's key gets, as an intruder on the machine would have them."""
    import base64
    import time
    import urllib.request
    import ssl

    identity = json.loads((machine.data / "agent/identity.json").read_text())
    key = machine.folder / "key.der"
    key.write_bytes(base64.b64decode(identity["private_key"]))
    now = int(time.time() * 1000)
    statement = machine.folder / "statement"
    statement.write_bytes(f"gantry session\n{machine.id}\n{now}".encode())
    # OpenSSL reads PKCS #8 version 1 only: the seed is what follows its tag.
    raw = key.read_bytes()
    seed = raw[raw.index(b"\x04\x22\x04\x20") + 4:][:32]
    key.write_bytes(bytes.fromhex("302e020100300506032b657004220420") + seed)
    signature = subprocess.run(
        ["openssl", "pkeyutl", "-sign", "-inkey", str(key), "-keyform", "DER", "-rawin", "-in", str(statement)],
        check=True, capture_output=True).stdout
    body = json.dumps({"machineId": machine.id, "atMs": now, "signature": base64.b64encode(signature).decode()})
    request = urllib.request.Request(f"{server.url}/agent/v1/session", body.encode(), method="POST")
    trust = ssl.create_default_context(cafile=str(server.authority))
    with urllib.request.urlopen(request, context=trust) as answer:
        return json.load(answer)


def test_a_hostile_machine_speaks_for_itself_only(server, machines, name):
    one, two = machines(2)
    one.join()
    two.join()
    definition = define(server, name)
    ecs = server.client("ecs")
    task = ecs.start_task(taskDefinition=definition, containerInstances=[one.arn])["tasks"][0]["taskArn"]
    server.wait_for_status(task, "RUNNING")
    session = session_of(two, server)
    hostile = server.client("ecs", aws_access_key_id=session["accessKeyId"],
                            aws_secret_access_key=session["secretAccessKey"],
                            aws_session_token=session["sessionToken"])
    who = server.client("sts", aws_access_key_id=session["accessKeyId"],
                        aws_secret_access_key=session["secretAccessKey"],
                        aws_session_token=session["sessionToken"]).get_caller_identity()
    assert who["Arn"].endswith(f"assumed-role/ecsInstanceRole/{two.id}")
    refusals = {
        "report": lambda: hostile.submit_task_state_change(task=task, status="STOPPED", reason="because"),
        "deregister": lambda: hostile.deregister_container_instance(containerInstance=one.arn, force=True),
        "drain": lambda: hostile.update_container_instances_state(containerInstances=[one.arn], status="DRAINING"),
        "take over": lambda: hostile.register_container_instance(cluster="default", containerInstanceArn=one.arn),
        "list": lambda: hostile.list_tasks(),
        "run": lambda: hostile.run_task(taskDefinition=definition),
    }
    for what, call in refusals.items():
        with pytest.raises(hostile.exceptions.ClientError) as refused:
            call()
        assert refused.value.response["Error"]["Code"] == "AccessDeniedException", what
    assert server.task(task)["lastStatus"] == "RUNNING"
    # Its credentials end with its instance.
    ecs.deregister_container_instance(containerInstance=two.arn, force=True)
    with pytest.raises(hostile.exceptions.ClientError) as refused:
        hostile.discover_poll_endpoint()
    assert "Unrecognized" in refused.value.response["Error"]["Code"] or "Invalid" in refused.value.response["Error"]["Code"]


def test_services_survive_the_loss_of_a_machine_and_nothing_is_doubled(server, machines, name):
    three = machines(3)
    for machine in three:
        machine.join()
    marker = f"exec sleep 90{os.getpid() % 10000:04}"
    ecs = server.client("ecs")
    ecs.create_service(serviceName=name, taskDefinition=define(server, name, marker), desiredCount=6,
                       placementStrategy=[{"type": "spread", "field": "instanceId"}])
    before = running(server, name, 6)
    on = {}
    for arn, task in before.items():
        on.setdefault(task["containerInstanceArn"], []).append(arn)
    assert sorted(len(tasks) for tasks in on.values()) == [2, 2, 2]
    sleeper = marker.removeprefix("exec ").replace(" ", "\0")
    dead, cut, well = three
    dead_arn, cut_arn, well_arn = dead.arn, cut.arn, well.arn

    # One is cut off and comes back in time: its tasks are left alone.
    pids = sorted(cut.containers(sleeper))
    assert len(pids) == 2
    cut.unplug()
    wait_until(lambda: not server.instances()[cut.id]["agentConnected"], 30, "the loss of the connection")
    gone = [server.task(arn) for arn in on[cut_arn]]
    assert [task["connectivity"] for task in gone] == ["DISCONNECTED"] * 2
    assert [task["lastStatus"] for task in gone] == ["RUNNING"] * 2
    cut.plug()
    cut.connected()
    assert set(tasks_of(server, name)) == set(before)
    assert sorted(cut.containers(sleeper)) == pids

    # One loses power. Its tasks are replaced; those of the others go on.
    dead.lose_power()
    after = wait_until(lambda: set(on[dead_arn]).isdisjoint(now := tasks_of(server, name)) and len(now) == 6 and now,
                       60, "replacements")
    after = running(server, name, 6)
    assert set(on[cut_arn]) | set(on[well_arn]) <= set(after)
    assert {task["containerInstanceArn"] for task in after.values()} == {cut_arn, well_arn}
    for arn in on[dead_arn]:
        task = server.task(arn)
        assert (task["lastStatus"], task["stopCode"]) == ("STOPPED", "InfrastructureHealth"), task
        assert dead.id in task["stoppedReason"]
    assert sum(len(machine.containers(sleeper)) for machine in three) == 6

    # One is cut off for too long: it is given up, goes on by itself meanwhile, and stops what was given up on return.
    given_up = [arn for arn, task in after.items() if task["containerInstanceArn"] == cut_arn]
    cut.unplug()
    wait_until(lambda: set(given_up).isdisjoint(now := tasks_of(server, name)) and len(now) == 6, 60, "replacements")
    running(server, name, 6)
    assert len(cut.containers(sleeper)) == len(given_up)
    cut.plug()
    cut.connected()
    wait_until(lambda: not cut.containers(sleeper), 30, "the end of what was given up")
    wait_until(lambda: len(well.containers(sleeper)) == 6, 30, "six tasks on the machine that was never away")

    # The dead one boots: same machine, same instance, nothing of what it had.
    dead.plug()
    dead.start().connected()
    assert dead.arn == dead_arn
    assert not dead.containers(sleeper)
    assert len(tasks_of(server, name)) == 6


def test_draining_moves_the_tasks_before_it_stops_them(server, machines, name):
    one, two = machines(2)
    one.join()
    ecs = server.client("ecs")
    ecs.create_service(serviceName=name, taskDefinition=define(server, name), desiredCount=2,
                       deploymentConfiguration={"minimumHealthyPercent": 100, "maximumPercent": 200})
    running(server, name, 2)
    two.join()
    one_arn, two_arn = one.arn, two.arn
    ecs.update_container_instances_state(containerInstances=[one_arn], status="DRAINING")

    def moved():
        tasks = tasks_of(server, name)
        states = [(task["containerInstanceArn"], task["lastStatus"]) for task in tasks.values()]
        assert sum(status == "RUNNING" for _, status in states) >= 2, states
        return len(states) == 2 and all(host == two_arn for host, _ in states)

    wait_until(moved, 90, "the tasks on the other machine")

    def deregistered():
        try:
            return ecs.deregister_container_instance(containerInstance=one_arn)
        except ecs.exceptions.InvalidParameterException:
            return None  # the last of them is still stopping

    wait_until(deregistered, 30, "the end of the tasks on the drained machine")
    assert one.id not in server.instances()


def test_awsvpc_tasks_reach_each_other_on_every_host(server, machines, name):
    three = machines(3)
    for machine in three:
        machine.join()
    ecs = server.client("ecs")
    # The body is larger than a packet: it goes through only when the packets fit.
    body = "x" * 100 + name
    script = f"mkdir -p /tmp/w; yes {body} | head -n 200 > /tmp/w/index.html; exec httpd -f -p 80 -h /tmp/w"
    definition = define(server, name, script, networkMode="awsvpc")
    addresses = {}
    for number, machine in enumerate(three):
        # The third is in another subnet.
        subnets = [f"subnet-{name}" if number < 2 else f"subnet-other-{name}"]
        task = ecs.start_task(taskDefinition=definition, containerInstances=[machine.arn],
                              networkConfiguration={"awsvpcConfiguration": {"subnets": subnets}})["tasks"][0]
        running_task = server.wait_for_status(task["taskArn"], "RUNNING")
        details = {each["name"]: each["value"] for each in running_task["attachments"][0]["details"]}
        addresses[machine] = details["privateIPv4Address"]

    def fetch(machine, address, pid=None):
        enter = ["nsenter", "-t", str(pid), "-n"] if pid else machine.enter()
        done = subprocess.run([*enter, "timeout", "3", "/bin/busybox", "wget", "-q", "-O", "-", f"http://{address}/"],
                              capture_output=True, text=True, timeout=20)
        return done.stdout.count(name) == 200

    for source in three:
        (pid,) = source.containers("httpd")[:1]
        for target in three:
            if source is target:
                continue
            where = f"from machine {source.number} to {target.number}"
            wait_until(lambda: fetch(source, addresses[target], pid), 30, f"an answer {where} between tasks")
            wait_until(lambda: fetch(source, addresses[target]), 30, f"an answer {where} from the host itself")

    # Everybody is their own gateway: the neighbour that a task knows as its gateway is the bridge of its own host.
    for machine in three:
        (pid,) = machine.containers("httpd")[:1]
        gateway = subprocess.run(["nsenter", "-t", str(pid), "-n", "ip", "route", "show", "default"],
                                 capture_output=True, text=True, check=True).stdout.split()[2]
        # Outwards, by way of its gateway: the segment's own address.
        subprocess.run(["nsenter", "-t", str(pid), "-n", "/bin/busybox", "ping", "-c", "1", "-W", "2",
                        server.segment.address], check=True, capture_output=True)
        neighbour = subprocess.run(["nsenter", "-t", str(pid), "-n", "ip", "neigh", "show", gateway],
                                   capture_output=True, text=True, check=True).stdout
        bridges = machine.inside("ip", "-o", "link", "show", "type", "bridge").stdout
        mac = neighbour.split("lladdr ")[1].split()[0]
        assert mac in bridges, (neighbour, bridges)

    # The agent is killed and comes back: nothing of the network changes for those who use it.
    one, two, _ = three
    before = one.inside("ip", "-o", "link", "show", "type", "vxlan").stdout
    one.kill_agent()
    one.start().connected()
    (pid,) = two.containers("httpd")[:1]
    assert fetch(two, addresses[one], pid)
    assert [line.split(":")[0] for line in one.inside("ip", "-o", "link", "show", "type", "vxlan").stdout.splitlines()] == [
        line.split(":")[0] for line in before.splitlines()]

    # All tasks end: nothing is left on any host.
    for arn in ecs.list_tasks()["taskArns"]:
        ecs.stop_task(task=arn)
    for machine in three:
        wait_until(lambda: not machine.inside("ip", "-o", "link", "show", "type", "vxlan").stdout.strip(), 60,
                   "the end of the VXLAN interfaces")
        wait_until(lambda: " gb" not in machine.inside("ip", "-o", "link", "show", "type", "bridge").stdout, 60,
                   "the end of the bridges")


def test_external_instances_join_by_an_activation(server, machines, name):
    outside, inside = machines(2)
    inside.join()
    iam, ssm, ecs = server.client("iam"), server.client("ssm"), server.client("ecs")

    def trust(service):
        return json.dumps({"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}]})

    iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust("ecs-tasks.amazonaws.com"))
    iam.attach_role_policy(
        RoleName=name, PolicyArn="arn:aws:iam::aws:policy/service-role/AmazonEC2ContainerServiceforEC2Role")
    for role in (name, "nobody"):
        with pytest.raises(ssm.exceptions.ClientError) as refused:
            ssm.create_activation(IamRole=role)
        assert refused.value.response["Error"]["Code"] == "ValidationException"
    iam.update_assume_role_policy(RoleName=name, PolicyDocument=trust("ssm.amazonaws.com"))
    # Whoever may make activations but not pass the role may not.
    iam.create_user(UserName=name)
    iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=json.dumps({
        "Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "ssm:*", "Resource": "*"}}))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    user = server.client("ssm", aws_access_key_id=key["AccessKeyId"], aws_secret_access_key=key["SecretAccessKey"])
    with pytest.raises(user.exceptions.ClientError) as refused:
        user.create_activation(IamRole=name)
    assert "iam:PassRole" in refused.value.response["Error"]["Message"]

    activation = ssm.create_activation(IamRole=name, DefaultInstanceName="edge", Description="the edge")
    shown = ssm.describe_activations(Filters=[
        {"FilterKey": "ActivationIds", "FilterValues": [activation["ActivationId"]]}])["ActivationList"][0]
    assert (shown["RegistrationLimit"], shown["RegistrationsCount"], shown["Expired"]) == (1, 0, False)
    arguments = ["--activation-id", activation["ActivationId"]]
    outside.start(*arguments, environment={"GANTRY_ACTIVATION_CODE": "wrong" * 8})
    assert outside.agent.wait(30) != 0
    assert "InvalidActivation" in outside.log()
    outside.start(*arguments, environment={"GANTRY_ACTIVATION_CODE": activation["ActivationCode"]}).connected()
    assert outside.id.startswith("mi-")
    shown = ssm.describe_activations()["ActivationList"]
    assert next(one for one in shown if one["ActivationId"] == activation["ActivationId"])["RegistrationsCount"] == 1
    managed = ssm.describe_instance_information(Filters=[{"Key": "InstanceIds", "Values": [outside.id]}])[
        "InstanceInformationList"][0]
    assert (managed["PingStatus"], managed["Name"], managed["IamRole"]) == ("Online", "edge", name)
    attributes = {each["name"] for each in outside.instance()["attributes"]}
    assert "ecs.capability.external" in attributes

    # EXTERNAL goes there and nowhere else, EC2 never does.
    definition = define(server, name, requiresCompatibilities=["EXTERNAL", "EC2"])
    for launch_type, machine in (("EXTERNAL", outside), ("EC2", inside)):
        tasks = ecs.run_task(taskDefinition=definition, launchType=launch_type, count=3)["tasks"]
        assert {task["containerInstanceArn"] for task in tasks} == {machine.arn}
        for task in tasks:
            server.wait_for_status(task["taskArn"], "RUNNING")

    # Used up.
    inside.kill_agent()
    (inside.data / "agent/identity.json").unlink()
    inside.start(*arguments, environment={"GANTRY_ACTIVATION_CODE": activation["ActivationCode"]})
    assert inside.agent.wait(30) != 0

    ssm.delete_activation(ActivationId=activation["ActivationId"])
    with pytest.raises(ssm.exceptions.InvalidActivationId):
        ssm.delete_activation(ActivationId=activation["ActivationId"])
    # Revoked: the connection ends, and the machine is not let in again.
    ssm.deregister_managed_instance(InstanceId=outside.id)
    wait_until(lambda: not outside.instance()["agentConnected"], 30, "the end of the connection")
    wait_until(lambda: "MachineRevoked" in outside.log(), 30, "the refusal")
    with pytest.raises(ssm.exceptions.InvalidInstanceId):
        ssm.deregister_managed_instance(InstanceId=outside.id)
    assert outside.containers("sleep"), "containers go on"
