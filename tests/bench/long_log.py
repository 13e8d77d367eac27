"""A long log: everybody changes again and again, and what replaying and verifying it takes after two rounds and after the last."""

import csv
import json
import os


def changed(source, target, number):
    """The feed of a round: everybody is somewhere else."""
    with open(source, newline="", encoding="utf-8") as before, open(target, "w", newline="", encoding="utf-8") as after:
        reader, writer = csv.reader(before), csv.writer(after)
        header = next(reader)
        writer.writerow(header)
        place = header.index("location")
        for row in reader:
            row[place] = f"{row[place]} {number}"
            writer.writerow(row)


def measure(store, people, feed, work, run, say, rounds=5):
    """Figures by changes in the log: {changes: {"replay": {ms, mib}, "verify": {ms, mib}}}. The first round is the import."""
    found, log, next_feed = {}, os.path.join(work, "long.ndjson"), os.path.join(work, "long.csv")
    for number in range(1, rounds + 1):
        if number > 1:
            changed(feed, next_feed, number)
        _, _, outcome = store.sync(feed if number == 1 else next_feed)
        done = outcome["counts"]["added" if number == 1 else "updated"]
        if outcome.get("state") != "applied" or done != people:
            raise ValueError(f"round {number} of the long log: {outcome.get('state')}, {done} of {people}")
        if number not in (2, rounds):
            continue
        store.muster("events", "export", "--org", "bench", out=log)
        figures = {}
        for name, (ms, mib, text) in (("replay", run([store.program, "replay", log, "--json"])),
                                      ("verify", store.muster("verify", "--org", "bench", "--json"))):
            figures[name] = {"ms": round(ms, 1), "mib": round(mib, 1)}
            say(f"   {name} of {number * people:,} changes: {ms:.0f} ms, {mib:.0f} MiB")
            if name == "replay" and json.loads(text)["changes"] != number * people:
                raise ValueError(f"replay folded {json.loads(text)['changes']} of {number * people} changes")
        found[str(number * people)] = figures
    for path in (log, next_feed):
        os.remove(path)
    return found
