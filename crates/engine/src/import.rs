//! Importing: an exported log becomes an organisation in this database, with all that follows from it, or nothing does.

use std::io::BufRead;

use muster_domain::{
    digest::Keys,
    fact::{Fact, State},
    ids::OrganisationId,
    replay::{Checked, Replay, ReplayError, ReplayReport, log::LogReader},
};
use muster_store::{Imported, Secret, StoreError, Tx, encode_hashed};

use crate::{
    Engine, Error, Organisation, crash,
    organisation::{check_slug, new_secret},
    rebuild,
    roster::in_parallel,
};

/// What the caller knows of a log beforehand.
#[derive(Default)]
pub struct ImportRequest {
    /// The organisation that it must be of.
    pub slug: Option<String>,
    /// The secret of the organisation where the log was exported; a new one is made if none is given.
    pub secret: Option<(OrganisationId, Secret)>,
}

/// What an import came to.
pub struct Import {
    /// The organisation.
    pub slug: String,
    /// What the log folds to.
    pub report: ReplayReport,
    /// Whether the same log was there already, so that nothing was done.
    pub repeated: bool,
    /// By how many identifiers people who were forgotten would be known again, and are not: their hashes are of another
    /// secret.
    pub not_kept_out: u64,
}

/// Why a log was not taken: what is wrong with it and at which line, or what this database says.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The log is not in order.
    #[error(transparent)]
    Log(#[from] ReplayError),
    /// Anything else.
    #[error(transparent)]
    Engine(#[from] Error),
}

impl From<StoreError> for ImportError {
    fn from(error: StoreError) -> Self {
        ImportError::Engine(error.into())
    }
}

type Events = Vec<std::result::Result<Checked, ReplayError>>;

impl Engine {
    /// Takes over an exported log. It is checked and folded while it is read, and everything is one transaction: nobody sees
    /// any of it before all of it is in order, and a process that dies leaves nothing. What is held in memory is the
    /// roster, packed. The same log again changes nothing.
    ///
    /// # Errors
    /// If the log is not in order, is of another organisation than was named, or has no place in this database.
    pub async fn import(&self, log: impl BufRead, request: ImportRequest) -> std::result::Result<Import, ImportError> {
        let mut log = LogReader::new(log);
        let events = tokio::task::block_in_place(|| log.next_events())?;
        let (org, slug) = whose(&events)?;
        if let Some(wanted) = request.slug.as_ref().filter(|wanted| **wanted != slug) {
            let message = format!("The log is of the organisation {slug}, not of {wanted}; nothing was imported.");
            return Err(Error::Wrong(message).into());
        }
        if self.store.organisations().await?.iter().any(|row| row.id == org) {
            return self.import_again(log, events, slug).await;
        }
        let given = match request.secret {
            Some((of, secret)) if of == org => Some(secret),
            Some(_) => {
                let message =
                    format!("The secret is another organisation's; take that of {slug}. Nothing was imported.");
                return Err(Error::Wrong(message).into());
            }
            None => None,
        };
        let is_new = given.is_none();
        let secret = given.unwrap_or_else(new_secret);
        let mut tx = self.store.begin(org, None).await?;
        let imported = self.import_into(&mut tx, log, events, &slug, &secret).await;
        match imported {
            Ok(replay) => {
                crash::point("import");
                tx.commit().await?;
                let blocked = replay.documents().blocked().len() as u64;
                let not_kept_out = if is_new { blocked } else { 0 };
                Ok(Import { slug, report: replay.report(), repeated: false, not_kept_out })
            }
            Err(why) => {
                tx.rollback().await?;
                Err(why)
            }
        }
    }

    async fn import_into(
        &self,
        tx: &mut Tx,
        mut log: LogReader<impl BufRead>,
        mut events: Events,
        slug: &str,
        secret: &Secret,
    ) -> std::result::Result<Replay, ImportError> {
        let first = events.first().and_then(|e| e.as_ref().ok());
        let created_at = first.map_or_else(|| self.now(), |e| e.event().meta.recorded_at);
        match tx.create_organisation(slug, secret, created_at).await {
            Err(StoreError::SlugTaken) => {
                let message = format!(
                    "There is another organisation {slug} in this database, and a log keeps its own identity; import it \
                     into another database (--database)."
                );
                return Err(Error::Wrong(message).into());
            }
            created => created?,
        }
        let mut replay = Replay::new();
        while !events.is_empty() {
            let rows = tokio::task::block_in_place(|| take(&mut replay, events))?;
            tx.import_events(rows).await?;
            crash::point("import_events");
            events = tokio::task::block_in_place(|| log.next_events())?;
        }
        if let Some(upload) = replay.documents().uploads().values().find(|u| u.state == State::Received) {
            let message = format!(
                "The log ends while upload {} was being worked on, and the payload is not in it: let `muster sync` finish \
                 it where it was exported, export again, and import that.",
                upload.received.upload
            );
            return Err(Error::Wrong(message).into());
        }
        rebuild::write(tx, &replay, &Keys::derive(secret.bytes())).await?;
        Ok(replay)
    }

    /// The organisation is there: is it the same log?
    async fn import_again(
        &self,
        mut log: LogReader<impl BufRead>,
        mut events: Events,
        slug: String,
    ) -> std::result::Result<Import, ImportError> {
        let org: Organisation = self.organisation(&slug).await?;
        let head = self.store.head(org.row.id).await?;
        let mut replay = Replay::new();
        while !events.is_empty() {
            tokio::task::block_in_place(|| events.into_iter().try_for_each(|event| replay.take(event?)))?;
            events = tokio::task::block_in_place(|| log.next_events())?;
        }
        if (replay.last_seq(), replay.last_hash()) == (head.last_seq, &head.hash) {
            return Ok(Import { slug, report: replay.report(), repeated: true, not_kept_out: 0 });
        }
        let message = format!(
            "The organisation {slug} is in this database already, and its log is another one: {} events there, {} here. \
             Nothing was imported; import it into another database (--database).",
            head.last_seq,
            replay.last_seq()
        );
        Err(Error::Wrong(message).into())
    }
}

/// Folds events, and makes them ready to be stored. What cannot be folded is not stored either.
fn take(replay: &mut Replay, events: Events) -> std::result::Result<Vec<Imported>, ImportError> {
    let events = events.into_iter().collect::<std::result::Result<Vec<Checked>, _>>()?;
    let rows = in_parallel(&events, |event| {
        let event = event.event();
        let body = event.body.as_ref().map(|body| encode_hashed(body, event.root)).transpose()?;
        Ok(Imported { meta: event.meta.clone(), meta_bytes: event.meta_bytes.clone(), body, hash: event.hash })
    })?;
    events.into_iter().try_for_each(|event| replay.take(event))?;
    Ok(rows)
}

/// Whose log it is, as its first event says.
fn whose(events: &Events) -> std::result::Result<(OrganisationId, String), ImportError> {
    let first = match events.first() {
        Some(Ok(first)) => first.event(),
        Some(Err(_)) => return Err(no_log("its first line is not an exported event")),
        None => return Err(no_log("it is empty")),
    };
    match Fact::read(&first.meta) {
        Ok(Fact::OrganisationCreated { slug, .. }) if first.meta.seq == 1 => {
            check_slug(&slug)?;
            Ok((first.meta.organisation, slug))
        }
        _ => Err(no_log("it does not begin with the event that made an organisation")),
    }
}

fn no_log(why: &str) -> ImportError {
    let message = format!("The file is no whole log: {why}. `muster events export` writes one; nothing was imported.");
    Error::Wrong(message).into()
}
