"""Fills the two organisations of tests/schemathesis, and writes down how schemathesis is to go about it.

    prepare.py DIRECTORY ADDRESS

In DIRECTORY lie the keys, acme.key and other.key; schemathesis.toml, auth.json and known.json are written there.
"""

import json
import pathlib
import sys
import urllib.request

directory, address = pathlib.Path(sys.argv[1]), sys.argv[2]
# What is said of the other organisation's people: none of it may stand in an answer.
PLANTED = "Planted"


class Organisation:
    def __init__(self, name, word):
        self.key = (directory / f"{name}.key").read_text().strip()
        self.word = word
        self.ids = {}

    def send(self, method, path, body=None, headers=None, kind="application/json"):
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": kind, **(headers or {})}
        request = urllib.request.Request(address + path, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def upload(self, people, parameters):
        row = "{1}{0},First{1}{0},Last{1},{1}{0}@example.com,{2}\n"
        rows = "".join(row.format(n, self.word, department) for n, department in people)
        csv = f"employee_id,first_name,last_name,email,department\n{rows}".encode()
        sent = self.send("POST", f"/api/v1/uploads?{parameters}", csv, {"Prefer": "wait=60"}, "text/csv")
        assert sent["state"] in ("applied", "held", "no_changes"), sent
        return sent

    def fill(self):
        """A roster, one list that was applied and several that wait, a feed, and a key that may be changed."""
        for name in ("uk", "us"):
            self.send("POST", "/api/v1/feeds", {"name": name, "settings": {"mode": "partial"}})
        first = self.upload([(n, "Sales") for n in range(1, 13)], "mode=full")
        held = [
            self.upload([(n, f"Held{feed}")], f"mode=partial&hold=true&feed={feed}")
            for feed in ("main", "uk", "us")
            for n in (20, 21)
        ]
        members = self.send("GET", "/api/v1/members?limit=200")["members"]
        spare = {"name": "spare", "scopes": ["member:read"]}
        keys = [self.send("POST", "/api/v1/keys", spare)["id"] for _ in range(8)]
        self.ids = {
            "members": [m["id"] for m in members],
            "uploads": [u["upload_id"] for u in [first, *held]],
            "change-sets": [u["change_set_id"] for u in [first, *held]],
            "keys": keys,
            "feeds": ["main", "uk", "us"],
        }


def quoted(value):
    return json.dumps(value, ensure_ascii=True)


def config(acme, other):
    """The configuration of schemathesis: which values there are, and which answers are right."""
    lines = [
        f"hooks = {quoted(str(pathlib.Path(__file__).with_name('hooks.py')))}",
        # The longest that anything is waited for by itself, with a machine that has other things to do.
        "request-timeout = 60",
        "continue-on-failure = true",
        "warnings = false",
        # What an earlier run found is not tried first: the same seed makes the same requests.
        "cache.enabled = false",
        "[auth.wfc]",
        f"path = {quoted(str(directory / 'auth.json'))}",
        'user = "acme"',
        # What one reads of its own is asked for with the other's key too.
        'peers = ["acme", "other"]',
        "[generation]",
        'database = "none"',
    ]
    for name, own in acme.ids.items():
        theirs = [] if name == "feeds" else other.ids[name]
        lines += [f"[dictionaries.{name}]", f"values = {quoted(own + theirs)}"]
    lines += (pathlib.Path(__file__).with_name("schemathesis.toml")).read_text().splitlines()
    return "\n".join(lines) + "\n"


acme, other = Organisation("acme", "Seen"), Organisation("other", PLANTED)
acme.fill()
other.fill()
auth = [
    {"name": name, "fixedHeaders": [{"name": "Authorization", "value": f"Bearer {org.key}"}]}
    for name, org in (("acme", acme), ("other", other))
]
(directory / "auth.json").write_text(json.dumps({"auth": auth}))
theirs = [other.ids[kind] for kind in ("members", "uploads", "change-sets", "keys")]
known = {"planted": PLANTED, "own_key": acme.key.split("_")[2], "theirs": sum(theirs, [])}
(directory / "known.json").write_text(json.dumps(known))
(directory / "schemathesis.toml").write_text(config(acme, other))
