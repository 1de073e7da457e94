package org.walkpay

import kotlin.test.Test
import kotlin.test.assertContains
import kotlin.test.assertNotNull

/** Apps shrink their code: without these rules the library would load and then fail at the first call. */
class ConsumerRulesTest {
    @Test
    fun `the archive carries the rules that keep what is found by name`() {
        val rules = javaClass.getResource("/META-INF/proguard/walkpay.pro")
        val text = assertNotNull(rules, "META-INF/proguard/walkpay.pro is not in the archive").readText()
        assertContains(text, "-keep class com.sun.jna.** { *; }")
        assertContains(text, "-keepclassmembers class * extends com.sun.jna.Structure { *; }")
        assertContains(text, "-keep class org.walkpay.** { *; }")
    }

    @Test
    fun `the library of this build loads and matches the generated code`() {
        uniffiEnsureInitialized()
    }
}
