"""Webhooks, verified by PyPI `standardwebhooks`."""

import base64
from datetime import datetime, timedelta, timezone

import pytest
from standardwebhooks import webhooks
from standardwebhooks.webhooks import Webhook, WebhookVerificationError
from vectors import WEBHOOKS, named


def verify(monkeypatch, secret, webhook, age=0, **changes):
    """Verifies a message `age` seconds after it was signed."""
    now = datetime.fromtimestamp(webhook["timestamp"], tz=timezone.utc) + timedelta(seconds=age)

    class Frozen(datetime):
        @classmethod
        def now(cls, tz=None):
            return now.astimezone(tz)

    monkeypatch.setattr(webhooks, "datetime", Frozen)
    message = {**webhook, **changes}
    headers = {
        "webhook-id": message["id"],
        "webhook-timestamp": str(message["timestamp"]),
        "webhook-signature": message["signature"],
    }
    return Webhook(secret).verify(message["body"], headers)


def test_there_are_webhooks_to_verify():
    assert WEBHOOKS


@pytest.mark.parametrize("webhook", **named(WEBHOOKS))
def test_verified(monkeypatch, webhook):
    for secret in webhook["secrets"]:
        assert verify(monkeypatch, secret, webhook)["type"].startswith("order.")


@pytest.mark.parametrize("webhook", **named(WEBHOOKS))
def test_refused_when_old_or_changed(monkeypatch, webhook):
    secret = webhook["secrets"][0]
    other = "whsec_" + base64.b64encode(bytes([1] * 32)).decode()
    for key, age, changes in [
        (other, 0, {}),
        (secret, 301, {}),
        (secret, -301, {}),
        (secret, 0, {"body": webhook["body"] + " "}),
        (secret, 0, {"id": webhook["id"] + "x"}),
        (secret, 0, {"timestamp": webhook["timestamp"] + 1}),
    ]:
        with pytest.raises(WebhookVerificationError):
            verify(monkeypatch, key, webhook, age, **changes)
