//! Organisations, their settings and their feeds.

use std::{collections::BTreeMap, time::Duration};

use chrono::{DateTime, Utc};
use muster_domain::{
    digest::Keys,
    documents::Feed,
    fact::Fact,
    field::FieldSet,
    ids::{FeedNo, OrganisationId},
    settings::{FeedSettings, Settings},
};
use muster_intake::headers;
use muster_store::{FeedRow, Lease, OrganisationRow, Secret, StoreError, Tx};
use rand::Rng;
use uuid::Uuid;

use crate::{
    Engine, Error, Organisation, Result, event,
    lease::{self, LEASE, Leased},
    mapping::leave_out_lacking,
};

impl Engine {
    /// Creates an organisation with its feed `main`.
    ///
    /// # Errors
    /// If the slug is taken or no slug.
    pub async fn create_organisation(&self, slug: &str, settings: Settings) -> Result<OrganisationId> {
        check_slug(slug)?;
        let org = OrganisationId(Uuid::now_v7());
        let mut tx = self.store.begin(org, None).await?;
        let created = tx.create_organisation(slug, &new_secret(), self.now()).await;
        if let Err(StoreError::SlugTaken) = created {
            return Err(Error::Wrong(format!("There is an organisation {slug} already; choose another slug.")));
        }
        created?;
        let mut settings = settings;
        settings.version = 1;
        let main = FeedSettings { name: "main".to_owned(), ..FeedSettings::default() };
        let facts = [
            Fact::OrganisationCreated { slug: slug.to_owned(), settings: Box::new(settings.clone()) },
            Fact::FeedCreated { no: FeedNo::MAIN, settings: Box::new(main.clone()) },
        ];
        let events = facts.iter().map(|f| event(f, None)).collect();
        tx.append(events, &self.who(Uuid::now_v7())).await?;
        tx.put_settings(&serde_json::to_vec(&settings)?).await?;
        let at = tx.head().await?.last_recorded_at;
        put_feed(&mut tx, &Feed::new(FeedNo::MAIN, main, at)).await?;
        tx.commit().await?;
        Ok(org)
    }

    /// An organisation by slug.
    ///
    /// # Errors
    /// If there is none of that slug.
    pub async fn organisation(&self, slug: &str) -> Result<Organisation> {
        let row = self.store.organisation(slug).await.map_err(|e| match e {
            StoreError::NotFound => Error::Unknown(format!(
                "There is no organisation {slug}; `muster org list` shows those there are, `muster org create` makes one."
            )),
            e => e.into(),
        })?;
        self.load(row).await
    }

    /// The number of the last event in an organisation's log, for which whoever reads projections can wait.
    ///
    /// # Errors
    /// If there is no such organisation.
    pub async fn last_seq(&self, slug: &str) -> Result<u64> {
        Ok(self.store.head(self.organisation(slug).await?.row.id).await?.last_seq)
    }

    /// Reads settings and feeds anew.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn load(&self, row: OrganisationRow) -> Result<Organisation> {
        let settings = match self.store.settings(row.id).await? {
            Some(doc) => serde_json::from_slice(&doc)?,
            None => Settings::default(),
        };
        let feeds = self.store.feeds(row.id).await?;
        let feeds = feeds.iter().map(|f| serde_json::from_slice(&f.doc)).collect::<Result<Vec<Feed>, _>>()?;
        let keys = Keys::derive(row.secret.bytes());
        Ok(Organisation { row, settings, feeds, keys })
    }

    /// Creates a feed.
    ///
    /// # Errors
    /// If there is one of that name.
    pub async fn create_feed(&self, org: &Organisation, settings: FeedSettings) -> Result<Feed> {
        let lease = self.lease(org.row.id).await?;
        let outcome = self.create_feed_leased(&lease, org, settings).await;
        self.give_back(&lease, outcome).await
    }

    async fn create_feed_leased(&self, lease: &Lease, org: &Organisation, settings: FeedSettings) -> Result<Feed> {
        // Read anew: another may have been created since the caller looked.
        let feeds = self.load(org.row.clone()).await?.feeds;
        if feeds.iter().any(|f| f.settings.name == settings.name) {
            return Err(Error::Wrong(format!(
                "There is a feed {} already; `muster feeds set` changes it.",
                settings.name
            )));
        }
        let no = FeedNo(feeds.iter().map(|f| f.no.0).max().unwrap_or(0) + 1);
        let fact = Fact::FeedCreated { no, settings: Box::new(settings.clone()) };
        self.record_feed(lease, org, &fact, |at| Feed::new(no, settings, at)).await
    }

    /// Changes a feed's settings. `feed` is what they were made from.
    ///
    /// # Errors
    /// If somebody else changed them since, or the store refuses.
    pub async fn set_feed(&self, org: &Organisation, feed: &Feed, settings: FeedSettings) -> Result<Feed> {
        let lease = self.lease(org.row.id).await?;
        let outcome = self.set_feed_leased(&lease, org, feed, settings).await;
        self.give_back(&lease, outcome).await
    }

    async fn set_feed_leased(
        &self,
        lease: &Lease,
        org: &Organisation,
        was: &Feed,
        mut settings: FeedSettings,
    ) -> Result<Feed> {
        // Read anew: a payload may have been worked on since the caller looked.
        let feeds = self.load(org.row.clone()).await?.feeds;
        let mut feed = feeds.into_iter().find(|f| f.no == was.no).unwrap_or_else(|| was.clone());
        if feed.settings != was.settings {
            let why =
                "Somebody else changed the feed's settings at the same moment, so nothing was changed; look again.";
            return Err(Error::Stale(why.to_owned()));
        }
        if settings.mapping != feed.settings.mapping {
            settings.mapping_version = feed.settings.mapping_version + 1;
        }
        let fact = Fact::FeedChanged { no: feed.no, settings: Box::new(settings.clone()) };
        self.record_feed(lease, org, &fact, |at| {
            feed.take_settings(settings, at);
            feed
        })
        .await
    }

    async fn record_feed(
        &self,
        lease: &Lease,
        org: &Organisation,
        fact: &Fact,
        feed: impl FnOnce(DateTime<Utc>) -> Feed,
    ) -> Result<Feed> {
        let mut tx = self.store.begin(org.row.id, Some(lease)).await?;
        tx.append(vec![event(fact, None)], &self.who(Uuid::now_v7())).await?;
        // As the log has it: where the clock went back, that is later than now.
        let feed = feed(tx.head().await?.last_recorded_at);
        put_feed(&mut tx, &feed).await?;
        tx.commit().await?;
        Ok(feed)
    }

    /// Takes the organisation's lease, waiting for another process to finish.
    ///
    /// # Errors
    /// If it does not within a minute.
    pub async fn lease(&self, org: OrganisationId) -> Result<Leased> {
        let started = tokio::time::Instant::now();
        loop {
            if let Some(lease) = self.lease_if_free(org).await? {
                return Ok(lease);
            }
            if started.elapsed() > self.patience {
                return Err(Error::Busy(
                    "Another process is working on this organisation; try again when it is done.".to_owned(),
                ));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Gives the lease back when the work under it is done or has failed, and says which: what was done stays done, and a
    /// failure is told as it was, even where the lease can no more be written than what came before. It lapses by itself.
    pub(crate) async fn give_back<T>(&self, lease: &Lease, outcome: Result<T>) -> Result<T> {
        if let Err(e) = self.store.release_lease(lease).await {
            tracing::warn!(error = %e, "the lease could not be given back; it lapses by itself");
        }
        outcome
    }

    /// Takes the organisation's lease, if nobody has it but a process that no longer runs.
    ///
    /// # Errors
    /// If the store refuses.
    pub async fn lease_if_free(&self, org: OrganisationId) -> Result<Option<Leased>> {
        loop {
            if let Some(lease) = self.store.acquire_lease(org, &lease::this_process(), LEASE).await? {
                return Ok(Some(Leased::renewing(self.store.clone(), lease)));
            }
            match self.store.lease_holder(org).await? {
                Some(holder) if lease::is_dead(&holder) => self.store.bury_lease(org, &holder).await?,
                _ => return Ok(None),
            }
        }
    }
}

impl Organisation {
    /// A feed by name.
    ///
    /// # Errors
    /// If there is none of that name.
    pub fn feed(&self, name: &str) -> Result<&Feed> {
        self.feeds.iter().find(|f| f.settings.name == name).ok_or_else(|| {
            let names: Vec<&str> = self.feeds.iter().map(|f| f.settings.name.as_str()).collect();
            Error::Unknown(format!("There is no feed {name}; there are: {}.", names.join(", ")))
        })
    }

    /// The name of a feed.
    pub fn feed_name(&self, no: FeedNo) -> &str {
        match no {
            FeedNo::HAND => "hand",
            _ => self.feeds.iter().find(|f| f.no == no).map_or("?", |f| f.settings.name.as_str()),
        }
    }

    /// The fields for which each feed had a column in its last accepted full payload; a feed without one is left out.
    pub fn speaks(&self) -> Vec<(FeedNo, FieldSet)> {
        let key = self.settings.match_key.field();
        let columns = |feed: &Feed| {
            let header = &feed.baseline.as_ref()?.columns;
            let mut mapping = feed.settings.mapping.clone();
            leave_out_lacking(&mut mapping, header, &BTreeMap::new(), &self.settings);
            let columns = headers::resolve(header, &self.settings.fields, key, &mapping).ok()?;
            Some((feed.no, columns.by_index.into_iter().flatten().collect()))
        };
        self.feeds.iter().filter_map(columns).collect()
    }

    /// Priorities of all feeds.
    pub fn priorities(&self) -> Vec<(FeedNo, i32)> {
        self.feeds.iter().map(|f| (f.no, f.settings.priority)).collect()
    }
}

/// Writes a feed's document.
pub async fn put_feed(tx: &mut Tx, feed: &Feed) -> Result<()> {
    let doc = serde_json::to_vec(feed)?;
    Ok(tx.put_feed(&FeedRow { no: feed.no, name: feed.settings.name.clone(), doc }).await?)
}

/// Checks the name of a new feed.
///
/// # Errors
/// A sentence that says how it is written.
pub fn check_feed_name(name: &str) -> Result<()> {
    let fits = (1..=63).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.'));
    match (fits, name) {
        (_, "hand") => {
            Err(Error::Wrong("The feed hand is what administrators do by hand; choose another name.".to_owned()))
        }
        // The address of a feed stands beside that of the runs of all feeds.
        (_, "runs") => Err(Error::Wrong("`runs` is no name for a feed: it is where runs are listed.".to_owned())),
        (true, _) => Ok(()),
        (false, _) => {
            let shown: String = name.chars().filter(|c| !c.is_control()).take(63).collect();
            Err(Error::Wrong(format!("`{shown}` is no name for a feed: use up to 63 of a-z, 0-9, -, _ and .")))
        }
    }
}

/// The longest prefix of match keys: room must be left for the keys.
const MOST_PREFIX: usize = 32;

/// Checks what is to be put in front of a feed's match keys.
///
/// # Errors
/// A sentence that says how it is written.
pub fn check_key_prefix(prefix: &str) -> Result<()> {
    if prefix.chars().count() > MOST_PREFIX || prefix.chars().any(char::is_control) {
        return Err(Error::Wrong(format!("A key prefix is up to {MOST_PREFIX} characters on one line.")));
    }
    Ok(())
}

/// A random secret.
pub(crate) fn new_secret() -> Secret {
    let mut secret = [0; 32];
    rand::rng().fill_bytes(&mut secret);
    Secret::new(secret)
}

pub(crate) fn check_slug(slug: &str) -> Result<()> {
    let fits = (1..=63).contains(&slug.len())
        && slug.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !slug.starts_with('-');
    if fits { Ok(()) } else { Err(Error::Wrong(format!("`{slug}` is no slug: use up to 63 of a-z, 0-9 and -."))) }
}
