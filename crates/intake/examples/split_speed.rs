//! Measures how fast a CSV file is split into records, keys and rows: `split_speed FILE [rows]`.

use std::{collections::BTreeMap, fs::File, hint::black_box, time::Instant};

use muster_domain::{
    field::{FieldId, Fields},
    normalise::DateOrder,
};
use muster_intake::{
    KeyScratch, Reader, Row,
    csv::{CellBuffer, open},
    headers::resolve,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).unwrap_or("/tmp/bench/1m/after.csv".to_owned());
    let size = std::fs::metadata(&path)?.len() as f64;
    let only = std::env::args().nth(2);
    for what in ["records", "keys", "identifiers", "cells", "rows"] {
        if only.as_deref().is_some_and(|only| only != what) {
            continue;
        }
        let mut best = f64::MAX;
        let mut rows = 0;
        for _ in 0..5 {
            let start = Instant::now();
            rows = run(&path, what)?;
            best = best.min(start.elapsed().as_secs_f64());
        }
        println!("{what:12} {rows} rows in {:6.1} ms, {:.2} GB/s", best * 1e3, size / best / 1e9);
    }
    Ok(())
}

fn run(path: &str, what: &str) -> Result<u64, Box<dyn std::error::Error>> {
    let mut opened = open(File::open(path)?, None)?;
    let fields = Fields::default();
    let columns = resolve(&opened.header, &fields, FieldId::EMPLOYEE_ID, &BTreeMap::new())?;
    let reader = Reader::new(columns, &fields, "", DateOrder::Iso);
    let delimiter = opened.dialect.delimiter;
    let (mut cells, mut row, mut scratch) = (CellBuffer::default(), Row::default(), KeyScratch::default());
    let mut rows = 0;
    while let Some(raw) = opened.records.next()? {
        match what {
            "keys" => reader.key(raw.bytes, delimiter, &mut scratch)?,
            "identifiers" => reader.identifiers(raw.bytes, delimiter, &mut scratch)?,
            "cells" => drop(black_box(cells.split(raw.bytes, delimiter)?)),
            "rows" => reader.read(&cells.split(raw.bytes, delimiter)?, raw.line, &mut row)?,
            _ => drop(black_box(raw)),
        }
        rows += 1;
    }
    black_box((&row, scratch.key_norm()));
    Ok(rows)
}
