//! Pages of the directory: whole new ones on the way, and changed members in those that are there.

use std::ops::Range;

use muster_domain::{codec, ids::MemberNo};

/// New members on their way into pages that have nobody but new members.
pub struct NewPages {
    per_page: u32,
    whole: Range<u32>,
    open: Option<Open>,
    done: Vec<(u32, Vec<u8>)>,
}

/// A page that is being filled.
struct Open {
    page: u32,
    bytes: Vec<u8>,
    next: MemberNo,
}

impl NewPages {
    /// For members who get these numbers, in order.
    pub fn new(per_page: u32, numbers: Range<MemberNo>) -> NewPages {
        let whole = numbers.start.div_ceil(per_page)..numbers.end / per_page;
        NewPages { per_page, whole, open: None, done: Vec::new() }
    }

    /// Takes a new member, or gives back one whose page is shared with others.
    pub fn take(&mut self, no: MemberNo, packed: Box<[u8]>) -> Option<Box<[u8]>> {
        let page = no / self.per_page;
        if !self.whole.contains(&page) {
            return Some(packed);
        }
        if self.open.as_ref().is_some_and(|open| open.page != page) {
            self.close();
        }
        let first = page * self.per_page;
        let open = self.open.get_or_insert_with(|| Open { page, bytes: Vec::with_capacity(1 << 16), next: first });
        // Lines that were erased leave their numbers unused.
        (open.next..no).for_each(|_| codec::put_in_page(None, &mut open.bytes));
        codec::put_in_page(Some(&packed), &mut open.bytes);
        open.next = no + 1;
        None
    }

    fn close(&mut self) {
        self.done.extend(self.open.take().map(|open| (open.page, open.bytes)));
    }

    /// Pages that are full.
    pub fn full(&mut self) -> Vec<(u32, Vec<u8>)> {
        std::mem::take(&mut self.done)
    }

    /// All pages that are left.
    pub fn rest(mut self) -> Vec<(u32, Vec<u8>)> {
        self.close();
        self.done
    }
}

/// A page with other members in it; empty if nobody is left.
pub fn merged(first: MemberNo, page: &[u8], changed: &[(MemberNo, Option<Vec<u8>>)]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(page.len() + 1024);
    let (mut next, mut anybody) = (first, false);
    let mut put = |no: MemberNo, packed: &[u8]| {
        (next..no).for_each(|_| codec::put_in_page(None, &mut bytes));
        codec::put_in_page(Some(packed), &mut bytes);
        next = no + 1;
        anybody = true;
    };
    let mut changed = changed.iter().peekable();
    for (no, packed) in codec::page(first, page) {
        while let Some((newer, row)) = changed.next_if(|(newer, _)| *newer < no) {
            row.iter().for_each(|row| put(*newer, row));
        }
        match changed.next_if(|(newer, _)| *newer == no) {
            Some((_, row)) => row.iter().for_each(|row| put(no, row)),
            None => put(no, packed),
        }
    }
    changed.for_each(|(no, row)| row.iter().for_each(|row| put(*no, row)));
    if anybody { bytes } else { Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(members: &[(MemberNo, &str)]) -> Vec<u8> {
        let rows: Vec<_> = members.iter().map(|(no, text)| (*no, Some(text.as_bytes().to_vec()))).collect();
        merged(8, &[], &rows)
    }

    fn told(first: MemberNo, page: &[u8]) -> Vec<(MemberNo, String)> {
        codec::page(first, page).map(|(no, m)| (no, String::from_utf8_lossy(m).into_owned())).collect()
    }

    #[test]
    fn changed_members_stand_in_their_place() {
        let before = page(&[(9, "a"), (11, "b"), (12, "c")]);
        let row = |text: &str| Some(text.as_bytes().to_vec());
        let after = merged(8, &before, &[(8, row("x")), (11, None), (12, row("cc")), (14, row("y"))]);
        let wanted = [(8, "x"), (9, "a"), (12, "cc"), (14, "y")].map(|(no, text)| (no, text.to_owned()));
        assert_eq!(told(8, &after), wanted);
        assert_eq!(merged(8, &after, &[8, 9, 12, 14].map(|no| (no, None))), Vec::<u8>::new());
    }

    #[test]
    fn only_pages_of_new_members_alone_are_made_at_once() {
        let mut new = NewPages::new(4, 6..15);
        let shared: Vec<MemberNo> = (6..15)
            .filter(|no| *no != 9)
            .filter(|no| new.take(*no, no.to_string().into_bytes().into()).is_some())
            .collect();
        assert_eq!(shared, [6, 7, 12, 13, 14], "their pages begin before them or are not full");
        assert_eq!(new.full(), []);
        let rest = new.rest();
        let wanted = [(8, "8"), (10, "10"), (11, "11")].map(|(no, text)| (no, text.to_owned()));
        assert_eq!((rest.len(), rest[0].0, told(8, &rest[0].1)), (1, 2, wanted.to_vec()));
    }
}
