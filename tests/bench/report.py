#!/usr/bin/env python3
"""Turns the benchmark's figures into a Markdown table. `report.py RESULTS [--write docs/performance.md] [--check]`

--write puts the table between the page's markers; --check exits 1 unless every "must" at 1,000,000 people is met.
"""

import argparse
import json
import sys

import over_http
import serving

BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"
# What the project set itself: (row, engine, what is measured) -> (must, aim). Ratios and MiB: at most; changes/s: at least.
GOALS = {
    ("nightly", "sqlite", "ratio"): (1.0, 0.5),
    ("nightly", "postgres", "ratio"): (1.5, 0.7),
    ("remapped", "sqlite", "ratio"): (3.0, 1.5),
    ("remapped", "postgres", "ratio"): (3.0, 1.5),
    ("import", "sqlite", "ratio"): (3.0, 1.5),
    ("import", "postgres", "ratio"): (3.0, 1.5),
    ("nightly", "sqlite", "memory"): (200, 128),
    ("nightly", "postgres", "memory"): (200, 128),
    ("replay", "sqlite", "rate"): (500_000, 1_000_000),
    ("replay", "postgres", "rate"): (500_000, 1_000_000),
}
TITLES = {"import": "first import", "nightly": "nightly sync, 1 % changed", "remapped": "the same feed after a change of mapping",
          "export": "`events export` to a file", "replay": "`replay` of that log"}
# A log of five changes a person against one of two: at most so many times the memory.
FLAT = 1.15
# The way to a payload's last row against the parser by itself: at most so many times, at every size.
FORMATS, MOST_TIMES = {"xlsx": ("XLSX", "calamine, streaming the cells"), "json": ("JSON", "serde_json, streaming into borrowed fields")}, 1.3
ENGINES = {"sqlite": "SQLite", "postgres": "PostgreSQL"}
PEERS = {"duckdb columns": "DuckDB compares the two files, column by column", "duckdb hash": "DuckDB compares the two files, a hash a row",
         "duckdb stored": "DuckDB, the old side already in its file", "csv-diff local": "csv-diff crate, one thread",
         "csv-diff par": "csv-diff crate, parallel", "postgres copy": "PostgreSQL's plain COPY into one table with its key"}


def number(value):
    return f"{value:,.0f}"


def peer_of(row, peers):
    """The peer a row is held against: the quicker of DuckDB's two ways of comparing, or the plain COPY."""
    names = {"nightly": ("duckdb columns", "duckdb hash"), "remapped": ("duckdb columns", "duckdb hash"),
             "import": ("postgres copy",)}.get(row, ())
    return min((peers[name]["ms"] for name in names if "ms" in peers.get(name, {})), default=None)


def verdict(row, engine, kind, value):
    goal = GOALS.get((row, engine, kind))
    if goal is None or value is None:
        return None
    meets = (lambda limit: value >= limit) if kind == "rate" else (lambda limit: value <= limit)
    return "aim" if meets(goal[1]) else "must" if meets(goal[0]) else "missed"


def judge(row, engine, figures, peers):
    """(kind, value, verdict) of everything a row is held to."""
    peer, found = peer_of(row, peers), []
    for kind, value in (("ratio", figures["ms"] / peer if peer else None), ("memory", figures["mib"]),
                        ("rate", figures.get("changes_per_second"))):
        if (row, engine, kind) in GOALS:
            found.append((kind, value, verdict(row, engine, kind, value)))
    return found


def goal_text(row, engine, kind):
    must, aim = GOALS[(row, engine, kind)]
    if kind == "ratio":
        return f"{must} / {aim}"
    return f"{must} / {aim} MiB" if kind == "memory" else f"{must:,} / {aim:,}"


def table(size, data):
    full = size == 1_000_000  # what the goals are about
    lines = [f"**{size:,} people**", "", "| what | median ms | best ms | peak MiB | against its peer | must / aim | met |",
             "| --- | ---: | ---: | ---: | ---: | --- | --- |"]
    for name, figures in data["peers"].items():
        if "error" in figures:
            lines.append(f"| {PEERS[name]} | failed: {figures['error']} | | | | | |")
        else:
            memory = number(figures["mib"]) if figures["mib"] is not None else "(server)"
            lines.append(f"| {PEERS[name]} | {number(figures['ms'])} | {number(figures['best_ms'])} | {memory} | | | |")
    for engine, rows in data["engines"].items():
        for key, figures in rows.items():
            row = key.removeprefix("muster ")
            title = f"**muster**, {ENGINES[engine]}: {TITLES[row]}"
            if "error" in figures:
                lines.append(f"| {title} | failed: {figures['error'].replace('|', '/')} | | | | | |")
                continue
            peer, judged = peer_of(row, data["peers"]), judge(row, engine, figures, data["peers"])
            against = f"{figures['ms'] / peer:.2f}" if peer else ""
            if "changes_per_second" in figures:
                against = f"{figures['changes_per_second']:,} changes/s"
            goals = "; ".join(goal_text(row, engine, kind) for kind, _, _ in judged) if full else ""
            met = "; ".join(result or "not measured" for _, _, result in judged) if full else ""
            lines.append(f"| {title} | {number(figures['ms'])} | {number(figures['best_ms'])} | {number(figures['mib'])} "
                         f"| {against} | {goals} | {met} |")
    for ending, runs in data.get("formats", {}).items():
        title, parser = FORMATS[ending]
        for who, name in (("parser", f"{title}: {parser}"), ("muster", f"**muster**: {title} to its last row")):
            figures = runs[who]
            if "error" in figures:
                lines.append(f"| {name} | failed: {figures['error']} | | | | | |")
                continue
            times = format_times(runs) if who == "muster" else None
            held = f"{times:.2f} | {MOST_TIMES} | {'must' if times <= MOST_TIMES else 'missed'}" if times else "| |"
            lines.append(f"| {name} | {number(figures['ms'])} | {number(figures['best_ms'])} | {number(figures['mib'])} | {held} |")
    return lines + long_lines(data.get("long", {}))


def long_lines(rows):
    """A long log's rows: memory after the last round against memory after the second."""
    if "error" in rows:
        return [f"| a long log | failed: {rows['error']} | | | | | |"]
    lines = []
    for changes, by_name in rows.items():
        for name, figures in by_name.items():
            times = growth(rows, name) if changes == list(rows)[-1] else None
            held = f"{times:.2f} times the memory | {FLAT} | {'must' if times <= FLAT else 'missed'}" if times else "| |"
            lines.append(f"| **muster**, SQLite: `{name}` of {int(changes):,} changes | {number(figures['ms'])} | {number(figures['ms'])} "
                         f"| {number(figures['mib'])} | {held} |")
    return lines


def growth(rows, name):
    """Memory after the last round of a long log against that after the second."""
    first, *_, last = rows.values()
    return last[name]["mib"] / first[name]["mib"]


def format_times(runs):
    """How many times the parser's own time ours is; nothing if one of them was not measured."""
    return runs["muster"]["ms"] / runs["parser"]["ms"] if all("ms" in runs[who] for who in ("muster", "parser")) else None


def report(results):
    machine = results["machine"]
    lines = [f"Measured {machine['when']} at `{machine['commit']}` on {machine['cores']} cores of {machine['cpu']}, "
             f"{machine['memory_gib']:.0f} GiB, Linux {machine['kernel']}; DuckDB {machine['duckdb']}; {machine['postgres'] or 'no PostgreSQL'}. "
             f"Load before {machine['load_before']}, after {machine['load_after']}. "
             f"Medians of {results['runs']} runs (imports and COPY: {results['import_runs']}); peak memory is the worst run's.", ""]
    for size, data in results["sizes"].items():
        lines += [*table(int(size), data), ""]
    if results.get("appends"):
        lines += [*serving.append_lines(results["appends"], ENGINES), ""]
    if results.get("lag"):
        lines += [*serving.lag_lines(results["lag"], ENGINES), ""]
    if results.get("api"):
        lines += [*over_http.lines(results["api"], ENGINES, results.get("api_machine")), ""]
    return "\n".join(lines).rstrip() + "\n"


def write(page, text):
    with open(page, encoding="utf-8") as file:
        old = file.read()
    head, rest = old.split(BEGIN, 1)
    _, tail = rest.split(END, 1)
    with open(page, "w", encoding="utf-8") as file:
        file.write(f"{head}{BEGIN}\n\n{text}\n{END}{tail}")


def failures(results):
    """Every "must" at 1,000,000 people that is missed or was not measured, and every figure that could not be taken."""
    found = [f"{size} people: {name}: {figures['error']}" for size, data in results["sizes"].items()
             for rows in (data["peers"], *data["engines"].values()) for name, figures in rows.items() if "error" in figures]
    data = results["sizes"].get("1000000", {"peers": {}, "engines": {}})
    for row, engine, kind in GOALS:
        figures = data["engines"].get(engine, {}).get(f"muster {row}", {})
        judged = {k: (value, result) for k, value, result in judge(row, engine, figures, data["peers"])} if "ms" in figures else {}
        value, result = judged.get(kind, (None, None))
        if result is None:
            found.append(f"1,000,000 people, {engine}, {row}, {kind}: not measured")
        elif result == "missed":
            found.append(f"1,000,000 people, {engine}, {row}, {kind}: {value:,.2f}, must be {GOALS[(row, engine, kind)][0]:,}")
    for size, data in results["sizes"].items():
        rows = data.get("long", {})
        if "error" in rows:
            found.append(f"{size} people, long log: {rows['error']}")
        elif rows:
            found += [f"{size} people, {name} of a long log: {growth(rows, name):.2f} times the memory, must be {FLAT}"
                      for name in ("replay", "verify") if growth(rows, name) > FLAT]
        for ending, runs in data.get("formats", {}).items():
            times = format_times(runs)
            if times is None or times > MOST_TIMES:
                found.append(f"{size} people, {ending}: {times and round(times, 2)} times the parser, must be {MOST_TIMES}")
    return found + serving.append_failures(results.get("appends", {})) + serving.lag_failures(results.get("lag", {})) + \
        over_http.failures(results.get("api", {}))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results")
    parser.add_argument("--write", metavar="PAGE")
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    with open(args.results, encoding="utf-8") as file:
        results = json.load(file)
    text = report(results)
    print(text)
    if args.write:
        write(args.write, text)
    if args.check:
        found = failures(results)
        for line in found:
            print(f"missed: {line}")
        sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
