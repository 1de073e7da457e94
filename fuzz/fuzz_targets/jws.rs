#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| walkpay_fuzz::wire::jws(data));
