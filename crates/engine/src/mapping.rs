//! Mapping: what each column of a payload seems to hold, and the versions of what a feed's mapping says.

use std::{collections::BTreeMap, fs::File, io::Read, path::Path};

use chrono::{DateTime, Utc};
use muster_domain::{
    documents::Feed,
    fact::Fact,
    field::FieldId,
    settings::{FeedSettings, Settings},
};
use muster_intake::{
    How, Payload,
    csv::CellBuffer,
    headers::{self, Because, Content, Guess},
    payload, rows,
};
use serde::Serialize;

use crate::{Engine, Error, Organisation, Result};

mod said;

pub(crate) use said::leave_out_lacking;
pub use said::{BadMapping, for_one_payload};

/// How many rows are looked at.
const LOOKED_AT: usize = 1_000;

/// What the caller says about a payload whose columns are to be looked at.
#[derive(Clone, Debug, Default)]
pub struct MapRequest {
    /// The feed; `main` if none is named.
    pub feed: Option<String>,
    /// The format by its name; it is found out otherwise.
    pub format: Option<String>,
    /// The sheet of a workbook.
    pub sheet: Option<String>,
    /// Column names by field that count for more than anything else.
    pub mapping: BTreeMap<String, String>,
}

/// How sure it is that a column holds a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Confidence {
    /// Somebody said so.
    Said,
    /// Its name says so, and what is in it does not contradict.
    High,
    /// Its name may say so.
    Medium,
    /// Its name says so, and what is in it contradicts.
    Low,
}

/// One column of a payload.
#[derive(Clone, Debug, Serialize)]
pub struct Column {
    /// Its name in the header row.
    pub column: String,
    /// The field that it seems to hold; without one it is ignored.
    pub field: Option<String>,
    /// How sure that is.
    pub confidence: Option<Confidence>,
    /// Why, or for an ignored column what it looks like.
    pub why: String,
    /// How many of the rows looked at have something in it.
    pub filled: u64,
    /// Some of what is in it.
    pub samples: Vec<String>,
}

/// A field that the payload has no column for.
#[derive(Clone, Debug, Serialize)]
pub struct Unfed {
    /// The field.
    pub field: String,
    /// Other feeds that have one.
    pub fed_by: Vec<String>,
}

/// What the columns of a payload seem to hold.
#[derive(Clone, Debug, Serialize)]
pub struct Guessed {
    /// The feed.
    pub feed: String,
    /// The version of its saved mapping by which it was looked at; 0 if there is none.
    pub mapping_version: u32,
    /// The line or row of the header row.
    pub header_line: Option<u64>,
    /// What was assumed in reading it.
    pub read_as: Vec<String>,
    /// How many rows were looked at.
    pub rows_looked_at: usize,
    /// The columns.
    pub columns: Vec<Column>,
    /// Fields without a column.
    pub without_column: Vec<Unfed>,
    /// What must be settled before it can be read: sentences.
    pub problems: Vec<String>,
    /// The mapping as it would be saved: column names by field.
    pub mapping: BTreeMap<String, String>,
}

/// One version of a feed's saved mapping.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MappingVersion {
    /// Its number.
    pub version: u32,
    /// Since when it holds.
    pub at: DateTime<Utc>,
    /// Who saved it.
    pub actor: String,
    /// What they are called now, if they used a key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor_name: Option<String>,
    /// Column names by field.
    pub mapping: BTreeMap<String, String>,
}

impl Engine {
    /// Says what each column of a payload seems to hold. Nothing is stored.
    ///
    /// # Errors
    /// If the payload cannot be read, or there is no such organisation or feed.
    pub async fn map(&self, slug: &str, request: MapRequest, file: &Path) -> Result<Guessed> {
        let org = self.organisation(slug).await?;
        let feed = org.feed(request.feed.as_deref().unwrap_or("main"))?;
        let settings = org.settings.for_feed(&feed.settings);
        let said = for_one_payload(&request.mapping, &settings).map_err(|e| Error::Wrong(e.why))?;
        let request = MapRequest { mapping: said.clone(), ..request };
        let mut mapping = feed.settings.mapping.clone();
        mapping.extend(said);
        let scratch = self.payloads.directory(org.row.id)?;
        tokio::task::block_in_place(|| {
            let looking = Looking { org: &org, feed, settings: &settings, mapping, scratch: &scratch };
            looking.look(&request, file)
        })
    }

    /// The same of a payload that comes. It is put down for as long as it is looked at, where its leftovers would be found.
    ///
    /// # Errors
    /// As [`map`](Engine::map), and if it does not come to its end or the disk does not take it.
    pub async fn map_coming(&self, slug: &str, request: MapRequest, source: &mut (dyn Read + Send)) -> Result<Guessed> {
        let org = self.organisation(slug).await?;
        let kept = tokio::task::block_in_place(|| self.payloads.looked_at(org.row.id, source))?;
        self.map(slug, request, kept.path()).await
    }

    /// The versions of a feed's mapping, oldest first.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub async fn mapping_versions(&self, org: &Organisation, feed: &Feed) -> Result<Vec<MappingVersion>> {
        let mut versions: Vec<MappingVersion> = Vec::new();
        for event in self.store.stream_events(org.row.id, &format!("feed:{}", feed.no.0)).await? {
            let meta = event.meta;
            let (Fact::FeedCreated { settings, .. } | Fact::FeedChanged { settings, .. }) = Fact::read(&meta)? else {
                continue;
            };
            if settings.mapping_version == versions.last().map_or(0, |v| v.version) {
                continue;
            }
            versions.push(MappingVersion {
                version: settings.mapping_version,
                at: meta.recorded_at,
                actor: meta.actor,
                actor_name: None,
                mapping: settings.mapping,
            });
        }
        let actors: Vec<&str> = versions.iter().map(|v| v.actor.as_str()).collect();
        let names = self.names(org.row.id, &actors).await?;
        for version in &mut versions {
            version.actor_name = names.known(&version.actor).map(str::to_owned);
        }
        Ok(versions)
    }

    /// Saves a mapping to a feed, as its next version; the same one again is no new version.
    ///
    /// # Errors
    /// If the store refuses.
    pub async fn save_mapping(&self, slug: &str, feed: &str, mapping: BTreeMap<String, String>) -> Result<Feed> {
        let org = self.organisation(slug).await?;
        let feed = org.feed(feed)?;
        if feed.settings.mapping == mapping {
            return Ok(feed.clone());
        }
        self.set_feed(&org, feed, FeedSettings { mapping, ..feed.settings.clone() }).await
    }

    /// Saves what an earlier version of a feed's mapping said as its next one.
    ///
    /// # Errors
    /// If there is no such version.
    pub async fn restore_mapping(&self, slug: &str, feed: &str, version: u32) -> Result<Feed> {
        let org = self.organisation(slug).await?;
        let found = self.mapping_versions(&org, org.feed(feed)?).await?;
        let known: Vec<String> = found.iter().map(|v| v.version.to_string()).collect();
        let mapping = match found.into_iter().find(|v| v.version == version) {
            Some(found) => found.mapping,
            // Before anything was saved, every column went by its name.
            None if version == 0 => BTreeMap::new(),
            None => {
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                return Err(Error::Unknown(format!(
                    "The feed {feed} has no version {version} of its mapping; there are: {known}."
                )));
            }
        };
        self.save_mapping(slug, feed, mapping).await
    }
}

/// A payload whose columns are looked at.
struct Looking<'a> {
    org: &'a Organisation,
    feed: &'a Feed,
    settings: &'a Settings,
    mapping: BTreeMap<String, String>,
    scratch: &'a Path,
}

impl Looking<'_> {
    fn look(&self, request: &MapRequest, file: &Path) -> Result<Guessed> {
        let Looking { settings, feed, mapping, scratch, .. } = self;
        let match_key = settings.match_key.field();
        let how = How {
            format: request.format.as_deref().map(str::parse).transpose()?,
            sheet: request.sheet.as_deref(),
            limits: settings.limits,
            knows: &|header| headers::known(header, &settings.fields, match_key, mapping),
            file,
            scratch,
            older_text: false,
        };
        let mut opened = payload::open(File::open(file)?, &how)?;
        let mut said = mapping.clone();
        let lacking = leave_out_lacking(&mut said, &opened.header, &request.mapping, settings);
        let guess = headers::guess(&opened.header, &settings.fields, match_key, &said);
        let (contents, rows_looked_at) = contents(&mut opened)?;
        let mut read_as = std::mem::take(&mut opened.read_as);
        read_as.extend(lacking);
        let columns = opened.header.iter().enumerate().filter(|(_, name)| !name.is_empty());
        let columns: Vec<Column> =
            columns.map(|(i, name)| self.column(name, &guess, i, &contents[i], &request.mapping)).collect();
        // What was said before of columns that this payload lacks stays said.
        let mut mapping = self.mapping.clone();
        mapping.extend(columns.iter().filter_map(|c| Some((c.field.clone()?, c.column.clone()))));
        Ok(Guessed {
            feed: feed.settings.name.clone(),
            mapping_version: feed.settings.mapping_version,
            header_line: opened.header_line,
            read_as,
            rows_looked_at,
            columns,
            without_column: self.without_column(&guess),
            problems: guess.problems.iter().map(ToString::to_string).collect(),
            mapping,
        })
    }

    fn column(
        &self,
        name: &str,
        guess: &Guess,
        index: usize,
        content: &Content,
        said: &BTreeMap<String, String>,
    ) -> Column {
        let fields = &self.settings.fields;
        let found = guess.columns[index];
        let fits = found.and_then(|(field, _)| content.fits(fields.kind(field)));
        let (confidence, mut why) = match found {
            None => (None, content.looks_like().map_or(String::new(), |what| format!("looks like {what}"))),
            Some((field, Because::Said)) if said.contains_key(fields.name(field)) => {
                (Some(Confidence::Said), "said of this payload".to_owned())
            }
            Some((_, Because::Said)) => {
                let version = self.feed.settings.mapping_version;
                (Some(Confidence::Said), format!("by version {version} of the saved mapping"))
            }
            Some((_, Because::OwnName)) => (Some(Confidence::High), "the field's own name".to_owned()),
            Some((_, Because::KnownName)) => (Some(Confidence::High), "a known name of it".to_owned()),
            Some((_, Because::PossibleName)) => (Some(Confidence::Medium), "a name that may mean it".to_owned()),
        };
        let confidence = match (confidence, fits) {
            (Some(Confidence::High | Confidence::Medium), Some(false)) => Some(Confidence::Low),
            (Some(Confidence::Medium), Some(true)) => Some(Confidence::High),
            (confidence, _) => confidence,
        };
        why.push_str(match fits {
            Some(true) => ", and its content fits",
            Some(false) => ", but much of its content does not fit",
            None => "",
        });
        Column {
            column: name.to_owned(),
            field: found.map(|(field, _)| fields.name(field).to_owned()),
            confidence,
            why,
            filled: content.filled,
            samples: content.samples.clone(),
        }
    }

    fn without_column(&self, guess: &Guess) -> Vec<Unfed> {
        let (fields, speaks) = (&self.settings.fields, self.org.speaks());
        let has = |field: FieldId| guess.columns.iter().flatten().any(|(f, _)| *f == field);
        let others = |field: FieldId| {
            let others = speaks.iter().filter(|(no, spoken)| *no != self.feed.no && spoken.contains(field));
            others.map(|(no, _)| self.org.feed_name(*no).to_owned()).collect()
        };
        let open = fields.all().filter(|field| !has(*field));
        open.map(|field| Unfed { field: fields.name(field).to_owned(), fed_by: others(field) }).collect()
    }
}

/// What is in each column, from the first rows.
fn contents(opened: &mut Payload) -> Result<(Vec<Content>, usize)> {
    let mut contents = vec![Content::default(); opened.header.len()];
    let (mut buffer, mut seen) = (CellBuffer::default(), 0);
    while seen < LOOKED_AT
        && let Some(raw) = opened.records.next()?
    {
        let Ok(cells) = buffer.split(raw.bytes, opened.delimiter) else { continue };
        seen += 1;
        for (content, cell) in contents.iter_mut().zip(cells.iter()) {
            let is_mark =
                opened.marked && (matches!(cell, rows::ABSENT | rows::NULL) || cell.starts_with(rows::BROKEN));
            if !is_mark {
                content.see(cell);
            }
        }
    }
    Ok((contents, seen))
}
