package org.walkpay

import java.time.Duration
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.flow

/** One wait for an event: long enough to be quiet, short enough to notice a terminal that was shut down. */
private val WAIT: Duration = Duration.ofSeconds(25)

/**
 * The events above [after] of the user who is signed in, as they come, until the collector stops or the terminal ends.
 * None is lost by stopping: acknowledge with [Terminal.ackEvents] what has been dealt with.
 */
fun Terminal.events(after: ULong): Flow<HostEvent> = flow {
    var last = after
    while (true) {
        val event = nextEvent(last, WAIT) ?: continue
        emit(event)
        last = event.number
    }
}

/** Scans what a keyboard wedge typed. */
suspend fun Trip.scan(text: String, quantity: Quantity? = null): ScanOutcome =
    scan(ScanInput(text.toByteArray(), null, null), quantity)
