#!/usr/bin/env python3
"""Measures Muster and its peers in one run on one machine and writes the figures as JSON. Called by tests/bench/run.

Every measured run of Muster is a whole process, from its start to its end, on a fresh copy of the prepared state.
Wall time is taken around the process, peak memory from the kernel's account of it.
"""

import argparse
import datetime
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import time

import long_log
import over_http
import serving

HERE = os.path.dirname(os.path.abspath(__file__))
# Nobody's own settings of Muster have a say here.
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("MUSTER_")}


class Failed(Exception):
    """One sentence about why a figure could not be taken."""


def say(text):
    print(text, file=sys.stderr, flush=True)


def run(command, out=None):
    """Runs a process to its end: (milliseconds, peak MiB, what it printed)."""
    errors = os.path.join(ARGS.work, "stderr")
    printed = out or os.path.join(ARGS.work, "stdout")
    with open(printed, "wb") as stdout, open(errors, "wb") as stderr:
        began = time.perf_counter()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr,
                                   env=ENVIRONMENT)
        _, status, usage = os.wait4(process.pid, 0)
        took = (time.perf_counter() - began) * 1000
    process.returncode = os.waitstatus_to_exitcode(status)
    with open(errors, encoding="utf-8", errors="replace") as file:
        complaint = file.read()
    text = ""
    if out is None:
        with open(printed, encoding="utf-8", errors="replace") as file:
            text = file.read()
    if process.returncode != 0:
        why = (complaint.strip() or text.strip() or "no message").splitlines()[-1]
        raise Failed(f"exit {process.returncode} from `{' '.join(os.path.basename(command[0]).split() + command[1:])}`: {why[:300]}")
    return took, usage.ru_maxrss / 1024, text or complaint


def summary(runs):
    """Best and median of a list of (ms, MiB)."""
    times = [ms for ms, _ in runs]
    return {"ms": round(statistics.median(times), 1), "best_ms": round(min(times), 1),
            "mib": round(max(mib for _, mib in runs), 1), "runs": len(runs), "all_ms": [round(ms, 1) for ms in times]}


def read_once(path):
    """So that every run, the first too, finds the file in the page cache."""
    with open(path, "rb") as file:
        while file.read(1 << 20):
            pass


# --- the peers ---------------------------------------------------------------------------------------------------------

def check_counts(found, expected):
    for name in ("updated", "added", "removed"):
        if found.get(name) != expected[name]:
            raise Failed(f"{found.get(name)} {name} where {expected[name]} are true")


def duck(size, how, expected):
    roster, out = os.path.join(ARGS.work, f"{size}.duckdb"), os.path.join(ARGS.work, "duck.csv")
    script = [ARGS.python, os.path.join(HERE, "duck.py")]
    if how == "stored":
        run([*script, "prepare", feeds(size), roster, out])
    runs = []
    for _ in range(ARGS.runs):
        _, mib, text = run([*script, how, feeds(size), roster, out])
        found = json.loads(text)
        check_counts(found, expected)
        runs.append((found["ms"], mib))
    return summary(runs)


def csvdiff(size, how, expected):
    out, runs = os.path.join(ARGS.work, "csvdiff.out"), []
    for _ in range(ARGS.runs):
        ms, mib, text = run([ARGS.csvdiff, how, f"{feeds(size)}/before.csv", f"{feeds(size)}/after.csv"], out=out)
        check_counts(json.loads(text), expected)
        runs.append((ms, mib))
    return summary(runs)


TABLE = """CREATE TABLE roster (employee_id text PRIMARY KEY, first_name text, last_name text, email text, date_of_birth date,
department text, job_title text, location text, employment_status text, start_date date, end_date date, manager_id text)"""


def psql(*commands, database="postgres"):
    base = ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", ARGS.socket, "-p", ARGS.port, "-U", "muster", "-d", database]
    for command in commands:
        base += ["-c", command]
    return run(base)[2]


def plain_copy(size, _expected):
    # The server reads the file itself, which is the quicker way; the file stands where its user can.
    source, runs = os.path.join(ARGS.shared, f"before-{size}.csv"), []
    shutil.copyfile(f"{feeds(size)}/before.csv", source)
    os.chmod(source, 0o644)
    psql("DROP DATABASE IF EXISTS peer", "CREATE DATABASE peer")
    for _ in range(ARGS.import_runs):
        psql("DROP TABLE IF EXISTS roster", TABLE, "CHECKPOINT", database="peer")
        text = psql("\\timing on", f"COPY roster FROM '{source}' (FORMAT csv, HEADER)", database="peer")
        runs.append((float(re.search(r"Time: ([\d.]+) ms", text).group(1)), 0.0))
    psql("DROP DATABASE peer")
    os.remove(source)
    figures = summary(runs)
    figures["mib"] = None
    return figures


# --- other formats ------------------------------------------------------------------------------------------------------

def formats(size, expected):
    """The way to the last row of a workbook and of a list of objects, beside what the parser needs by itself."""
    found = {}
    for ending in ("xlsx", "json"):
        path = f"{feeds(size)}/after.{ending}"
        if not os.path.exists(path):
            continue
        found[ending] = {}
        read_once(path)
        for who in ("parser", "muster"):
            runs = []
            try:
                for _ in range(ARGS.runs):
                    ms, mib, rows = run([ARGS.formats, who, path])
                    if int(rows) != expected["after"]:
                        raise Failed(f"{rows.strip()} rows where {expected['after']} are true")
                    runs.append((ms, mib))
                found[ending][who] = summary(runs)
                say(f"   {ending} by {who}: {found[ending][who]['ms']:.0f} ms, {found[ending][who]['mib']:.0f} MiB")
            except Failed as error:
                found[ending][who] = {"error": str(error)}
                say(f"   {ending} by {who}: FAILED: {error}")
    return found


# --- Muster ------------------------------------------------------------------------------------------------------------

class Store:
    """A state of Muster that can be copied: a data directory and, with PostgreSQL, a database."""

    def __init__(self, engine, size, name):
        self.engine, self.name = engine, f"bench_{size}_{name}"
        self.directory = os.path.join(ARGS.work, engine, self.name)

    @property
    def program(self):
        return ARGS.muster

    def url(self):
        if self.engine == "sqlite":
            return f"sqlite:{self.directory}/muster.db"
        return re.sub(r"/postgres$", f"/{self.name}", ARGS.postgres)

    def drop(self):
        shutil.rmtree(self.directory, ignore_errors=True)
        if self.engine == "postgres":
            psql(f"DROP DATABASE IF EXISTS {self.name}")

    def copy(self, name):
        other = Store.__new__(Store)
        other.engine, other.name = self.engine, f"{self.name}_{name}"
        other.directory = os.path.join(ARGS.work, self.engine, other.name)
        other.drop()
        shutil.copytree(self.directory, other.directory)
        if self.engine == "postgres":
            psql(f"CREATE DATABASE {other.name} TEMPLATE {self.name} STRATEGY file_copy")
        other.settle()
        return other

    def settle(self):
        """What was prepared is on disk before the clock starts, so that a run pays only for itself."""
        if self.engine == "postgres":
            psql("CHECKPOINT")
        os.sync()

    def muster(self, *arguments, out=None):
        return run([ARGS.muster, *arguments, "--database", self.url(), "--data-dir", self.directory, "--no-progress"], out=out)

    def sync(self, feed):
        ms, mib, text = self.muster("sync", feed, "--org", "bench", "--mode", "full", "--channel", "api", "--json")
        return ms, mib, json.loads(text)


def new_store(engine, size):
    store = Store(engine, size, "imported")
    store.drop()
    os.makedirs(store.directory)
    if engine == "postgres":
        psql(f"CREATE DATABASE {store.name}")
        store.muster("migrate")
    store.muster("org", "create", "bench", "--name", "Bench")
    store.muster("org", "set", "bench", "guard.first_import=off", "policy.api=apply")
    store.settle()
    return store


def check_outcome(outcome, **counts):
    if outcome.get("state") != "applied":
        raise Failed(f"the state is {outcome.get('state')!r}, not applied; holds: {outcome.get('holds')}")
    for name, true in counts.items():
        if outcome["counts"].get(name) != true:
            raise Failed(f"{outcome['counts'].get(name)} {name} where {true} are true")


def muster(engine, size, expected, figures):
    """All of Muster's rows for one engine and size; what fails is recorded in its place."""
    names = ("import", "nightly", "remapped", "export", "replay")
    try:
        for name, value in muster_rows(engine, size, expected):
            figures[f"muster {name}"] = value
            if "ms" in value:
                say(f"   {engine} {name}: {value['ms']:.0f} ms, {value['mib'] or 0:.0f} MiB")
    except (Failed, json.JSONDecodeError, KeyError, OSError) as error:
        failed, *unreached = (name for name in names if f"muster {name}" not in figures)
        figures[f"muster {failed}"] = {"error": str(error)}
        say(f"   {engine} {failed}: FAILED: {error}")
        for name in unreached:
            figures[f"muster {name}"] = {"error": f"not reached, as {failed} failed"}


def muster_rows(engine, size, expected):
    before, after = f"{feeds(size)}/before.csv", f"{feeds(size)}/after.csv"
    changed = {name: expected[name] for name in ("updated", "added", "removed")}
    unchanged = expected["after"] - expected["updated"] - expected["added"]

    runs, imported = [], None
    for _ in range(ARGS.import_runs):
        imported = new_store(engine, size)
        ms, mib, outcome = imported.sync(before)
        check_outcome(outcome, rows=expected["before"], added=expected["before"])
        runs.append((ms, mib))
    imported.settle()
    yield "import", summary(runs)

    runs, store = [], None
    for _ in range(ARGS.runs):
        store = imported.copy("nightly")
        ms, mib, outcome = store.sync(after)
        check_outcome(outcome, rows=expected["after"], unchanged=unchanged, **changed)
        runs.append((ms, mib))
    yield "nightly", summary(runs)

    again, runs = None, []
    for _ in range(ARGS.runs):
        again = imported.copy("remapped")
        again.muster("feeds", "set", "main", "--org", "bench", *sum((["--map", pair] for pair in ARGS.remap.split(",")), []))
        again.settle()
        ms, mib, outcome = again.sync(after)
        check_outcome(outcome, rows=expected["after"], unchanged=unchanged, **changed)
        runs.append((ms, mib))
    again.drop()
    yield "remapped", summary(runs)

    log = os.path.join(ARGS.work, "log.ndjson")
    ms, mib, _ = store.muster("events", "export", "--org", "bench", out=log)
    yield "export", summary([(ms, mib)]) | {"log_bytes": os.path.getsize(log)}

    read_once(log)
    changes, runs = expected["before"] + sum(changed.values()), []
    for _ in range(ARGS.runs):
        ms, mib, _ = run([ARGS.muster, "replay", log, "--json"])
        runs.append((ms, mib))
    figures = summary(runs)
    os.remove(log)
    store.drop()
    imported.drop()
    yield "replay", figures | {"changes": changes, "changes_per_second": round(changes / figures["ms"] * 1000)}


def long(size, expected):
    """Replaying and verifying a log in which everybody changes again and again, on SQLite."""
    store = new_store("sqlite", size)
    try:
        return long_log.measure(store, expected["before"], f"{feeds(size)}/before.csv", ARGS.work, run, say)
    except (Failed, ValueError, KeyError) as error:
        say(f"   long log: FAILED: {error}")
        return {"error": str(error)}
    finally:
        store.drop()


def new_url(engine, directory):
    """An empty database."""
    if engine == "sqlite":
        return f"sqlite:{directory}/muster.db"
    psql("DROP DATABASE IF EXISTS bench_serving", "CREATE DATABASE bench_serving")
    return re.sub(r"/postgres$", "/bench_serving", ARGS.postgres)


def by_engine(program, arguments):
    """What one of the examples prints, by engine."""
    found = {}
    for engine in filter(None, ARGS.engines.split(",")):
        try:
            found[engine] = serving.measure(program, engine, new_url, ARGS.work, run, say, *arguments(engine))
        except (Failed, json.JSONDecodeError, OSError) as error:
            found[engine] = {"error": str(error)}
            say(f"   {engine}: FAILED: {error}")
    return found


def api(size):
    """The rows of the HTTP API, by engine."""
    say("-- the HTTP API")
    with open(f"{feeds(size)}/expected.json", encoding="utf-8") as file:
        expected = json.load(file)
    found = {}
    with open(f"{feeds(size)}/before.csv", encoding="utf-8") as file:
        next(file)
        ids = [next(file).split(",", 1)[0], None]
    ids[1] = re.sub(r"\d+$", lambda digits: f"{int(digits[0]) + expected['before'] - 1:0{len(digits[0])}}", ids[0])
    for engine in filter(None, ARGS.engines.split(",")):
        try:
            found[engine] = over_http.measure(engine, new_store, ARGS.muster, ARGS.work, ENVIRONMENT, f"{feeds(size)}/before.csv", ids,
                                              ARGS.import_runs, lambda outcome: check_outcome(outcome, added=expected["before"]), say)
        except (Failed, json.JSONDecodeError, KeyError, OSError, subprocess.SubprocessError) as error:
            found[engine] = {"error": str(error)}
            say(f"   {engine}: FAILED: {error}")
    return found


def lag_arguments(engine):
    """Where payloads lie, the largest feed, and the broker of whoever has one."""
    feed = f"{feeds(max(map(int, ARGS.sizes.split(','))))}/before.csv"
    return [os.path.join(ARGS.work, "serving"), feed] + ([ARGS.amqp] if engine == "postgres" else [])


# --- the run -----------------------------------------------------------------------------------------------------------

def feeds(size):
    return os.path.join(ARGS.feeds, str(size))


def first_line(command):
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip().splitlines()[0]
    except (OSError, subprocess.CalledProcessError, IndexError):
        return "?"


def machine():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        model = next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), platform.machine())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {"cpu": model, "cores": os.cpu_count(), "memory_gib": round(memory, 1), "kernel": platform.release(),
            "load_before": round(os.getloadavg()[0], 2),
            "when": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            "commit": first_line(["git", "-C", HERE, "describe", "--always", "--dirty"]),
            "postgres": first_line(["psql", "--version"]) if ARGS.postgres else None,
            "duckdb": first_line([ARGS.python, "-c", "import duckdb; print(duckdb.__version__)"])}


def only_api():
    """The rows of the API by themselves, beside the others of an earlier run."""
    with open(ARGS.results, encoding="utf-8") as file:
        results = json.load(file)
    results["api"], results["api_machine"] = api(max(map(int, ARGS.sizes.split(",")))), machine()
    keep(results)


def keep(results):
    with open(ARGS.results, "w", encoding="utf-8") as file:
        json.dump(results, file, indent=1)
        file.write("\n")


def main():
    results = {"machine": machine(), "runs": ARGS.runs, "import_runs": ARGS.import_runs, "sizes": {}}
    if results["machine"]["load_before"] > 0.5:
        say(f"note: the machine is not quiet (load {results['machine']['load_before']}); ratios within this run still mean something")
    for size in map(int, ARGS.sizes.split(",")):
        with open(f"{feeds(size)}/expected.json", encoding="utf-8") as file:
            expected = json.load(file)
        for name in ("before.csv", "after.csv"):
            read_once(f"{feeds(size)}/{name}")
        say(f"-- {size:,} people")
        peers = {}
        rows = [("duckdb columns", lambda: duck(size, "columns", expected)), ("duckdb hash", lambda: duck(size, "hash", expected)),
                ("duckdb stored", lambda: duck(size, "stored", expected)),
                ("csv-diff local", lambda: csvdiff(size, "local", expected)), ("csv-diff par", lambda: csvdiff(size, "par", expected))]
        if ARGS.postgres:
            rows.append(("postgres copy", lambda: plain_copy(size, expected)))
        for name, measure in rows:
            try:
                peers[name] = measure()
                say(f"   {name}: {peers[name]['ms']:.0f} ms, {peers[name]['mib'] or 0:.0f} MiB")
            except Failed as error:
                peers[name] = {"error": str(error)}
                say(f"   {name}: FAILED: {error}")
        engines = {}
        for engine in filter(None, ARGS.engines.split(",")):
            engines[engine] = {}
            muster(engine, size, expected, engines[engine])
        read = formats(size, expected) if ARGS.formats else {}
        results["sizes"][str(size)] = {"expected": expected, "peers": peers, "engines": engines, "formats": read}
        if ARGS.long and size == max(map(int, ARGS.sizes.split(","))):
            results["sizes"][str(size)]["long"] = long(size, expected)
    if ARGS.appends:
        say("-- appending")
        results["appends"] = by_engine(ARGS.appends, lambda engine: [])
    if ARGS.lag:
        say("-- projecting and reading")
        results["lag"] = by_engine(ARGS.lag, lag_arguments)
    if ARGS.engines:
        results["api"] = api(max(map(int, ARGS.sizes.split(","))))
    results["machine"]["load_after"] = round(os.getloadavg()[0], 2)
    keep(results)


def arguments():
    parser = argparse.ArgumentParser()
    for name in ("work", "feeds", "shared", "results", "sizes", "engines", "muster", "python", "csvdiff", "postgres", "socket",
                 "port", "remap", "formats", "appends", "lag", "amqp"):
        parser.add_argument(f"--{name}", default="")
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--api", action="store_true")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--import-runs", type=int, default=3)
    return parser.parse_args()


if __name__ == "__main__":
    ARGS = arguments()
    only_api() if ARGS.api else main()
