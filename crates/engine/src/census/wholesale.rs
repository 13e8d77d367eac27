//! The census of a payload of which no row is known: rows are read by all cores, a block at a time, and noted in order.

use std::io::Read;

use muster_domain::in_order::in_order;
use muster_intake::{
    IntakeError,
    csv::{Place, Records},
};

use super::{Looked, Taking, read_rows};

/// Rows read at a time, at most.
const ROWS: usize = 8192;

/// Some rows on their way through a reader and back.
#[derive(Default)]
struct Block {
    bytes: Vec<u8>,
    places: Vec<Place>,
    /// Whether the hash of name with birth date is asked for.
    keeping: bool,
    usual: super::Usual,
    read: Vec<Looked>,
}

impl Taking<'_> {
    /// Reads all rows.
    ///
    /// # Errors
    /// If the payload as a whole cannot be read.
    pub(super) fn wholesale<R: Read>(&mut self, records: &mut Records<R>) -> Result<(), IntakeError> {
        let how = self.how;
        let next = |taking: &mut Self, block: &mut Block| taking.fill(records, block);
        let read = |block: &mut Block| {
            block.read = read_rows(how, block.usual, &block.bytes, &block.places, block.keeping);
        };
        let note = |taking: &mut Self, block: &mut Block| {
            taking.note_all(&block.bytes, &block.places, std::mem::take(&mut block.read));
            Ok(())
        };
        in_order(self, next, read, note)
    }

    /// Fills a block with the next rows; `false` at the end.
    fn fill<R: Read>(&mut self, records: &mut Records<R>, block: &mut Block) -> Result<bool, IntakeError> {
        let bytes = records.next_some(ROWS, &mut block.places)?;
        let (Some(first), Some(last)) = (block.places.first(), block.places.last()) else { return Ok(false) };
        let (from, to) = (first.start, last.end);
        block.bytes.clear();
        block.bytes.extend_from_slice(&bytes[from..to]);
        for place in &mut block.places {
            (place.start, place.end) = (place.start - from, place.end - from);
        }
        self.census.rows += block.places.len() as u64;
        self.learn(&block.bytes, &block.places);
        (block.keeping, block.usual) = (self.keeping, self.usual.unwrap_or_default());
        Ok(true)
    }
}
