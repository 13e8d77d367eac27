"""Rows of the benchmark about appending, projecting and the time until something can be read. Called by measure.py and report.py.

Each figure comes from one process of crates/engine/examples/append_rate.rs or lag.rs, which
prints JSON; the database is a new one.
"""

import json
import os
import shutil


def measure(program, engine, new_url, work, run, say, *arguments):
    """Runs one of the examples on a new database: what it printed."""
    directory = os.path.join(work, "serving")
    shutil.rmtree(directory, ignore_errors=True)
    os.makedirs(directory)
    _, mib, text = run([program, new_url(engine, directory), *arguments])
    figures = json.loads(text)
    for name, value in figures.items():
        say(f"   {engine} {name}: {value:,.1f}")
    return figures | {"mib": round(mib, 1)}


APPENDS = {
    "one_writer": "events appended, one writer, each durable",
    "eight_writers": "the same, eight writers in one organisation",
    "eight_writers_eight_organisations": "the same, each in an organisation of its own",
    "changes_in_chunks": "changes appended in chunks",
}
# Changes a second in chunks, at least.
CHUNKS = {"postgres": 60_000}


def append_lines(data, engines):
    """The table of appends."""
    lines = ["**Appending**", "", "| what | " + " | ".join(f"{engines[e]}, a second" for e in data) + " | must |",
             "| --- | " + " | ".join("---:" for _ in data) + " | --- |"]
    for name, title in APPENDS.items():
        cells = [f"{figures[name]:,.0f}" if name in figures else f"failed: {figures['error']}" for figures in data.values()]
        must = "; ".join(f"{engines[e]} {least:,}" for e, least in CHUNKS.items()) if name == "changes_in_chunks" else ""
        lines.append(f"| {title} | {' | '.join(cells)} | {must} |")
    return lines


def append_failures(data):
    """What is missed or was not measured."""
    found = [f"appending on {engine}: {figures['error']}" for engine, figures in data.items() if "error" in figures]
    for engine, least in CHUNKS.items():
        rate = data.get(engine, {}).get("changes_in_chunks")
        if rate is not None and rate < least:
            found.append(f"changes appended in chunks on {engine}: {rate:,.0f} a second, must be {least:,}")
    return found


LAGS = [
    ("import_seconds", "first import of {members:,} people, beside the roles of `serve`, s", None),
    ("searchable_seconds", "from its begin until a search reflects it, s", 15),
    ("projected_a_second", "of which projecting: people a second", None),
    ("search_ms", "a search among them, median ms", None),
    ("search_ms_99", "99th percentile", None),
    ("lag_ms", "from the answer to a change of one of them until it can be read, median ms", 50),
    ("lag_ms_99", "99th percentile", None),
    ("lag_under_load_ms", "the same while others change {other_changes_a_second:,.0f} people a second, median ms", None),
    ("lag_under_load_ms_99", "99th percentile", None),
    ("mib", "peak MiB of the process, all of it together", None),
]


def lag_lines(data, engines):
    """The table of what can be read when."""
    lines = ["**Projecting and reading**", "", "| what | " + " | ".join(engines[e] + (" and RabbitMQ" if e == "postgres" else "") for e in data)
             + " | must |", "| --- | " + " | ".join("---:" for _ in data) + " | --- |"]
    known = next((figures for figures in data.values() if "error" not in figures), {})
    for name, title, most in LAGS:
        cells = []
        for figures in data.values():
            value = figures.get(name)
            cells.append(f"failed: {figures.get('error')}" if value is None else f"{value:,.0f}" if value >= 100 else f"{value:.1f}")
        lines.append(f"| {title.format_map(known) if known else title} | {' | '.join(cells)} | {most or ''} |")
    return lines


def lag_failures(data):
    """What is missed or was not measured. A first import must be searchable in time on the embedded store."""
    found = [f"reading on {engine}: {figures['error']}" for engine, figures in data.items() if "error" in figures]
    for engine, figures in data.items():
        for name, title, most in LAGS:
            if most and "error" not in figures and figures[name] > most and (name == "lag_ms" or engine == "sqlite"):
                found.append(f"{engine}, {title.format_map(figures)}: {figures[name]:,.1f}, must be {most}")
    return found
