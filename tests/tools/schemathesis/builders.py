"""Requests that a generator cannot invent, since they are signed or name what must exist first.

`BUILDERS` has an entry per such operation; README.md tells how to add one.
"""

import json
import time
from datetime import datetime, timedelta, timezone

import requests

from shopper import STORE, Device, Signature, enrolment
from signing import Key

# Accepted baskets of one user; a new device may have 20 a day.
PURCHASES = 15
# Devices of one user, of at most 50.
DEVICES = 40


class State:
    """Who acts in a run; made when first needed."""

    def __init__(self, merchant):
        self.merchant = merchant
        self._made = {}
        self._counts = {}

    def device(self):
        """The device that signs what no builder signs."""
        return self._once("device", lambda: Device(self.merchant, "bob"))

    def rotator(self):
        """A device whose keys change."""
        return self._once("rotator", lambda: Device(self.merchant, "carol"))

    def buyer(self):
        """A device of a user who can still buy."""
        number = self._count("purchases") // PURCHASES
        return self._once(("buyer", number), lambda: Device(self.merchant, self._shopper(f"buyer-{number}")))

    def payer(self):
        """A user with stored value for whatever is paid in a run, and a device of theirs."""
        return "payer", self._once("payer", lambda: Device(self.merchant, self._payer("payer")))

    def payable(self, payer):
        """The number of a new order that the payer can pay."""
        handed_in = {**order(), "payer": payer}
        answer = self.service("POST", "/orders", json=handed_in, headers={"Idempotency-Key": self.key()})
        number = answer.json()["service_number"]
        self.service("PUT", f"/orders/{number}/confirmation", json={"decision": "confirm"}, headers={"If-Match": '"1"'})
        return number

    def slip(self):
        """A device and a new slip of its user."""
        payer, device = self.payer()
        answer = requests.post(
            f"{self.merchant.url}/payer/v1/slips",
            json={"orders": [self.payable(payer)]},
            headers={"Idempotency-Key": self.key()},
            auth=Signature(device),
            timeout=20,
        )
        answer.raise_for_status()
        return device, answer.json()

    def paid(self, method="stored_value"):
        """A device, a slip, and a payment of it that was begun."""
        device, slip = self.slip()
        payment_id, body = device.payment(slip, method, 2900 if method == "stored_value" else 0)
        device.put(f"/payer/v1/slips/{slip['slip_number']}/payments/{payment_id}", body)
        return device, slip, payment_id

    def trade(self):
        """The simulated channel's trade of a new payment: the merchant's number, and how much it is about."""
        device, slip, payment_id = self.paid("test")
        path = f"/payer/v1/slips/{slip['slip_number']}/payments/{payment_id}"
        wait_for(lambda: "launch" in device.get(path).json())
        return f"{slip['slip_number']}01", slip["amount"]

    def purchase(self):
        """The number of the order of a basket that was paid."""
        buyer = self.buyer()
        trip_id, body = buyer.attempt()
        buyer.put(f"/terminal/v1/trips/{trip_id}/attempts/1", body)
        check = self.staff("GET", f"/staff/v1/checks/{trip_id}/1").json()
        decision = {"basket_sha256": check["basket_sha256"], "accept": True}
        self.staff("PUT", f"/staff/v1/checks/{trip_id}/1/decision", json=decision)
        listed = f"/query/v1/orders?case_number={trip_id}&state=paid"
        wait_for(lambda: self.staff("GET", listed).json()["orders"])
        found = self.staff("GET", listed).json()["orders"][0]
        return found.get("service_number") or found["order"]["service_number"]

    def staff(self, method, path, **request):
        """A call with the staff token that must succeed."""
        headers = {"Authorization": f"Bearer {self.staff_token()}"}
        answer = requests.request(method, f"{self.merchant.url}{path}", headers=headers, timeout=20, **request)
        answer.raise_for_status()
        return answer

    def newcomer(self):
        """A user who can still enrol devices."""
        number = self._count("enrolments") // DEVICES
        return self._once(("newcomer", number), lambda: self._shopper(f"newcomer-{number}"))

    def gate_token(self):
        """For `/gate/v1`."""
        return self._once("gate", self.merchant.gate_token)

    def staff_token(self):
        """For `/staff/v1`."""
        return self._once("staff", self.merchant.staff_token)

    def source_key(self):
        """For `/service/v1`."""
        return self._once("source", self.merchant.source_key)

    def key(self):
        """An idempotency key that was not used before."""
        return f"key-{self._count('keys')}"

    def order(self, draft=False):
        """The number of a new order."""
        answer = self.service("POST", "/orders", json=order(draft), headers={"Idempotency-Key": self.key()})
        return answer.json()["service_number"]

    def service(self, method, path, headers=None, **request):
        """A call of `/service/v1` that must succeed."""
        headers = {"Authorization": f"Bearer {self.source_key()}", **(headers or {})}
        answer = requests.request(method, f"{self.merchant.url}/service/v1{path}", headers=headers, timeout=20, **request)
        answer.raise_for_status()
        return answer

    def _payer(self, name):
        self._shopper(name)
        self.merchant.run("user", "top-up", name, "90000.00", "--reference", f"more-{name}")
        return name

    def _shopper(self, name):
        self.merchant.add_shopper(name)
        return name

    def _once(self, name, make):
        if name not in self._made:
            self._made[name] = make()
        return self._made[name]

    def _count(self, name):
        self._counts[name] = self._counts.get(name, -1) + 1
        return self._counts[name]


def wait_for(found):
    """Returns once `found` gives something."""
    end = time.monotonic() + 60
    while not found():
        if time.monotonic() > end:
            raise RuntimeError("what was waited for did not come within a minute")
        time.sleep(0.05)


def enrol(state, _case):
    device_id, body, _, _ = enrolment(state.merchant, state.newcomer())
    return {"path": {"device_id": device_id}, "body": body}


def rotate_keys(state, _case):
    device = state.rotator()
    request_key, consent_key, body = device.rotation()

    def succeeded():
        device.request_key, device.consent_key = request_key, consent_key

    return {"path": {"device_id": device.device_id}, "body": body, "device": device, "succeeded": succeeded}


def put_hold(state, _case):
    hold_id, body = state.device().hold()
    return {"path": {"hold_id": hold_id}, "body": body}


def put_attempt(state, _case):
    trip_id, body = state.device().attempt()
    return {"path": {"trip_id": trip_id, "attempt": 1}, "body": body}


def put_cancellation(state, _case):
    trip_id, body = state.device().cancellation()
    return {"path": {"trip_id": trip_id}, "body": body}


def of_store(_state, _case):
    return {"path": {"store_id": STORE}}


def catalogue_data(state, _case):
    device = state.device()
    device.article()
    return {"path": {"store_id": STORE, "revision": device.revision}, "query": {"base": None}}


def of_group(_state, _case):
    return {"path": {"group": STORE}}


def check(state, _case):
    """A basket that waits for staff; the one before is declined, since few of a user may wait at a time."""
    headers = {"Authorization": f"Bearer {state.staff_token()}"}
    for earlier in getattr(state, "waiting_checks", []):
        url = f"{state.merchant.url}/staff/v1/checks/{earlier}/1"
        answer = requests.get(url, headers=headers, timeout=20)
        if answer.ok:
            decision = {"basket_sha256": answer.json()["basket_sha256"], "accept": False}
            requests.put(f"{url}/decision", json=decision, headers=headers, timeout=20)
    buyer = state.buyer()
    trip_id, body = buyer.attempt()
    buyer.put(f"/terminal/v1/trips/{trip_id}/attempts/1", body)
    state.waiting_checks = [trip_id]
    return {"path": {"trip_id": trip_id, "attempt": 1}}


def decide(state, case):
    waiting = check(state, case)
    path = waiting["path"]
    answer = requests.get(
        f"{state.merchant.url}/staff/v1/checks/{path['trip_id']}/{path['attempt']}",
        headers={"Authorization": f"Bearer {state.staff_token()}"},
        timeout=20,
    )
    answer.raise_for_status()
    accept = case.body.get("accept") if isinstance(case.body, dict) else None
    return {"path": path, "body": {"basket_sha256": answer.json()["basket_sha256"], "accept": accept is not False}}


def order(draft=False):
    """An order of a service system."""
    fee = {"name": "Delivery", "unit_price": {"amount": "29.00", "currency": "EUR"}, "tax_rate": "19"}
    deadline = datetime.now(timezone.utc) + timedelta(days=30)
    return {
        "service_name": "Delivery",
        "payer": "alice",
        "fees": [fee],
        "deadline": deadline.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "case_number": "C-1",
        "draft": draft,
    }


def hand_in(state, _case):
    return {"headers": {"idempotency-key": state.key()}, "body": order()}


def hand_in_bulk(state, _case):
    lines = [json.dumps({"key": state.key(), "order": order()}) for _ in range(3)]
    return {"body": "\n".join(lines), "media_type": "application/x-ndjson"}


def an_order(state, _case):
    return {"path": {"service_number": state.order()}}


def submit_order(state, _case):
    return {"path": {"service_number": state.order(draft=True)}, "headers": {"if-match": '"1"'}}


def change(body):
    """A change of a new order."""

    def build(state, _case):
        return {"path": {"service_number": state.order()}, "headers": {"if-match": '"1"'}, "body": body}

    return build


def redeliver(state, _case):
    state.order()
    message = state.service("GET", "/deliveries").json()["deliveries"][0]["message_id"]
    return {"path": {"message_id": message}, "headers": {"idempotency-key": state.key()}}


def payer_order(state, _case):
    payer, device = state.payer()
    return {"path": {"service_number": state.payable(payer)}, "device": device}


def make_slip(state, _case):
    payer, device = state.payer()
    body = {"orders": [state.payable(payer)]}
    return {"headers": {"idempotency-key": state.key()}, "body": body, "device": device}


def of_slip(state, _case):
    device, slip = state.slip()
    return {"path": {"slip_number": slip["slip_number"]}, "device": device}


def put_payment(state, _case):
    device, slip = state.slip()
    payment_id, body = device.payment(slip, "stored_value", 2900)
    return {"path": {"slip_number": slip["slip_number"], "payment_id": payment_id}, "body": body, "device": device}


def of_payment(state, _case):
    device, slip, payment_id = state.paid()
    return {"path": {"slip_number": slip["slip_number"], "payment_id": payment_id}, "device": device}


def service_refund(state, _case):
    _, slip, _ = state.paid()
    number = slip["items"][0]["service_number"]
    return {"path": {"service_number": number}, "headers": {"idempotency-key": state.key()}, "body": {}}


def pay_trade(state, _case):
    return {"path": {"number": state.trade()[0]}}


def notified(state, _case):
    number, due = state.trade()
    book = json.loads((state.merchant.data / "test-channel.json").read_text(encoding="utf-8"))
    receipt = {"application": "test-app", "seller": "test-seller", "number": number, "trade": f"x{number}", "amount": due}
    paid_at = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    paid_at = f"{paid_at[:-4]}Z"
    body = Key(bytes(book["seed"])).jws("walkpay-test-notification.v1", {"receipt": receipt, "paid_at": paid_at})
    return {"body": body, "media_type": "application/jose"}


def a_purchase(state, _case):
    return {"path": {"service_number": state.purchase()}}


def refund_order(state, _case):
    return {"path": {"service_number": state.purchase()}, "headers": {"idempotency-key": state.key()}, "body": {}}


# By operationId: a function of the state and of the generated case, whose answer may have `path` and `query` (parameters to
# set; None takes one away), `headers` (to set), `body` and its `media_type` (instead of the generated one), `device` (who signs) and `succeeded` (called after a 2xx).
BUILDERS = {
    "enrol": enrol,
    "rotate_keys": rotate_keys,
    "put_hold": put_hold,
    "put_attempt": put_attempt,
    "put_cancellation": put_cancellation,
    "catalogue_manifest": of_store,
    "catalogue_data": catalogue_data,
    "revocations": of_group,
    "spend_passes": of_group,
    "spent_passes": of_group,
    "check": check,
    "decide": decide,
    "hand_in": hand_in,
    "hand_in_bulk": hand_in_bulk,
    "service_order": an_order,
    "order_versions": an_order,
    "submit_order": submit_order,
    "confirm_order": change({"decision": "confirm"}),
    "modify_order": change({"fields": {"remarks": "Second floor"}, "reason": "completed"}),
    "withdraw_order": change({"reason": "cancelled"}),
    "redeliver": redeliver,
    "payer_order": payer_order,
    "make_slip": make_slip,
    "slip": of_slip,
    "close_slip": of_slip,
    "put_payment": put_payment,
    "payment": of_payment,
    "close_payment": of_payment,
    "service_refunds": an_order,
    "service_refund": service_refund,
    "pay_trade": pay_trade,
    "test_notification": notified,
    "order_refunds": a_purchase,
    "refund_order": refund_order,
}
