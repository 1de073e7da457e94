import XCTest

@testable import WalkPay

/// The shopping trip from enrolment to debit, against a merchant in another process.
final class TripTests: XCTestCase {
    func testAShopperScansSignsWalksAndIsDebited() async throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
        defer { try? FileManager.default.removeItem(at: folder) }
        let merchant = try Merchant(folder: folder.appendingPathComponent("merchant"))
        defer { merchant.stop() }

        let vault = MapVault()
        let config = TerminalConfig(folder: folder.appendingPathComponent("terminal").path)
        let terminal = try await Terminal.open(config: config, vault: vault)
        let enrolled = try await terminal.enrol(codeText: merchant.enrolmentCode)
        XCTAssertEqual(enrolled.user.userName, merchant.user)
        XCTAssertGreaterThan(vault.count, 0, "the keys' secret is in the host's vault")
        let user = try await terminal.signIn(userName: merchant.user)
        let confirmed = try await terminal.waitConfirmation(timeout: 60)
        XCTAssertTrue(confirmed)

        let store = try XCTUnwrap(user.stores.first)
        let synced = try await terminal.syncCatalogue(storeId: store.storeId)
        XCTAssertGreaterThanOrEqual(synced.catalogue.articles, 200)
        let trip = try await terminal.startTrip(storeId: store.storeId, policy: .preferOnline)

        do {
            try await trip.signAndSubmit()
            XCTFail("nothing was reviewed")
        } catch let error as WalkpayError {
            guard case .WrongOrder = error else { return XCTFail("\(error)") }
            XCTAssertFalse(error.isRetryable())
            XCTAssertFalse(error.explain().isEmpty)
        }

        try await trip.requestHold(amount: Money(minor: 10_000, currency: store.currency))
        _ = try await first(of: terminal) { kind in
            if case .hold(let result) = kind { return result.status == .placed } else { return false }
        }

        _ = try await trip.scan(text: "]E05449000000996")
        _ = try await trip.scan(text: "]E04000417304001", quantity: .pieces(count: 2))
        let weighed = ScanInput(data: Data("2700000000014".utf8), aim: "]E0", symbology: nil)
        let last = try await trip.scan(input: weighed, quantity: .grams(grams: 740))
        XCTAssertEqual(last.basket.lines.last?.quantity, .grams(grams: 740))

        let review = try await trip.review()
        XCTAssertEqual(review.priced.total, last.basket.total)
        try await trip.signAndSubmit()
        let answer = try await trip.waitValidation(timeout: 60)
        let validation = try XCTUnwrap(answer)
        XCTAssertEqual(validation.verdict, .accepted, "\(validation.reasons)")
        XCTAssertEqual(validation.total, review.priced.total)
        let pass = try await trip.exitPass()
        XCTAssertEqual(pass.modules.count, Int(pass.size * pass.size))

        let debit = try await first(of: terminal) { kind in
            if case .debit = kind { return true } else { return false }
        }
        guard case .debit(let result) = debit.kind else { return XCTFail("\(debit)") }
        XCTAssertEqual(result.status, .debited)
        XCTAssertEqual(result.legs.map(\.amount.minor).reduce(0, +), review.priced.total.minor)
        try await terminal.ackEvents(upTo: debit.number)
        try await terminal.shutdown()
    }

    private func first(of terminal: Terminal, where wanted: (HostEventKind) -> Bool) async throws -> HostEvent {
        for try await event in terminal.events(after: 0) where wanted(event.kind) {
            return event
        }
        throw MerchantEnded()
    }
}
