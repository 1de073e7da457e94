package org.walkpay

import java.nio.file.Path
import java.time.Duration
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertFalse
import kotlin.test.assertNotNull
import kotlin.test.assertTrue
import kotlin.time.Duration.Companion.minutes
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeout
import org.junit.jupiter.api.io.TempDir

/** The shopping trip from enrolment to debit, against a merchant in another process. */
class TripTest {
    @Test
    fun `a shopper scans, signs, walks and is debited`(@TempDir folder: Path) = runBlocking {
        withTimeout(3.minutes) { Merchant(folder.resolve("merchant")).use { merchant -> shop(merchant, folder) } }
    }

    private suspend fun shop(merchant: Merchant, folder: Path) {
        val vault = MapVault()
        val terminal = Terminal.open(TerminalConfig(folder = folder.resolve("terminal").toString()), vault)
        val enrolled = terminal.enrol(merchant.enrolmentCode)
        assertEquals(merchant.user, enrolled.user.userName)
        assertTrue(vault.secrets.isNotEmpty(), "the keys' secret is in the host's vault")
        val user = terminal.signIn(merchant.user)
        assertTrue(terminal.waitConfirmation(Duration.ofSeconds(60)))

        val store = user.stores.first()
        assertTrue(terminal.syncCatalogue(store.storeId).catalogue.articles >= 200UL)
        val trip = terminal.startTrip(store.storeId, ForwardPolicy.PREFER_ONLINE)

        val wrong = assertFailsWith<WalkpayException.WrongOrder> { trip.signAndSubmit() }
        assertFalse(wrong.isRetryable())
        assertTrue(wrong.explain().isNotBlank())

        trip.requestHold(Money(minor = 10_000, currency = store.currency))
        terminal.events(0UL).first { (it.kind as? HostEventKind.Hold)?.result?.status == HoldStatus.PLACED }

        trip.scan("]E05449000000996")
        trip.scan("]E04000417304001", Quantity.Pieces(2U))
        val last = trip.scan(ScanInput("2700000000014".toByteArray(), "]E0", null), Quantity.Grams(740U))
        assertEquals(Quantity.Grams(740U), last.basket.lines.last().quantity)
        assertFailsWith<WalkpayException.Barcode> { trip.scan("]E03017620422004") }

        val review = trip.review()
        assertEquals(last.basket.total, review.priced.total)
        trip.signAndSubmit()
        val validation = assertNotNull(trip.waitValidation(Duration.ofSeconds(60)))
        assertEquals(Verdict.ACCEPTED, validation.verdict, "${validation.reasons}")
        assertEquals(review.priced.total, validation.total)
        val pass = trip.exitPass()
        assertEquals((pass.size * pass.size).toInt(), pass.modules.size)

        val debit = terminal.events(0UL).first { it.kind is HostEventKind.Debit }
        val result = (debit.kind as HostEventKind.Debit).result
        assertEquals(DebitStatus.DEBITED, result.status)
        assertEquals(review.priced.total.minor, result.legs.sumOf { it.amount.minor })
        terminal.ackEvents(debit.number)
        assertEquals(debit.number, terminal.ackedEvents())

        terminal.shutdown()
        val again = Terminal.open(TerminalConfig(folder = folder.resolve("terminal").toString()), vault)
        assertEquals(trip.id(), again.apply { signIn(merchant.user) }.trips().single().tripId)
        again.shutdown()
    }
}
