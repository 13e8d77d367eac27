//! `muster eligibility`: whether somebody is eligible, why, since when and until when.

use chrono::{DateTime, NaiveDate, Utc};
use clap::Args;
use muster_domain::{eligibility::ReasonCode, ids::date_of};
use muster_engine::members::By;
use serde_json::json;

use crate::{
    arguments::{OfOrganisation, calendar_day, time},
    fail::{Exit, Failure},
    session::Session,
};

/// Say whether somebody is eligible, why, since when and until when
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  muster eligibility 1042 --org acme\n  \
    muster eligibility 1042 --org acme --on 2026-03-20 --json")]
pub struct Eligibility {
    /// The person's match key, or a former one
    key: String,
    #[command(flatten)]
    org: OfOrganisation,
    /// The day asked about [default: today, in the organisation's time zone]
    #[arg(long, value_name = "DATE", value_parser = calendar_day)]
    on: Option<NaiveDate>,
    /// By what was known at that time [default: now]
    #[arg(long, value_name = "TIME", value_parser = time)]
    at: Option<DateTime<Utc>>,
}

/// Runs the command.
pub async fn run(asked: Eligibility, session: &mut Session<'_>) -> Result<Exit, Failure> {
    let engine = session.engine().await?;
    let org = engine.organisation(&asked.org.slug).await?;
    let found = engine.check(&org, By::Any(&asked.key), asked.on, asked.at, |_| true).await?;
    let answer = found.answer;
    let (since, until) = (answer.since.map(date_of), answer.until.map(date_of));
    if session.out.json {
        session.out.document(&json!({
            "key": asked.key,
            "member": found.member,
            "eligible": answer.eligible,
            "reason": answer.reason,
            "since": since,
            "until": until,
            "on": asked.on,
            "at": asked.at,
            "roster_version": found.roster_version,
        }));
        return Ok(Exit::Done);
    }
    let word = match answer.eligible {
        true => session.out.paint("32", "yes"),
        false => session.out.paint("31", "no"),
    };
    session.out.line(format_args!("{word}  {}: {}", answer.reason.word(), meaning(answer.reason)));
    if let Some(since) = since {
        session.out.line(format_args!("since {since}"));
    }
    if let Some(until) = until {
        session.out.line(format_args!("until {until}"));
    }
    Ok(Exit::Done)
}

/// What a reason code means, as the rest of "yes," or "no,".
fn meaning(reason: ReasonCode) -> &'static str {
    match reason {
        ReasonCode::Eligible => "on the roster, and nothing speaks against it",
        ReasonCode::UntilEndDate => "no feed names the person any more, and the known end date is not over",
        ReasonCode::Grace => "by grace days alone",
        ReasonCode::NeverListed => "never was on the roster",
        ReasonCode::NotYetListed => "was not on the roster yet on that day",
        ReasonCode::NotListed => "had left the roster",
        ReasonCode::NotStarted => "the start date was still to come",
        ReasonCode::Ended => "the end date was over",
        ReasonCode::ExcludedStatus => "the employment status is an excluded one",
    }
}
