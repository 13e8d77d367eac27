//! What people are told where something that they read does not reflect the whole log; machines look at its `seq`.

use muster_domain::ids::OrganisationId;
use muster_engine::Engine;

use crate::{fail::Failure, session::Session};

/// Says how far what was read reflects the log, if that is not to its end.
pub async fn say(engine: &Engine, org: OrganisationId, seq: u64, session: &mut Session<'_>) -> Result<(), Failure> {
    let last = engine.store.head(org).await?.last_seq;
    if seq < last {
        let said = format_args!("\nThis reflects event {seq} of {last}: `muster projections status` says why.");
        let said = session.out.paint("33", said);
        session.out.line(said);
    }
    Ok(())
}
