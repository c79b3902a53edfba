"""Receivers that log drivers send to: what arrived is kept and can be waited for. Also run inside a container, as the log
router of a task: `python3 log_receivers.py SOCKET OUTPUT`."""

import gzip
import json
import os
import socket
import socketserver
import struct
import sys
import threading
import time
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Unpacker:
    """The MessagePack that the forward protocol needs, from a file."""

    def __init__(self, stream):
        self.stream = stream

    def bytes(self, length):
        data = self.stream.read(length)
        if len(data) < length:
            raise EOFError
        return data

    def number(self, form):
        return struct.unpack(">" + form, self.bytes(struct.calcsize(form)))[0]

    def value(self):
        head = self.number("B")
        if head <= 0x7F:
            return head
        if head <= 0x8F:
            return self.map(head & 0x0F)
        if head <= 0x9F:
            return [self.value() for _ in range(head & 0x0F)]
        if head <= 0xBF:
            return self.bytes(head & 0x1F).decode()
        if head in (0xC4, 0xD9):
            return self.bytes(self.number("B")).decode()
        if head == 0xDA:
            return self.bytes(self.number("H")).decode()
        if head == 0xDB:
            return self.bytes(self.number("I")).decode()
        if head == 0xCE:
            return self.number("I")
        if head == 0xD7:
            assert self.number("b") == 0, "an event time"
            return self.number("I") + self.number("I") / 1e9
        if head == 0xDD:
            return [self.value() for _ in range(self.number("I"))]
        if head == 0xDF:
            return self.map(self.number("I"))
        raise ValueError(f"unexpected {head:#x}")

    def map(self, length):
        return {self.value(): self.value() for _ in range(length)}


class Received:
    def __init__(self):
        self.entries = []
        self.changed = threading.Condition()

    def add(self, entry):
        with self.changed:
            self.entries.append(entry)
            self.changed.notify_all()

    def until(self, condition, seconds=30):
        """Waits until `condition(entries)` is truthy; returns the entries."""
        deadline = time.monotonic() + seconds
        with self.changed:
            while not condition(self.entries):
                left = deadline - time.monotonic()
                assert left > 0, f"what was waited for did not arrive: {self.entries}"
                self.changed.wait(left)
            return list(self.entries)


def serve(server):
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


class ForwardHandler(socketserver.StreamRequestHandler):
    def handle(self):
        unpacker = Unpacker(self.rfile)
        try:
            while True:
                tag, entries, options = unpacker.value()
                for at, record in entries:
                    self.server.received.add((tag, at, record))
                if "chunk" in options:
                    ack = options["chunk"].encode()
                    self.wfile.write(b"\x81\xa3ack" + bytes([0xD9, len(ack)]) + ack)
        except EOFError:
            pass


class Servers:
    """Starts receivers for one test."""

    def __init__(self):
        self.started = []

    def _start(self, server):
        server.received = Received()
        server.daemon_threads = True
        self.started.append(serve(server))
        return server

    def forward(self, port=0):
        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True

        return self._start(Server(("127.0.0.1", port), ForwardHandler))

    def lines(self):
        """Lines over TCP."""

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                for line in self.rfile:
                    self.server.received.add(line.decode().rstrip("\n"))

        return self._start(socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler))

    def datagrams(self, path=None):
        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                self.server.received.add(self.request[0])

        if path is None:
            return self._start(socketserver.ThreadingUDPServer(("127.0.0.1", 0), Handler))

        class Server(socketserver.ThreadingUDPServer):
            address_family = socket.AF_UNIX

        return self._start(Server(str(path), Handler))

    def splunk(self, token="secret-token"):
        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def answer(self, status):
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def do_OPTIONS(self):
                self.answer(200)

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers["Authorization"] != f"Splunk {token}":
                    return self.answer(403)
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                text, decoder = body.decode(), json.JSONDecoder()
                while text:
                    entry, end = decoder.raw_decode(text)
                    text = text[end:]
                    self.server.received.add(entry)
                self.answer(200)

        return self._start(ThreadingHTTPServer(("127.0.0.1", 0), Handler))

    def stop(self):
        for server in self.started:
            server.shutdown()
            server.server_close()


def port_of(server):
    return server.server_address[1]


def gelf_message(datagrams):
    """The message in datagrams of GELF: chunked or not, compressed or not."""
    if datagrams[0][:2] == b"\x1e\x0f":
        datagrams = [each[12:] for each in sorted(datagrams, key=lambda each: each[10])]
    data = b"".join(datagrams)
    if data[:2] == b"\x1f\x8b":
        data = gzip.decompress(data)
    elif data[:1] == b"\x78":
        data = zlib.decompress(data)
    return json.loads(data)


def router(path, output):
    """A log router: takes the forward protocol at a socket and writes a JSON line per record, as fast as it comes."""

    class Server(socketserver.ThreadingUnixStreamServer):
        daemon_threads = False

    class Into:
        def add(self, entry):
            with open(output, "a") as lines:
                lines.write(json.dumps(entry) + "\n")

    server = Server(path, ForwardHandler)
    server.received = Into()
    os.chmod(path, 0o666)
    server.serve_forever()


if __name__ == "__main__":
    router(*sys.argv[1:])
