"""Reads every vector file; the format is in ../README.md."""

import json
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "vectors"
FILES = [json.loads(path.read_text("utf-8")) for path in sorted(FOLDER.glob("*.json"))]


def _gather(name):
    return [{**entry, "keys": file.get("keys", [])} for file in FILES for entry in file.get(name, [])]


DOCUMENTS = _gather("documents")
REQUESTS = _gather("requests")
# Documents that must be refused for what `check` names.
REFUSED = _gather("refused")
# Messages to service systems (Standard Webhooks).
WEBHOOKS = _gather("webhooks")


def key_of(entry, kid):
    """The public key `kid` of the file that the entry is from."""
    return next(key for key in entry["keys"] if key["kid"] == kid)


def named(entries):
    """Test parameters that read as the entries' names."""
    return {"argvalues": entries, "ids": [entry["name"] for entry in entries]}
