//! Changes of a page in few bytes: the distances between neighbours, in LEB128: of members, and of ordinals, which may go back.

use muster_domain::ids::MemberNo;

use super::{Changes, damaged};
use crate::Result;

/// Packs changes in order, of members from a number on.
pub fn pack(from: MemberNo, changes: &[(MemberNo, u32)]) -> Vec<u8> {
    let mut packed = Vec::with_capacity(changes.len() * 2);
    let (mut last_no, mut last_ordinal) = (from, 0);
    for (no, ordinal) in changes {
        put(&mut packed, u64::from(no - last_no));
        let step = i64::from(*ordinal) - last_ordinal;
        put(&mut packed, ((step << 1) ^ (step >> 63)) as u64);
        (last_no, last_ordinal) = (*no, i64::from(*ordinal));
    }
    packed
}

/// Unpacks what [`pack`] made.
///
/// # Errors
/// If it did not.
pub fn unpack(from: MemberNo, mut packed: &[u8]) -> Result<Changes> {
    let (mut no, mut ordinal) = (u64::from(from), 0);
    let mut changes = Vec::with_capacity(packed.len() / 2);
    while !packed.is_empty() {
        no += take(&mut packed).ok_or_else(damaged)?;
        let step = take(&mut packed).ok_or_else(damaged)?;
        ordinal += (step >> 1) as i64 ^ -((step & 1) as i64);
        let pair = MemberNo::try_from(no).ok().zip(u32::try_from(ordinal).ok());
        changes.push(pair.ok_or_else(damaged)?);
    }
    Ok(changes)
}

fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// A number of up to five bytes: more is not needed for what 32 bits hold and a sign.
fn take(packed: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..35).step_by(7) {
        let (byte, rest) = packed.split_first()?;
        *packed = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_packed_is_unpacked(from in 0..u32::MAX - 70_000, changes: Vec<(u16, u32)>) {
            let mut changes: Changes = changes.into_iter().map(|(no, o)| (from + u32::from(no), o)).collect();
            changes.sort_unstable();
            prop_assert_eq!(unpack(from, &pack(from, &changes)).unwrap(), changes);
        }

        #[test]
        fn any_bytes_are_unpacked_or_refused(from: u32, bytes: Vec<u8>) {
            let _ = unpack(from, &bytes);
        }
    }
}
