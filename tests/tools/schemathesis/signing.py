"""What a device signs, by docs/protocol.md: keys, documents, HTTP messages. Shares no code with the Rust side."""

import base64
import hashlib
import json
import os
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

COMPONENTS = '("@method" "@path" "@query" "content-digest" "content-type")'


def base64url(data):
    """RFC 4648 section 5, without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def from_base64url(text):
    """The bytes of `base64url`."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def compact(value):
    """JSON without white space."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def digest(data):
    """SHA-256 as documents carry it."""
    return base64url(hashlib.sha256(data).digest())


def payload(jws):
    """What a compact JWS says; whether it is signed is not looked at."""
    return json.loads(from_base64url(jws.split(".")[1]))


def uuid7(millis):
    """An identifier of RFC 9562 section 5.7, made at `millis` of Unix time."""
    raw = bytearray(millis.to_bytes(6, "big") + os.urandom(10))
    raw[6] = raw[6] & 0x0F | 0x70
    raw[8] = raw[8] & 0x3F | 0x80
    text = raw.hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


class Key:
    """An Ed25519 key that signs documents and requests."""

    def __init__(self, seed=None):
        self._private = Ed25519PrivateKey.from_private_bytes(seed) if seed else Ed25519PrivateKey.generate()
        public = self._private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.jwk = {"kty": "OKP", "crv": "Ed25519", "x": base64url(public)}
        # RFC 7638 section 3: required members only, in lexical order.
        self.kid = digest(compact(dict(sorted(self.jwk.items()))))

    def sign(self, data):
        """The signature over `data`."""
        return self._private.sign(data)

    def jws(self, typ, document):
        """A compact JWS (RFC 7515) with the three header members that the protocol has."""
        header = {"alg": "Ed25519", "kid": self.kid, "typ": typ}
        signed = f"{base64url(compact(header))}.{base64url(compact(document))}"
        return f"{signed}.{base64url(self.sign(signed.encode()))}"


def sign_request(request, key, merchant_id, created):
    """Signs a prepared request (RFC 9421) in the protocol's one form."""
    body = request.body or b""
    body = body.encode() if isinstance(body, str) else body
    headers = request.headers
    headers.setdefault("Content-Type", "application/json")
    headers["Content-Digest"] = f"sha-256=:{base64.b64encode(hashlib.sha256(body).digest()).decode()}:"
    # The path and query as they will be sent.
    url = urlsplit(request.url)
    components = COMPONENTS
    lines = [
        f'"@method": {request.method}',
        f'"@path": {url.path or "/"}',
        f'"@query": ?{url.query}',
        f'"content-digest": {headers["Content-Digest"]}',
        f'"content-type": {_text(headers["Content-Type"])}',
    ]
    if "Idempotency-Key" in headers:
        components = f'{components[:-1]} "idempotency-key")'
        lines.append(f'"idempotency-key": {_text(headers["Idempotency-Key"])}')
    nonce = base64url(os.urandom(16))
    parameters = f'{components};created={created};nonce="{nonce}";keyid="{key.kid}";tag="walkpay/{merchant_id}"'
    base = "\n".join([*lines, f'"@signature-params": {parameters}'])
    headers["Signature-Input"] = f"walkpay={parameters}"
    headers["Signature"] = f"walkpay=:{base64.b64encode(key.sign(base.encode())).decode()}:"


def _text(value):
    return value.decode("latin-1") if isinstance(value, bytes) else value
