//! Metrics in the text form of OpenMetrics, <https://prometheus.io/docs/specs/om/open_metrics_spec/>. Nothing in them is about a
//! person or an organisation.

use axum::{
    extract,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use muster_engine::{
    projections::lanes::Overview,
    serve::{CLASSES, Outcomes},
};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet, text::encode},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};

use crate::{PATIENCE, State};

const FORM: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What has happened in this process so far, and what the database says now. While it says nothing, the rest is told.
pub async fn show(extract::State(state): extract::State<State>) -> Response {
    let stored = tokio::time::timeout(PATIENCE, stored(&state)).await.unwrap_or_default();
    let mut registry = Registry::with_prefix("muster");
    registry.register_collector(Box::new(Now { state, stored }));
    let mut text = String::new();
    match encode(&mut text, &registry) {
        Ok(()) => ([(header::CONTENT_TYPE, FORM)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// A figure that is read from the database: of all processes, then, and not of this one.
#[derive(Debug)]
struct Gauge {
    name: &'static str,
    help: &'static str,
    /// Whether it only ever grows.
    counts: bool,
    values: Vec<(Labels, f64)>,
}

/// The labels of a value. What stands in them is never about a person or an organisation.
type Labels = Vec<(&'static str, String)>;

impl Gauge {
    fn put(&self, encoder: &mut DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let kind = if self.counts { MetricType::Counter } else { MetricType::Gauge };
        let mut family = encoder.encode_descriptor(self.name, self.help, None, kind)?;
        for (labels, value) in &self.values {
            match labels.is_empty() {
                true => self.one(&mut family, *value)?,
                false => self.one(&mut family.encode_family(labels)?, *value)?,
            }
        }
        Ok(())
    }

    fn one(&self, encoder: &mut MetricEncoder<'_>, value: f64) -> Result<(), std::fmt::Error> {
        match self.counts {
            true => encoder.encode_counter::<NoLabelSet, _, f64>(&value, None),
            false => encoder.encode_gauge(&value),
        }
    }
}

/// A figure of a projection: its name, what it means, and where it is found.
type Figure = (&'static str, &'static str, fn(&Overview) -> f64);

/// The figures that are in the database. Another one is added here.
async fn stored(state: &State) -> Vec<Gauge> {
    let mut gauges = Vec::new();
    if let Ok(waiting) = state.engine.store.organisations_with_upload_in("received").await {
        let (name, help) = ("organisations_waiting", "Organisations with uploads that wait for a worker");
        gauges.push(Gauge { name, help, counts: false, values: vec![(Labels::new(), waiting.len() as f64)] });
    }
    if let Ok(ends) = state.engine.store.ends().await {
        let appended: u64 = ends.iter().map(|(_, end)| end).sum();
        let (name, help) = ("events_appended", "Events in the logs of all organisations");
        gauges.push(Gauge { name, help, counts: true, values: vec![(Labels::new(), appended as f64)] });
    }
    if let Ok(overview) = state.engine.overview().await {
        let figures: [Figure; 4] = [
            ("projection_lag_events", "Events that projections are behind the logs", |o| o.lag_events as f64),
            ("projection_lag_seconds", "For how long the first of these events has been waiting", |o| o.lag_seconds),
            ("projection_parked_lanes", "Lanes that stand at an event that they cannot take", |o| o.parked as f64),
            ("projection_building_lanes", "Lanes that are being built anew", |o| o.building as f64),
        ];
        for (name, help, value) in figures {
            let labels = |o: &Overview| vec![("projection", o.projection.to_owned())];
            gauges.push(Gauge {
                name,
                help,
                counts: false,
                values: overview.iter().map(|o| (labels(o), value(o))).collect(),
            });
        }
    }
    gauges
}

/// The figures at the moment at which they are asked for.
struct Now {
    state: State,
    stored: Vec<Gauge>,
}

impl std::fmt::Debug for Now {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Now")
    }
}

impl Collector for Now {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let done = self.state.figures.read();
        uploads(&mut encoder, &done)?;
        let access = self.state.engine.access_figures();
        let counters: [(&str, &str, u64); 10] = [
            ("upload_failures", "Attempts to work on an upload that failed and are made again", done.work_failures),
            ("lease_waits", "How often another worker's lease was waited for", done.lease_waits),
            ("relay_rung", "Organisations of whose news every role was told", done.rung),
            ("relay_failures", "Rounds of the relay that failed", done.relay_failures),
            ("events_told", "Messages for other systems that were confirmed", done.told),
            ("events_failures", "Messages for other systems that are told again", done.telling_failures),
            (
                "projection_steps",
                "Steps on projections that were done here: a slice of a log each, or less",
                done.projected,
            ),
            ("unknown_keys", "Requests with an API key that is none", access.unknown_keys),
            ("lost_reads", "Entries of the log of reads that could not be written for too long", access.lost_entries),
            ("role_restarts", "Roles that ended by a bug and were begun again", done.restarts),
        ];
        for (name, help, value) in counters {
            put(&mut encoder, name, help, MetricType::Counter, &ConstCounter::new(value))?;
        }
        for (name, value) in self.state.bus.counts().named() {
            let what = format!("Messages on the bus: {}", name.replace('_', " "));
            put(&mut encoder, &format!("bus_{name}"), &what, MetricType::Counter, &ConstCounter::new(value))?;
        }
        let connected = ConstGauge::new(i64::from(self.state.bus.health().borrow().is_connected()));
        put(&mut encoder, "bus_connected", "Whether the bus is all right", MetricType::Gauge, &connected)?;
        let held = ConstGauge::new(i64::try_from(done.held).unwrap_or(i64::MAX));
        let what = "Organisations whose messages for other systems wait behind one that is not taken";
        put(&mut encoder, "events_held_organisations", what, MetricType::Gauge, &held)?;
        for gauge in &self.stored {
            gauge.put(&mut encoder)?;
        }
        Ok(())
    }
}

/// How long uploads took, by what they came to.
fn uploads(encoder: &mut DescriptorEncoder, done: &Outcomes) -> Result<(), std::fmt::Error> {
    let help = "Uploads worked on, by what they came to, and how long the work took";
    let mut family = encoder.encode_descriptor("upload_seconds", help, None, MetricType::Histogram)?;
    for (state, durations) in &done.uploads {
        let mut classes: Vec<(f64, u64)> = CLASSES.into_iter().zip(durations.classes).collect();
        // Whatever is in no class took longer than any of them.
        classes.push((f64::MAX, durations.count - durations.classes.iter().sum::<u64>()));
        let labels = [("outcome", *state)];
        let mut family = family.encode_family(&labels)?;
        family.encode_histogram::<NoLabelSet>(durations.seconds, durations.count, &classes, None)?;
    }
    Ok(())
}

fn put(
    encoder: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    kind: MetricType,
    metric: &impl EncodeMetric,
) -> Result<(), std::fmt::Error> {
    metric.encode(encoder.encode_descriptor(name, help, None, kind)?)
}
