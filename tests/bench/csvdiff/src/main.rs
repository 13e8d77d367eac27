//! A peer of the benchmark: `csvdiff-peer par|local BEFORE AFTER` compares two files by their first column with csv-diff,
//! the crate behind `qsv diff`, writes the differing rows to standard output and the counts, as JSON, to standard error.

use csv_diff::csv::Csv;
use csv_diff::csv_diff::{CsvByteDiffBuilder, CsvByteDiffLocalBuilder};
use csv_diff::diff_row::DiffByteRecord;
use std::fs::File;
use std::io::{BufWriter, Write};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Default)]
struct Counts {
    updated: u64,
    added: u64,
    removed: u64,
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [how, before, after] = args.as_slice() else {
        eprintln!("usage: csvdiff-peer par|local BEFORE AFTER");
        std::process::exit(2);
    };
    let before = File::open(before).expect("BEFORE opens");
    let after = File::open(after).expect("AFTER opens");
    let mut out = BufWriter::new(std::io::stdout().lock());
    let mut counts = Counts::default();
    if how == "par" {
        let reader = |file| csv::ReaderBuilder::new().from_reader(file);
        let differ = CsvByteDiffBuilder::new().primary_key_columns([0]).build().expect("a differ");
        let found = differ.diff(reader(before).into(), reader(after).into());
        let rows = found.try_to_diff_byte_records().expect("readable rows");
        for row in rows.as_slice() {
            write(&mut out, row, &mut counts);
        }
    } else {
        let differ = CsvByteDiffLocalBuilder::new().primary_key_columns([0]).build().expect("a differ");
        let rows = differ.diff(Csv::with_reader_seek(before), Csv::with_reader_seek(after)).expect("readable rows");
        for row in rows.as_slice() {
            write(&mut out, row, &mut counts);
        }
    }
    out.flush().expect("standard output");
    let Counts { updated, added, removed } = counts;
    eprintln!("{{\"updated\":{updated},\"added\":{added},\"removed\":{removed}}}");
}

fn write(out: &mut impl Write, row: &DiffByteRecord, counts: &mut Counts) {
    match row {
        DiffByteRecord::Add(line) => {
            counts.added += 1;
            put(out, b"+", line.byte_record());
        }
        DiffByteRecord::Delete(line) => {
            counts.removed += 1;
            put(out, b"-", line.byte_record());
        }
        DiffByteRecord::Modify { delete, add, .. } => {
            counts.updated += 1;
            put(out, b"<", delete.byte_record());
            put(out, b">", add.byte_record());
        }
    }
}

fn put(out: &mut impl Write, sign: &[u8], record: &csv::ByteRecord) {
    out.write_all(sign).expect("standard output");
    for field in record {
        out.write_all(field).expect("standard output");
        out.write_all(b",").expect("standard output");
    }
    out.write_all(b"\n").expect("standard output");
}
