"""The shopping trip from enrolment to debit, against a merchant in another process."""

import asyncio
import datetime

import pytest
import walkpay
from merchant import Merchant
from walkpay import Money, Quantity, ScanInput, Terminal, TerminalConfig, WalkpayError

MINUTE = datetime.timedelta(minutes=1)


class DictVault(walkpay.KeyVault):
    """A host's own place for secrets: proves that the library can call back into Python."""

    def __init__(self):
        self.secrets = {}

    def get(self, name):
        return self.secrets.get(name)

    def put(self, name, value):
        self.secrets[name] = value

    def delete(self, name):
        self.secrets.pop(name, None)


def scan(text):
    return ScanInput(data=text.encode(), aim=None, symbology=None)


async def first(terminal, wanted):
    async for event in walkpay.events(terminal, 0):
        if wanted(event.kind):
            return event


async def shop(merchant, folder):
    vault = DictVault()
    terminal = await Terminal.open(TerminalConfig(folder=str(folder)), vault)
    enrolled = await terminal.enrol(merchant.enrolment_code)
    assert enrolled.user.user_name == merchant.user
    assert vault.secrets, "the keys' secret is in the host's vault"
    user = await terminal.sign_in(merchant.user)
    assert await terminal.wait_confirmation(MINUTE)

    store = user.stores[0]
    assert (await terminal.sync_catalogue(store.store_id)).catalogue.articles >= 200
    trip = await terminal.start_trip(store.store_id, walkpay.ForwardPolicy.PREFER_ONLINE)

    with pytest.raises(WalkpayError.WrongOrder) as wrong:
        await trip.sign_and_submit()
    assert not wrong.value.is_retryable()
    assert wrong.value.explain()

    await trip.request_hold(Money(minor=10_000, currency=store.currency))
    await first(terminal, lambda kind: kind.is_hold() and kind.result.status == walkpay.HoldStatus.PLACED)

    await trip.scan(scan("]E05449000000996"))
    await trip.scan(scan("]E04000417304001"), Quantity.PIECES(2))
    weighed = ScanInput(data=b"2700000000014", aim="]E0", symbology=None)
    last = await trip.scan(weighed, Quantity.GRAMS(740))
    assert last.basket.lines[-1].quantity == Quantity.GRAMS(740)
    with pytest.raises(WalkpayError.Barcode):
        await trip.scan(scan("]E03017620422004"))

    review = await trip.review()
    assert review.priced.total == last.basket.total
    await trip.sign_and_submit()
    validation = await trip.wait_validation(MINUTE)
    assert validation.verdict == walkpay.Verdict.ACCEPTED, validation.reasons
    assert validation.total == review.priced.total
    exit_pass = await trip.exit_pass()
    assert len(exit_pass.modules) == exit_pass.size**2

    debit = await first(terminal, lambda kind: kind.is_debit())
    result = debit.kind.result
    assert result.status == walkpay.DebitStatus.DEBITED
    assert sum(leg.amount.minor for leg in result.legs) == review.priced.total.minor
    await terminal.ack_events(debit.number)
    assert await terminal.acked_events() == debit.number
    await terminal.shutdown()


def test_a_shopper_scans_signs_walks_and_is_debited(tmp_path):
    with Merchant(tmp_path / "merchant") as merchant:
        asyncio.run(asyncio.wait_for(shop(merchant, tmp_path / "terminal"), 180))
