// swift-tools-version: 6.0
// `cargo xtask test --only swift` puts the generated sources and the library in their places and runs the tests.
import PackageDescription

let package = Package(
    name: "WalkPay",
    products: [.library(name: "WalkPay", targets: ["WalkPay"])],
    targets: [
        .systemLibrary(name: "WalkPayFFI", path: "Sources/WalkPayFFI"),
        .target(
            name: "WalkPay",
            dependencies: ["WalkPayFFI"],
            // The generated code is written for language mode 5.
            swiftSettings: [.swiftLanguageMode(.v5)],
            linkerSettings: [.linkedLibrary("walkpay", .when(platforms: [.linux]))]
        ),
        .testTarget(name: "WalkPayTests", dependencies: ["WalkPay"], swiftSettings: [.swiftLanguageMode(.v5)]),
    ]
)
