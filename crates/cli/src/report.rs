//! What an upload or a review came to: one JSON document, or a page that says what it means and what to do next.

use muster_domain::{
    fact::{Counts, State},
    guard::Hold,
    ids::ChangeSetId,
};
use muster_engine::{
    pipeline::{Issue, Report},
    review::{Approvals, FirstOfTwo, Losing},
};

use crate::{
    moment::to_the_second,
    output::Output,
    session::Session,
    table::{Table, one_line},
};

/// How many issues are shown to people; the JSON has more.
const SHOWN_ISSUES: usize = 5;

/// Prints a report.
pub fn print(report: &Report, slug: &str, session: &mut Session<'_>) {
    if session.out.json {
        session.out.document(report);
        return;
    }
    let (colour, word, meaning) = match report.state {
        State::NoChanges if report.counts.invalid > 0 => {
            ("33", "No changes", "what could be taken of it is on the roster already.")
        }
        _ if report.approvals.awaits_second_approver => {
            ("33", "Approved by 1 of 2", "the roster is as it was, until somebody else approves the same.")
        }
        state => told(state),
    };
    let word = session.out.paint(colour, word);
    session.out.line(format_args!("{word}: {meaning}"));
    if report.state == State::Refused {
        for issue in &report.issues {
            session.out.line(one_line(&issue.reason));
        }
        return;
    }
    for note in &report.read_as {
        session.out.line(one_line(note));
    }
    if let Some(version) = report.mapping_version.filter(|version| *version > 0) {
        session.out.line(format_args!("Read by version {version} of the feed's mapping."));
    }
    print_counts(&report.counts, session.out);
    print_holds(&report.holds, report.state, session.out);
    print_first_approval(&report.approvals, session.out);
    issues(report, session.out);
    session.out.line(format_args!("\nroster version {}", report.roster_version));
    if let (Some(id), State::Held | State::PartlyApplied) = (report.change_set_id, report.state) {
        print_decisions(id, report.digest.as_deref(), &report.holds, slug, session);
    }
}

fn told(state: State) -> (&'static str, &'static str, &'static str) {
    match state {
        State::Applied => ("32", "Applied", "the roster is in step."),
        State::PartlyApplied => ("33", "Partly applied", "part of it is on the roster, the rest waits for a review."),
        State::Held => ("33", "Held", "the roster is as it was; somebody must look at the changes first."),
        State::NoChanges => ("32", "No changes", "the roster says all this already."),
        State::Refused => ("31", "Refused", "nothing was taken from it."),
        State::Rejected => ("33", "Rejected", "none of what was left of it is taken over."),
        State::Superseded => ("33", "Superseded", "a newer payload has taken its place."),
        State::DryRun => ("36", "Dry run", "this is what it would do; nothing was stored."),
        State::Received => ("33", "Received", "it is stored and will be worked on."),
    }
}

/// Prints the counts that are not zero, and what each means.
pub fn print_counts(counts: &Counts, out: &mut Output) {
    let forgotten =
        if counts.forgotten == 1 { "is of somebody who was forgotten" } else { "are of people who were forgotten" };
    let rows = [
        ("rows", counts.rows, ""),
        ("added", counts.added, "new to the roster"),
        ("updated", counts.updated, "with changed fields"),
        ("removed", counts.removed, "leave the roster"),
        ("reinstated", counts.reinstated, "come back to it"),
        ("re-keyed", counts.rekeyed, "known people with a new match key"),
        ("unchanged", counts.unchanged, "as the roster says"),
        ("suppressed", counts.suppressed, "differ from the roster and say nothing new"),
        ("invalid", counts.invalid, "left out"),
        ("forgotten", counts.forgotten, forgotten),
    ];
    print_figures(rows.into_iter().filter(|(name, n, _)| *n > 0 || *name == "rows"), out);
}

/// Prints figures, each with its name and what it means, if that needs saying.
pub fn print_figures<'a>(figures: impl Iterator<Item = (&'a str, u64, &'a str)>, out: &mut Output) {
    let mut table = Table::new(&[]).right(&[1]).indent(2);
    for (name, n, meaning) in figures {
        let n = grouped(n);
        match meaning {
            "" => table.row([name, &n]),
            meaning => table.row([name, &n, meaning]),
        }
    }
    out.line("");
    table.print(out, false);
}

/// Prints what each tripped guard found.
pub fn print_holds(holds: &[Hold], state: State, out: &mut Output) {
    if holds.is_empty() {
        if state == State::Held {
            out.line("\nNo guard tripped: it waits because the policy of its channel, or --hold, says so.");
        }
        return;
    }
    out.line(match state {
        State::DryRun => "\nWhat would hold it",
        State::Held | State::PartlyApplied => "\nWhat holds it",
        _ => "\nWhat the guards said",
    });
    let mut table = Table::new(&[]).indent(2);
    for hold in holds {
        table.row([hold.guard.as_str(), &hold.detail]);
    }
    table.print(out, false);
}

/// Prints how many people approving all that waits makes ineligible, and whether that number is to be confirmed.
pub fn print_losing(losing: Losing, confirmed: bool, out: &mut Output) {
    if losing.removals == 0 {
        return;
    }
    let n = losing.removals;
    let confirm = if confirmed { format!(" Whoever approves it confirms the {n}.") } else { String::new() };
    out.line(format_args!("\nApproving all that waits {losing}.{confirm}"));
}

/// Prints who approved first, and who was the second or what somebody else must do to be that.
pub fn print_first_approval(approvals: &Approvals, out: &mut Output) {
    let Some(first) = approvals.approvals.first() else { return };
    if let Some(second) = &first.seconded_by {
        let second = one_line(first.seconded_by_name.as_deref().unwrap_or(second));
        out.line("\nApproved by two people");
        out.line(format_args!("  {}; then by {second}", first_approval(first)));
    }
    if !approvals.awaits_second_approver {
        return;
    }
    out.line("\nA second approver is awaited");
    out.line(format_args!("  {}", first_approval(first)));
    let choice = if first.except_fields.is_empty() && !first.reject_rest { "" } else { ", in the same way" };
    out.line(format_args!(
        "  Somebody else must approve the same {} of the same digest{choice}; anything else counts as a new first approval.",
        counted(first.changes as usize, "change"),
    ));
}

/// Who approved first, when, and what, in one line.
pub fn first_approval(first: &FirstOfTwo) -> String {
    let by = one_line(first.by_name.as_deref().unwrap_or(&first.by));
    let (at, changes) = (to_the_second(first.at), counted(first.changes as usize, "change"));
    let without = match first.except_fields.as_slice() {
        [] => String::new(),
        fields => format!(", without {}", fields.join(", ")),
    };
    let rest = if first.reject_rest { ", rejecting the rest" } else { "" };
    let losing = match first.removals {
        0 => String::new(),
        n => {
            let make = if first.changes == 1 { "makes" } else { "make" };
            let people = if n == 1 { "person" } else { "people" };
            format!(", which {make} {} {people} ineligible", grouped(n))
        }
    };
    format!("approved first by {by} on {at}: {changes}{losing}{without}{rest}")
}

fn issues(report: &Report, out: &mut Output) {
    let all = report.issues.len();
    if all == 0 {
        return;
    }
    let of = if all >= 100 { "The first of at least 100 issues" } else { "Issues" };
    out.line(format_args!("\n{of}"));
    for issue in report.issues.iter().take(SHOWN_ISSUES) {
        out.line(format_args!("  {}", described(issue)));
    }
    if all > SHOWN_ISSUES {
        out.line(format_args!("  … and {} more; --issues FILE writes all of them.", all - SHOWN_ISSUES));
    }
}

/// An issue on one line.
fn described(issue: &Issue) -> String {
    let place = match issue.line {
        0 => String::new(),
        line => format!("line {line}: "),
    };
    let column = match (issue.column.as_str(), issue.value.as_str()) {
        ("", _) => String::new(),
        (column, "") => format!("{column}: "),
        (column, value) => format!("{column} \"{value}\": "),
    };
    one_line(format!("{place}{column}{}", issue.reason))
}

/// Prints the commands by which a reviewer looks at a change set and decides.
pub fn print_decisions(id: ChangeSetId, digest: Option<&str>, holds: &[Hold], slug: &str, session: &mut Session<'_>) {
    let digest = digest.map(|d| format!(" --digest {d}")).unwrap_or_default();
    // Whoever makes many people ineligible is to write their number, not to copy it.
    let confirm = if holds.iter().any(Hold::counts_removals) { " --confirm-removals N" } else { "" };
    session.out.line("\nNext");
    for line in [
        format!("changes show {id} --org {slug}"),
        format!("changes approve {id} --org {slug}{digest}{confirm}"),
        format!("changes reject {id} --org {slug} --comment 'why'"),
    ] {
        let line = session.suggestion(&line);
        session.out.line(format_args!("  {line}"));
    }
}

/// The counts that are not zero, in one line.
pub fn in_words(counts: &Counts) -> String {
    let all = [
        (counts.added, "added"),
        (counts.updated, "updated"),
        (counts.removed, "removed"),
        (counts.reinstated, "reinstated"),
        (counts.rekeyed, "re-keyed"),
        (counts.unchanged, "unchanged"),
        (counts.suppressed, "suppressed"),
        (counts.invalid, "invalid"),
        (counts.forgotten, "of people who were forgotten"),
    ];
    let some: Vec<String> =
        all.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{} {what}", grouped(*n))).collect();
    if some.is_empty() { "nothing".to_owned() } else { some.join(", ") }
}

/// So many of something, by its name for one.
pub fn counted(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{} {what}s", grouped(n as u64)) }
}

/// A number with a comma before every three digits.
pub fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
