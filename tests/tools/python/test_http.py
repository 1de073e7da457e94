"""Signed requests, verified by PyPI `http-message-signatures`."""

import base64
import hashlib
import re
from types import SimpleNamespace

import pytest
from http_message_signatures import HTTPMessageVerifier, HTTPSignatureKeyResolver, algorithms
from http_message_signatures.exceptions import HTTPMessageSignaturesException
from jwcrypto import jwk

from vectors import REQUESTS, key_of, named

ALGORITHMS = {"Ed25519": algorithms.ED25519, "ES256": algorithms.ECDSA_P256_SHA256}


class Keys(HTTPSignatureKeyResolver):
    def __init__(self, entry):
        self.entry = entry

    def resolve_public_key(self, key_id):
        key = key_of(self.entry, key_id)
        return jwk.JWK(**{name: value for name, value in key.items() if name in ("kty", "crv", "x", "y")}).export_to_pem()


def accepts(entry, **changes):
    """Whether the signature holds and the digest is that of the body."""
    request = {name: entry[name] for name in ("method", "url", "headers", "body")} | changes
    algorithm = ALGORITHMS[key_of(entry, entry["keyid"])["alg"]]
    verifier = HTTPMessageVerifier(signature_algorithm=algorithm, key_resolver=Keys(entry))
    message = SimpleNamespace(method=request["method"], url=request["url"], headers=dict(request["headers"]))
    try:
        # Vectors are old on purpose: their age is not what is checked here.
        verifier.verify(message, max_age=None)
    except HTTPMessageSignaturesException:
        return False
    digest = request["headers"].get("content-digest")
    body = (request["body"] or "").encode()
    if digest is None:
        return not body
    return f"sha-256=:{base64.b64encode(hashlib.sha256(body).digest()).decode()}:" in digest


def test_there_are_requests_to_verify():
    assert REQUESTS


@pytest.mark.parametrize("entry", **named(REQUESTS))
def test_verified(entry):
    assert accepts(entry)


@pytest.mark.parametrize("entry", **named(REQUESTS))
def test_refused_when_anything_is_changed(entry):
    headers, url = entry["headers"], entry["url"]
    path, _, query = url.partition("?")
    changes = [
        {"method": "POST" if entry["method"] == "PUT" else "PUT"},
        {"url": f"{path}x" + (f"?{query}" if query else "")},
        {"url": f"{path}?x=1"},
        {"body": (entry["body"] or "") + " "},
        {"headers": {**headers, "signature-input": re.sub(r"created=\d+", "created=1", headers["signature-input"])}},
    ]
    for name in ("content-type", "content-digest", "idempotency-key"):
        if name in headers:
            changes.append({"headers": {**headers, name: headers[name] + "x"}})
    for change in changes:
        assert not accepts(entry, **change), change
