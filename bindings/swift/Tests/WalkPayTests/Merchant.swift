import Foundation

@testable import WalkPay

struct MerchantEnded: Error {}

/// A merchant of the demo store in a process of its own, on a free port and an empty folder.
final class Merchant {
    let url: String
    let user: String
    let enrolmentCode: String
    private let process = Process()
    /// `waitUntilExit` needs the run loop of the thread that started the process; an async test changes threads.
    private let ended = DispatchSemaphore(value: 0)

    init(folder: URL) throws {
        let output = Pipe()
        process.executableURL = URL(fileURLWithPath: ProcessInfo.processInfo.environment["WALKPAY_MERCHANT"] ?? "")
        process.arguments = [
            "serve", "--listen", "127.0.0.1:0", "--data", folder.path, "--demo", "--sim", "--no-qr",
        ]
        process.standardOutput = output
        process.terminationHandler = { [ended] _ in ended.signal() }
        try process.run()
        var pending = ""
        func after(_ prefix: String) throws -> String {
            while true {
                while let end = pending.firstIndex(of: "\n") {
                    let line = String(pending[..<end])
                    pending = String(pending[pending.index(after: end)...])
                    if line.hasPrefix(prefix) { return String(line.dropFirst(prefix.count)) }
                }
                let data = output.fileHandleForReading.availableData
                if data.isEmpty { throw MerchantEnded() }
                pending += String(decoding: data, as: UTF8.self)
            }
        }
        url = try after("listening on ")
        user = try after("user: ")
        enrolmentCode = try after("enrolment code: ")
    }

    /// By SIGKILL: a child inherits the signal mask of the worker thread that starts it, and those block SIGTERM.
    func stop() {
        kill(process.processIdentifier, SIGKILL)
        precondition(ended.wait(timeout: .now() + 30) == .success, "the merchant does not stop")
    }
}

/// A host's own place for secrets: proves that the library can call back into Swift.
final class MapVault: KeyVault, @unchecked Sendable {
    private let lock = NSLock()
    private var secrets: [String: Data] = [:]

    var count: Int { lock.withLock { secrets.count } }

    func get(name: String) throws -> Data? { lock.withLock { secrets[name] } }

    func put(name: String, value: Data) throws { lock.withLock { secrets[name] = value } }

    func delete(name: String) throws { lock.withLock { _ = secrets.removeValue(forKey: name) } }
}
