"""A shopper's device at a running merchant: enrols, and signs what the protocol has a device sign."""

import time
from datetime import datetime, timezone
from decimal import ROUND_HALF_UP, Decimal

import requests
from requests.auth import AuthBase

from signing import Key, base64url, compact, digest, payload, sign_request, uuid7

STORE = "demo-1"
CURRENCY = "EUR"
PRICING_VERSION = 1


def amount(minor):
    """An amount of euros, in cents."""
    return {"amount": f"{Decimal(minor) / 100:.2f}", "currency": CURRENCY}


def timestamp(seconds):
    """RFC 3339 with milliseconds, in UTC."""
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Signature(AuthBase):
    """Signs a request with the device's request key, as late as possible: over the bytes that are sent."""

    def __init__(self, device):
        self.device = device

    def __call__(self, request):
        sign_request(request, self.device.request_key, self.device.merchant_id, int(time.time()))
        return request


class Device:
    """An enrolled device of one user."""

    def __init__(self, merchant, user):
        self.url = merchant.url
        self.device_id, body, self.request_key, self.consent_key = enrolment(merchant, user)
        answer = requests.put(f"{self.url}/terminal/v1/enrolments/{self.device_id}", json=body, timeout=20)
        answer.raise_for_status()
        grant = payload(answer.json()["grant"])
        if not grant["active"]:
            raise RuntimeError(f"the device of {user} waits for a confirmation")
        self.merchant_id = grant["merchant_id"]
        self.sub = grant["sub"]
        self._seq = 0
        self._article = None
        self.revision = None

    def get(self, path):
        """A signed request without a body."""
        answer = requests.get(f"{self.url}{path}", auth=Signature(self), timeout=20)
        answer.raise_for_status()
        return answer

    def put(self, path, body):
        """A signed PUT; its answer must be a success."""
        answer = requests.put(f"{self.url}{path}", json=body, auth=Signature(self), timeout=20)
        answer.raise_for_status()
        return answer

    def hold(self, trip_id=None, minor=100):
        """A hold's identifier and the body of its request."""
        now = time.time()
        hold_id = uuid7(int(now * 1000))
        document = {
            **self._bound(),
            "store_id": STORE,
            "trip_id": trip_id or uuid7(int(now * 1000)),
            "hold_id": hold_id,
            "number": 1,
            "amount": amount(minor),
            "requested_at": timestamp(now),
        }
        return hold_id, {"hold": self.consent_key.jws("walkpay-hold-request.v1", document)}

    def attempt(self):
        """A trip's identifier and the body of its first attempt: one piece of one plain article."""
        article, rate = self.article()
        now = time.time()
        trip_id = uuid7(int(now * 1000))
        price = article["price_minor"]
        tax = (Decimal(price) * rate / (100 + rate)).quantize(Decimal(1), ROUND_HALF_UP)
        line = {
            "line": 1,
            "gtin": article["gtin"],
            "pieces": 1,
            "unit_price": amount(price)["amount"],
            "discount": "0.00",
            "payable": amount(price)["amount"],
            "tax_group": article["tax_group"],
            "tax": amount(int(tax))["amount"],
        }
        lines = compact({"currency": CURRENCY, "lines": [line]})
        document = {
            **self._bound(),
            "store_id": STORE,
            "trip_id": trip_id,
            "attempt": 1,
            "catalogue_revision": self.revision,
            "pricing_version": PRICING_VERSION,
            "priced_at": timestamp(now),
            "total": amount(price),
            "item_count": 1,
            "lines_sha256": digest(lines),
        }
        return trip_id, {"basket": self.consent_key.jws("walkpay-basket.v1", document), "lines": base64url(lines)}

    def cancellation(self):
        """A trip's identifier and the body that gives it up."""
        now = time.time()
        trip_id = uuid7(int(now * 1000))
        document = {**self._bound(), "trip_id": trip_id, "cancelled_at": timestamp(now)}
        return trip_id, {"cancellation": self.request_key.jws("walkpay-trip-cancellation.v1", document)}

    def payment(self, slip, method, stored_value=0):
        """A payment's identifier and the body that begins it, for a slip as it was answered."""
        now = time.time()
        payment_id = uuid7(int(now * 1000))
        document = {
            **self._bound(),
            "slip_number": slip["slip_number"],
            "payment_id": payment_id,
            "method": method,
            "amount": slip["amount"],
            "stored_value": amount(stored_value),
            "signed_at": timestamp(now),
        }
        return payment_id, {"payment": self.consent_key.jws("walkpay-slip-payment.v1", document)}

    def rotation(self):
        """New keys, and the body that puts them in force."""
        request_key, consent_key = Key(), Key()
        document = {**self._bound(), "request_key": request_key.jwk, "consent_key": consent_key.jwk}
        typ = "walkpay-key-rotation.v1"
        body = {
            "rotation": self.consent_key.jws(typ, document),
            "request_proof": request_key.jws(typ, document),
            "consent_proof": consent_key.jws(typ, document),
        }
        return request_key, consent_key, body

    def article(self):
        """An article without deposit, promotion and age limit, with the tax rate of its group."""
        if self._article is None:
            manifest = payload(self.get(f"/terminal/v1/stores/{STORE}/catalogue").json()["manifest"])
            self.revision = manifest["revision"]
            text = self.get(f"/terminal/v1/stores/{STORE}/catalogue/{self.revision}").text
            rows = [requests.compat.json.loads(line) for line in text.splitlines()]
            data = lambda kind: [row["data"] for row in rows if row["kind"] == kind]  # noqa: E731
            promoted = {gtin for promotion in data("promotion") for gtin in promotion["gtins"]}
            rates = {group["id"]: Decimal(group["rate"]) for group in data("tax_group")}
            special = ("deposit", "min_age", "sale_stopped")
            self._article = next(
                (article, rates[article["tax_group"]])
                for article in data("article")
                if article["sale"] == "pieces"
                and not any(article.get(name) for name in special)
                and article["gtin"] not in promoted
            )
        return self._article

    def _bound(self):
        self._seq += 1
        return {
            "merchant_id": self.merchant_id,
            "sub": self.sub,
            "device_id": self.device_id,
            "device_seq": self._seq,
        }


def enrolment(merchant, user):
    """A new device's identifier, the body that enrols it for `user`, and its two keys."""
    _, _, merchant_id, code, root, _ = merchant.enrolment_code(user).split(":", 5)
    start = requests.post(f"{merchant.url}/terminal/v1/enrolments", timeout=20)
    start.raise_for_status()
    start = start.json()
    if digest(compact(dict(sorted(start["root_key"].items())))) != root or start["merchant_id"] != merchant_id:
        raise RuntimeError("this is not the merchant of the code")
    request_key, consent_key = Key(), Key()
    device_id = uuid7(int(time.time() * 1000))
    proof = {
        "merchant_id": merchant_id,
        "code_sha256": digest(code.encode()),
        "nonce": start["nonce"],
        "device_id": device_id,
        "request_key": request_key.jwk,
        "consent_key": consent_key.jwk,
    }
    typ = "walkpay-enrolment-proof.v1"
    body = {
        "code": code,
        "device_label": "schemathesis",
        "request_proof": request_key.jws(typ, proof),
        "consent_proof": consent_key.jws(typ, proof),
    }
    return device_id, body, request_key, consent_key
