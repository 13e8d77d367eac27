//! `muster serve`: works on what comes in, for as long as it runs.

use std::{collections::BTreeSet, net::SocketAddr, sync::Arc, time::Duration};

use clap::{
    Args, Parser,
    builder::{PossibleValuesParser, TypedValueParser},
};
use muster_bus::{Bus, Settings};
use muster_domain::access::{IpNet, network};
use muster_engine::{
    Engine,
    serve::{Figures, Pace, Role, Serving},
};
use muster_server::{Origin, State};
use serde_json::json;
use tokio::{net::TcpListener, sync::watch};

use crate::{
    fail::{Exit, Failure},
    session::Session,
};

/// How long answers that are under way may take once it is told to end.
const LAST_ANSWERS: Duration = Duration::from_secs(5);

/// Work on what comes in, for as long as it runs
///
/// Uploads that were taken in (`muster sync --no-wait`) are worked on as they come. Any number of processes may serve one
/// PostgreSQL database; with --amqp they wake one another through RabbitMQ, without it each looks for itself. SIGTERM and
/// Ctrl-C end it: the upload that was begun is finished, and what was not waits for the next one. /livez, /readyz and
/// /metrics answer on --listen. It logs to standard error without being asked to (--log-format json: for a collector).
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  muster serve\n  \
    MUSTER_AMQP_URL=amqp://muster:secret@broker/ muster serve --database postgres://… --roles worker,relay")]
pub struct Serve {
    /// Where to answer HTTP
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "MUSTER_LISTEN",
        hide_env_values = true,
        default_value = "127.0.0.1:8080"
    )]
    listen: SocketAddr,
    /// What this process does, with commas between [default: all of them]
    #[arg(long, value_name = "ROLES", value_delimiter = ',', value_parser = role())]
    roles: Vec<Role>,
    /// The RabbitMQ broker, amqp://user:password@host:port/virtual-host [default: none, every process for itself]
    #[arg(long, value_name = "URL", env = "MUSTER_AMQP_URL", hide_env_values = true)]
    amqp: Option<String>,
    /// What the names of queues and exchange begin with: another for each installation on a virtual host
    #[arg(long, value_name = "NAME", env = "MUSTER_AMQP_PREFIX", hide_env_values = true, default_value = "muster")]
    amqp_prefix: String,
    /// Networks of proxies that are believed when they say from where a request comes (X-Forwarded-For)
    #[arg(long, value_name = "NETWORK", value_delimiter = ',', env = "MUSTER_TRUSTED_PROXY", hide_env_values = true, value_parser = network)]
    trusted_proxy: Vec<IpNet>,
    /// Origins of web pages that may ask the API from a browser (CORS) [default: none]
    #[arg(long, value_name = "ORIGIN", value_delimiter = ',', env = "MUSTER_CORS_ORIGIN", hide_env_values = true)]
    cors_origin: Vec<Origin>,
}

fn role() -> impl TypedValueParser<Value = Role> {
    let words = PossibleValuesParser::new(Role::ALL.map(Role::word));
    words.try_map(|word| Role::from_word(&word).ok_or("no such role"))
}

/// The same options with nothing said on the command line.
#[derive(Debug, Parser)]
struct Unsaid {
    #[command(flatten)]
    serve: Serve,
}

impl Serve {
    /// As the environment has it, and by default.
    pub fn unsaid() -> Result<Serve, Failure> {
        let unsaid = Unsaid::try_parse_from(["muster"]).map_err(|e| Failure::wrong(e.to_string()))?;
        Ok(unsaid.serve)
    }

    /// Where it answers.
    pub fn listen(&self) -> SocketAddr {
        self.listen
    }
}

/// Runs the command.
pub async fn run(serve: Serve, session: &mut Session<'_>) -> Result<Exit, Failure> {
    let engine = session.engine().await?;
    keep_serving(engine, serve, session).await
}

/// Serves until it is told to end.
pub async fn keep_serving(engine: Engine, serve: Serve, session: &mut Session<'_>) -> Result<Exit, Failure> {
    let (bus, alone) = bus(&serve, session.config.amqp.as_deref())?;
    let listener = TcpListener::bind(serve.listen)
        .await
        .map_err(|e| Failure::new("io", Exit::Failed, format!("Nothing can listen on {}: {e}", serve.listen)))?;
    let address = listener.local_addr()?;
    let roles: BTreeSet<Role> =
        if serve.roles.is_empty() { Role::ALL.into() } else { serve.roles.into_iter().collect() };
    let figures = Arc::new(Figures::default());
    let (tell, stop) = watch::channel(false);
    let mut end = End::watch()?;
    let state = State {
        engine: engine.clone(),
        bus: bus.clone(),
        figures: figures.clone(),
        trusted: serve.trusted_proxy.into(),
        origins: serve.cors_origin.into(),
        answers_api: roles.contains(&Role::Api),
    };
    let answering = tokio::spawn(muster_server::serve(listener, state, stop.clone()));
    let serving = Serving { engine: engine.clone(), bus: bus.clone(), alone, pace: Pace::default(), figures };
    let working = tokio::spawn(async move { serving.run(&roles, stop).await });
    if session.out.json {
        session.out.document(&json!({ "listening": address }));
    } else {
        session.out.line(format_args!("Serving on http://{address}; Ctrl-C ends it."));
    }
    session.out.flush();
    end.told().await?;
    let _ = tell.send(true);
    let _ = working.await;
    bus.close().await;
    // Nobody who keeps a connection open keeps the process.
    let _ = tokio::time::timeout(LAST_ANSWERS, answering).await;
    // What the last requests did.
    engine.flush_access().await?;
    engine.store.close().await;
    Ok(Exit::Done)
}

/// The bus, and whether it is within this process.
fn bus(serve: &Serve, configured: Option<&str>) -> Result<(Bus, bool), Failure> {
    let given = |url: &&str| !url.trim().is_empty();
    let Some(url) = serve.amqp.as_deref().filter(given).or(configured).filter(given) else {
        return Ok((Bus::in_process(), true));
    };
    let mut settings = Settings::new(url);
    settings.prefix.clone_from(&serve.amqp_prefix);
    settings.point = muster_engine::crash::point;
    let bus = Bus::amqp(settings).map_err(|e| Failure::wrong(e.to_string()))?;
    Ok((bus, false))
}

/// SIGTERM and Ctrl-C, heard from the moment at which this is made.
struct End {
    #[cfg(unix)]
    term: tokio::signal::unix::Signal,
}

impl End {
    fn watch() -> std::io::Result<End> {
        Ok(End {
            #[cfg(unix)]
            term: tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?,
        })
    }

    async fn told(&mut self) -> std::io::Result<()> {
        #[cfg(unix)]
        return tokio::select! {
            _ = self.term.recv() => Ok(()),
            done = tokio::signal::ctrl_c() => done,
        };
        #[cfg(not(unix))]
        tokio::signal::ctrl_c().await
    }
}
