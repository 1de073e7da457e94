package org.walkpay

import java.nio.file.Files
import java.nio.file.Path
import java.util.concurrent.TimeUnit

/** A merchant of the demo store in a process of its own, on a free port and an empty folder. */
class Merchant(private val folder: Path) : AutoCloseable {
    private val process: Process =
        ProcessBuilder(
                System.getProperty("walkpay.merchant"),
                "serve", "--listen", "127.0.0.1:0", "--data", folder.resolve("data").toString(), "--demo", "--sim", "--no-qr",
            )
            .redirectError(Files.createDirectories(folder).resolve("merchant.log").toFile())
            .start()
    private val lines = process.inputStream.bufferedReader()

    val url = after("listening on ")
    val user = after("user: ")
    val enrolmentCode = after("enrolment code: ")

    private fun after(prefix: String): String {
        while (true) {
            val line = lines.readLine() ?: error("the merchant ended early: ${folder.resolve("merchant.log").toFile().readText()}")
            if (line.startsWith(prefix)) return line.removePrefix(prefix)
        }
    }

    override fun close() {
        process.destroy()
        check(process.waitFor(30, TimeUnit.SECONDS)) { "the merchant does not stop" }
    }
}

/** A host's own place for secrets: proves that the library can call back into Kotlin. */
class MapVault : KeyVault {
    val secrets = java.util.concurrent.ConcurrentHashMap<String, ByteArray>()

    override fun get(name: String): ByteArray? = secrets[name]

    override fun put(name: String, value: ByteArray) {
        secrets[name] = value
    }

    override fun delete(name: String) {
        secrets.remove(name)
    }
}
