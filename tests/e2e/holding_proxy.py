"""A way to a Gantry on which chosen parts of blobs are held back: what a slow network does, without any clock."""

import re
import socket
import threading

RANGE = re.compile(rb"^range: *bytes=(\d+)-(\d+)\r$", re.IGNORECASE | re.MULTILINE)
LENGTH = re.compile(rb"^content-length: *(\d+)\r$", re.IGNORECASE | re.MULTILINE)


class HoldingProxy:
    """Passes everything on, except that requests for parts of `blob` that touch one of the ranges `held` wait."""

    def __init__(self, port):
        self.backend = port
        self.blob = None
        self.held = []
        # Held requests that were let go: none, as long as something is held.
        self.waiting = 0
        self.changed = threading.Condition()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def hold(self, blob, ranges):
        with self.changed:
            self.blob, self.held = blob.encode(), list(ranges)

    def release(self):
        with self.changed:
            self.held = []
            self.changed.notify_all()

    def close(self):
        self.release()
        self.listener.close()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        try:
            server = socket.create_connection(("127.0.0.1", self.backend))
        except OSError:
            client.close()
            return
        threading.Thread(target=copy, args=(server, client), daemon=True).start()
        reader = client.makefile("rb")
        try:
            while head := read_head(reader):
                self.wait_for_release(head)
                server.sendall(head)
                if b"upgrade: websocket" in head.lower():
                    while data := reader.read1(65536):
                        server.sendall(data)
                    break
                length = LENGTH.search(head)
                if length:
                    server.sendall(reader.read(int(length[1])))
        except OSError:
            pass
        finally:
            for end in (server, client):
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def wait_for_release(self, head):
        part = RANGE.search(head)
        if not part or self.blob is None or self.blob not in head:
            return
        first, last = int(part[1]), int(part[2])

        def is_held():
            return any(start <= last and first < end for start, end in self.held)

        with self.changed:
            if is_held():
                self.waiting += 1
                self.changed.wait_for(lambda: not is_held())


def read_head(reader):
    lines = []
    while (line := reader.readline()) not in (b"\r\n", b""):
        lines.append(line)
    return b"".join(lines) + b"\r\n" if lines else b""


def copy(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        pass
    for end in (source, sink):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
