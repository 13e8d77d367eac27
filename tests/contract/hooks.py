"""What schemathesis does not know by itself: payloads, the key with which it asks, and the other organisation."""

import gzip
import io
import json
import os
import pathlib
import zipfile

import schemathesis
from hypothesis import strategies as st

known = json.loads((pathlib.Path(os.environ["MUSTER_CONTRACT_DIR"]) / "known.json").read_text())
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"

cell = st.text(st.characters(codec="utf-8", exclude_characters='\r\n",'), max_size=12)
row = st.tuples(st.integers(1, 30), cell, cell).map(lambda r: f'Sent{r[0]},"{r[1]}","{r[2]}"\n')
lists = st.lists(row, max_size=5).map(lambda rows: ("employee_id,first_name,department\n" + "".join(rows)).encode())
lines = st.lists(st.tuples(st.integers(1, 30), cell), min_size=1, max_size=5).map(
    lambda rows: "".join(json.dumps({"unique_id": f"Sent{n}", "first_name": name}) + "\n" for n, name in rows).encode()
)


def workbook(rows):
    """The smallest workbook that can be read."""
    cells = "".join(
        "<row>" + "".join(f'<c t="inlineStr"><is><t>{cell}</t></is></c>' for cell in row) + "</row>"
        for row in [("employee_id", "first_name"), *rows]
    )
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006"
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{package}/content-types"><Default Extension="xml" ContentType="application/xml"/>'
        f'<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{XLSX}.main+xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="r1" Type="{office}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{office}"><sheets><sheet name="List" sheetId="1" r:id="r1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="r1" Type="{office}/worksheet" Target="worksheets/sheet1.xml"/></Relationships>',
        "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{main}"><sheetData>{cells}</sheetData></worksheet>',
    }
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, text in parts.items():
            archive.writestr(name, text)
    return out.getvalue()


schemathesis.openapi.media_type("text/csv", lists)
schemathesis.openapi.media_type("application/x-ndjson", lines)
schemathesis.openapi.media_type("application/gzip", lists.map(gzip.compress))
schemathesis.openapi.media_type(XLSX, st.lists(st.tuples(st.integers(1, 30).map(str)), max_size=3).map(workbook))


@schemathesis.hook
def filter_case(context, case):
    """Whoever changes the key with which they ask learns nothing more: that is tried elsewhere."""
    return case.method == "GET" or (case.path_parameters or {}).get("id") != known["own_key"]


@schemathesis.check
def nothing_of_the_other_organisation(ctx, response, case):
    """Nothing that is known of the other organisation's people stands in an answer, and nothing of its own is found."""
    assert known["planted"] not in response.text, "an answer tells of the other organisation's people"
    asked = (case.path_parameters or {}).get("id")
    assert asked not in known["theirs"] or response.status_code >= 400, "something of the other organisation was found"
