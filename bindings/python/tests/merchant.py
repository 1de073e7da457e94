"""A merchant of the demo store in a process of its own, on a free port and an empty folder."""

import os
import subprocess


class Merchant:
    def __init__(self, folder):
        self.process = subprocess.Popen(
            [os.environ["WALKPAY_MERCHANT"], "serve", "--listen", "127.0.0.1:0", "--data", str(folder)]
            + ["--demo", "--sim", "--no-qr"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.url = self._after("listening on ")
        self.user = self._after("user: ")
        self.enrolment_code = self._after("enrolment code: ")

    def _after(self, prefix):
        for line in self.process.stdout:
            if line.startswith(prefix):
                return line.removeprefix(prefix).strip()
        raise RuntimeError(f"the merchant ended early: {self.process.wait()}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        assert self.process.wait(30) == 0, "the merchant does not stop cleanly"
