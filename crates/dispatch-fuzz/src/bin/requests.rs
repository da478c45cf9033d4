//! Feeds what libFuzzer makes up to [`dispatch_fuzz::requests`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dispatch_fuzz::requests(bytes));
