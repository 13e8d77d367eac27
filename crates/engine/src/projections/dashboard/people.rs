//! People: what decides on the eligibility of each member (claims, dates, status), folded from the log, and counted by days.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use muster_domain::{
    change::Change,
    codec, eligibility,
    event::Body,
    field::FieldId,
    ids::MemberNo,
    member::Member,
    replay::{decided::Decided, roster::Folding},
    settings::Settings,
    values::Values,
};
use uuid::Uuid;

use super::{ELIGIBLE, LISTED, MEMBERS, SETTINGS, days::Days};
use crate::{
    Result,
    projections::{CHUNKS, Event, Rows, number, number_of},
};

/// Members of one row.
const PAGE: MemberNo = 256;
/// Rows that are counted in one go.
const PAGES: usize = 256;

/// The fields that decide on eligibility.
const FIELDS: [FieldId; 3] = [FieldId::START_DATE, FieldId::END_DATE, FieldId::EMPLOYMENT_STATUS];

/// Members by page and place in it, and what their changes do to the counts of days.
struct People<'a> {
    settings: &'a Settings,
    pages: BTreeMap<MemberNo, Vec<Option<Member>>>,
    eligible: Days,
    listed: Days,
}

impl<'a> People<'a> {
    fn new(settings: &'a Settings) -> Self {
        People { settings, pages: BTreeMap::new(), eligible: Days::default(), listed: Days::default() }
    }

    async fn load(&mut self, rows: &mut Rows, page: MemberNo) -> Result<()> {
        if let Entry::Vacant(place) = self.pages.entry(page) {
            place.insert(match rows.get(MEMBERS, &number(page.into())).await? {
                Some(row) => unpack(page, &row)?,
                None => Vec::new(),
            });
        }
        Ok(())
    }

    /// Somebody on a page that is loaded.
    fn get(&self, no: MemberNo) -> Option<&Member> {
        self.pages.get(&(no / PAGE))?.get((no % PAGE) as usize)?.as_ref()
    }

    /// Puts somebody in the place of how they were.
    fn put(&mut self, no: MemberNo, after: Option<Member>) {
        let page = self.pages.entry(no / PAGE).or_default();
        let place = (no % PAGE) as usize;
        if page.len() <= place {
            page.resize_with(place + 1, || None);
        }
        let before = std::mem::replace(&mut page[place], after);
        for (member, by) in [(&before, -1), (&page[place], 1)] {
            let Some(member) = member else { continue };
            self.eligible.count(&eligibility::stretches(member, self.settings), by);
            self.listed.count(&eligibility::on_roster(member), by);
        }
    }

    /// Writes the pages and lets go of them.
    fn write_pages(&mut self, rows: &mut Rows) {
        for (page, mut members) in std::mem::take(&mut self.pages) {
            let last = members.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
            members.truncate(last);
            if members.is_empty() {
                rows.delete(MEMBERS, number(page.into()));
                continue;
            }
            let (mut row, mut packed) = (Vec::with_capacity(64 * members.len()), Vec::new());
            for member in &members {
                packed.clear();
                member.iter().for_each(|member| codec::encode(member, &mut packed));
                codec::put_in_page(member.as_ref().map(|_| packed.as_slice()), &mut row);
            }
            rows.put(MEMBERS, number(page.into()), row);
        }
    }

    async fn write(mut self, rows: &mut Rows) -> Result<()> {
        self.write_pages(rows);
        self.eligible.write(rows, ELIGIBLE).await?;
        self.listed.write(rows, LISTED).await
    }
}

fn unpack(page: MemberNo, row: &[u8]) -> Result<Vec<Option<Member>>> {
    let mut members = Vec::with_capacity(PAGE as usize);
    for (no, packed) in codec::page(page * PAGE, row) {
        members.resize_with((no - page * PAGE) as usize, || None);
        members.push(Some(codec::decode(no, packed)?));
    }
    Ok(members)
}

/// Of a member only what eligibility follows from. Claims and values follow from changes without the rest.
fn slim(member: Member) -> Member {
    let mut values = Values::default();
    for field in FIELDS {
        values.set(field, member.values.get(field));
    }
    Member { uuid: Uuid::nil(), key: String::new(), aliases: Vec::new(), words: Vec::new(), values, ..member }
}

/// Folds the changes that an event applies, or rejects and remembers.
pub async fn decide(event: &Event, rows: &mut Rows) -> Result<()> {
    let Some(decided) = Decided::of(&event.fact) else { return Ok(()) };
    let settings: Settings = rows.document(SETTINGS, &[]).await?.unwrap_or_default();
    let folding = decided.folding(event.meta.seq, &settings.fields);
    let mut people = People::new(&settings);
    let mut chunks = event.engine.chunks(event.organisation, decided.change_set);
    while let Some(read) = chunks.next(CHUNKS).await? {
        let changes = tokio::task::block_in_place(|| to_fold(&read, &folding))?;
        let pages: BTreeSet<MemberNo> = changes.iter().map(|one| one.no / PAGE).collect();
        for page in pages {
            people.load(rows, page).await?;
        }
        tokio::task::block_in_place(|| {
            for ToFold { no, is_new, change } in &changes {
                let before = people.get(*no).filter(|_| !is_new).cloned();
                people.put(*no, Some(slim(folding.fold(before, *no, change))));
            }
        });
        people.write_pages(rows);
    }
    people.write(rows).await
}

/// A change on which the event decides, with the number of its member.
struct ToFold<'c> {
    no: MemberNo,
    /// Whether that number is given by it.
    is_new: bool,
    change: Change<'c>,
}

/// The changes of some chunks on which the event decides. Lines of people who were forgotten are left out; their numbers
/// stay used up.
fn to_fold<'c>(chunks: &'c [(u32, Body)], folding: &Folding) -> Result<Vec<ToFold<'c>>> {
    let mut changes = Vec::new();
    for (first, body) in chunks {
        for (ordinal, line) in (*first..).zip(body.iter()) {
            let Some(line) = line.filter(|_| folding.selection.contains(ordinal)) else { continue };
            let mut change = Change::read(line)?;
            change.to.retain(|(field, _)| !folding.except_fields.iter().any(|f| f == field));
            let rank = folding.numbered.binary_search(&ordinal).ok();
            let no = rank.map(|rank| folding.first_no + rank as MemberNo).or(change.no);
            changes.extend(no.map(|no| ToFold { no, is_new: rank.is_some(), change }));
        }
    }
    Ok(changes)
}

/// Nothing is known of these members any more.
pub async fn forget(members: &[MemberNo], rows: &mut Rows) -> Result<()> {
    let settings: Settings = rows.document(SETTINGS, &[]).await?.unwrap_or_default();
    let mut people = People::new(&settings);
    for no in members {
        people.load(rows, no / PAGE).await?;
        people.put(*no, None);
    }
    people.write(rows).await
}

/// Counts everybody anew by other settings.
pub async fn recount(rows: &mut Rows, settings: &Settings) -> Result<()> {
    let mut eligible = Days::default();
    for pages in rows.range(MEMBERS, &[], None).await?.chunks(PAGES) {
        tokio::task::block_in_place(|| -> Result<()> {
            for (key, row) in pages {
                let page = number_of(key).and_then(|page| MemberNo::try_from(page).ok()).unwrap_or_default();
                for member in unpack(page, row)?.iter().flatten() {
                    eligible.count(&eligibility::stretches(member, settings), 1);
                }
            }
            Ok(())
        })?;
        // The lane is kept in between.
        tokio::task::yield_now().await;
    }
    rows.clear(ELIGIBLE);
    eligible.write(rows, ELIGIBLE).await
}
