//! Unpacks gzip, within the limits on size and ratio.

use std::io::{self, BufReader, Read, Write};

use flate2::bufread::MultiGzDecoder;
use muster_domain::settings::Limits;

use crate::error::IntakeError;

/// Below this size no ratio is too large: a short file of blanks is no attack.
const HARMLESS: u64 = 16 << 20;

/// Judges what is unpacked while it grows.
pub(crate) struct Unpacking {
    limits: Limits,
    unpacked: u64,
}

impl Unpacking {
    pub(crate) fn new(limits: Limits) -> Self {
        Unpacking { limits, unpacked: 0 }
    }

    /// Counts bytes that came out, of `packed` bytes so far.
    pub(crate) fn add(&mut self, bytes: u64, packed: u64) -> Result<(), IntakeError> {
        self.unpacked = self.unpacked.saturating_add(bytes);
        let most = u64::from(self.limits.unpacked_mb);
        if self.unpacked > most << 20 {
            return Err(IntakeError::Limit { what: "unpacks to too much".to_owned(), key: "limits.unpacked_mb", most });
        }
        let ratio = u64::from(self.limits.ratio);
        if self.unpacked > HARMLESS && self.unpacked / packed.max(1) > ratio {
            return Err(IntakeError::Limit {
                what: "becomes too many times larger when it is unpacked".to_owned(),
                key: "limits.ratio",
                most: ratio,
            });
        }
        Ok(())
    }
}

/// Unpacks a payload into `out`.
pub(crate) fn unpack(packed: impl Read, limits: Limits, out: &mut impl Write) -> Result<(), IntakeError> {
    let mut decoder = MultiGzDecoder::new(BufReader::with_capacity(1 << 16, Counting { reader: packed, bytes: 0 }));
    let mut unpacking = Unpacking::new(limits);
    let mut buffer = vec![0; 1 << 17];
    loop {
        let n = match decoder.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(broken(&e)),
        };
        unpacking.add(n as u64, decoder.get_ref().get_ref().bytes)?;
        out.write_all(&buffer[..n])?;
    }
}

fn broken(error: &io::Error) -> IntakeError {
    IntakeError::damaged(match error.kind() {
        io::ErrorKind::UnexpectedEof => {
            "The gzip file breaks off before its end, so something was lost on its way; send it again."
        }
        _ => "The gzip file is damaged and cannot be unpacked; pack it and send it again.",
    })
}

/// Counts what is read.
struct Counting<R> {
    reader: R,
    bytes: u64,
}

impl<R: Read> Read for Counting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.reader.read(buffer)?;
        self.bytes += n as u64;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn packed(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn unpacked(bytes: &[u8], limits: Limits) -> Result<Vec<u8>, String> {
        let mut out = Vec::new();
        unpack(bytes, limits, &mut out).map(|()| out).map_err(|e| e.to_string())
    }

    #[test]
    fn what_was_packed_comes_out_even_in_several_pieces() {
        let both = [packed(b"id,name\n"), packed(b"1,Ann\n")].concat();
        assert_eq!(unpacked(&both, Limits::default()).unwrap(), b"id,name\n1,Ann\n");
    }

    #[test]
    fn a_cut_or_damaged_file_is_one_sentence() {
        let whole = packed(&b"id,name\n1,Ann\n".repeat(50));
        for end in 2..whole.len() {
            let why = unpacked(&whole[..end], Limits::default()).unwrap_err();
            assert!(why.contains("breaks off") || why.contains("damaged"), "cut at {end}: {why}");
        }
        let mut damaged = whole.clone();
        let middle = damaged.len() - 6;
        damaged[middle] ^= 0xFF;
        assert!(unpacked(&damaged, Limits::default()).unwrap_err().contains("damaged"));
    }

    #[test]
    fn what_grows_too_large_is_refused_and_the_limit_named() {
        let blanks = packed(&vec![b' '; 40 << 20]);
        assert!(unpacked(&blanks, Limits::default()).unwrap_err().contains("limits.ratio is 250"));
        let mean = Limits { unpacked_mb: 1, ..Limits::default() };
        assert!(unpacked(&blanks, mean).unwrap_err().contains("limits.unpacked_mb is 1"));
        let generous = Limits { ratio: 2000, ..Limits::default() };
        assert_eq!(unpacked(&blanks, generous).unwrap().len(), 40 << 20);
    }
}
