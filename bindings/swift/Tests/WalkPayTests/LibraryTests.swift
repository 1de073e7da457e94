import XCTest

@testable import WalkPay

final class LibraryTests: XCTestCase {
    func testTheLibraryOfThisBuildMatchesTheGeneratedCode() {
        uniffiEnsureWalkpayInitialized()
    }
}
