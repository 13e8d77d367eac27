//! CSV and TSV in any encoding.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|payload: &[u8]| muster_fuzz::read(&[b"id,email\n", payload].concat(), None));
