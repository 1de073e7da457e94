"""Signed documents, verified by PyPI `jwcrypto`."""

import base64
import json

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from jwcrypto import jwk, jws
from jwcrypto.common import JWException

from vectors import DOCUMENTS, REFUSED, key_of, named


def public(key):
    return jwk.JWK(**{name: value for name, value in key.items() if name in ("kty", "crv", "x", "y")})


def decoded(part):
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def encoded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def verify(token, key):
    """The payload, or an exception."""
    header = json.loads(decoded(token.split(".")[0]))
    if header["alg"] == "Ed25519" and "Ed25519" not in jws.default_allowed_algs:
        return verify_ed25519(token, key)
    message = jws.JWS()
    message.allowed_algs = [key["alg"]]
    message.deserialize(token, public(key))
    return message.payload


def verify_ed25519(token, key):
    """The name of RFC 9864 where the library knows the algorithm only as `EdDSA`: the same key, the same bytes."""
    if key.get("crv") != "Ed25519":
        raise InvalidSignature("not a key of this algorithm")
    signed, _, signature = token.rpartition(".")
    raw = decoded(public(key).export_public(as_dict=True)["x"])
    Ed25519PublicKey.from_public_bytes(raw).verify(decoded(signature), signed.encode())
    return decoded(signed.split(".")[1])


ERRORS = (JWException, InvalidSignature, ValueError, KeyError, TypeError)


def test_there_are_documents_to_verify():
    assert DOCUMENTS


@pytest.mark.parametrize("document", **named(DOCUMENTS))
def test_verified(document):
    key = key_of(document, document["kid"])
    assert public(key).thumbprint() == document["kid"], "kid is the thumbprint of RFC 7638"
    header = json.loads(decoded(document["jws"].split(".")[0]))
    assert header == {"alg": key["alg"], "kid": document["kid"], "typ": document["typ"]}
    assert json.loads(verify(document["jws"], key)) == document["payload"]


@pytest.mark.parametrize("document", **named(DOCUMENTS))
def test_refused_when_anything_is_changed(document):
    key = key_of(document, document["kid"])
    parts = document["jws"].split(".")
    for changed in range(3):
        data = bytearray(decoded(parts[changed]))
        data[len(data) // 2] ^= 1
        forged = [*parts[:changed], encoded(bytes(data)), *parts[changed + 1 :]]
        with pytest.raises(ERRORS):
            verify(".".join(forged), key)
    for other in document["keys"]:
        if other["kid"] != document["kid"]:
            with pytest.raises(ERRORS):
                verify(document["jws"], other)


@pytest.mark.parametrize("forged", **named([entry for entry in REFUSED if entry["check"] == "signature"]))
def test_forgeries_are_refused(forged):
    with pytest.raises(ERRORS):
        verify(forged["jws"], key_of(forged, forged["kid"]))
