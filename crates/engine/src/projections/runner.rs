//! Running: a lane is claimed, the log read in slices, rows and checkpoint written in one transaction, until it has caught up.

use std::{
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    task::Poll,
    time::{Duration, Instant},
};

use muster_domain::{event::Hash, fact::Fact, ids::OrganisationId};
use muster_store::{
    StoreError,
    read_model::{Lane, LaneState, Parked, ReadModels, Step},
};

use tracing::{Instrument, field::display};
use uuid::Uuid;

use super::{Event, Projection, rows::Rows};
use crate::{Engine, Error, Result, crash};

/// How long a slice is worked on before it is written. An event that takes longer is not cut.
const SLICE: Duration = Duration::from_secs(1);
/// A slice that has more to write than this is written.
const SLICE_BYTES: usize = 32 << 20;
/// Events read at a time.
const EVENTS: u32 = 256;
/// Rows of dropped lanes deleted at a time.
pub(super) const CLEANED: u32 = 2_000;

/// What a step of work on a projection of an organisation came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// There was nothing left to do.
    CaughtUp,
    /// Something was done, and there may be more.
    More,
    /// Somebody else works on it.
    Taken,
    /// It stands at an event that it cannot take.
    Parked,
    /// Its rows are of a newer program, which is to go on with them.
    Newer,
}

impl Engine {
    /// Does the next piece of work on a projection of an organisation: a slice of the log for the lane that is read, and
    /// one for the lane that is being built. Lanes that are missing, of another log or of older code are made anew.
    ///
    /// # Errors
    /// If log or read models cannot be read or written; then everything is as before.
    pub async fn project(&self, org: OrganisationId, projection: &dyn Projection) -> Result<Progress> {
        let models = self.store.read_models().await?;
        let end = self.store.head(org).await?.last_seq;
        let (live, building) = self.lanes_of(&models, org, projection).await?;
        let Some(live) = live else {
            models.begin_lane(org, projection.name(), projection.version(), LaneState::Live).await?;
            return Ok(Progress::More);
        };
        for lane in std::iter::once(&live).chain(&building) {
            if !self.is_of_log(lane).await? {
                tracing::info!(projection = lane.projection, lane = lane.id, "lane of another log dropped");
                models.drop_lane(lane).await?;
                return Ok(Progress::More);
            }
        }
        if live.version > projection.version() {
            return Ok(Progress::Newer);
        }
        if live.version < projection.version() && building.is_none() {
            models.begin_lane(org, projection.name(), projection.version(), LaneState::Building).await?;
            return Ok(Progress::More);
        }
        let first = if live.version == projection.version() {
            self.project_lane(&models, &live, projection, end).await?
        } else {
            Progress::CaughtUp
        };
        let second = match building.filter(|b| b.version == projection.version()) {
            Some(lane) => self.build(&models, &lane, projection, end).await?,
            None => Progress::CaughtUp,
        };
        if first == Progress::CaughtUp && second == Progress::CaughtUp && models.clean(org, CLEANED).await? {
            return Ok(Progress::More);
        }
        // What can still go on goes before what stands.
        Ok(if second == Progress::CaughtUp || first == Progress::More { first } else { second })
    }

    /// Works on a projection until there is nothing left to do, or somebody else does it.
    ///
    /// # Errors
    /// As [`Engine::project`].
    pub async fn catch_up(&self, org: OrganisationId, projection: &dyn Projection) -> Result<Progress> {
        loop {
            match self.project(org, projection).await? {
                Progress::More => {}
                other => return Ok(other),
            }
        }
    }

    /// The live and the building lane.
    pub(super) async fn lanes_of(
        &self,
        models: &ReadModels,
        org: OrganisationId,
        projection: &dyn Projection,
    ) -> Result<(Option<Lane>, Option<Lane>)> {
        let mut lanes = models.lanes(org).await?;
        lanes.retain(|lane| lane.projection == projection.name());
        let building = lanes.iter().position(|l| l.state == LaneState::Building).map(|i| lanes.remove(i));
        Ok((lanes.pop(), building))
    }

    /// Whether the log still has the event up to which the lane reflects it. It has not if another log stands in its
    /// place, from a backup or an import.
    pub(super) async fn is_of_log(&self, lane: &Lane) -> Result<bool> {
        if lane.seq == 0 {
            return Ok(true);
        }
        let mark = self.store.mark(lane.organisation, lane.seq).await?;
        Ok(mark.is_some_and(|(hash, _)| hash == lane.hash))
    }

    /// A slice for a lane that is being built; once it has caught up it takes the live one's place.
    async fn build(&self, models: &ReadModels, lane: &Lane, projection: &dyn Projection, end: u64) -> Result<Progress> {
        let progress = self.project_lane(models, lane, projection, end).await?;
        if progress != Progress::CaughtUp {
            return Ok(progress);
        }
        crash::point("projection_before_swap");
        if models.swap(lane).await? {
            tracing::info!(projection = lane.projection, lane = lane.id, seq = lane.seq, "rebuilt lane goes live");
        }
        Ok(Progress::More)
    }

    async fn project_lane(
        &self,
        models: &ReadModels,
        lane: &Lane,
        projection: &dyn Projection,
        end: u64,
    ) -> Result<Progress> {
        if lane.parked.is_some() {
            return Ok(Progress::Parked);
        }
        if lane.seq >= end {
            return Ok(Progress::CaughtUp);
        }
        let Some(claim) = models.claim(lane.organisation, lane.id).await? else { return Ok(Progress::Taken) };
        let mut slice = Slice {
            engine: self,
            org: lane.organisation,
            projection,
            seq: claim.lane.seq,
            hash: claim.lane.hash,
            correlation: None,
            parked: None,
            rows: Rows::new(claim),
        };
        slice.take_events().await?;
        let Slice { seq, hash, correlation, parked, rows, .. } = slice;
        if let Some(parked) = &parked {
            let (projection, event, correlation) = (projection.name(), parked.seq, correlation.map(display));
            let (organisation, lane, error) = (lane.organisation.0, lane.id, &parked.error);
            tracing::error!(%organisation, projection, lane, event, correlation, error, "lane parked");
        }
        crash::point("projection_before_checkpoint");
        rows.commit(&Step { seq, hash, parked }).await?;
        crash::point("projection_after_checkpoint");
        Ok(Progress::More)
    }
}

/// A slice of the log on its way into one lane.
struct Slice<'a> {
    engine: &'a Engine,
    org: OrganisationId,
    projection: &'a dyn Projection,
    seq: u64,
    hash: Hash,
    /// Of the event that was taken last, or could not be taken.
    correlation: Option<Uuid>,
    parked: Option<Parked>,
    rows: Rows,
}

impl Slice<'_> {
    async fn take_events(&mut self) -> Result<()> {
        let (started, most) = (Instant::now(), self.engine.sizes.projected_together);
        let mut taken = 0;
        loop {
            let events = self.engine.store.bare_events(self.org, self.seq, EVENTS).await?;
            let last = events.len() < EVENTS as usize;
            for raw in events {
                let (seq, kind) = (raw.seq, raw.kind().unwrap_or_default().to_owned());
                match self.take_if_wanted(raw).await {
                    Ok(hash) => {
                        self.rows.keep();
                        (self.seq, self.hash) = (seq, hash);
                    }
                    Err(e) if is_passing(&e) => return Err(e),
                    Err(e) => {
                        self.rows.undo();
                        self.parked = Some(Parked { seq, kind, error: sentence(&e), at: self.engine.now() });
                        return Ok(());
                    }
                }
                taken += 1;
                if taken >= most || started.elapsed() > SLICE || self.rows.bytes() > SLICE_BYTES {
                    return Ok(());
                }
            }
            if last {
                return Ok(());
            }
        }
    }

    /// Gives the event's hash in the chain.
    async fn take_if_wanted(&mut self, raw: muster_store::RawEvent) -> Result<Hash> {
        let hash = raw.hash()?;
        if raw.kind().is_none_or(|kind| self.projection.wants(kind)) {
            // One event may take minutes, as that of a first import does.
            self.rows.keeper().during(caught(self.take_event(raw))).await??;
        }
        Ok(hash)
    }

    async fn take_event(&mut self, raw: muster_store::RawEvent) -> Result<()> {
        self.correlation = None;
        let meta = raw.open()?.meta;
        self.correlation = Some(meta.correlation);
        // The upload's identity is the correlation of all its events: by it an upload is followed up to here.
        let (organisation, correlation) = (self.org.0, meta.correlation);
        let span = tracing::info_span!("event", %organisation, %correlation);
        async {
            let (began, seq, kind) = (Instant::now(), meta.seq, meta.kind.clone());
            let fact = Fact::read(&meta)?;
            let event = Event { organisation: self.org, meta, fact, engine: self.engine.clone() };
            self.projection.take(&event, &mut self.rows).await?;
            let (projection, ms) = (self.projection.name(), began.elapsed().as_millis() as u64);
            tracing::debug!(projection, seq, kind, ms, "an event was projected");
            Ok(())
        }
        .instrument(span)
        .await
    }
}

/// A bug in a projection is an event that it cannot take: it would meet it again at every try.
async fn caught(work: impl Future<Output = Result<()>>) -> Result<()> {
    let mut work = pin!(work);
    poll_fn(|cx| {
        // What it wrote counts for nothing, so that nothing half done is looked at again.
        catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx)))
            .unwrap_or_else(|_| Poll::Ready(Err(Error::Damaged("a bug in the projection ended its work".to_owned()))))
    })
    .await
}

/// Whether trying again may help although nothing was mended: it is then no fault of the event.
fn is_passing(error: &Error) -> bool {
    match error {
        Error::Store(e) => !matches!(e, StoreError::Corrupt(_) | StoreError::NotFound),
        Error::Io(_) | Error::File(_) => true,
        _ => false,
    }
}

/// Why an event was not taken, without what a parser found in it.
fn sentence(error: &Error) -> String {
    let said = error.to_string();
    said.split(": ").next().unwrap_or_default().to_owned()
}
