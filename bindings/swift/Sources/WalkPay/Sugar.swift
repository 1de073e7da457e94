import Foundation

/// One wait for an event: long enough to be quiet, short enough to notice a terminal that was shut down.
private let wait: TimeInterval = 25

extension Terminal {
    /// The events above `after` of the user who is signed in, as they come, until the loop ends or the terminal does.
    /// None is lost by stopping: acknowledge with `ackEvents` what has been dealt with.
    public func events(after: UInt64) -> AsyncThrowingStream<HostEvent, any Error> {
        let last = LastNumber(after)
        return AsyncThrowingStream {
            while true {
                try Task.checkCancellation()
                if let event = try await self.nextEvent(after: last.value, timeout: wait) {
                    last.value = event.number
                    return event
                }
            }
        }
    }
}

extension Trip {
    /// Scans what a keyboard wedge typed.
    public func scan(text: String, quantity: Quantity? = nil) async throws -> ScanOutcome {
        try await scan(input: ScanInput(data: Data(text.utf8), aim: nil, symbology: nil), quantity: quantity)
    }
}

/// Touched by one iterator only.
private final class LastNumber: @unchecked Sendable {
    var value: UInt64

    init(_ value: UInt64) {
        self.value = value
    }
}
