"""The simulated Alipay, used by PyPI `python-alipay-sdk`; and requests of ours, signed by it too."""

import json
from pathlib import Path
from urllib.parse import parse_qsl

import pytest
import requests
from alipay import AliPay
from alipay.exceptions import AliPayValidationError
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa


@pytest.fixture(scope="module")
def console(merchant):
    """What the application's console shows."""
    return requests.get(f"{merchant}/sim/alipay/credentials", timeout=60).json()


@pytest.fixture(scope="module")
def alipay(merchant, console, receiver):
    """A client of the application."""
    return client(merchant, console, receiver)


def client(merchant, console, receiver, **changes):
    """A client with these changes to what the console shows."""
    settings = {
        "appid": console["app_id"],
        "app_notify_url": receiver.url,
        "app_private_key_string": console["app_private_key"],
        "alipay_public_key_string": console["alipay_public_key"],
        "sign_type": "RSA2",
        **changes,
    }
    sdk = AliPay(**settings)
    # It has no setting for it.
    sdk._gateway = f"{merchant}/sim/alipay/gateway.do"
    return sdk


def decide(address, action):
    """The payer opens a code or page, and decides at the cashier."""
    page = requests.get(address, timeout=60)
    assert page.status_code == 200
    assert requests.post(page.url, data={"action": action}, timeout=60).status_code == 200


def told(alipay, receiver):
    """The next notification, whose signature is verified."""
    _, body = receiver.next()
    params = dict(parse_qsl(body, strict_parsing=True))
    sign = params.pop("sign")
    assert alipay.verify(dict(params), sign)
    assert not alipay.verify({**params, "total_amount": "0.01"}, sign)
    return params


def status(alipay, number):
    """How a trade stands."""
    answer = alipay.server_api("alipay.trade.query", {"out_trade_no": number})
    return answer.get("trade_status", answer.get("sub_code"))


def test_a_code_is_made_scanned_paid_notified_and_given_back(alipay, receiver):
    made = alipay.api_alipay_trade_precreate("Tee für 茶", "py-1", 10.5)
    assert made["code"] == "10000"
    assert status(alipay, "py-1") == "ACQ.TRADE_NOT_EXIST"
    requests.get(made["qr_code"], timeout=60)
    assert status(alipay, "py-1") == "WAIT_BUYER_PAY"
    decide(made["qr_code"], "confirm")
    params = told(alipay, receiver)
    assert (params["out_trade_no"], params["trade_status"], params["total_amount"]) == ("py-1", "TRADE_SUCCESS", "10.50")
    assert status(alipay, "py-1") == "TRADE_SUCCESS"
    refund = {"out_trade_no": "py-1", "refund_amount": "4.00", "out_request_no": "r1"}
    assert alipay.api_alipay_trade_refund(**refund)["fund_change"] == "Y"
    assert alipay.api_alipay_trade_refund(**refund)["fund_change"] == "N"
    assert told(alipay, receiver)["refund_fee"] == "4.00"
    asked = alipay.api_alipay_trade_fastpay_refund_query("r1", out_trade_no="py-1")
    assert (asked["refund_status"], asked["refund_amount"]) == ("REFUND_SUCCESS", "4.00")


def test_a_page_is_paid(alipay, receiver):
    query = alipay.api_alipay_trade_page_pay("Tea", "py-2", "2.50")
    decide(f"{alipay._gateway}?{query}", "confirm")
    assert told(alipay, receiver)["out_trade_no"] == "py-2"
    assert status(alipay, "py-2") == "TRADE_SUCCESS"


def test_what_is_not_paid_is_closed(alipay):
    made = alipay.api_alipay_trade_precreate("Tea", "py-3", "1.00")
    close = {"out_trade_no": "py-3"}
    assert alipay.server_api("alipay.trade.close", close)["sub_code"] == "ACQ.TRADE_NOT_EXIST"
    decide(made["qr_code"], "cancel")
    assert alipay.server_api("alipay.trade.close", close)["code"] == "10000"
    assert status(alipay, "py-3") == "TRADE_CLOSED"


def test_neither_side_takes_a_signature_of_somebody_else(merchant, console, receiver):
    private, public = texts(rsa.generate_private_key(public_exponent=65537, key_size=2048))
    stranger = client(merchant, console, receiver, app_private_key_string=private)
    assert status(stranger, "py-1") == "isv.invalid-signature"
    deceived = client(merchant, console, receiver, alipay_public_key_string=public)
    with pytest.raises(AliPayValidationError):
        status(deceived, "py-1")


VECTORS = json.loads((Path(__file__).resolve().parents[2] / "vectors/alipay.json").read_text("utf-8"))["alipay"]


def texts(key):
    """Both halves of a key, as PEM."""
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    public = key.public_key().public_bytes(form[0], serialization.PublicFormat.SubjectPublicKeyInfo)
    return key.private_bytes(*form).decode(), public.decode()


@pytest.fixture(scope="module")
def signer():
    """A client with the key of the vectors, which all have the same."""
    (text,) = {vector["app_key"] for vector in VECTORS}
    private, public = texts(serialization.load_pem_private_key(text.encode(), None))
    keys = {"app_private_key_string": private, "alipay_public_key_string": public}
    return AliPay(appid="1", app_notify_url=None, sign_type="RSA2", **keys)


@pytest.mark.parametrize("vector", VECTORS, ids=[v["name"] for v in VECTORS])
def test_our_requests_are_signed_as_this_client_signs_them(signer, vector):
    params = dict(vector["params"])
    sign = params.pop("sign")
    assert json.loads(params["biz_content"])
    signed = dict(parse_qsl(signer.sign_data(params), strict_parsing=True))
    assert signed["sign"] == sign
