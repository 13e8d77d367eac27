//! The XML of a sheet, within an archive that is in order: the first byte says whether it is XLSX or ODS.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|payload: &[u8]| muster_fuzz::read_sheet(payload));
