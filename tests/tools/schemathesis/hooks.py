"""Hooks of schemathesis: credentials by path, valid requests in the place of half of the generated ones, a record of calls."""

import hashlib
import json
import os
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import schemathesis
from schemathesis.core import NOT_SET
from schemathesis.core.failures import Failure

from builders import BUILDERS, State
from merchant import Merchant
from shopper import Signature

STATE = State(Merchant.from_environment())
CALLS = open(os.environ["WALKPAY_CALLS"], "a", encoding="utf-8", buffering=1)
# What was built, by the identifier of its case.
BUILT = {}


def device_signature(case):
    """RFC 9421 by the device's request key."""
    case._auth = Signature(STATE.device())


def payer_signature(case):
    """The same by the device of the user who pays."""
    case._auth = Signature(STATE.payer()[1])


def bearer(token):
    """`Authorization: Bearer`, with what `token` gives."""

    def set_on(case):
        case.headers["Authorization"] = f"Bearer {token()}"

    return set_on


# By the beginning of the path; the first that fits. What fits none goes without.
CREDENTIALS = {
    "/terminal/v1/enrolments": None,
    "/terminal/v1/keys": None,
    "/terminal/v1/": device_signature,
    "/payer/v1/": payer_signature,
    "/gate/v1/": bearer(STATE.gate_token),
    "/staff/v1/": bearer(STATE.staff_token),
    "/query/v1/": bearer(STATE.staff_token),
    "/service/v1/": bearer(STATE.source_key),
}


def credentials_of(path):
    """How requests of this path identify themselves, or None."""
    return next((credentials for prefix, credentials in CREDENTIALS.items() if path.startswith(prefix)), None)


@schemathesis.serializer("application/jose")
def token(ctx, value):
    """A text as it is."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")


@schemathesis.serializer("application/x-ndjson")
def lines(ctx, value):
    """A text of lines as it is."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")


@schemathesis.auth(refresh_interval=None, retry_on=[])
class Credentials:
    """Sets the credentials of the path."""

    def get(self, case, context):
        return credentials_of(case.path)

    def set(self, case, data, context):
        data(case)


@schemathesis.hook
def before_call(context, case, kwargs):
    """Puts a valid request in the place of a generated one where its operation has a builder."""
    operation_id = case.operation.definition.raw.get("operationId")
    if operation_id == "events":
        answer_at_once(case)
    builder = BUILDERS.get(operation_id)
    if builder is None or not positive(case) or not chosen(case):
        return
    built = builder(STATE, case)
    # New ones: cases may share theirs.
    case.path_parameters = changed(case.path_parameters, built.get("path", {}))
    case.query = changed(case.query, built.get("query", {}))
    if "body" in built:
        case.body = built["body"]
        case.media_type = built.get("media_type", "application/json")
    for name, value in built.get("headers", {}).items():
        case.headers[name] = value
    if "device" in built:
        case._auth = Signature(built["device"])
    BUILT[case.id] = built


@schemathesis.hook
def after_call(context, case, response):
    """Writes down what was answered."""
    built = BUILT.get(case.id)
    success = 200 <= response.status_code < 300
    if built is not None and success and "succeeded" in built:
        built["succeeded"]()
    call = {
        "operation": case.operation.definition.raw.get("operationId"),
        "method": case.method,
        "status": response.status_code,
        "built": built is not None,
        "phase": case.meta.phase.name.value if case.meta is not None else None,
    }
    CALLS.write(json.dumps(call) + "\n")


class BuiltRequestRefused(Failure):
    """A request that was built to be valid was refused."""


@schemathesis.check
def built_request_is_accepted(ctx, response, case):
    """A request that was built to be valid is answered with 2xx."""
    if case.id in BUILT and not 200 <= response.status_code < 300:
        raise BuiltRequestRefused(
            operation=case.operation.label,
            title="A valid request was refused",
            message=f"{response.status_code}: {response.text}",
        )


def positive(case):
    """Whether everything about the case is as the document says, method included."""
    meta = case.meta
    return meta is not None and meta.generation.mode.is_positive and case.method == case.operation.method.upper()


def chosen(case):
    """Half of the cases, told by what was generated, so that the same case is always treated alike; all examples."""
    if case.meta.phase.name.value == "examples":
        return True
    body = None if case.body is NOT_SET else case.body
    text = json.dumps([case.path_parameters, dict(case.query), body], sort_keys=True, default=repr)
    return hashlib.sha256(text.encode()).digest()[0] % 2 == 0


def changed(parameters, changes):
    """The parameters with changes; None takes one away."""
    return {name: value for name, value in {**parameters, **changes}.items() if value is not None}


def answer_at_once(case):
    """A poll that would wait asks from the log's beginning, where something is: nobody waits for the poll's whole time."""
    if whole(case.query.get("wait")) and whole(case.query.get("after", "0")) is not None:
        case.query = changed(case.query, {"after": 0})


def whole(value):
    """The number that a parameter says, or None."""
    return int(str(value)) if re.fullmatch("[0-9]{1,16}", str(value)) else None
