//! Feeds what libFuzzer makes up to [`dispatch_fuzz::reports`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dispatch_fuzz::reports(bytes));
