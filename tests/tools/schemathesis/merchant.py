"""A `mock-merchant` process with the demo store, and its command line."""

import os
import subprocess
from contextlib import contextmanager
from pathlib import Path

from shopper import STORE


class Merchant:
    """Where a merchant is: the program, its data folder, its URL."""

    def __init__(self, program, data, url):
        self.program, self.data, self.url = program, Path(data), url

    def environment(self):
        """How a process that was started with it finds the merchant again."""
        return {"WALKPAY_MERCHANT": str(self.program), "WALKPAY_DATA": str(self.data), "WALKPAY_URL": self.url}

    @classmethod
    def from_environment(cls):
        """The merchant that `environment` is of."""
        return cls(os.environ["WALKPAY_MERCHANT"], os.environ["WALKPAY_DATA"], os.environ["WALKPAY_URL"])

    def run(self, *args):
        """What a command of the program prints; its failure is an error."""
        command = [self.program, "--data", self.data, "--sim", *args]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"mock-merchant {' '.join(args)}: {done.stderr.strip()}")
        return done.stdout.strip()

    def enrolment_code(self, user):
        """A code whose device needs no further confirmation."""
        return self.run("enrolment-code", user, "--self-confirming", "--no-qr")

    def add_shopper(self, user):
        """A user who pays by stored value."""
        self.run("user", "add", user, "--stored-value", "EUR")
        self.run("user", "top-up", user, "900.00", "--reference", f"top-up-{user}")

    def staff_token(self):
        """A token for `/staff/v1`."""
        scopes = "checks:decide refunds:write query:read messages:read"
        return self.run("staff", "token", STORE, "--staff", "s-1", "--scope", scopes)

    def gate_token(self):
        """A token for `/gate/v1`."""
        return self.run("gate", "token", STORE)

    def source_key(self):
        """A service system's key for `/service/v1`; it has no callback address, so that its messages are dead letters."""
        self.run("service", "add", "desk", "--name", "Desk", "--payee", "Services")
        return self.run("service", "key", "desk")


@contextmanager
def serving(program, data):
    """A merchant while it serves; staff check every basket, and rates limit nobody."""
    options = ["--no-qr", "--demo", "--spot-checks", "1000", "--device-rate", "1000000", "--address-rate", "1000000"]
    log = Path(f"{data}.log")
    with (
        log.open("wb") as errors,
        subprocess.Popen(
            [program, "serve", "--data", data, "--sim", *options],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process,
    ):
        try:
            line = process.stdout.readline().strip()
            if not line.startswith("listening on "):
                raise RuntimeError(f"mock-merchant did not start: {log.read_text()}")
            yield Merchant(program, data, line.removeprefix("listening on "))
            process.terminate()
            if process.wait(timeout=60) != 0:
                raise RuntimeError(f"mock-merchant ended with {process.returncode}: {log.read_text()}")
        finally:
            process.kill()
