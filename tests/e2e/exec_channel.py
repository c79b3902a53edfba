"""The data channel of ECS Exec as session-manager-plugin speaks it: a client that tests can make misbehave."""

import hashlib
import json
import struct
import time
import uuid

import websocket

HEADER = 120
# A client says again what was not acknowledged; the plugin does so after a time that it measures.
RESEND_SECONDS = 1
SILENT_MAX = 60
OUTPUT, SIZE, HANDSHAKE_REQUEST, HANDSHAKE_RESPONSE, HANDSHAKE_COMPLETE = 1, 3, 5, 6, 7


def encode(kind, sequence, payload_type, payload, flags=0, message_id=None):
    message_id = (message_id or uuid.uuid4()).bytes
    return (
        struct.pack(">I32sIQqQ", 116, kind.encode().ljust(32), 1, int(time.time() * 1000), sequence, flags)
        + message_id[8:] + message_id[:8] + hashlib.sha256(payload).digest()
        + struct.pack(">II", payload_type, len(payload)) + payload)


def decode(frame):
    length, kind, version, created, sequence, flags = struct.unpack(">I32sIQqQ", frame[:64])
    payload_type, size = struct.unpack(">II", frame[112:120])
    payload = frame[HEADER:]
    assert (length, version, size) == (116, 1, len(payload)) and created > 0
    assert not payload or frame[80:112] == hashlib.sha256(payload).digest()
    message_id = uuid.UUID(bytes=frame[72:80] + frame[64:72])
    return kind.decode().strip(" \0"), sequence, payload_type, payload, message_id


class Channel:
    """One session. What it does not do is what a test does: lose connections, stay silent, repeat itself."""

    def __init__(self, session, size=(80, 24)):
        # The answer of ECS and that of Systems Manager differ in their capitals.
        session = {key[0].lower() + key[1:]: value for key, value in session.items()}
        self.id, self.url = session["sessionId"], session["streamUrl"]
        self.client_id = str(uuid.uuid4())
        self.size = size
        self.output = b""
        self.expected, self.next, self.early = 0, 0, {}
        self.unacknowledged = {}
        self.ready = False
        self.closed = None
        self.connect(session["tokenValue"])

    def connect(self, token):
        self.silent = 0
        self.socket = websocket.create_connection(self.url, timeout=30)
        self.socket.settimeout(RESEND_SECONDS)
        self.socket.send(json.dumps({
            "MessageSchemaVersion": "1.0", "RequestId": str(uuid.uuid4()), "TokenValue": token,
            "ClientId": self.client_id, "ClientVersion": "1.2.0.0"}))
        for frame in self.unacknowledged.values():
            self.socket.send_binary(frame)

    def lose(self):
        """The connection is gone without a word."""
        self.socket.sock.close()

    def resume(self, ssm):
        self.connect(ssm.resume_session(SessionId=self.id)["TokenValue"])

    def send(self, payload_type, payload):
        frame = encode("input_stream_data", self.next, payload_type, payload)
        self.unacknowledged[self.next] = frame
        self.next += 1
        self.socket.send_binary(frame)

    def type(self, text):
        """Keys, as the plugin sends them: a newline alone is a carriage return."""
        self.send(OUTPUT, b"\r" if text == "\n" else text.encode() if isinstance(text, str) else text)

    def resize(self, columns, rows):
        self.send(SIZE, json.dumps({"cols": columns, "rows": rows}).encode())

    def step(self):
        """Takes one frame, or says again what nobody acknowledged; false at the end of the connection."""
        try:
            opcode, frame = self.socket.recv_data()
        except websocket.WebSocketTimeoutException:
            self.silent += 1
            assert self.silent < SILENT_MAX, f"nothing came: {self.output[-2000:]}"
            for unacknowledged in self.unacknowledged.values():
                self.socket.send_binary(unacknowledged)
            return True
        except websocket.WebSocketConnectionClosedException:
            return False
        self.silent = 0
        if opcode != websocket.ABNF.OPCODE_BINARY:
            return opcode != websocket.ABNF.OPCODE_CLOSE
        kind, sequence, payload_type, payload, message_id = decode(frame)
        if kind == "channel_closed":
            self.closed = json.loads(payload)
        elif kind == "acknowledge":
            self.unacknowledged.pop(json.loads(payload)["AcknowledgedMessageSequenceNumber"], None)
        elif kind == "output_stream_data" and sequence >= self.expected:
            self.acknowledge(sequence, message_id)
            self.early[sequence] = (payload_type, payload)
            while self.expected in self.early:
                self.take(*self.early.pop(self.expected))
                self.expected += 1
        return True

    def acknowledge(self, sequence, message_id):
        said = {"AcknowledgedMessageType": "output_stream_data", "AcknowledgedMessageId": str(message_id),
                "AcknowledgedMessageSequenceNumber": sequence, "IsSequentialMessage": True}
        self.socket.send_binary(encode("acknowledge", 0, 0, json.dumps(said).encode(), flags=3))

    def take(self, payload_type, payload):
        if payload_type == HANDSHAKE_REQUEST:
            asked = json.loads(payload)["RequestedClientActions"]
            assert [action["ActionType"] for action in asked] == ["SessionType"]
            self.send(HANDSHAKE_RESPONSE, json.dumps({
                "ClientVersion": "1.2.0.0", "Errors": None, "ProcessedClientActions": [
                    {"ActionType": "SessionType", "ActionStatus": 1, "ActionResult": None, "Error": ""}]}).encode())
        elif payload_type == HANDSHAKE_COMPLETE:
            self.ready = True
            if self.size:
                self.resize(*self.size)
        else:
            # The plugin prints whatever it does not know.
            self.output += payload

    def until(self, text):
        """Reads until the output has `text`; returns the output."""
        text = text.encode() if isinstance(text, str) else text
        while text not in self.output:
            assert self.closed is None and self.step(), f"ended with {self.closed}: {self.output[-2000:]}"
        return self.output.decode(errors="replace")

    def to_end(self):
        """Reads to the end of the session; returns the closing text."""
        while self.closed is None:
            assert self.step(), f"the connection ended: {self.output[-2000:]}"
        return self.closed["Output"]
