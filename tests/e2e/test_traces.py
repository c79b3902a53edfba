"""X-Ray with boto3 and both AWS CLIs, over a kill of the server, by who may, and on to a collector."""

import json
import queue
import secrets
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from botocore.exceptions import ClientError

from conftest import AWS_V1, AWS_V2, make


def segment(trace, **more):
    now = time.time()
    return {"id": secrets.token_hex(8), "trace_id": trace, "name": "front", "start_time": now - 1, "end_time": now, **more}


def new_trace():
    return f"1-{int(time.time()):08x}-{secrets.token_hex(12)}"


def summaries(xray, expression=""):
    now = time.time()
    pages = xray.get_paginator("get_trace_summaries").paginate(
        StartTime=now - 600, EndTime=now + 60, FilterExpression=expression)
    return [each for page in pages for each in page["TraceSummaries"]]


def test_segments_make_traces_that_are_found_after_a_kill(server):
    xray = server.client("xray")
    trace = new_trace()
    front = segment(trace, annotations={"paid": True, "sum": 3}, user="ann",
                    http={"request": {"method": "GET", "url": "http://shop/cart"}, "response": {"status": 500}})
    back = segment(trace, name="back", parent_id=front["id"], fault=True, origin="AWS::ECS::Container")
    answer = xray.put_trace_segments(TraceSegmentDocuments=[
        json.dumps(front), json.dumps(back), json.dumps(segment("nonsense", id="0123456789abcdef"))])
    assert answer["UnprocessedTraceSegments"] == [{
        "Id": "0123456789abcdef", "ErrorCode": "InvalidTraceId",
        "Message": "Invalid segment. ErrorCode: InvalidTraceId"}]
    server.kill("server")
    server.start()
    [found] = summaries(xray, 'service("back") { fault } AND annotation.paid = true')
    assert found["Id"] == trace and found["HasFault"] and not found["IsPartial"]
    assert found["EntryPoint"]["Name"] == "front" and found["Http"]["HttpStatus"] == 500
    assert found["Annotations"]["sum"][0]["AnnotationValue"] == {"NumberValue": 3.0}
    assert summaries(xray, "ok") == []
    [whole] = xray.batch_get_traces(TraceIds=[trace])["Traces"]
    assert {json.loads(each["Document"])["name"] for each in whole["Segments"]} == {"front", "back"}
    now = time.time()
    graph = xray.get_service_graph(StartTime=now - 600, EndTime=now + 60)["Services"]
    by_name = {each["Name"]: each for each in graph}
    assert by_name["front"]["Edges"][0]["ReferenceId"] == by_name["back"]["ReferenceId"]
    assert by_name["back"]["SummaryStatistics"]["FaultStatistics"]["TotalCount"] == 1
    for _ in range(150):
        xray.put_trace_segments(TraceSegmentDocuments=[json.dumps(segment(new_trace()))])
    assert len(summaries(xray)) == 151
    with pytest.raises(ClientError) as caught:
        summaries(xray, "nonsense = 1")
    assert caught.value.response["Error"]["Code"] == "InvalidRequestException"


def test_samplers_share_the_default_rule(server):
    xray = server.client("xray")
    [record] = xray.get_sampling_rules()["SamplingRuleRecords"]
    rule = record["SamplingRule"]
    assert (rule["RuleName"], rule["Priority"], rule["FixedRate"], rule["ReservoirSize"]) == ("Default", 10000, 0.05, 1)

    def target(client, name="Default"):
        return xray.get_sampling_targets(SamplingStatisticsDocuments=[
            {"RuleName": name, "ClientID": client * 24, "Timestamp": time.time(), "RequestCount": 9, "SampledCount": 1}])

    [first] = target("a")["SamplingTargetDocuments"]
    assert (first["ReservoirQuota"], first["Interval"], first["FixedRate"]) == (1, 10, 0.05)
    [second] = target("b")["SamplingTargetDocuments"]
    assert second["ReservoirQuota"] == 0
    assert target("a", "none")["UnprocessedStatistics"][0]["RuleName"] == "none"
    now = time.time()
    assert xray.put_telemetry_records(TelemetryRecords=[{"Timestamp": now, "SegmentsReceivedCount": 1}])[
        "ResponseMetadata"]["HTTPStatusCode"] == 200


@pytest.mark.parametrize("program", [AWS_V1, AWS_V2])
def test_the_cli_sends_and_reads(server, program):
    trace = new_trace()
    answer = server.aws("xray", "put-trace-segments", "--trace-segment-documents", json.dumps(segment(trace)),
                        program=program)
    assert answer["UnprocessedTraceSegments"] == []
    now = int(time.time())
    found = server.aws("xray", "get-trace-summaries", "--start-time", str(now - 60), "--end-time", str(now + 60),
                       program=program)
    assert [each["Id"] for each in found["TraceSummaries"]] == [trace]


def test_who_may_send_need_not_read(server):
    iam = server.client("iam")
    iam.create_user(UserName="daemon")
    iam.attach_user_policy(UserName="daemon", PolicyArn="arn:aws:iam::aws:policy/AWSXRayDaemonWriteAccess")
    key = iam.create_access_key(UserName="daemon")["AccessKey"]
    xray = server.client("xray", aws_access_key_id=key["AccessKeyId"], aws_secret_access_key=key["SecretAccessKey"])
    xray.put_trace_segments(TraceSegmentDocuments=[json.dumps(segment(new_trace()))])
    with pytest.raises(ClientError) as caught:
        summaries(xray)
    assert caught.value.response["Error"]["Code"] == "AccessDeniedException"
    assert "xray:GetTraceSummaries" in caught.value.response["Error"]["Message"]
    with pytest.raises(ClientError) as caught:
        server.client("xray", aws_secret_access_key="wrong").get_sampling_rules()
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] in (400, 403)


def test_segments_go_on_to_a_collector_that_is_away_at_first(scratch):
    requests, seen = queue.Queue(), threading.Event()

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            first = not seen.is_set()
            seen.set()
            requests.put((self.path, self.headers["content-type"], body))
            self.send_response(503 if first else 200)
            self.send_header("retry-after", "0")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    collector = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=collector.serve_forever, daemon=True).start()
    gantry = make(scratch, server_only=True)
    gantry.config = gantry.folder / "gantry.toml"
    gantry.config.write_text(f'[xray]\nforward = "http://127.0.0.1:{collector.server_address[1]}"\n')
    try:
        gantry.start()
        trace = new_trace()
        call = {"id": secrets.token_hex(8), "name": "table", "namespace": "aws", "start_time": 1, "end_time": 2}
        front = segment(trace, annotations={"paid": True}, subsegments=[call])
        gantry.client("xray").put_trace_segments(TraceSegmentDocuments=[json.dumps(front)])
        refused, taken = requests.get(timeout=30), requests.get(timeout=30)
        assert refused == taken
        path, content_type, body = taken
        assert (path, content_type) == ("/v1/traces", "application/json")
        [of_segment] = body["resourceSpans"]
        assert {"key": "service.name", "value": {"stringValue": "front"}} in of_segment["resource"]["attributes"]
        spans = {each["name"]: each for each in of_segment["scopeSpans"][0]["spans"]}
        assert {each["traceId"] for each in spans.values()} == {trace.replace("-", "")[1:]}
        assert spans["table"]["parentSpanId"] == spans["front"]["spanId"] == front["id"]
        assert (spans["front"]["kind"], spans["table"]["kind"]) == (2, 3)
        assert [each["Id"] for each in summaries(gantry.client("xray"))] == [trace]
    finally:
        gantry.stop()
        collector.shutdown()
