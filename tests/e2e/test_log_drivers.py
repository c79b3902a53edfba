"""What log drivers send, seen by whoever they send to."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import log_receivers
from conftest import image, register, run_task, run_to_end
from log_receivers import Servers, gelf_message, port_of


@pytest.fixture
def servers():
    servers = Servers()
    yield servers
    servers.stop()


def run(gantry, name, driver, options, script="echo out; echo err >&2", **container):
    definition = register(gantry, name, {
        "command": ["sh", "-c", script], "logConfiguration": {"logDriver": driver, "options": options}, **container})
    return gantry.wait_for_status(run_task(gantry, definition), "STOPPED")


def test_fluentd_gets_records_with_what_is_said_of_the_container(gantry, name, servers):
    server = servers.forward()
    options = {"fluentd-address": f"127.0.0.1:{port_of(server)}", "tag": "app.{{.Name}}", "env": "STAGE",
               "labels": "team", "fluentd-request-ack": "true", "fluentd-sub-second-precision": "true"}
    run(gantry, name, "fluentd", options, environment=[{"name": "STAGE", "value": "prod"}, {"name": "NO", "value": "x"}],
        dockerLabels={"team": "red"})
    entries = server.received.until(lambda entries: len(entries) >= 2)
    records = {record["source"]: record for _, _, record in entries}
    assert (records["stdout"]["log"], records["stderr"]["log"]) == ("out", "err")
    tag, at, record = entries[0]
    assert tag.startswith(f"app.ecs-{name}-1-main-") and at > 1_700_000_000
    assert (record["STAGE"], record["team"]) == ("prod", "red") and "NO" not in record
    assert record["container_name"].startswith("/ecs-") and len(record["container_id"]) > 32


def test_fluentd_that_is_away_keeps_a_container_from_starting_unless_it_may_come_later(gantry, name, servers):
    task = run(gantry, name, "fluentd", {"fluentd-address": "127.0.0.1:1"})
    reason = task["containers"][0]["reason"]
    assert reason == ("CannotStartContainerError: Error response from daemon: failed to initialize logging driver: "
                      "dial tcp 127.0.0.1:1: connect: connection refused")
    late = servers.forward()
    port = port_of(late)
    late.shutdown()
    late.server_close()
    servers.started.clear()
    definition = register(gantry, name, {
        "command": ["sh", "-c", "echo early; exec sleep 1000"], "stopTimeout": 2, "logConfiguration": {
            "logDriver": "fluentd", "options": {"fluentd-address": f"127.0.0.1:{port}", "fluentd-async": "true"}}})
    arn = run_task(gantry, definition)
    gantry.wait_for_status(arn, "RUNNING")
    server = servers.forward(port)
    assert server.received.until(len)[0][2]["log"] == "early"
    gantry.client("ecs").stop_task(task=arn)
    gantry.wait_for_status(arn, "STOPPED")


@pytest.mark.parametrize("form", ["", "rfc3164", "rfc5424", "rfc5424micro"])
def test_syslog_over_tcp_and_udp_in_each_format(gantry, name, servers, form):
    stream, datagrams = servers.lines(), servers.datagrams()
    for address in (f"tcp://127.0.0.1:{port_of(stream)}", f"udp://127.0.0.1:{port_of(datagrams)}"):
        options = {"syslog-address": address, "syslog-facility": "local3", "tag": "app"}
        run(gantry, name, "syslog", options | ({"syslog-format": form} if form else {}))
    patterns = {
        "": r"<(\d+)>\w{3} [ \d]\d \d\d:\d\d:\d\d app\[\d+\]: (out|err)",
        "rfc3164": r"<(\d+)>\w{3} [ \d]\d \d\d:\d\d:\d\d \S+ app\[\d+\]: (out|err)",
        "rfc5424": r"<(\d+)>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ \S+ app \d+ app - (out|err)",
        "rfc5424micro": r"<(\d+)>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z \S+ app \d+ app - (out|err)",
    }
    lines = stream.received.until(lambda entries: len(entries) >= 2)
    lines += [each.decode() for each in datagrams.received.until(lambda entries: len(entries) >= 2)]
    found = [re.fullmatch(patterns[form], line) for line in lines]
    assert all(found), lines
    # local3 is 19: informational for stdout, error for stderr.
    assert {(match[1], match[2]) for match in found} == {("158", "out"), ("155", "err")}


def test_gelf_over_udp_is_compressed_and_chunked(gantry, name, servers):
    server = servers.datagrams()
    address = f"udp://127.0.0.1:{port_of(server)}"
    for kind in ("gzip", "zlib", "none"):
        run(gantry, name, "gelf", {"gelf-address": address, "gelf-compression-type": kind, "tag": "t"}, "echo hello")
    messages = [gelf_message([each]) for each in server.received.until(lambda entries: len(entries) >= 3)]
    assert {message["short_message"] for message in messages} == {"hello"}
    message = messages[0]
    assert (message["version"], message["level"], message["_tag"]) == ("1.1", 6, "t")
    assert message["_image_name"] == image(gantry) and message["_container_name"].startswith(f"ecs-{name}-")
    script = "i=0; while [ $i -lt 500 ]; do printf 0123456789; i=$((i+1)); done; echo"
    run(gantry, name, "gelf", {"gelf-address": address, "gelf-compression-type": "none"}, script)
    chunks = [each for each in server.received.until(lambda entries: len(entries) >= 7) if each[:2] == b"\x1e\x0f"]
    assert len(chunks) == chunks[0][11]
    assert gelf_message(chunks)["short_message"] == "0123456789" * 500


def test_splunk_gets_events_with_its_token_and_says_when_it_is_refused(gantry, name, servers):
    server = servers.splunk()
    options = {"splunk-url": f"http://127.0.0.1:{port_of(server)}", "splunk-token": "secret-token",
               "splunk-format": "json", "splunk-gzip": "true", "splunk-index": "main", "splunk-source": "ecs"}
    run(gantry, name, "splunk", options, """echo '{"a": 1}'; echo text >&2""")
    events = server.received.until(lambda entries: len(entries) >= 2)
    lines = {event["event"]["source"]: event["event"]["line"] for event in events}
    assert lines == {"stdout": {"a": 1}, "stderr": "text"}
    assert (events[0]["index"], events[0]["source"]) == ("main", "ecs")
    task = run(gantry, name, "splunk", options | {"splunk-url": "http://127.0.0.1:1"})
    assert "failed to initialize logging driver: splunk: failed to verify connection" in task["containers"][0]["reason"]


def test_the_journal_must_be_there_for_journald(gantry, name):
    if Path("/run/systemd/journal/socket").exists():
        task = run(gantry, name, "journald", {"tag": name})
        assert task["containers"][0]["exitCode"] == 0
        out = subprocess.run(["journalctl", f"CONTAINER_TAG={name}", "-o", "cat"], capture_output=True, text=True).stdout
        assert sorted(out.split()) == ["err", "out"]
    else:
        task = run(gantry, name, "journald", {})
        assert task["containers"][0]["reason"].endswith("journald is not enabled on this host")


def test_a_killed_agent_loses_no_line(own_gantry, name, servers):
    gantry = own_gantry(apart=True)
    server = servers.forward()
    definition = register(gantry, name, {
        "command": ["sh", "-c", "i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); "
                                "[ $((i % 500)) = 0 ] && sleep 0.2; done"],
        "logConfiguration": {"logDriver": "fluentd", "options": {
            "fluentd-address": f"127.0.0.1:{port_of(server)}", "fluentd-async": "true"}}})
    arn = run_task(gantry, definition)
    server.received.until(len)
    gantry.kill("agent")
    gantry.start("agent")
    gantry.wait_for_status(arn, "STOPPED")
    entries = server.received.until(lambda entries: any(each[2]["log"] == "line 2999" for each in entries))
    assert {each[2]["log"] for each in entries} == {f"line {number}" for number in range(3000)}


def test_multiline_events_by_pattern_and_by_datetime_format(gantry, name):
    script = "echo 'INFO a'; echo '  b'; echo 'INFO c'"
    for option in ({"awslogs-multiline-pattern": "^INFO"}, {"awslogs-datetime-format": "INFO"}):
        group = f"/{name}-{len(option)}-{list(option)[0]}"
        options = {"awslogs-group": group, "awslogs-region": "us-east-1", "awslogs-stream-prefix": "w",
                   "awslogs-create-group": "true", **option}
        run(gantry, name, "awslogs", options, script)
        assert gantry.logs(group) == ["INFO a\n  b", "INFO c"], option


def test_unknown_options_and_drivers_are_refused_by_name(gantry, name):
    for driver, options, expected in (
        ("gelf", {"gelf-address": "udp://127.0.0.1:1", "gelf-colour": "red"}, "log option 'gelf-colour'"),
        ("json-file", {"compress": "true"}, "log option 'compress'"),
    ):
        definition = register(gantry, name, {"logConfiguration": {"logDriver": driver, "options": options}})
        with pytest.raises(gantry.client("ecs").exceptions.ClientError, match=re.escape(expected)):
            run_task(gantry, definition)


# -- FireLens ---------------------------------------------------------------------------------------------------


def router(folder, kind="fluentbit", **options):
    """A router that is no fluent-bit, but takes the forward protocol at the same socket. The host's Python is mounted."""
    shutil.copy(log_receivers.__file__, folder / "router.py")
    folder.chmod(0o777)
    mounts = [{"sourceVolume": name, "containerPath": path, "readOnly": name != "out"}
              for name, path in (("usr", "/usr"), ("lib", "/lib"), ("lib64", "/lib64"), ("out", "/out"))]
    container = {"name": "router", "memory": 128, "memoryReservation": 100, "stopTimeout": 5, "mountPoints": mounts,
                 "firelensConfiguration": {"type": kind, "options": options},
                 "command": ["sh", "-c", "cp /fluent*/etc/fluent*.conf /out/; echo uid=$FLUENT_UID > /out/uid; "
                             "exec /usr/bin/python3 /out/router.py /var/run/fluent.sock /out/records"]}
    volumes = [{"name": name, "host": {"sourcePath": path}}
               for name, path in (("usr", "/usr"), ("lib", "/lib"), ("lib64", "/lib64"), ("out", str(folder)))]
    return container, volumes


def records(folder):
    path = folder / "records"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.mark.parametrize("kind", ["fluentbit", "fluentd"])
def test_firelens_sends_everything_to_the_router_of_the_task(gantry, name, tmp_path, kind):
    container, volumes = router(tmp_path, kind)
    plugin = {"fluentbit": "Name", "fluentd": "@type"}[kind]
    definition = register(
        gantry, name, container | {"essential": False},
        {"name": "app", "command": ["sh", "-c", "echo host $FLUENT_HOST:$FLUENT_PORT; echo last"],
         "logConfiguration": {"logDriver": "awsfirelens", "options": {plugin: "s3", "bucket": "logs"}}},
        volumes=volumes)
    arn = run_task(gantry, definition)
    task = gantry.wait_for_status(arn, "STOPPED")
    found = records(tmp_path)
    assert [each[0] for each in found] == [f"app-firelens-{arn.rsplit('/')[-1]}"] * 2, task
    assert re.fullmatch(r"host 172\.\d+\.\d+\.\d+:24224|host 10\.\d+\.\d+\.\d+:24224", found[0][2]["log"]), found
    assert found[1][2]["log"] == "last", "what was printed last arrived before the router was stopped"
    assert found[0][2]["source"] == "stdout"
    configuration = next(tmp_path.glob("*.conf")).read_text()
    for part in (arn, f"{name}:1", "/var/run/fluent.sock", "app-firelens*", "s3", "bucket logs"):
        assert part in configuration, configuration
    assert ("@INCLUDE" in configuration) is False
    assert (tmp_path / "uid").read_text() == {"fluentbit": "uid=\n", "fluentd": "uid=0\n"}[kind]


def test_firelens_configuration_of_ones_own_without_metadata(gantry, name, tmp_path):
    options = {"enable-ecs-log-metadata": "false", "config-file-type": "file", "config-file-value": "/extra.conf"}
    container, volumes = router(tmp_path, **options)
    definition = register(
        gantry, name, container | {"essential": False},
        {"name": "app", "command": ["echo", "x"],
         "logConfiguration": {"logDriver": "awsfirelens", "options": {}}}, volumes=volumes)
    gantry.wait_for_status(run_task(gantry, definition), "STOPPED")
    configuration = next(tmp_path.glob("*.conf")).read_text()
    assert "@INCLUDE /extra.conf" in configuration and "ecs_cluster" not in configuration
    assert records(tmp_path)[0][2]["log"] == "x"


def test_firelens_options_without_an_output_end_the_task_in_the_real_words(gantry, name, tmp_path):
    container, volumes = router(tmp_path)
    definition = register(
        gantry, name, container,
        {"name": "app", "logConfiguration": {"logDriver": "awsfirelens", "options": {"bucket": "logs"}}},
        volumes=volumes)
    task = gantry.wait_for_status(run_task(gantry, definition), "STOPPED")
    wanted = "missing output key Name which is required for firelens configuration of type fluentbit"
    assert wanted in task["stoppedReason"], task


def test_another_task_does_not_see_the_routers_socket(gantry, name):
    _, lines = run_to_end(gantry, name, "ls /var/run/ /var/lib/gantry 2>&1; find / -name fluent.sock -xdev | wc -l")
    assert lines[-1] == "0"
