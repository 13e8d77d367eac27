"""Rows of the benchmark about the HTTP API: a payload over HTTP against the command line, one member put, and checks of who is
eligible under load. Called by measure.py and report.py.

The server is a real `muster serve` with all its roles; the load is made by wrk on the same machine, so both share its cores.
"""

import http.client
import json
import os
import re
import signal
import statistics
import subprocess
import time

# What the API is asked in one run: connections of wrk, seconds, and members put one after the other.
CONNECTIONS, SECONDS, PUTS = 16, 10, 200
# A payload over HTTP takes at most so many times what the command line takes.
MOST_TIMES = 1.3
# Checks a second, at least: "thousands".
LEAST_CHECKS = 2_000
# Attempts with a wrong key, and by how many times the time of a key that exists may differ from that of one that does not.
ATTEMPTS, TELLING = 2_000, 1.1
RATES = "requests=1000000,uploads=1000000,eligibility=10000000"

SCRIPT = """
math.randomseed(1)
request = function()
  local body = string.format('{"unique_id":"%%s%%0%dd"}', "%s", math.random(%d, %d))
  return wrk.format("POST", "/api/v1/eligibility", { ["Content-Type"] = "application/json", ["Authorization"] = "Bearer %s" }, body)
end
done = function(summary, latency)
  local e = summary.errors
  io.write(string.format('{"requests":%%d,"us":%%d,"p50_us":%%d,"p99_us":%%d,"errors":%%d}\\n', summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99), e.connect + e.read + e.write + e.status + e.timeout))
end
"""


class Serving:
    """A process that serves one store."""

    def __init__(self, muster, store, environment, log):
        command = [muster, "serve", "--json", "--listen", "127.0.0.1:0", "--database", store.url(), "--data-dir", store.directory]
        with open(log, "wb") as errors:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, env=environment)
        text, decoder = "", json.JSONDecoder()
        while True:
            line = self.process.stdout.readline().decode()
            if not line:
                raise OSError("`muster serve` did not begin")
            text += line
            try:
                document, _ = decoder.raw_decode(text.strip())
                break
            except json.JSONDecodeError:
                continue
        self.address = document["listening"]

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()

    def ask(self, connection, method, path, key, body=b"", **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, {"Authorization": f"Bearer {key}", **headers})
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise OSError(f"{method} {path.split('?')[0]} answered {answer.status}: {text[:300]!r}")
        return json.loads(text)


def key_of(store):
    """Opens the API of a store: a key that may do everything, as often as it likes."""
    store.muster("org", "set", "bench", "api_access=on")
    store.muster("users", "create", "--service", "--name", "bench", "--org", "bench", "--role", "administrator")
    made = store.muster("keys", "create", "--org", "bench", "--name", "bench", "--user", "bench", "--scope", "*", "--rate", RATES, "--json")
    return json.loads(made[2])["api_key"]


def upload(serving, key, feed):
    """One payload, from the first byte sent to the outcome: milliseconds."""
    connection = http.client.HTTPConnection(serving.address, timeout=120, blocksize=1 << 20)
    size = os.path.getsize(feed)
    with open(feed, "rb") as file:
        began = time.perf_counter()
        outcome = serving.ask(connection, "POST", "/api/v1/uploads?mode=full", key, file, Content_Type="text/csv", Prefer="wait=60",
                              Content_Length=str(size))
        return (time.perf_counter() - began) * 1000, outcome


def puts(serving, key, ids):
    """One member brought up to date after the other, on one connection: milliseconds of each."""
    connection, times = http.client.HTTPConnection(serving.address, timeout=60), []
    for number, member in enumerate(ids):
        body = json.dumps({"unique_id": member, "location": f"Room {number}"})
        began = time.perf_counter()
        outcome = serving.ask(connection, "PUT", "/api/v1/members", key, body, Content_Type="application/json")
        times.append((time.perf_counter() - began) * 1000)
        if outcome["updated"] != 1:
            raise OSError(f"a PUT of one came to {outcome}")
    return times


def wrong_keys(serving, key):
    """What a key that exists and has another secret takes, as times what one that does not exist takes: as long as nobody of the
    organisation came since the server began, and after somebody did."""
    connection, known = http.client.HTTPConnection(serving.address, timeout=60), key.split("_")[2]
    unknown, secret = known[::-1], key.split("_")[3][:-6][::-1]
    found = {}
    for name in ("wrong_key_first_times", "wrong_key_times"):
        times = {known: [], unknown: []}
        for _ in range(ATTEMPTS):
            for identity, taken in times.items():
                began = time.perf_counter()
                connection.request("GET", "/api/v1/feeds", headers={"accessKey": identity, "secretKey": secret})
                answer = connection.getresponse()
                text = answer.read()
                taken.append(time.perf_counter() - began)
                if answer.status != 401 or b"unknown-key" not in text:
                    raise OSError(f"a wrong key was answered {answer.status}: {text[:300]!r}")
        found[name] = statistics.median(times[known]) / statistics.median(times[unknown])
        serving.ask(connection, "GET", "/api/v1/feeds", key)
    return found


def wrk(serving, path, script=None):
    """Load for some seconds: (requests a second, median ms, 99th percentile ms)."""
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "--latency"]
    command += ["-s", script] if script else []
    text = subprocess.run([*command, f"http://{serving.address}{path}"], capture_output=True, text=True, check=True).stdout
    if script:
        found = json.loads(text.strip().splitlines()[-1])
        if found["errors"]:
            raise OSError(f"{found['errors']} of {found['requests']} checks were not answered with 200")
        return found["requests"] / found["us"] * 1e6, found["p50_us"] / 1000, found["p99_us"] / 1000
    return float(re.search(r"Requests/sec:\s+([\d.]+)", text).group(1)), None, None


def measure(engine, new_store, muster, work, environment, before, ids, runs, check, say):
    """All rows of one engine. `ids` are the first and the last match key of `before`."""
    figures, log = {}, os.path.join(work, "serve.log")
    by_cli, by_http = [], []
    for run in range(runs):
        store = new_store(engine, "http")
        by_cli.append(store.sync(before)[0])
        store = new_store(engine, "http")
        key = key_of(store)
        serving = Serving(muster, store, environment, log)
        try:
            ms, outcome = upload(serving, key, before)
            check(outcome)
            by_http.append(ms)
            if run + 1 == runs:
                caught_up(serving, key, outcome["seq"])
                figures |= under_load(serving, key, work, ids)
        finally:
            serving.end()
    serving = Serving(muster, store, environment, log)
    try:
        figures |= wrong_keys(serving, key)
    finally:
        serving.end()
    store.drop()
    figures |= {"upload_cli_ms": statistics.median(by_cli), "upload_http_ms": statistics.median(by_http)}
    figures["upload_times"] = figures["upload_http_ms"] / figures["upload_cli_ms"]
    for name, value in figures.items():
        say(f"   {engine} {name}: {value:,.2f}")
    return figures


def caught_up(serving, key, seq):
    """Waits until the read models show what was imported, so that nothing else is at work."""
    for _ in range(60):
        try:
            connection = http.client.HTTPConnection(serving.address, timeout=120, blocksize=1 << 20)
            return serving.ask(connection, "GET", f"/api/v1/members?limit=1&wait_for={seq}", key)
        except OSError:
            time.sleep(1)
    raise OSError("the read models did not catch up with the import within a minute")


def under_load(serving, key, work, ids):
    """Checks and puts, on a roster that nobody else works on."""
    prefix, digits = re.fullmatch(r"(\D*)(\d+)", ids[0]).groups()
    width, first, last = len(digits), int(digits), int(ids[1].removeprefix(prefix))
    script = os.path.join(work, "checks.lua")
    with open(script, "w", encoding="utf-8") as file:
        file.write(SCRIPT % (width, prefix, first, last, key))
    os.chmod(script, 0o600)
    try:
        rate, median, high = wrk(serving, "/", script)
    finally:
        os.remove(script)
    plain, _, _ = wrk(serving, "/livez")
    step = max(1, (last - first) // PUTS)
    times = puts(serving, key, [f"{prefix}{first + step * n:0{width}}" for n in range(PUTS)])
    return {"checks_a_second": rate, "checks_ms": median, "checks_ms_99": high, "checks_of_livez": rate / plain,
            "put_ms": statistics.median(times), "put_ms_99": statistics.quantiles(times, n=100)[98]}


ROWS = [
    ("checks_a_second", "checks of who is eligible, a second, {connections} connections", "{least:,}"),
    ("checks_ms", "one check under that load, median ms", ""),
    ("checks_ms_99", "99th percentile", ""),
    ("checks_of_livez", "checks a second against those of `/livez`, which asks nothing", ""),
    ("upload_http_ms", "a first import as CSV over HTTP, from the first byte to the outcome, median ms", ""),
    ("upload_cli_ms", "the same file with `muster sync`, median ms", ""),
    ("upload_times", "over HTTP against the command line, times", "{times}"),
    ("put_ms", "`PUT /members` of one, median ms", ""),
    ("put_ms_99", "99th percentile", ""),
    ("wrong_key_first_times", "a key that exists with a wrong secret against one that does not exist, times, median of {attempts:,}, "
     "after a start", "{telling}"),
    ("wrong_key_times", "the same once the organisation's keys were used", "{telling}"),
]


def lines(data, engines, machine):
    """The table of the API; `machine` if it was measured in a run of its own."""
    said = {"connections": CONNECTIONS, "least": LEAST_CHECKS, "times": MOST_TIMES, "attempts": ATTEMPTS, "telling": f"{1 / TELLING:.2f} to {TELLING}"}
    own = f"Measured by itself, {machine['when']} at `{machine['commit']}`, load before {machine['load_before']}." if machine else ""
    found = ["**The HTTP API, with the largest roster above**", "", *filter(None, [own]), *([""] if own else []), "| what | " + " | ".join(engines[e] for e in data) + " | must |",
             "| --- | " + " | ".join("---:" for _ in data) + " | --- |"]
    for name, title, must in ROWS:
        cells = [f"failed: {figures['error']}" if "error" in figures else f"{figures[name]:,.0f}" if figures[name] >= 100
                 else f"{figures[name]:.2f}" for figures in data.values()]
        found.append(f"| {title.format_map(said)} | {' | '.join(cells)} | {must.format_map(said)} |")
    return found


def failures(data):
    """What is missed or was not measured."""
    found = [f"the API on {engine}: {figures['error']}" for engine, figures in data.items() if "error" in figures]
    for engine, figures in data.items():
        if figures.get("upload_times", 0) > MOST_TIMES:
            found.append(f"a payload over HTTP on {engine}: {figures['upload_times']:.2f} times the command line, must be {MOST_TIMES}")
        if figures.get("checks_a_second", LEAST_CHECKS) < LEAST_CHECKS:
            found.append(f"checks of who is eligible on {engine}: {figures['checks_a_second']:,.0f} a second, must be {LEAST_CHECKS:,}")
    for engine, figures in data.items():
        for name in ("wrong_key_first_times", "wrong_key_times"):
            if not 1 / TELLING <= figures.get(name, 1) <= TELLING:
                found.append(f"the time of a wrong key on {engine} tells whether it exists: {name} is {figures[name]:.2f}")
    return found
