//! Documents: which rows come out, and which sentence.

use std::io::Read;

use super::*;

fn brought(document: &str) -> Result<(Brought, String), String> {
    brought_as(document, None, Limits::default())
}

fn brought_as(document: &str, format: Option<Format>, limits: Limits) -> Result<(Brought, String), String> {
    let mut out = Vec::new();
    let brought =
        bring(document.as_bytes(), document.as_bytes(), format, limits, &mut out).map_err(|e| e.to_string())?;
    let rows = String::from_utf8(out).unwrap();
    Ok((brought, rows.replace('\u{1}', "<absent>").replace('\u{2}', "<null>").replace('\u{3}', "<broken>")))
}

#[test]
fn a_list_wrapped_or_bare_gives_its_rows() {
    let rows = r#"[{"id":1,"name":"Ann"},{"id":"2","site":null}]"#;
    for document in [
        rows.to_owned(),
        format!(" \n{rows}\n"),
        format!("\u{feff}{rows}"),
        format!(r#"{{"rows":{rows}}}"#),
        format!(r#"{{"mode":"full","count":2,"rows":{rows}}}"#),
        format!(r#"{{"title":"x","fields":[{{"id":"a"}}],"employees":{rows}}}"#),
        format!(r#"{{"d":{{"results":{rows}}}}}"#),
        format!(r#"{{"rows":{rows},"next":null,"hasMore":false}}"#),
    ] {
        let (brought, written) = brought(&document).unwrap();
        assert_eq!(brought.header, ["id", "name", "site"], "{document}");
        assert_eq!(written, "1,Ann\n2,<absent>,<null>\n", "{document}");
        assert!(brought.unfinished.is_none());
    }
    assert_eq!(brought(r#"{"mode":"full","rows":[{"id":1}]}"#).unwrap().0.mode.as_deref(), Some("full"));
    assert_eq!(
        brought(r#"{"Report_Entry":[{"id":1}]}"#).unwrap().0.read_as,
        ["The people were read from the list \"Report_Entry\"."]
    );
}

#[test]
fn one_object_a_line_is_known_and_a_bad_line_is_one_row() {
    let document = "{\"id\":1}\n\n{\"id\":2,\"x\":\"a,b\"}\r\n{\"id\":\n7\n{\"id\":3}";
    let (brought, written) = brought(document).unwrap();
    assert!(brought.header == ["id", "x"] && brought.written == " ndjson");
    let lines: Vec<&str> = written.split('\n').collect();
    assert_eq!((lines[0], lines[1], lines[2], lines[5]), ("1", "", "2,\"a,b\"", "3"));
    assert!(
        lines[3].contains("<broken>The object is not well-formed") && lines[4].contains("<broken>Expected an object")
    );
    // A last line without its end shows as that.
    assert!(!written.ends_with('\n'));
    assert_eq!(super::tests::brought("{\"id\":1}\n").unwrap().1, "1\n");
    assert_eq!(super::tests::brought("{\"id\":1,\"list\":[]}").unwrap().1, "1,[]");
}

#[test]
fn a_document_cut_anywhere_is_one_sentence() {
    let document = r#"{"mode":"full","rows":[{"id":1,"n":"A\"nn"},{"id":"2","site":[1,{}]}],"next":null}"#;
    for end in 0..document.len() {
        let said = brought_as(&document[..end], Some(Format::Json), Limits::default()).unwrap_err();
        assert!(said.contains("breaks off") || said.contains("is empty"), "{end}: {said}");
        assert!(said.ends_with('.'));
    }
}

#[test]
fn what_holds_no_list_of_people_says_what_to_do() {
    for (document, why) in [
        ("[{\"id\":1},]", "not well-formed behind row 1"),
        ("[{\"id\":1} {\"id\":2}]", "not well-formed behind row 1"),
        ("[{\"id\":1}] x", "not well-formed behind row 1"),
        ("[{\"id\":1}][]", "not well-formed behind row 1"),
        ("{\"rows\":[{\"a\":1}],\"people\":[{\"b\":2}]}", "several lists"),
        ("{\"rows\":7}", "no list of people"),
        ("7", "no list of people"),
        ("[]", "has no row"),
        ("{\"rows\":[{}]}", "say nothing of anybody"),
        (
            "[[\"id\"],[\"1\"]]",
            "row 1: Expected an object such as {\"employee_id\": \"1001\"} and found a list; send objects, or CSV.",
        ),
        ("[null,1]", "row 1: Expected an object"),
        ("[{\"id\":NaN}]", "row 1: The object is not well-formed JSON at its character"),
        ("[{\"id\":\"a\tb\"}]", "row 1: The object is not well-formed JSON at its character"),
    ] {
        let said = brought_as(document, Some(Format::Json), Limits::default()).unwrap_err();
        assert!(said.contains(why), "{document}: {said}");
    }
}

#[test]
fn objects_over_several_lines_are_rows() {
    let spread = "{\n  \"id\": 1,\n  \"at\": { \"site\": \"Bonn\" }\n}\n{\n  \"id\": 2\n}";
    for format in [None, Some(Format::Ndjson), Some(Format::Json)] {
        let (brought, rows) = brought_as(&format!("\u{feff}{spread}\n"), format, Limits::default()).unwrap();
        assert_eq!((rows.as_str(), brought.lacks_line_break, brought.is_lines), ("1,Bonn\n2\n", false, false));
        assert_eq!(brought.header, ["id", "at.site"]);
    }
    let mut picked = Vec::new();
    pick_objects(spread.as_bytes(), 9, &mut |object| {
        picked.push(object.to_vec());
        Ok(())
    })
    .unwrap();
    assert_eq!((picked.len(), picked[1].as_slice()), (2, &b"{\n  \"id\": 2\n}"[..]));
    // Broken off, which one object or a wrapper is not.
    assert!(brought(&spread[..spread.len() - 1]).unwrap_err().contains("breaks off after row 1"));
    assert!(brought(&format!("{spread}]")).unwrap_err().contains("not well-formed"));
    assert_eq!(brought("{\n\"rows\": [\n{\"id\": 1}]}").unwrap().1, "1\n");
}

#[test]
fn more_pages_are_noticed() {
    for more in [r#""@odata.nextLink":"https://x"#, r#""links":{"next":"/2"}, "a":"b"#, r#""d":{"__next":"x"},"c":"d"#]
    {
        let (brought, _) = brought(&format!("{{\"value\":[{{\"id\":1}}],{more}\"}}")).unwrap();
        assert!(brought.unfinished.unwrap().contains("more pages follow"), "{more}");
    }
    assert!(brought(r#"{"value":[{"id":1}],"hasMore":true}"#).unwrap().0.unfinished.is_some());
}

#[test]
fn limits_are_kept_and_named() {
    let limits = Limits { depth: 4, columns: 2, ..Limits::default() };
    let deep = format!("[{{\"a\":{}1{}}}]", "[".repeat(9), "]".repeat(9));
    assert!(brought_as(&deep, None, limits).unwrap_err().contains("limits.depth is 4"));
    assert!(brought_as(&deep[1..deep.len() - 1], Some(Format::Ndjson), limits).unwrap_err().contains("limits.depth"));
    assert!(brought_as("[{\"a\":1,\"b\":2,\"c\":3}]", None, limits).unwrap_err().contains("limits.columns is 2"));
    let mut out = Vec::new();
    let endless = Read::chain(&b"[{\"a\":\""[..], std::io::repeat(b'x'));
    let said = bring(endless, b"[{", None, limits, &mut out).unwrap_err().to_string();
    assert!(said.contains("Row 1 is longer than 1 MiB"));
}
