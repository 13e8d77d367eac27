//! `muster uploads`: what has arrived, and giving up what waits and cannot be worked on.

use clap::{Args, Subcommand};
use muster_domain::{
    documents::Upload,
    fact::{Refusal, State},
    ids::FeedNo,
};
use muster_engine::{Engine, Organisation, access::Names, lists::Which};
use serde_json::{Value, json};

use crate::{
    arguments::{OfOrganisation, state},
    fail::{Exit, Failure},
    moment::to_the_second,
    report::grouped,
    session::Session,
    table::Table,
};

/// List what has arrived, and give up what cannot be worked on
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  muster uploads list --org acme --state received")]
pub struct Uploads {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List uploads, newest first
    #[command(after_help = "Example:\n  muster uploads list --org acme --state received")]
    List {
        #[command(flatten)]
        org: OfOrganisation,
        /// Only those in this state; those received wait to be worked on
        #[arg(long, value_parser = state(&STATES))]
        state: Option<State>,
        /// At most so many; 0 for all
        #[arg(long, value_name = "N", default_value_t = 50)]
        limit: usize,
    },
    /// Take nothing from an upload that waits to be worked on
    ///
    /// Uploads are worked on in order of arrival, so one whose payload is lost keeps all others waiting. If it only lies below
    /// another data directory, run any sync with that one instead (--data-dir).
    #[command(after_help = "Example:\n  muster uploads give-up 01926f3a-7d1c-7b6e-a2f4-0d6f4f8a9b10 --org acme")]
    GiveUp {
        /// The upload, or how its id begins
        id: String,
        #[command(flatten)]
        org: OfOrganisation,
    },
}

/// Runs the command.
pub async fn run(uploads: Uploads, session: &mut Session<'_>) -> Result<Exit, Failure> {
    let engine = session.engine().await?;
    match uploads.command {
        Command::List { org, state, limit } => list(&engine, &org.slug, state, limit, session).await?,
        Command::GiveUp { id, org } => {
            let upload = engine.give_up(&org.slug, &id).await?.received.upload;
            if session.out.json {
                let seq = engine.last_seq(&org.slug).await?;
                session.out.document(&json!({
                    "upload_id": upload, "state": State::Refused, "reason": Refusal::GivenUp, "seq": seq,
                }));
            } else {
                session.out.line(format_args!(
                    "Given up: nothing is taken from upload {upload}. What waits behind it is worked on with the next sync."
                ));
            }
        }
    }
    Ok(Exit::Done)
}

async fn list(
    engine: &Engine,
    slug: &str,
    state: Option<State>,
    limit: usize,
    session: &mut Session<'_>,
) -> Result<(), Failure> {
    let org = engine.organisation(slug).await?;
    let mut uploads = engine.uploads(&org, Which::all(state)).await?;
    let all = uploads.len();
    if limit > 0 {
        uploads.truncate(limit);
    }
    if session.out.json {
        let senders: Vec<&str> = uploads.iter().map(|u| u.actor.as_str()).collect();
        let names = engine.names(org.row.id, &senders).await?;
        let uploads: Vec<Value> = uploads.iter().map(|u| document(u, &org, engine, &names)).collect();
        session.out.document(&json!({ "uploads": uploads, "total": all }));
        return Ok(());
    }
    if uploads.is_empty() {
        session.out.line("There are no uploads here.");
        return Ok(());
    }
    let mut table = Table::new(&["upload", "state", "feed", "channel", "when", "bytes", "payload"]).right(&[5]);
    for upload in &uploads {
        table.row([
            upload.received.upload.to_string(),
            upload.state.word().replace('_', " "),
            org.feed_name(upload.received.feed).to_owned(),
            upload.received.channel.to_string(),
            to_the_second(upload.received_at),
            grouped(upload.received.size),
            payload(upload, &org, engine).to_owned(),
        ]);
    }
    table.print(session.out, true);
    if all > uploads.len() {
        session.out.line(format_args!("… and {} older ones; --limit 0 lists all.", all - uploads.len()));
    }
    Ok(())
}

/// What there is of its payload, below this data directory.
fn payload(upload: &Upload, org: &Organisation, engine: &Engine) -> &'static str {
    match upload.destroyed {
        _ if upload.received.feed == FeedNo::HAND => "-",
        Some(_) => "destroyed",
        None if engine.payloads.path(org.row.id, upload.received.upload).exists() => "kept",
        None => "missing",
    }
}

fn document(upload: &Upload, org: &Organisation, engine: &Engine, names: &Names) -> Value {
    json!({
        "upload_id": upload.received.upload,
        "arrival": upload.received.arrival,
        "state": upload.state,
        "feed": org.feed_name(upload.received.feed),
        "channel": upload.received.channel,
        "mode": upload.received.mode,
        "received_at": upload.received_at,
        "actor": upload.actor,
        "actor_name": names.known(&upload.actor),
        "bytes": upload.received.size,
        "payload": payload(upload, org, engine),
        "change_set_id": upload.change_set,
        "counts": upload.counts,
        "mapping": upload.received.mapping,
    })
}

const STATES: [State; 8] = [
    State::Received,
    State::Held,
    State::PartlyApplied,
    State::Applied,
    State::Rejected,
    State::Superseded,
    State::NoChanges,
    State::Refused,
];
