//! `muster keys`: the API keys of an organisation.

mod show;
mod terms;

pub use show::dying;

use chrono::{DateTime, Duration, Utc};
use clap::{Args, Subcommand};
use muster_domain::access::{KeyKind, Rights};
use muster_engine::{
    Engine, Organisation,
    access::{AccessLogFilter, Maker, Terms},
};
use serde_json::json;

use crate::{
    arguments::{OfOrganisation, time},
    fail::{Exit, Failure},
    session::Session,
};

/// Create, list, change, rotate and revoke the API keys of an organisation
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  muster org set acme api_access=on\n  muster users create --service --name nightly --org acme \
    --role administrator\n  muster keys create --org acme --name 'Nightly list' --user nightly --preset send-lists"
)]
pub struct Keys {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a key, and show it this once
    ///
    /// It acts on behalf of a user and never does more than that user may. It is shown now and never again: only a hash of
    /// it is stored. Nothing is let in until `muster org set SLUG api_access=on`.
    #[command(
        after_help = "Examples:\n  muster keys create --org acme --name 'Nightly list' --user nightly --preset send-lists \
        --expires 1y\n  muster keys create --org acme --name Clinic --user clinic --preset check-eligibility \
        --network 192.0.2.0/24 --rate eligibility=60000\n  \
        muster keys create --org acme --name Directory --user intranet --scope member:read --read-fields \
        members=first_name,last_name,department --department Sales --expires 90d"
    )]
    Create {
        #[command(flatten)]
        org: OfOrganisation,
        /// What people call it
        #[arg(long)]
        name: String,
        /// The user on whose behalf it acts: e-mail address, name or id
        #[arg(long, value_name = "USER")]
        user: String,
        /// A key for bulk loading: it sends uploads, sees what became of them, and does nothing else
        #[arg(long, conflicts_with_all = ["preset", "scopes"])]
        bulk: bool,
        #[command(flatten)]
        terms: terms::Given,
    },
    /// List the keys, with when and from where each was last used
    #[command(after_help = "Examples:\n  muster keys list --org acme\n  muster keys list --org acme --all --json")]
    List {
        #[command(flatten)]
        org: OfOrganisation,
        /// Revoked and expired ones too
        #[arg(long)]
        all: bool,
    },
    /// Change what a key may do, from its next request on
    ///
    /// What is not named stays. The word any takes a limit away: --network any, --feed any, --department any, --read-fields
    /// members=any, --rate requests=any.
    #[command(
        after_help = "Example:\n  muster keys edit 0h2v6k9q3m1x8c5z --org acme --scope member:read --expires never"
    )]
    Edit {
        /// The key's id
        id: String,
        #[command(flatten)]
        org: OfOrganisation,
        /// What people call it
        #[arg(long)]
        name: Option<String>,
        /// The user on whose behalf it acts: e-mail address, name or id
        #[arg(long, value_name = "USER")]
        user: Option<String>,
        #[command(flatten)]
        terms: terms::Given,
    },
    /// Give a key a new secret, and show it this once; the one until now works on for a while
    #[command(after_help = "Example:\n  muster keys rotate 0h2v6k9q3m1x8c5z --org acme --overlap 7d")]
    Rotate {
        /// The key's id
        id: String,
        #[command(flatten)]
        org: OfOrganisation,
        /// For how long the secret until now works on, such as 0, 12h or 7d, which is the longest
        #[arg(long, value_name = "TIME", default_value = "24h", value_parser = terms::span)]
        overlap: Duration,
    },
    /// Take a key away for good, at once and everywhere
    #[command(after_help = "Example:\n  muster keys revoke 0h2v6k9q3m1x8c5z --org acme")]
    Revoke {
        /// The key's id
        id: String,
        #[command(flatten)]
        org: OfOrganisation,
    },
    /// Take all keys of an organisation away for good, at once and everywhere
    #[command(after_help = "Example:\n  muster keys revoke-all --org acme --yes")]
    RevokeAll {
        #[command(flatten)]
        org: OfOrganisation,
        /// Do it; without this it only says which keys would go (exit code 3)
        #[arg(long)]
        yes: bool,
    },
    /// Show what was read with keys, the newest first, of the last 90 days
    #[command(after_help = "Examples:\n  muster keys access-log --org acme\n  \
        muster keys access-log --org acme --key 0h2v6k9q3m1x8c5z --since 2026-03-20T00:00:00Z --json")]
    AccessLog {
        #[command(flatten)]
        org: OfOrganisation,
        /// Only with this key
        #[arg(long, value_name = "ID")]
        key: Option<String>,
        /// From this moment on
        #[arg(long, value_name = "TIME", value_parser = time)]
        since: Option<DateTime<Utc>>,
        /// So many of the newest
        #[arg(long, value_name = "N", default_value_t = 1000)]
        limit: u32,
    },
}

/// Runs the command.
pub async fn run(keys: Keys, session: &mut Session<'_>) -> Result<Exit, Failure> {
    let engine = session.engine().await?;
    let by = Maker::Operator;
    match keys.command {
        Command::Create { org, name, user, bulk, terms } => {
            let org = engine.organisation(&org.slug).await?;
            let mut wanted = Terms::new(name, engine.find_user(&user).await?.id, Rights::NONE);
            terms.put(&mut wanted, &org, engine.now())?;
            let kind = if bulk { KeyKind::Bulk } else { KeyKind::General };
            let made = engine.create_key(&org, kind, wanted, &by).await?;
            show::made(&engine, &org, &made, "Made", session).await?;
        }
        Command::List { org, all } => {
            let org = engine.organisation(&org.slug).await?;
            show::list(&engine.list_keys(&org, &by).await?, &org, engine.now(), all, session);
        }
        Command::Edit { id, org, name, user, terms } => {
            let org = engine.organisation(&org.slug).await?;
            let user = match user {
                Some(user) => Some(engine.find_user(&user).await?.id),
                None => None,
            };
            let now = engine.now();
            let change = |wanted: &mut Terms| {
                wanted.name = name.unwrap_or_else(|| wanted.name.clone());
                wanted.user = user.unwrap_or(wanted.user);
                terms.put(wanted, &org, now).map_err(|e| muster_engine::Error::Wrong(e.message))
            };
            let key = engine.edit_key(&org, &id, change, &by).await?;
            show::one(&engine, &org, &key.id, "Changed", session).await?;
        }
        Command::Rotate { id, org, overlap } => {
            let org = engine.organisation(&org.slug).await?;
            let made = engine.rotate_key(&org, &id, overlap, &by).await?;
            show::made(&engine, &org, &made, "Rotated", session).await?;
        }
        Command::Revoke { id, org } => {
            let org = engine.organisation(&org.slug).await?;
            let key = engine.delete_key(&org, &id, &by).await?;
            show::one(&engine, &org, &key.id, "Revoked", session).await?;
        }
        Command::RevokeAll { org, yes } => return revoke_all(&engine, &org.slug, yes, session).await,
        Command::AccessLog { org, key, since, limit } => {
            let org = engine.organisation(&org.slug).await?;
            let filter = AccessLogFilter { key, since, after: None, limit };
            show::reads(&engine.access_log(&org, &filter, &by).await?.entries, session);
        }
    }
    Ok(Exit::Done)
}

async fn revoke_all(engine: &Engine, slug: &str, yes: bool, session: &mut Session<'_>) -> Result<Exit, Failure> {
    let org: Organisation = engine.organisation(slug).await?;
    let keys = if yes {
        engine.revoke_all_keys(&org, &Maker::Operator).await?
    } else {
        let listed = engine.list_keys(&org, &Maker::Operator).await?;
        listed.into_iter().map(|listed| listed.key).filter(|key| key.revoked_at.is_none()).collect()
    };
    let n = keys.len();
    if session.out.json {
        let keys: Vec<_> = keys.iter().map(|key| json!({ "id": key.id, "name": key.name })).collect();
        session.out.document(&json!({ "revoked": yes, "keys": keys }));
    } else if yes {
        session.out.line(format_args!("Revoked {n} keys of {slug}, for good."));
    } else {
        dying(&keys, session);
        let next = session.suggestion(&format!("keys revoke-all --org {slug} --yes"));
        session.out.line(format_args!(
            "{n} keys of {slug} would be revoked, for good. Nothing was done.\n\nTo do it\n  {next}"
        ));
    }
    Ok(if yes { Exit::Done } else { Exit::Waiting })
}
