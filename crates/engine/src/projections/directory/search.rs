//! Searching the directory: one pass over the packed pages, of which the first in order are kept.

use muster_domain::{
    codec::{self, Glance},
    directory::{First, Place, Query, Search},
    eligibility::{Answer, eligible, today},
    ids::{Day, MemberNo},
    member::Member,
    settings::Settings,
};
use muster_store::read_model::{Range, Snapshot};

use super::{DIRECTORY, Directory, KEPT, NEWER, PAGES, SETTINGS, damaged, key, number};
use crate::{
    Engine, Error, Organisation, Result,
    projections::{document, reading::Wait},
    roster::{beside, decompress, in_parallel},
};

/// Pages read at a time.
const PAGES_TOGETHER: u32 = 64;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct SearchRequest {
    /// Whom to find.
    pub query: Query,
    /// The day that is asked about; today in the organisation's time zone if none is named.
    pub on: Option<Day>,
    /// At most so many.
    pub limit: usize,
    /// Behind this cursor, as the page before gave it.
    pub after: Option<String>,
    /// What must be reflected.
    pub wait: Wait,
}

/// Somebody who was found.
pub struct FoundMember {
    /// Who.
    pub member: Member,
    /// Whether they are eligible on the day.
    pub answer: Answer,
}

/// What was found.
pub struct SearchResult {
    /// The event up to which this reflects the log.
    pub seq: u64,
    /// The day that was asked about.
    pub on: Day,
    /// A page of those who were found, in order.
    pub members: Vec<FoundMember>,
    /// How many there are on all pages.
    pub total: u64,
    /// Where the next page begins; none after the last.
    pub next: Option<String>,
}

/// Newer rows of members, by number.
type Newer = Vec<(MemberNo, Vec<u8>)>;

impl Engine {
    /// Searches the directory.
    ///
    /// # Errors
    /// If the cursor is of another search, or what is read does not reflect what it must.
    pub async fn search(&self, org: &Organisation, request: &SearchRequest) -> Result<SearchResult> {
        self.search_in(&DIRECTORY, org, request).await
    }

    /// The same in a directory that is stored in another way.
    ///
    /// # Errors
    /// As [`Engine::search`].
    pub async fn search_in(
        &self,
        directory: &Directory,
        org: &Organisation,
        request: &SearchRequest,
    ) -> Result<SearchResult> {
        let after = request.after.as_deref().map(|cursor| read_cursor(org, &request.query, cursor)).transpose()?;
        let mut model = self.read_model(org.row.id, directory, request.wait).await?;
        let settings = match model.get(KEPT, SETTINGS).await? {
            Some(row) => document(&row)?,
            None => Settings::default(),
        };
        let on = request.on.unwrap_or_else(|| today(&settings, self.now()));
        let reading =
            Reading { directory, query: &request.query, settings: &settings, on, newer: newer(&mut model).await? };
        // One more than is shown tells whether there is a next page.
        let first = reading.scan(&mut model, First::new(request.limit.saturating_add(1), after)).await?;
        let total = first.found;
        let mut places = first.in_order();
        let more = places.len() > request.limit;
        places.truncate(request.limit);
        let next = places.last().filter(|_| more).map(|place| cursor(org, &request.query, place));
        let members = reading.members(&mut model, &places).await?;
        Ok(SearchResult { seq: model.lane.seq, on, members, total, next })
    }
}

async fn newer(model: &mut Snapshot) -> Result<Newer> {
    let rows = model.range(NEWER, &Range::default()).await?;
    let row = |(key, row): (Vec<u8>, Vec<u8>)| Ok((number(&key)?, row));
    rows.into_iter().map(row).collect()
}

/// One search of a directory.
struct Reading<'a> {
    directory: &'a Directory,
    query: &'a Query,
    settings: &'a Settings,
    on: Day,
    newer: Newer,
}

impl Reading<'_> {
    /// Goes through everybody: pages are looked through on both cores while the next ones are read.
    async fn scan(&self, model: &mut Snapshot, mut first: First) -> Result<First> {
        let (limit, after) = first.bounds();
        let mut from = Vec::new();
        let mut batch: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        loop {
            let which = Range { from: from.clone(), limit: PAGES_TOGETHER, ..Range::default() };
            let (read, looked) = beside(model.range(PAGES, &which), || {
                in_parallel(&batch, |(key, page)| {
                    let mut kept = First::new(limit, after.clone());
                    self.look_at_page(number(key)?, page, &mut kept)?;
                    Ok(kept)
                })
            });
            looked?.into_iter().for_each(|kept| first.join(kept));
            batch = read?;
            let Some((last, _)) = batch.last() else { break };
            from = key(number(last)? + 1);
        }
        let (mut search, mut glance) = (Search::new(self.query, self.settings, self.on), Glance::default());
        for (no, packed) in self.newer.iter().filter(|(_, packed)| !packed.is_empty()) {
            if search.finds(*no, packed, &mut glance)? {
                first.take(search.sort_key(&glance), *no);
            }
        }
        Ok(first)
    }

    fn look_at_page(&self, page: u32, row: &[u8], kept: &mut First) -> Result<()> {
        let bytes = decompress(row)?;
        let first = page * self.directory.per_page;
        let mut newer = self.newer[self.newer.partition_point(|n| n.0 < first)..].iter().peekable();
        let (mut search, mut glance) = (Search::new(self.query, self.settings, self.on), Glance::default());
        for (no, packed) in codec::page(first, &bytes) {
            while newer.next_if(|n| n.0 < no).is_some() {}
            if newer.peek().is_some_and(|n| n.0 == no) {
                continue;
            }
            if search.finds(no, packed, &mut glance)? {
                kept.take(search.sort_key(&glance), no);
            }
        }
        Ok(())
    }

    /// Those who are shown, whole.
    async fn members(&self, model: &mut Snapshot, places: &[Place]) -> Result<Vec<FoundMember>> {
        let mut found = Vec::with_capacity(places.len());
        let mut last: Option<(u32, Vec<u8>)> = None;
        for no in places.iter().map(|place| place.no) {
            let member = match self.newer.binary_search_by_key(&no, |n| n.0) {
                Ok(i) => codec::decode(no, &self.newer[i].1)?,
                Err(_) => {
                    let page = no / self.directory.per_page;
                    if last.as_ref().is_none_or(|(before, _)| *before != page) {
                        let row = model.get(PAGES, &key(page)).await?.ok_or_else(damaged)?;
                        last = Some((page, decompress(&row)?));
                    }
                    let bytes = last.as_ref().map_or(&[][..], |(_, bytes)| bytes);
                    let packed = codec::page(page * self.directory.per_page, bytes).find(|(other, _)| *other == no);
                    codec::decode(no, packed.ok_or_else(damaged)?.1)?
                }
            };
            let answer = eligible(&member, self.settings, self.on);
            found.push(FoundMember { member, answer });
        }
        Ok(found)
    }
}

/// A place as a text that tells nothing of whoever stands there.
fn cursor(org: &Organisation, query: &Query, place: &Place) -> String {
    let mut bytes = vec![query.sort as u8, query.descending.into()];
    bytes.extend_from_slice(&place.no.to_be_bytes());
    bytes.extend_from_slice(&place.text);
    org.keys.seal(&bytes)
}

fn read_cursor(org: &Organisation, query: &Query, cursor: &str) -> Result<Place> {
    let bytes = org.keys.unseal(cursor);
    let place = bytes.as_deref().and_then(|bytes| {
        let (head, rest) = bytes.split_first_chunk::<2>()?;
        let (no, text) = rest.split_first_chunk::<4>()?;
        (*head == [query.sort as u8, query.descending.into()])
            .then(|| Place { text: text.to_vec(), no: u32::from_be_bytes(*no) })
    });
    place.ok_or_else(|| {
        Error::Wrong(
            "The cursor is none of this search, or was altered: give it as it came, with the same --sort.".to_owned(),
        )
    })
}
