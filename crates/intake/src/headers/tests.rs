//! Header rows of real exports, and those that must be refused.

use muster_domain::field::{CustomField, FieldKind};

use super::*;

fn header(names: &[&str]) -> Vec<String> {
    names.iter().map(|n| (*n).to_owned()).collect()
}

fn saved(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(f, c)| ((*f).to_owned(), (*c).to_owned())).collect()
}

fn resolved(names: &[&str], match_key: FieldId, map: &[(&str, &str)]) -> Result<Columns, MappingError> {
    resolve(&header(names), &Fields::default(), match_key, &saved(map))
}

/// The names of the fields found, `-` for a column that is not taken.
fn found(names: &[&str]) -> Vec<String> {
    let columns = resolved(names, FieldId::EMPLOYEE_ID, &[]).unwrap();
    let name = |f: &Option<FieldId>| f.map_or("-".to_owned(), |f| Fields::default().name(f).to_owned());
    columns.by_index.iter().map(name).collect()
}

#[test]
fn in_our_own_export_only_fields_are_fields() {
    let own = ["key", "id", "listed", "aliases", "fields.email", "fields.employee_id", "fields.custom", "claims"];
    assert_eq!(found(&own), ["-", "-", "-", "-", "email", "employee_id", "-", "-"]);
    let by_email = resolved(&["key", "id", "listed", "fields.email"], FieldId::EMAIL, &[]).unwrap();
    assert_eq!(by_email.by_index, [None, None, None, Some(FieldId::EMAIL)]);
    // Elsewhere an id is one, beside fields of which each has its name.
    assert_eq!(found(&["id", "fields.Email Address"]), ["employee_id", "email"]);
}

#[test]
fn case_spaces_and_punctuation_do_not_count() {
    for name in ["employee_id", "Employee ID", "EMPLOYEE-ID", "employeeId", " Employee  Id* ", "Employee.ID:"] {
        assert_eq!(found(&[name]), ["employee_id"], "{name}");
    }
}

#[test]
fn the_usual_synonyms_are_known() {
    for name in [
        "Worker ID", "Emp No", "emp_no", "Emp #", "Personnel Number", "Staff ID", "Payroll No.", "uniqueId",
        "unique_id",
    ] {
        assert_eq!(found(&[name]), ["employee_id"], "{name}");
    }
    let names = [
        ("Work Email", "email"),
        ("E-mail", "email"),
        ("Email Address", "email"),
        ("Email - Work", "email"),
        ("Given Name", "first_name"),
        ("Forename", "first_name"),
        ("Surname", "last_name"),
        ("Family Name", "last_name"),
        ("Known As", "preferred_name"),
        ("DOB", "date_of_birth"),
        ("Birth Date", "date_of_birth"),
        ("Dept", "department"),
        ("Cost Centre", "department"),
        ("Business Title", "job_title"),
        ("Position", "job_title"),
        ("Office", "location"),
        ("Site", "location"),
        ("Company", "subcompany"),
        ("Legal Entity", "subcompany"),
        ("Supervisor ID", "manager_id"),
        ("Worker Type", "employment_type"),
        ("Status", "employment_status"),
        ("Employment Status", "employment_status"),
        ("Hire Date", "start_date"),
        ("Termination Date", "end_date"),
        ("Leaving date", "end_date"),
        ("Last Day", "end_date"),
        ("Favourite colour", "-"),
        ("Personal Email", "-"),
        ("Manager", "-"),
    ];
    for (name, field) in names {
        assert_eq!(found(&["id", name])[1], field, "{name}");
    }
}

#[test]
fn no_synonym_stands_for_two_fields() {
    let all = synonyms::NAMES.iter().flat_map(|(f, strong, weak)| strong.iter().chain(*weak).map(move |n| (*n, *f)));
    let mut seen = BTreeMap::new();
    for (name, field) in all {
        assert_eq!(plain(name), name, "not in plain form");
        assert_eq!(seen.insert(name, field), None, "{name} stands there twice");
        assert!(!Fields::default().all().any(|f| plain(Fields::default().name(f)) == name), "{name} is a field");
    }
}

#[test]
fn the_better_name_wins() {
    assert_eq!(found(&["Worker ID", "employee_id"]), ["-", "employee_id"]);
    assert_eq!(
        found(&["employee_id", "Position", "Business Title", "Job Title"]),
        ["employee_id", "-", "-", "job_title"]
    );
    assert_eq!(found(&["id", "unique_id", "Position", "Business Title"]), ["-", "employee_id", "-", "job_title"]);
    assert_eq!(resolved(&["Worker ID", "employee_id"], FieldId::EMPLOYEE_ID, &[]).unwrap().ignored, ["Worker ID"]);
}

#[test]
fn unique_id_is_the_match_key_whichever_that_is() {
    let columns = resolved(&["unique_id", "employee_id"], FieldId::EMAIL, &[]).unwrap();
    assert_eq!(columns.by_index, [Some(FieldId::EMAIL), Some(FieldId::EMPLOYEE_ID)]);
    assert_eq!(columns.key, 0);
    let columns = resolved(&["Login", "Worker ID"], FieldId::EMAIL, &[("unique_id", "login")]).unwrap();
    assert_eq!(columns.by_index[0], Some(FieldId::EMAIL));
}

#[test]
fn two_equal_candidates_are_one_error_that_names_both() {
    let error = resolved(&["Worker ID", "Staff No"], FieldId::EMPLOYEE_ID, &[]).unwrap_err().to_string();
    assert!(
        error.contains("1 (\"Worker ID\")")
            && error.contains("2 (\"Staff No\")")
            && error.contains("--map employee_id="),
        "{error}"
    );
    let error = resolved(&["employee_id", "Email", "Email"], FieldId::EMPLOYEE_ID, &[]).unwrap_err().to_string();
    assert!(error.contains("2 (\"Email\")") && error.contains("3 (\"Email\")"), "{error}");
    assert!(resolved(&["employee_id", "Notes", "Notes"], FieldId::EMPLOYEE_ID, &[]).is_ok());
    // Choosing one settles it.
    let columns = resolved(&["Worker ID", "Staff No"], FieldId::EMPLOYEE_ID, &[("employee_id", "staff no")]).unwrap();
    assert_eq!((columns.key, columns.ignored), (1, header(&["Worker ID"])));
}

#[test]
fn a_match_key_without_column_is_an_error_that_lists_the_header() {
    let error = resolved(&["Name", "Shoe size"], FieldId::EMPLOYEE_ID, &[]).unwrap_err().to_string();
    assert!(error.contains("Name, Shoe size") && error.contains("--map employee_id=Column"), "{error}");
    assert!(matches!(resolved(&["", ""], FieldId::EMAIL, &[]), Err(MappingError::NoKeyColumn { .. })));
}

#[test]
fn a_saved_mapping_wins() {
    let columns = resolved(
        &["employee_id", "Ref", "Title"],
        FieldId::EMPLOYEE_ID,
        &[("employee_id", "Ref"), ("location", "title")],
    );
    let columns = columns.unwrap();
    assert_eq!(columns.by_index, [None, Some(FieldId::EMPLOYEE_ID), Some(FieldId::LOCATION)]);
    let columns = resolved(&["id", "Dept"], FieldId::EMPLOYEE_ID, &[("department", "")]).unwrap();
    assert_eq!(columns.by_index, [Some(FieldId::EMPLOYEE_ID), None]);
}

#[test]
fn a_mapping_that_does_not_fit_is_refused() {
    let refused = |map: &[(&str, &str)]| resolved(&["id", "Ref", "Ref"], FieldId::EMPLOYEE_ID, map).unwrap_err();
    assert!(matches!(refused(&[("email", "Mail")]), MappingError::NoSuchColumn { .. }));
    assert!(matches!(refused(&[("shoe", "id")]), MappingError::NoSuchField { .. }));
    assert!(matches!(refused(&[("email", "id"), ("location", "ID")]), MappingError::ColumnUsedTwice { .. }));
    assert!(matches!(refused(&[("email", "Ref")]), MappingError::TwoColumns { .. }));
}

#[test]
fn custom_fields_are_found_by_their_names() {
    let fields = Fields { custom: vec![CustomField { name: "cost_centre".into(), kind: FieldKind::Text }] };
    let columns = resolve(&header(&["id", "Cost Centre"]), &fields, FieldId::EMPLOYEE_ID, &BTreeMap::new()).unwrap();
    assert_eq!(columns.by_index[1], fields.by_name("cost_centre"));
}

#[test]
fn nameless_columns_at_the_end_are_not_needed() {
    let columns = resolved(&["id", "", "Email", "", ""], FieldId::EMPLOYEE_ID, &[]).unwrap();
    assert_eq!((columns.width(), columns.ignored.len()), (3, 0));
}
