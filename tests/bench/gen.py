#!/usr/bin/env python3
"""Makes the benchmark's feeds: `gen.py N DIR` writes before.csv, after.csv, after.json, after.xlsx and expected.json. Same N, same bytes.

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
import zipfile
from xml.sax.saxutils import escape

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


def write_json(path, rows):
    """A list of objects, one a line; what is blank is null."""
    encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
    with open(path, "w", encoding="utf-8") as file:
        for index, row in enumerate(rows):
            file.write(",\n" if index else "[")
            file.write(encode({name: value or None for name, value in zip(COLUMNS, row)}))
        file.write("]\n")


CONTENT_TYPES = """<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">
<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>
<Override PartName="/xl/workbook.xml" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"/>
<Override PartName="/xl/worksheets/sheet1.xml" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.worksheet+xml"/>
<Override PartName="/xl/sharedStrings.xml" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.sharedStrings+xml"/>
</Types>"""
RELATION = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
RELATIONS = f"""<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">
<Relationship Id="rId1" Type="{RELATION}/officeDocument" Target="xl/workbook.xml"/></Relationships>"""
SHEET_RELATIONS = f"""<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">
<Relationship Id="rId1" Type="{RELATION}/worksheet" Target="worksheets/sheet1.xml"/>
<Relationship Id="rId2" Type="{RELATION}/sharedStrings" Target="sharedStrings.xml"/></Relationships>"""
SPREADSHEET = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
WORKBOOK = f"""<workbook xmlns="{SPREADSHEET}" xmlns:r="{RELATION}"><sheets><sheet name="People" sheetId="1" r:id="rId1"/></sheets></workbook>"""


SHEET_ROWS = 1 << 20  # A sheet has no more.


def write_xlsx(path, rows):
    """A workbook with a table of shared strings, as Excel itself writes it; every cell is text."""
    letters, strings = "ABCDEFGHIJKL", {}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        def part(name):
            info = zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            return archive.open(info, "w", force_zip64=True)

        for name, text in (("[Content_Types].xml", CONTENT_TYPES), ("_rels/.rels", RELATIONS), ("xl/workbook.xml", WORKBOOK),
                           ("xl/_rels/workbook.xml.rels", SHEET_RELATIONS)):
            with part(name) as file:
                file.write(text.encode())
        with part("xl/worksheets/sheet1.xml") as sheet:
            sheet.write(f'<worksheet xmlns="{SPREADSHEET}"><sheetData>'.encode())
            for number, row in enumerate([COLUMNS, *rows], 1):
                cells = (f'<c r="{letter}{number}" t="s"><v>{strings.setdefault(value, len(strings))}</v></c>'
                         for letter, value in zip(letters, row) if value)
                sheet.write(f'<row r="{number}">{"".join(cells)}</row>'.encode())
            sheet.write(b"</sheetData></worksheet>")
        with part("xl/sharedStrings.xml") as table:
            table.write(f'<sst xmlns="{SPREADSHEET}" uniqueCount="{len(strings)}">'.encode())
            for value in strings:
                table.write(f"<si><t>{escape(value)}</t></si>".encode())
            table.write(b"</sst>")


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
    write_json(os.path.join(directory, "after.json"), after)
    if len(after) < SHEET_ROWS:
        write_xlsx(os.path.join(directory, "after.xlsx"), after)
    with open(os.path.join(directory, "expected.json"), "w", encoding="utf-8") as file:
        json.dump({"before": count, "after": len(after), "updated": updates, "added": adds, "removed": removes}, file)
        file.write("\n")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(int(sys.argv[1]), sys.argv[2])
