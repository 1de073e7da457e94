"""A merchant with its simulated gateways, and a place where they notify."""

import os
import queue
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

# How long anything may take, in seconds.
DEADLINE = 60


@pytest.fixture(scope="session")
def merchant(tmp_path_factory):
    """The URL of `mock-merchant serve --sim`."""
    data = tmp_path_factory.mktemp("merchant") / "data"
    command = [os.environ["WALKPAY_MERCHANT"], "--data", data, "--sim", "serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline().strip()
            assert line.startswith("listening on "), line
            yield line.removeprefix("listening on ")
            process.terminate()
            assert process.wait(timeout=DEADLINE) == 0
        finally:
            process.kill()


class Receiver:
    """Takes notifications."""

    def __init__(self):
        received = self.received = queue.Queue()

        class Handler(BaseHTTPRequestHandler):
            """Answers each as both providers want it: status 200, and the word that Alipay waits for."""

            def do_POST(self):
                """Takes one."""
                body = self.rfile.read(int(self.headers["content-length"]))
                received.put((dict(self.headers.items()), body.decode()))
                self.send_response(200)
                self.send_header("content-length", "7")
                self.end_headers()
                self.wfile.write(b"success")

            def log_message(self, *_):
                """Says nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/notify"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def next(self):
        """Headers and body of the next one."""
        return self.received.get(timeout=DEADLINE)


@pytest.fixture(scope="session")
def receiver():
    """A place where gateways notify."""
    receiver = Receiver()
    yield receiver
    receiver.server.shutdown()
