#!/usr/bin/env python3
"""Makes the benchmark's feeds: `gen.py N DIR` writes before.csv, after.csv and expected.json. Same N, same bytes.

before.csv has N made-up people in order of their ids; after.csv is the same list shuffled with 0.5 % updated in one field,
0.3 % added and 0.2 % removed, counts of which stand in expected.json. Twelve columns, about 126 bytes a row, one row in
nine with a quoted field, some names beyond ASCII.

Nobody added shares name and birth date with anybody removed, so that no rule about mistaken identity holds the feed;
people who share them with somebody who stays do occur, as in any large employer.
"""

import csv
import datetime
import json
import os
import random
import sys

COLUMNS = ("employee_id", "first_name", "last_name", "email", "date_of_birth", "department",
           "job_title", "location", "employment_status", "start_date", "end_date", "manager_id")
FIRST = """Ada Amina Anders Anna Arthur Beatriz Björn Boris Carla Chen Chloé Clara Daniel Deepa Diego Dmitri Edith Elif Emeka
Emma Erik Fatima Felix Femi Giulia Grace Hana Hannah Hugo Ibrahim Ines Ivan Jakub Jamal Jan Jia Joana José Julia Kaito Karim
Kofi Lars Laura Leila Liam Lina Luca Maja Marek Maria Mei Nadia Nina Noah Olga Omar Paula Pedro Priya Rosa Samir""".split()
LAST = """Abbott Adeyemi Almeida Andersson Baker Bauer Becker Berg Bianchi Brown Castro Chen Costa Dubois Eriksen Farah Fischer
Fontaine García Green Haddad Hansen Hoffmann Ivanova Jansen Johnson Kaya Keller Khan Kim Kowalski Kumar Larsen Lee Lopez Mbeki
Mensah Meyer Moreau Müller Nakamura Nguyen Novak O'Brien Okafor Olsen Osei Patel Pereira Petrov Rossi Ruiz Sato Schmidt Silva
Singh Smith Suzuki Tanaka Taylor Wagner Weber Williams Wong""".split()
DEPARTMENT = ("Engineering", "Sales", "Human Resources", "Finance", "Operations", "Customer Care", "Legal", "Marketing",
              "Production", "Logistics", "Information Technology", "Research")
TITLE = ("Software Engineer", "Account Manager", "HR Adviser", "Analyst", "Operations Lead", "Support Specialist", "Paralegal",
         "Coordinator", "Machine Operator", "Warehouse Associate", "Systems Administrator", "Scientist", "Senior Manager",
         "Director, Sales", "Nurse", "Driver")
LOCATION = ("Aberdeen", "Antwerp", "Bergen", "Bilbao", "Bologna", "Boston, MA", "Chicago", "Dublin", "Gdansk", "Ghent", "Graz",
            "Leeds", "Lyon", "Malmö", "Porto", "Remote", "Rotterdam", "Seattle", "Toronto", "Utrecht")
STATUS = ("active",) * 18 + ("leave", "terminated")
ASCII = str.maketrans({"ö": "o", "é": "e", "í": "i", "ü": "u", "'": ""})


def days(first, count):
    return [(first + datetime.timedelta(days=n)).isoformat() for n in range(count)]


BIRTH = days(datetime.date(1957, 3, 1), 17_500)
START = days(datetime.date(1996, 1, 1), 11_000)
NUMBER, FIRST_NAME, LAST_NAME, MAIL, BORN, DEPT, JOB, PLACE, STATE, SINCE, UNTIL, BOSS = range(12)


def person(number, count, pick):
    first, last = FIRST[int(pick() * len(FIRST))], LAST[int(pick() * len(LAST))]
    status, since = STATUS[int(pick() * len(STATUS))], int(pick() * 9_500)
    until = START[since + 30 + int(pick() * 1_400)] if status == "terminated" else ""
    mail = f"{first}.{last}{number}@example.com".lower().translate(ASCII)
    return [f"E{number:08d}", first, last, mail, BIRTH[int(pick() * len(BIRTH))], DEPARTMENT[int(pick() * len(DEPARTMENT))],
            TITLE[int(pick() * len(TITLE))], LOCATION[int(pick() * len(LOCATION))], status, START[since], until,
            f"E{1 + int(pick() * max(1, count // 12)):08d}"]


def after_of(values, value):
    return values[(values.index(value) + 1) % len(values)]


def updated(before, kind):
    after = list(before)
    match kind % 5:
        case 0: after[DEPT] = after_of(DEPARTMENT, before[DEPT])
        case 1: after[JOB] = after_of(TITLE, before[JOB])
        case 2: after[PLACE] = after_of(LOCATION, before[PLACE])
        case 3: after[LAST_NAME] = after_of(LAST, before[LAST_NAME])
        case _:
            gone = before[STATE] != "terminated"
            after[STATE], after[UNTIL] = ("terminated", "2026-01-31") if gone else ("active", "")
    return after


def write(path, rows):
    with open(path, "w", newline="", encoding="utf-8") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(COLUMNS)
        out.writerows(rows)


def main(count, directory):
    rng = random.Random(f"muster bench {count}")
    pick = rng.random
    before = [person(number, count, pick) for number in range(1, count + 1)]
    updates, adds, removes = count // 200, count * 3 // 1000, count // 500
    chosen = rng.sample(range(count), updates + removes)
    leavers = set(chosen[updates:])
    named = lambda row: (row[FIRST_NAME], row[LAST_NAME], row[BORN])
    left = {named(before[index]) for index in leavers}

    after = list(before)
    for kind, index in enumerate(chosen[:updates]):
        after[index] = updated(before[index], kind)
    after = [row for index, row in enumerate(after) if index not in leavers]
    for number in range(count + 1, count + adds + 1):
        row = person(number, count, pick)
        while named(row) in left:
            row = person(number, count, pick)
        after.append(row)
    rng.shuffle(after)

    os.makedirs(directory, exist_ok=True)
    write(os.path.join(directory, "before.csv"), before)
    write(os.path.join(directory, "after.csv"), after)
    with open(os.path.join(directory, "expected.json"), "w", encoding="utf-8") as file:
        json.dump({"before": count, "after": len(after), "updated": updates, "added": adds, "removed": removes}, file)
        file.write("\n")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(int(sys.argv[1]), sys.argv[2])
