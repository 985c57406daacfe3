"""A small chat endpoint on the loopback interface, as honest or as broken as its script."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FakeServer:
    """Answers from a script, the last entry for ever; keeps requests and the peak load.

    An entry is (status, body, headers), or a function of the handler that does as it likes; `handler.body` is the
    request's.
    """

    def __init__(self, *script):
        self.script = list(script)
        self.bodies, self.headers, self.paths = [], [], []
        self.busy = self.peak = 0
        self.changed = threading.Condition()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                owner.handle(self)

            def log_message(self, *args):
                pass

        class Server(ThreadingHTTPServer):
            request_queue_size = 64
            daemon_threads = True
            block_on_close = False

            def handle_error(self, request, client_address):
                pass  # who asked has gone, perhaps in the middle of a word

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def handle(self, request):
        request.body = json.loads(request.rfile.read(int(request.headers["Content-Length"])))
        with self.changed:
            self.bodies.append(request.body)
            self.headers.append(dict(request.headers))
            self.paths.append(request.path)
            entry = self.script[min(len(self.bodies), len(self.script)) - 1]
            self.busy += 1
            self.peak = max(self.peak, self.busy)
            self.changed.notify_all()
        try:
            if callable(entry):
                entry = entry(request)
        finally:
            with self.changed:
                self.busy -= 1
        if entry is not None:
            send(request, *entry)

    def wait_for(self, true, patience=30.0):
        """Wait until `true()` holds, which is asked when a request comes."""
        with self.changed:
            return self.changed.wait_for(true, patience)

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def send(request, status, body, headers):
    payload = body if isinstance(body, bytes) else (body if isinstance(body, str) else json.dumps(body)).encode()
    request.send_response(status)
    for name, value in {"Content-Length": str(len(payload)), **headers}.items():
        request.send_header(name, value)
    request.end_headers()
    request.wfile.write(payload)


def says(text, finish_reason="stop", **more):
    return 200, {"choices": [{"message": {"content": text}, "finish_reason": finish_reason}], **more}, {}


def fails(status, body="no", **headers):
    return status, body, headers


def drips(request):
    """An answer that begins at once and never ends: a byte every twentieth of a second, while anyone listens."""
    request.send_response(200)
    request.send_header("Content-Length", "1000000")
    request.end_headers()
    never = threading.Event()
    while True:
        request.wfile.write(b" ")
        never.wait(0.05)


def garbage(request):
    """Bytes that are no HTTP, the key among them where one was sent."""
    request.wfile.write(b"\x00\xff" + request.headers.get("Authorization", "").encode() + b"\r\n\r\n")
    request.close_connection = True


class Scripted:
    """A backend that answers from a script and keeps what it was asked."""

    def __init__(self, *replies):
        self.replies, self.asked = list(replies), []

    async def __call__(self, messages):
        self.asked.append(messages)
        said = self.replies[len(self.asked) - 1]
        if isinstance(said, Exception):
            raise said
        return said
