//! Feeds what libFuzzer makes up to [`dispatch_fuzz::conversations`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dispatch_fuzz::conversations(bytes));
