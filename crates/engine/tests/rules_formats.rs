//! Formats: whichever a payload comes in, the roster is the same, and what was assumed is said.

use std::io::Write;

use muster_engine::Result;

use crate::rules_given::*;

const PEOPLE: &str = "employee_id,email,first_name,last_name,start_date,department\n\
    1001,aoife@x.example,Aoife,Ní Bhriain,2019-03-04,Sales\n\
    1002,bjorn@x.example,Björn,Åkesson,2020-11-30,\n";

async fn sync_bytes(given: &Given, request: Request, payload: &[u8]) -> Result<Report> {
    given.engine.sync("acme", request, &mut &payload[..]).await
}

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/../../fixtures/feeds/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn utf16(text: &str) -> Vec<u8> {
    format!("\u{feff}{text}").encode_utf16().flat_map(u16::to_le_bytes).collect()
}

fn json(text: &str) -> String {
    let mut lines = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let header = lines.next().unwrap();
    let row = |cells: Vec<&str>| {
        let members: Vec<String> = header.iter().zip(cells).map(|(n, c)| format!("\"{n}\":\"{c}\"")).collect();
        format!("{{{}}}", members.join(","))
    };
    format!("{{\"mode\":\"full\",\"rows\":[{}]}}", lines.map(row).collect::<Vec<_>>().join(","))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_people_in_any_format_are_no_news() {
    let given = Given::organisation().await;
    given.applied(full(), PEOPLE).await;
    let list = json(PEOPLE);
    let lines = list[23..list.len() - 2].replace("},{", "}\n{") + "\n";
    let western = PEOPLE.chars().map(|c| u8::try_from(c).unwrap()).collect();
    for payload in [
        utf16(PEOPLE),
        western,
        gzipped(PEOPLE.as_bytes()),
        gzipped(&utf16(PEOPLE)),
        list.clone().into_bytes(),
        gzipped(list.as_bytes()),
        lines.into_bytes(),
    ] {
        for _again in 0..2 {
            let report = sync_bytes(&given, full(), &payload).await.unwrap();
            assert_eq!((report.state, report.counts.unchanged), (State::NoChanges, 2), "{:?}", report.issues);
        }
    }
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workbook_is_a_payload_like_any_other() {
    let given = Given::organisation().await;
    let report = sync_bytes(&given, full(), &fixture("workbooks/several-sheets.xlsx")).await.unwrap();
    assert_eq!((report.state, report.counts.added), (State::Applied, 3));
    assert_eq!(report.read_as, ["The sheet \"Staff list\" was read."]);
    for same in
        ["workbooks/old.xls", "workbooks/open.ods", "workbooks/dates-1904.xlsx", "workbooks/several-sheets.xlsx"]
    {
        let report = sync_bytes(&given, full(), &fixture(same)).await.unwrap();
        assert_eq!((report.state, report.counts.unchanged), (State::NoChanges, 3), "{same}: {:?}", report.holds);
    }
    let one = Request { sheet: Some("germany".into()), ..partial() };
    let report = sync_bytes(&given, one.clone(), &fixture("workbooks/two-lists.xlsx")).await.unwrap();
    assert_eq!((report.state, report.counts.rows), (State::NoChanges, 2));
    let no_such = Request { sheet: Some("Spain".into()), ..partial() };
    let refused = sync_bytes(&given, no_such, &fixture("workbooks/two-lists.xlsx")).await.unwrap();
    assert_eq!(refused.state, State::Refused);
    assert_eq!(refused.issues[0].reason, "The workbook has no sheet \"Spain\"; it has \"Germany\", \"Ireland\".");
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn absent_clears_nothing_and_null_clears_even_in_a_partial_payload() {
    let given = Given::organisation().await;
    given.applied(full(), &staff(1..=2)).await;
    let kept = r#"[{"employee_id":"E1"},{"employee_id":"E2","department":""}]"#;
    assert_eq!(given.sync(partial(), kept).await.state, State::NoChanges);
    let cleared = r#"[{"employee_id":"E1","department":null}]"#;
    given.applied(partial(), cleared).await;
    assert_eq!((given.department("E1").await, given.department("E2").await), (String::new(), "Sales".into()));
    let full_and_sparse = r#"[{"employee_id":"E1","location":"Ulm"},{"employee_id":"E2"}]"#;
    given.set("guard.min_rows_percent", "off").await;
    let report = given.sync(full(), full_and_sparse).await;
    assert_eq!(report.counts.updated, 1, "{:?}", report.holds);
    assert_eq!(given.department("E2").await, "Sales");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_past_what_is_kept_in_memory_are_read_again_from_the_plain_text() {
    let given = Given::organisation().await;
    let note = "x".repeat(7000);
    let lines: Vec<String> = (1..=3000).map(|n| format!("{},{note}", person(n))).collect();
    let payload = format!("{HEADER},Notes\n{}\n", lines.join("\n"));
    let report = sync_bytes(&given, full(), &gzipped(payload.as_bytes())).await.unwrap();
    assert_eq!((report.state, report.counts.added), (State::Applied, 3000));
    let report = sync_bytes(&given, full(), payload.as_bytes()).await.unwrap();
    assert_eq!((report.state, report.counts.unchanged), (State::NoChanges, 3000));
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_far_down_decides_the_encoding_of_all() {
    let given = Given::organisation().await;
    let mut payload = staff(1..=3000).into_bytes();
    payload.extend_from_slice(b"E9001,z@x.example,Ren\xe9,Zo\xeb,1990-01-01,Sales,Bonn\n");
    let report = sync_bytes(&given, full(), &payload).await.unwrap();
    assert_eq!((report.state, report.counts.added, report.counts.invalid), (State::Applied, 3001, 0));
    assert!(report.read_as[0].contains("Windows-1252, because byte 0xE9 on line 3002"), "{:?}", report.read_as);
    assert_eq!(given.member("E9001").await.values.get(FieldId::FIRST_NAME), Some("René"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_says_that_there_is_more_proves_no_absence() {
    let given = Given::with(&[("guard.removals.max_percent", "off"), ("guard.min_rows_percent", "off")]).await;
    given.applied(full(), &staff(1..=3)).await;
    let page = r#"{"value":[{"employee_id":"E1"},{"employee_id":"E2"}],"@odata.nextLink":"https://hr.example/2"}"#;
    let report = given.sync(full(), page).await;
    assert_eq!(report.state, State::Held);
    assert!(report.holds.iter().any(|h| h.detail.contains("more pages follow")), "{:?}", report.holds);
    assert_eq!(given.listed().await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_contradicts_its_own_mode_is_refused() {
    let given = Given::organisation().await;
    let report = given.sync(full(), r#"{"mode":"partial","rows":[{"employee_id":"E1"}]}"#).await;
    assert_eq!(report.state, State::Refused);
    assert!(report.issues[0].reason.contains("its mode is \"partial\", and it was sent as full"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_is_named_and_leaves_nothing_behind() {
    let limits =
        [("limits.payload_mb", "1"), ("limits.rows", "2"), ("limits.columns", "7"), ("limits.cell_chars", "9")];
    let given = Given::with(&limits).await;
    let large = format!("{}{}\n", staff(1..=1), " ".repeat(1 << 20));
    let refused = given.try_sync(full(), &large).await.unwrap_err();
    assert!(matches!(&refused, Error::Refused(why) if why.contains("limits.payload_mb is 1")), "{refused}");
    let payloads = given.engine.data_dir().join("payloads").join(given.acme().await.row.id.to_string());
    assert_eq!(std::fs::read_dir(payloads).map(|d| d.count()).unwrap_or_default(), 0);
    for (payload, limit) in [(staff(1..=3), "limits.rows is 2"), (format!("{HEADER},a\n"), "limits.columns is 7")] {
        let report = given.sync(full(), &payload).await;
        assert_eq!(report.state, State::Refused);
        assert!(report.issues[0].reason.contains(limit), "{:?}", report.issues);
    }
    let report = given.sync(full(), "employee_id,department\nE1,a long department\n").await;
    assert!(report.issues[0].reason.contains("limits.cell_chars"), "{:?}", report.issues);
    given.set("limits.payload_mb", "4").await;
    given.set("limits.xls_mb", "1").await;
    let mut old = fixture("workbooks/old.xls");
    old.resize(old.len() + (1 << 20), 0);
    let report = sync_bytes(&given, full(), &old).await.unwrap();
    assert_eq!(report.state, State::Refused);
    assert!(report.issues[0].reason.contains("limits.xls_mb is 1"), "{:?}", report.issues);
}

#[tokio::test(flavor = "multi_thread")]
async fn totals_and_repeated_headers_are_no_person() {
    let given = Given::with(&[("guard.min_rows_percent", "off")]).await;
    let (first, second) = (staff(1..=2), staff(3..=4));
    let payload = format!("Staff list,,,,,,\n\n{first}{second}Total,,,,,4,\nReport generated 2026-03-01\n");
    for (state, end) in [(State::Applied, ""), (State::NoChanges, "\n")] {
        let report = given.sync(full(), &format!("{payload}{end}")).await;
        assert_eq!((report.state, report.counts.rows, report.counts.invalid), (state, 4, 0), "{:?}", report.issues);
        assert_eq!(report.read_as, ["The header row was found on line 3; what stands above it was passed over."]);
    }
    assert_eq!(given.listed().await, ["E1", "E2", "E3", "E4"]);
    // Further up a total is a row like any other, and what it is must be decided by somebody.
    let report = given.sync(full(), &format!("{first}Total,,,,,2,\n{}", person(3))).await;
    assert_eq!(report.counts.rows, 4);
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_stands_below_or_between_people_is_no_person_and_hides_nobody() {
    let first = staff(1..=2);
    let ends = [
        "Total,6,,,,,",
        ",,,Total:,6,,",
        "4,,,,,,",
        ",,,,,,4",
        "End of report,,,,,,\nPage 1 of 1,,,,,,",
        "(4 rows affected)",
        "(4 rows)",
        "4 records",
        "Total,4,,,,,\n4,,,,,,",
    ];
    let given = Given::organisation().await;
    given.applied(full(), &staff(1..=4)).await;
    for end in ends {
        let payload = format!(
            "{}Sales,,,,,,\n{}\nMarketing,,,,,,\n{}\n{end}\n",
            first.replacen('\n', "\n-----------,-----,-----,-----,-----,-----,-----\n", 1),
            person(3),
            person(4)
        );
        let dry = given.sync(Request { dry_run: true, ..full() }, &payload).await;
        let report = given.sync(full(), &payload).await;
        let counts = report.counts;
        assert_eq!((report.state, counts.rows, counts.unchanged), (State::NoChanges, 4, 4), "{end}: {report:?}");
        assert_eq!(report.issues.len(), dry.issues.len(), "{end}");
        // Each is told, and absences are proven.
        assert!(report.issues.len() >= 4 && report.holds.is_empty(), "{end}: {:?}", report.issues);
    }
    // A number that is not the number of rows may be somebody, and so is whatever stands above them.
    let report = given.sync(partial(), &format!("{}7,,,,,,\n", staff(1..=4))).await;
    assert_eq!((report.counts.rows, report.counts.added), (5, 1), "{report:?}");
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_of_which_no_row_can_be_read_is_refused_and_removes_nobody() {
    let given = Given::with(&[("guard.removals.max_percent", "off"), ("guard.min_rows_percent", "off")]).await;
    given.applied(full(), &staff(1..=3)).await;
    for (document, why) in [
        (r#"[["Employee ID","First Name"],["E1","Ann"]]"#.to_owned(), "send objects, or CSV"),
        ("[null]".to_owned(), "row 1: Expected an object"),
        (r#"["E1","E2"]"#.to_owned(), "row 1: Expected an object"),
        (r#"[{"employee_id":NaN}]"#.to_owned(), "row 1: The object is not well-formed"),
        ("[".repeat(100_000), "limits.depth"),
    ] {
        let report = given.sync(full(), &document).await;
        assert_eq!(report.state, State::Refused, "{why}: {report:?}");
        assert!(report.issues[0].reason.contains(why), "{:?}", report.issues);
    }
    // What lies beside a row that can be read hides somebody.
    assert_eq!(given.sync(full(), r#"[null,{"employee_id":"E1"}]"#).await.state, State::Held);
    assert_eq!(given.listed().await.len(), 3);
    // Objects may go over several lines.
    let report = given.sync(partial(), "{\n  \"employee_id\": \"E1\"\n}\n{\n  \"employee_id\": \"E4\"\n}\n").await;
    assert_eq!((report.state, report.counts.added, report.counts.rows), (State::Applied, 1, 2), "{report:?}");
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_spreadsheet_or_our_own_export_adds_makes_no_new_person() {
    let given = Given::organisation().await;
    let people = |keys: [&str; 2], at: &str| {
        format!("employee_id,email,department\n{},a@x.example,{at}\n{},b@x.example,\n", keys[0], keys[1])
    };
    given.applied(full(), &people(["00123", "00124"], "=1+1")).await;
    for keys in [["=\"00123\"", "\"=\"\"00124\"\"\""], ["'00123", "'00124"]] {
        let report = given.sync(full(), &people(keys, "'=1+1")).await;
        assert_eq!((report.state, report.counts.unchanged), (State::NoChanges, 2), "{report:?}");
    }
    // Words for none are nobody, whoever writes them, and the row could hide somebody.
    for nobody in ["N/A", "true"] {
        let report = given.sync(full(), &people(["00123", nobody], "=1+1")).await;
        assert_eq!((report.state, report.counts.added, report.counts.invalid), (State::Held, 0, 1), "{report:?}");
    }
    let report =
        given.sync(partial(), "[{\"employee_id\":1e3},{\"employee_id\":true},{\"employee_id\":\"00123\"}]").await;
    assert_eq!((report.counts.added, report.counts.invalid), (0, 2), "{report:?}");
    let member = |key: &str, email: &str, id: u8| {
        format!(
            "{{\"key\":\"{key}\",\"id\":\"00000000-0000-7000-8000-00000000000{id}\",\"listed\":true,\"aliases\":[],\
             \"fields\":{{\"employee_id\":\"{key}\",\"email\":\"{email}\"}},\"claims\":[{{\"feed\":\"main\"}}]}}\n"
        )
    };
    for export in
        [member("00123", "a@x.example", 1), member("00123", "a@x.example", 1) + &member("00124", "b@x.example", 2)]
    {
        let report = given.sync(partial(), &export).await;
        assert_eq!((report.state, report.counts.rows), (State::NoChanges, export.lines().count() as u64), "{report:?}");
    }
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_lost_its_leading_zeros_is_no_new_person() {
    let given = Given::organisation().await;
    let people = |rows: &str| format!("employee_id,last_name,date_of_birth\n{rows}");
    given.applied(full(), &people("00123,Lee,1990-01-01\n00124,Ray,\n0117,Poe,\n117,Roe,\nE5,Fox,\n")).await;
    let report = given.sync(full(), &people("123,Lee,1990-01-01\n124,Ray,\n0117,Poe,\n117,Roe,\nE5,Fox,\n")).await;
    let counts = report.counts;
    assert_eq!((counts.added, counts.removed, counts.rekeyed, counts.invalid, counts.unchanged), (0, 0, 0, 2, 3));
    assert!(report.issues[0].reason.contains("differs from 00123 on the roster in leading zeros only"), "{report:?}");
    // The other way round, and in a partial payload.
    let report = given.sync(partial(), &people("000117,Zoe,\n00000123,Lee,\n")).await;
    assert_eq!((report.counts.added, report.counts.invalid), (1, 1), "{report:?}");
    // Another birth date: somebody else.
    let report = given.sync(partial(), &people("123,Lee,1971-12-31\n")).await;
    assert_eq!((report.counts.added, report.counts.invalid), (1, 0), "{report:?}");
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn not_even_an_email_makes_a_re_key_of_leading_zeros() {
    let given = Given::organisation().await;
    let people = |rows: &str| format!("employee_id,email,last_name\n{rows}");
    let usual: String = (101..=140).map(|n| format!("00{n},p{n}@x.example,Last{n}\n")).collect();
    given.applied(full(), &people(&usual)).await;
    for request in [full(), partial()] {
        let report = given.sync(request, &people(&usual.replace("00106,", "106,"))).await;
        let counts = report.counts;
        assert_eq!((counts.rekeyed, counts.added, counts.removed, counts.invalid), (0, 0, 0, 1), "{report:?}");
        assert_eq!((report.state, report.holds.len()), (State::NoChanges, 0), "{report:?}");
        assert!(report.issues[0].reason.contains("differs from 00106 on the roster in leading zeros only"));
    }
    assert_eq!((given.member("00106").await.key, given.listed().await.len()), ("00106".to_owned(), 40));
    // The zeros point to one person and the e-mail to another: whoever of them it is, both stay.
    let others = people(&usual.replace("00107,p107@x.example,Last107\n", "").replace("00106,p106@", "106,p107@"));
    let report = given.sync(full(), &others.replace("Last106", "")).await;
    let counts = report.counts;
    assert_eq!((counts.rekeyed, counts.added, counts.removed, counts.invalid), (0, 0, 0, 1), "{report:?}");
    // Nor do two such rows make one of them a new person.
    let two = usual.replace("00106,p106@x.example,Last106\n", "106,,Last106\n0106,,Last106\n");
    let counts = given.sync(full(), &people(&two)).await.counts;
    assert_eq!((counts.rekeyed, counts.added, counts.removed, counts.invalid), (0, 0, 0, 2), "{counts:?}");
    // Nor does it make a former member a new person, or one with a new key.
    given.applied(leavers(), "employee_id\n00110\n").await;
    for row in ["110,p110@x.example,Last110\n", "110,,Last110\n"] {
        let report = given.sync(partial(), &people(&format!("00101,p101@x.example,Last101\n{row}"))).await;
        let counts = report.counts;
        assert_eq!((counts.reinstated, counts.rekeyed, counts.added, counts.invalid), (0, 0, 0, 1), "{report:?}");
        assert!(report.issues[0].reason.contains("00110 of a former member in leading zeros only"), "{report:?}");
    }
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_of_which_nothing_can_be_taken_is_refused() {
    let given = Given::organisation().await;
    given.applied(full(), &staff(1..=3)).await;
    let all_wrong = csv(["E1,nobody,,,,,", "E2,nobody,,,,,", "E3,nobody,,,,,"]);
    let report = given.sync(full(), &all_wrong).await;
    assert_eq!(report.state, State::Refused);
    assert!(
        report.issues[0].reason.starts_with("None of the 3 rows can be taken; the first: line 2: Expected one e-mail")
    );
    let report = given.sync(partial(), &csv(["E1,nobody,,,,,"])).await;
    assert!(
        report.issues[0].reason.starts_with("The only row cannot be taken; the first: line 2"),
        "{:?}",
        report.issues
    );
    // Whoever is missing from it is another matter, for guards and people.
    given.set("guard.removals.max_percent", "off").await;
    let one_missing = csv(["E1,nobody,,,,,", "E2,nobody,,,,,"]);
    assert_ne!(given.sync(full(), &one_missing).await.state, State::Refused);
    // An empty list, and rows that say nothing new beside bad ones, are no changes.
    let some_known = csv([person(1), person(2), "E3,nobody,,,,,".to_owned()]);
    let report = given.sync(partial(), &some_known).await;
    assert_eq!((report.state, report.counts.invalid), (State::NoChanges, 1));
    given.verified().await;
}
