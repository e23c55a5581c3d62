//! One harness for every target: the environment variable SHOAL_FUZZ_TARGET names it.
#![no_main]

use std::sync::OnceLock;

static TARGET: OnceLock<String> = OnceLock::new();

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let name = TARGET.get_or_init(|| std::env::var("SHOAL_FUZZ_TARGET").expect("SHOAL_FUZZ_TARGET names a target"));
    fuzz_targets::run(name, input);
});
