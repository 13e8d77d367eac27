//! The lines of an event as they are kept: salts in the clear, lines under zstd.
//!
//! `[1][count u32][erased u32][(index u32, leaf 32)*][salt 16]*count[zstd of the lines]`, little endian.

use std::{cell::RefCell, io};

use muster_domain::event::{Body, Hash, Salt};
use zstd::bulk::{Compressor, Decompressor};

use crate::error::{Result, StoreError};

const FORM: u8 = 1;
const HEADER: usize = 9;
/// No body is longer than that when unpacked; a frame that says so is damaged.
const LONGEST: u64 = 1 << 30;

/// A body ready to be written, with its root: hashing and packing are done.
#[derive(Clone)]
pub struct EncodedBody {
    /// The bytes at rest.
    pub bytes: Vec<u8>,
    /// The root of the leaves.
    pub root: Hash,
    /// How many lines there are.
    pub count: u32,
}

impl std::fmt::Debug for EncodedBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "EncodedBody({} lines, {} bytes)", self.count, self.bytes.len())
    }
}

thread_local! {
    // Most bodies are small: making these anew for each would cost more than the packing.
    static PACK: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
    static UNPACK: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

fn pack(lines: &[u8]) -> io::Result<Vec<u8>> {
    PACK.with_borrow_mut(|kept| match kept {
        Some(packer) => packer.compress(lines),
        None => kept.insert(Compressor::new(1)?).compress(lines),
    })
}

fn unpack_lines(packed: &[u8], size: usize) -> io::Result<Vec<u8>> {
    UNPACK.with_borrow_mut(|kept| match kept {
        Some(unpacker) => unpacker.decompress(packed, size),
        None => kept.insert(Decompressor::new()?).decompress(packed, size),
    })
}

/// Packs and hashes a body. Pure: call it on whichever thread is free.
pub fn encode(body: &Body) -> Result<EncodedBody> {
    encode_hashed(body, body.root())
}

/// Packs a body whose root is known to be this.
pub fn encode_hashed(body: &Body, root: Hash) -> Result<EncodedBody> {
    let count = u32::try_from(body.len()).map_err(|_| StoreError::Corrupt("a body has too many lines"))?;
    let packed = pack(&body.lines).map_err(|_| StoreError::Corrupt("a body cannot be packed"))?;
    let mut bytes = Vec::with_capacity(HEADER + body.erased.len() * 36 + body.salts.len() * 16 + packed.len());
    bytes.push(FORM);
    bytes.extend_from_slice(&count.to_le_bytes());
    bytes.extend_from_slice(&(body.erased.len() as u32).to_le_bytes());
    for (index, leaf) in &body.erased {
        bytes.extend_from_slice(&index.to_le_bytes());
        bytes.extend_from_slice(leaf);
    }
    for salt in &body.salts {
        bytes.extend_from_slice(salt);
    }
    bytes.extend_from_slice(&packed);
    Ok(EncodedBody { bytes, root, count })
}

/// Unpacks a body.
pub fn decode(bytes: &[u8]) -> Result<Body> {
    unpack(bytes).ok_or(StoreError::Corrupt("the body of an event cannot be read"))
}

fn unpack(bytes: &[u8]) -> Option<Body> {
    let (header, rest) = bytes.split_at_checked(HEADER)?;
    if header[0] != FORM {
        return None;
    }
    let count = u32::from_le_bytes(header[1..5].try_into().ok()?) as usize;
    let n_erased = u32::from_le_bytes(header[5..9].try_into().ok()?) as usize;
    let (erased, rest) = rest.split_at_checked(n_erased.checked_mul(36)?)?;
    let (salts, packed) = rest.split_at_checked(count.checked_mul(16)?)?;
    let erased = erased.as_chunks::<36>().0.iter().map(erased_line).collect::<Option<Vec<_>>>()?;
    let salts: Vec<Salt> = salts.as_chunks::<16>().0.to_vec();
    let size = zstd::zstd_safe::get_frame_content_size(packed).ok()??;
    if size > LONGEST {
        return None;
    }
    let lines = unpack_lines(packed, size as usize).ok()?;
    let ends = lines.iter().filter(|b| **b == b'\n').count();
    (ends == count && lines.last().is_none_or(|b| *b == b'\n')).then_some(Body { salts, lines, erased })
}

fn erased_line(bytes: &[u8; 36]) -> Option<(u32, Hash)> {
    let (index, leaf) = bytes.split_at(4);
    Some((u32::from_le_bytes(index.try_into().ok()?), leaf.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body() -> Body {
        let mut body = Body::default();
        for i in 0..1000u32 {
            body.push([i as u8; 16], format!("{{\"key\":\"{i}\"}}").as_bytes());
        }
        body
    }

    #[test]
    fn a_body_comes_back_as_it_was() {
        for body in [Body::default(), body()] {
            let encoded = encode(&body).unwrap();
            assert_eq!(decode(&encoded.bytes).unwrap(), body);
            assert_eq!(encoded.root, body.root());
        }
    }

    #[test]
    fn an_erased_line_stays_erased() {
        let mut erased = Body::default();
        erased.push([1; 16], b"a");
        erased.push([0; 16], b"");
        erased.erased.push((1, [7; 32]));
        assert_eq!(decode(&encode(&erased).unwrap().bytes).unwrap(), erased);
    }

    #[test]
    fn damaged_bytes_are_an_error_and_never_a_panic() {
        let bytes = encode(&body()).unwrap().bytes;
        for end in [0, 1, 8, 9, 20, 16_008, 16_009, 16_020, bytes.len() - 1] {
            assert!(decode(&bytes[..end]).is_err(), "{end}");
        }
        let mut other = bytes.clone();
        other[0] = 2;
        assert!(decode(&other).is_err());
        let mut other = bytes;
        other[5..9].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(decode(&other).is_err());
    }
}
