//! Workbooks: XLSX, XLS and ODS.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|payload: &[u8]| muster_fuzz::read(payload, None));
