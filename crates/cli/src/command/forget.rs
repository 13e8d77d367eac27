//! `muster forget`: erases one person's data, and keeps the person from coming back.

use std::io::{self, BufRead, IsTerminal, Write};

use clap::Args;
use muster_engine::forget::{ForgetReport, ForgetRequest, Outcome, Standing};
use serde_json::json;

use crate::{
    arguments::OfOrganisation,
    fail::{Exit, Failure},
    output::Output,
    progress::Progress,
    report::print_figures,
    session::{Session, quoted},
};

/// Erase one person's data from roster, log and payload originals
///
/// The log still verifies and replays: erased lines leave their hashes. The next feed that names the person does not bring
/// them back, and its report says so. Backups and exports made before are not reached.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  muster forget E1001 --org acme --dry-run\n  \
    muster forget E1001 --org acme --reason 'request 2026-114' --yes\n  \
    muster forget E1001 --org acme --lift --reason 'hired again'")]
pub struct Forget {
    /// The person: match key, an old one, e-mail or employee id
    key: String,
    #[command(flatten)]
    org: OfOrganisation,
    /// Why, for the log; it must not say who
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Show what would go, and change nothing
    #[arg(long, conflicts_with_all = ["yes", "lift"])]
    dry_run: bool,
    /// Do not ask: it cannot be undone
    #[arg(long, short)]
    yes: bool,
    /// Let somebody who was forgotten come back with the next payload, or by hand
    #[arg(long)]
    lift: bool,
}

/// Runs the command.
pub async fn run(forget: Forget, session: &mut Session<'_>) -> Result<Exit, Failure> {
    let slug = forget.org.slug.as_str();
    if forget.lift {
        let engine = session.engine().await?;
        let lifted = engine.lift_forgetting(slug, &forget.key, forget.reason.as_deref()).await?;
        match session.out.json {
            true => {
                let seq = engine.last_seq(slug).await?;
                session.out.document(&json!({ "state": Outcome::Lifted, "lifted": lifted, "seq": seq }));
            }
            false => session.out.line(
                "Lifted: the next payload that names the person adds them as somebody new, as `muster members add` does.",
            ),
        }
        return Ok(Exit::Done);
    }
    let mut request = ForgetRequest { key: forget.key.as_str().into(), reason: forget.reason.clone(), dry_run: true };
    let engine = session.engine().await?;
    if !forget.yes {
        if !forget.dry_run && (session.out.json || !io::stdin().is_terminal()) {
            return Err(Failure::wrong(
                "Forgetting cannot be undone: look at it with --dry-run, then say --yes to do it.",
            ));
        }
        let found = engine.forget(slug, &request).await?;
        if forget.dry_run {
            print(&found, &forget, session);
            return Ok(Exit::Done);
        }
        print(&found, &forget, session);
        if !asked(&forget.key, session.out)? {
            session.out.line("Nothing was changed.");
            return Ok(Exit::WrongUse);
        }
    }
    request.dry_run = false;
    let progress = Progress::working(session.config.progress, "Forgetting");
    let outcome = engine.forget(slug, &request).await;
    progress.done();
    let report = outcome?;
    print(&report, &forget, session);
    Ok(if report.swept { Exit::Done } else { Exit::Waiting })
}

/// Whether the person at the terminal says it again, which nobody does by accident.
fn asked(key: &str, out: &mut Output) -> Result<bool, Failure> {
    out.flush();
    let mut terminal = io::stderr();
    write!(terminal, "\nThis cannot be undone. Type {} to forget this person: ", quoted(key))?;
    terminal.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(answer.trim() == key.trim())
}

fn print(report: &ForgetReport, forget: &Forget, session: &mut Session<'_>) {
    if session.out.json {
        session.out.document(report);
        return;
    }
    let (colour, word, meaning) = match report.state {
        Outcome::DryRun => ("36", "Dry run", "this would go; nothing was changed."),
        Outcome::AlreadyForgotten => ("32", "Already forgotten", "what has come since is gone too."),
        Outcome::Forgotten | Outcome::Lifted => {
            ("32", "Forgotten", "nothing is left but the hashes of what was erased.")
        }
    };
    let word = session.out.paint(colour, word);
    session.out.line(format_args!("{word}: {meaning}"));
    let was = match report.was {
        Standing::Listed => "on the roster",
        Standing::Former => "a former member",
        Standing::Declined => "named by a feed and never taken on",
        Standing::NeverListed => "never listed",
    };
    session.out.line(format_args!("  The person is {was}."));
    let figures = [
        ("members", report.members, "rows of the roster, with claims, last words and identifiers"),
        ("events", report.events, "of the log that lose lines"),
        ("lines", report.lines, "changes, row issues, comments and names of files"),
        ("waiting", report.change_sets, "change sets that wait, which go on without the person"),
        ("originals", report.originals, "payloads as they came, with everybody in them"),
        ("unreadable", report.unreadable, "of these cannot be looked into, and go for that"),
        ("blocked", report.blocked, "identifiers by which no payload brings the person back"),
    ];
    print_figures(figures.into_iter().filter(|(_, n, _)| *n > 0), session.out);
    if report.state == Outcome::DryRun {
        return;
    }
    session.out.line(format_args!("\nroster version {}", report.roster_version));
    if !report.swept {
        let again = format!("forget {} --org {} --yes", quoted(&forget.key), forget.org.slug);
        let again = session.suggestion(&again);
        session.out.line(format_args!(
            "Somebody else was using the database all the while, so traces may be left in its free space; run it again \
             when they are done:\n  {again}"
        ));
    }
}
