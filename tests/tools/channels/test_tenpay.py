"""The simulated WeChat Pay, used by PyPI `wechatpayv3`."""

import json
from unittest import mock

import pytest
import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from wechatpayv3 import WeChatPay, WeChatPayType

PLATFORM = "https://api.mch.weixin.qq.com"


@pytest.fixture(scope="module")
def console(merchant):
    """What the merchant's console shows."""
    return requests.get(f"{merchant}/sim/tenpay/credentials", timeout=60).json()


@pytest.fixture(autouse=True)
def at_the_simulator(merchant):
    """Only the platform's address is another one: the client has no setting for it."""

    def redirected(call):
        def send(url, **more):
            assert url.startswith(PLATFORM)
            return call(url=url.replace(PLATFORM, f"{merchant}/sim/tenpay"), **more)

        return send

    with mock.patch("wechatpayv3.core.requests") as changed:
        changed.get, changed.post = redirected(requests.get), redirected(requests.post)
        yield


def client(console, receiver, kind=WeChatPayType.NATIVE, **changes):
    """A client with these changes to what the console shows."""
    settings = {
        "mchid": console["mchid"],
        "private_key": console["private_key"],
        "cert_serial_no": console["serial_no"],
        "appid": console["appid"],
        "apiv3_key": console["api_v3_key"],
        "notify_url": receiver.url,
    }
    return WeChatPay(kind, **{**settings, **changes})


def decide(merchant, code, action):
    """The payer confirms or cancels."""
    form = {"pr": code, "action": action}
    return requests.post(f"{merchant}/sim/tenpay/cashier", data=form, timeout=60).status_code


def asked(answer):
    """Status and content of an answer."""
    status, text = answer
    return status, json.loads(text) if text else None


def test_an_order_is_made_paid_notified_and_given_back(merchant, console, receiver):
    pay = client(console, receiver)
    status, made = asked(pay.pay(description="洗衣机的配送", out_trade_no="python-01", amount={"total": 1000}))
    assert status == 200 and made["code_url"].startswith("weixin://wxpay/bizpayurl?pr=")
    assert asked(pay.query(out_trade_no="python-01"))[1]["trade_state"] == "NOTPAY"
    assert decide(merchant, made["code_url"], "pay") == 200

    headers, body = receiver.next()
    headers = {name.lower(): value for name, value in headers.items()}
    inside = pay.callback(headers, body)["resource"]
    assert (inside["out_trade_no"], inside["trade_state"], inside["amount"]["total"]) == ("python-01", "SUCCESS", 1000)
    assert pay.callback(headers, body + " ") is None
    named = {"public_key": console["public_key"], "public_key_id": headers["wechatpay-serial"]}
    assert client(console, receiver, apiv3_key="0" * 32, **named).decrypt_callback(headers, body) is None

    paid = asked(pay.query(transaction_id=inside["transaction_id"]))[1]
    assert paid["out_trade_no"] == "python-01"
    amount = {"refund": 300, "total": 1000, "currency": "CNY"}
    status, refund = asked(pay.refund(out_trade_no="python-01", out_refund_no="python-r1", amount=amount))
    assert (status, refund["status"], refund["amount"]["refund"]) == (200, "SUCCESS", 300)
    assert asked(pay.query_refund("python-r1"))[1] == refund
    assert asked(pay.query(out_trade_no="python-01"))[1]["trade_state"] == "REFUND"


def test_a_prepayment_inside_wechat(merchant, console, receiver):
    pay = client(console, receiver, WeChatPayType.JSAPI)
    payer = {"openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"}
    status, made = asked(pay.pay(description="Tea", out_trade_no="python-02", amount={"total": 1}, payer=payer))
    assert status == 200
    package = f"prepay_id={made['prepay_id']}"
    parameters = {"appId": console["appid"], "timeStamp": "1", "nonceStr": "n", "package": package, "signType": "RSA"}
    parameters["paySign"] = pay.sign([console["appid"], "1", "n", package])
    page = requests.get(f"{merchant}/sim/tenpay/jsapi", params=parameters, timeout=60)
    assert page.status_code == 200 and "¥0.01" in page.text


def test_what_is_closed_is_closed(console, receiver):
    pay = client(console, receiver)
    order = {"description": "Tea", "out_trade_no": "python-03", "amount": {"total": 1}}
    assert pay.pay(**order)[0] == 200
    assert pay.close("python-03")[0] == 204
    assert asked(pay.query(out_trade_no="python-03"))[1]["trade_state"] == "CLOSED"
    status, problem = asked(pay.pay(**order))
    assert (status, problem["code"]) == (400, "ORDER_CLOSED")
    status, problem = asked(pay.query(out_trade_no="python-99"))
    assert (status, problem["code"]) == (404, "ORDER_NOT_EXIST")


def test_nobody_else_is_answered(console, receiver):
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    with pytest.raises(Exception, match="certificate"):
        client(console, receiver, private_key=key.private_bytes(*form).decode())


def test_the_platforms_public_key_in_place_of_certificates(console, receiver):
    named = {"public_key": console["public_key"], "public_key_id": console["public_key_id"]}
    pay = client(console, receiver, **named)
    assert asked(pay.query(out_trade_no="python-99"))[0] == 404
    assert pay.pay(description="Tea", out_trade_no="python-04", amount={"total": 1})[0] == 200


def test_certificates_rotate(merchant, console, receiver):
    pay = client(console, receiver)
    rotated = requests.post(f"{merchant}/sim/tenpay/certificates/rotation", timeout=60).json()
    assert rotated["serial_no"] not in {c["serial_no"] for c in console["certificates"]}
    assert asked(pay.query(out_trade_no="python-01"))[1]["trade_state"] == "REFUND", "the client fetches the new one"
