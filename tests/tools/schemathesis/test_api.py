"""The merchant's API against its own description. `cargo xtask test --only schemathesis` runs this."""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from merchant import serving

FOLDER = Path(__file__).parent
PROGRAM = os.environ["WALKPAY_MERCHANT"]
# What is exercised together, by path. Each has a merchant of its own, since faults that are ordered and clocks that are moved
# would break the others; and a stateful run of its own, since schemathesis begins at few operations only.
GROUPS = {
    "terminal": "^/(terminal/|[^/]*$)",
    "gate": "^/gate/",
    "staff": "^/staff/",
    "query": "^/query/",
    "service": "^/service/",
    "payer": "^/(payer/|channel/|sim/v1/channel/)",
    "simulation": "^/sim/v1/(?!channel/)",
}
# From the program, not from the server: schemathesis leaves out the operation that it has the document from.
DOCUMENT = subprocess.run([PROGRAM, "--sim", "openapi"], capture_output=True, text=True, timeout=60, check=True).stdout


def described():
    """The operations of the document, each with the group that exercises it."""
    for path, methods in json.loads(DOCUMENT)["paths"].items():
        group = next((group for group, pattern in GROUPS.items() if re.search(pattern, path)), None)
        for operation in methods.values():
            yield group, operation["operationId"]


OPERATIONS = sorted(described(), key=str)


def exercise(group, folder):
    """Runs schemathesis on a group: its exit status, and how often each operation was answered with which status."""
    calls, document = folder / "calls.ndjson", folder / "openapi.json"
    calls.touch()
    document.write_text(DOCUMENT, encoding="utf-8")
    with serving(PROGRAM, folder / "data") as merchant:
        environment = {**os.environ, **merchant.environment(), "WALKPAY_CALLS": str(calls), "NO_COLOR": "1"}
        environment["HYPOTHESIS_STORAGE_DIRECTORY"] = str(folder / "hypothesis")
        command = [sys.executable, "-m", "schemathesis.cli", "run", "--checks", "all", "--url", merchant.url]
        command += ["--include-path-regex", GROUPS[group], document]
        print(f"\n{group}:", flush=True)
        status = subprocess.run(command, cwd=FOLDER, env=environment, check=False).returncode
    made = [json.loads(line) for line in calls.read_text().splitlines()]
    return status, Counter((call["operation"], call["status"]) for call in made)


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    """What came of each group."""
    return {group: exercise(group, tmp_path_factory.mktemp(group)) for group in GROUPS}


@pytest.mark.parametrize("group", GROUPS)
def test_nothing_is_found(runs, group):
    status, _ = runs[group]
    assert status == 0, "schemathesis found something: its report is above"


@pytest.mark.parametrize(("group", "operation"), OPERATIONS, ids=[operation for _, operation in OPERATIONS])
def test_reaches_success(runs, group, operation):
    assert group, f"no group exercises {operation}: add one to GROUPS"
    _, counts = runs[group]
    answers = {status: count for (name, status), count in sorted(counts.items()) if name == operation}
    assert any(200 <= status < 300 for status in answers), f"answers of {operation}: {answers}"
