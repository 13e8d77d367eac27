#!/usr/bin/env python3
"""A peer of the benchmark: DuckDB compares two files. `duck.py columns|hash|prepare|stored DIR ROSTER OUT`

columns   before.csv against after.csv, column by column
hash      the same, by one hash a row
prepare   puts before.csv with a hash a row into the DuckDB file ROSTER
stored    ROSTER, already there, against after.csv, by that hash

Prints milliseconds from opening DuckDB to the differences being written to OUT (so without Python's own start and
without importing duckdb) and the counts.
"""

import json
import os
import sys
import time

import duckdb

KEY = "employee_id"
REST = ("first_name last_name email date_of_birth department job_title location employment_status start_date end_date "
        "manager_id").split()
HASH = f"hash({', '.join(REST)})"
KIND = "CASE WHEN a.employee_id IS NULL THEN 'added' WHEN b.employee_id IS NULL THEN 'removed' ELSE 'updated' END AS kind"


def file(directory, name):
    return f"read_csv('{directory}/{name}.csv', header=true, all_varchar=true)"


def hashed(source, columns="*"):
    return f"(SELECT {columns}, {HASH} AS h FROM {source})"


def comparison(how, directory):
    before, after = file(directory, "before"), file(directory, "after")
    if how == "columns":
        differs = " OR ".join(f"b.{column} IS DISTINCT FROM a.{column}" for column in REST)
        return (f"SELECT {KIND}, a.*, b.* FROM {before} a FULL OUTER JOIN {after} b ON a.{KEY} = b.{KEY} "
                f"WHERE a.{KEY} IS NULL OR b.{KEY} IS NULL OR {differs}")
    old = f"(SELECT {KEY}, h FROM roster)" if how == "stored" else hashed(before, KEY)
    return (f"SELECT {KIND}, a.{KEY} AS old_key, b.* FROM {old} a FULL OUTER JOIN {hashed(after)} b ON a.{KEY} = b.{KEY} "
            "WHERE a.h IS DISTINCT FROM b.h")


def main(how, directory, roster, out):
    if how == "prepare":
        if os.path.exists(roster):
            os.remove(roster)
        duckdb.connect(roster).execute(f"CREATE TABLE roster AS SELECT * FROM {hashed(file(directory, 'before'))}")
        return
    began = time.perf_counter()
    connection = duckdb.connect(roster, read_only=True) if how == "stored" else duckdb.connect()
    connection.execute(f"COPY ({comparison(how, directory)}) TO '{out}' (HEADER)")
    took = (time.perf_counter() - began) * 1000
    rows = connection.execute(f"SELECT kind, count(*) FROM read_csv('{out}', header=true, all_varchar=true) GROUP BY 1").fetchall()
    print(json.dumps({"ms": took, **dict(rows)}))


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    main(*sys.argv[1:])
