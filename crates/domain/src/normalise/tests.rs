use proptest::prelude::*;

use super::*;

fn read(kind: FieldKind, raw: &str) -> Result<String, Refusal> {
    value(kind, raw, DateOrder::Iso).map(Cow::into_owned)
}

#[test]
fn text_is_trimmed_and_composed() {
    assert_eq!(read(FieldKind::Text, "\u{a0} Jose\u{301} \u{2003}Díaz\u{200b}\t").unwrap(), "José \u{2003}Díaz");
    assert_eq!(read(FieldKind::Text, "a\nb").unwrap(), "a\nb");
    assert_eq!(read(FieldKind::Text, " \u{a0}\u{feff}").unwrap(), "");
    assert_eq!(read(FieldKind::Text, "a\0b"), Err(Refusal::ControlCharacter));
    assert_eq!(read(FieldKind::Text, "a\u{1b}[2J"), Err(Refusal::ControlCharacter));
    assert!(matches!(value(FieldKind::Text, " plain ", DateOrder::Iso), Ok(Cow::Borrowed("plain"))));
}

#[test]
fn the_quick_look_finds_every_odd_byte() {
    for odd in 0..=255u8 {
        for at in 0..19 {
            let mut bytes = [b'a'; 19];
            bytes[at] = odd;
            assert_eq!(is_plain(&bytes), (0x20..=0x7e).contains(&odd), "{odd:#x} at {at}");
        }
    }
}

#[test]
fn the_limit_counts_characters_not_bytes() {
    assert!(read(FieldKind::Text, &"é".repeat(MAX_VALUE_CHARS)).is_ok());
    assert_eq!(read(FieldKind::Text, &"é".repeat(MAX_VALUE_CHARS + 1)), Err(Refusal::TooLong));
}

#[test]
fn emails_are_compared_without_case() {
    assert_eq!(read(FieldKind::Email, " Ann.O'Neil@Example.COM ").unwrap(), "ann.o'neil@example.com");
    for bad in ["ann", "@x", "ann@", "a@b@c", "a b@x", "Ann <a@x>", "a@x;b@x", "a@x,b", "a@x\u{a0}y"] {
        assert_eq!(read(FieldKind::Email, bad), Err(Refusal::NotAnEmail), "{bad}");
    }
}

#[test]
fn numbers_are_plain_decimals() {
    for (raw, canonical) in
        [("37.50", "37.5"), ("+007", "7"), ("-0.0", "0"), (".5", "0.5"), ("12.", "12"), ("-1.25", "-1.25"), ("0", "0")]
    {
        assert_eq!(read(FieldKind::Number, raw).unwrap(), canonical, "{raw}");
    }
    for bad in ["1,5", "1.2.3", "1e5", "-", ".", "12 000", "£5", "+-1"] {
        assert_eq!(read(FieldKind::Number, bad), Err(Refusal::NotANumber), "{bad}");
    }
}

#[test]
fn booleans_are_true_or_false() {
    assert!(["true", "YES", "y", "1"].iter().all(|raw| read(FieldKind::Boolean, raw).unwrap() == "true"));
    assert!(["False", "no", "N", "0"].iter().all(|raw| read(FieldKind::Boolean, raw).unwrap() == "false"));
    assert_eq!(read(FieldKind::Boolean, "maybe"), Err(Refusal::NotABoolean));
}

#[test]
fn case_and_outer_space_make_no_new_key() {
    assert_eq!(key(" E-0012\u{a0}"), "e-0012");
    assert_eq!(key("JOSE\u{301}"), key("josé"));
    assert_eq!(key("ΝΊΚΟΣ"), key("νίκος"));
    assert!(matches!(key("1001"), Cow::Borrowed("1001")));
    assert_ne!(key("01001"), key("1001"));
}

#[test]
fn an_id_is_what_it_was_before_a_spreadsheet_took_it_for_a_number() {
    for (raw, was) in [
        ("1001.0", "1001"),
        ("00123", "00123"),
        ("1E05", "1E05"),
        ("v2.0", "v2.0"),
        (".0", ".0"),
        ("1.10", "1.10"),
        ("=\"00123\"", "00123"),
        ("=\"\"", "=\"\""),
        ("'00123", "00123"),
        ("'Ann", "'Ann"),
        ("''1", "''1"),
    ] {
        assert_eq!(id(raw), Ok(was));
    }
    for rounded in ["1.23E+05", "1,23E+05", "1E+05", "4.5e+10", "9.99999E+100"] {
        assert_eq!(id(rounded), Err(Refusal::RoundedId), "{rounded}");
    }
    assert!(["AB+12", "12E+3", "1.23E05", "+49", "x1.2E+05"].iter().all(|raw| id(raw) == Ok(*raw)));
}

#[test]
fn a_word_for_none_is_no_id() {
    assert!(["N/A", "n.a.", "TRUE", "false", "NULL", "None", "undefined", "-"].into_iter().all(is_no_id));
    assert!(!["NA", "Nan", "true1", "nonesuch", "", "1", "E-1", "0"].into_iter().any(is_no_id));
}

#[test]
fn an_apostrophe_before_a_formula_goes() {
    for (raw, was) in [("'=1+1", "=1+1"), ("'@home", "@home"), (" '+Sales", "+Sales"), ("'-x", "-x")] {
        assert_eq!(read(FieldKind::Text, raw).unwrap(), was);
    }
    for raw in ["'t Hooft", "'00123", "''=1", "'", "O'=1"] {
        assert_eq!(read(FieldKind::Text, raw).unwrap(), raw);
    }
}

#[test]
fn a_letter_of_another_alphabet_in_a_word_is_seen() {
    assert!(["\u{410}nna", "E-00\u{415}1x", "lee@ex\u{430}mple.com", "\u{391}NN"].into_iter().all(mixes_alphabets));
    assert!(!["Anna", "Åsa", "Анна", "Νίκος", "Анна Lee", "José-Мария", ""].into_iter().any(mixes_alphabets));
}

#[test]
fn a_spreadsheets_error_is_no_value() {
    for kind in [FieldKind::Text, FieldKind::Date, FieldKind::Number] {
        assert_eq!(read(kind, " #N/A "), Err(Refusal::SpreadsheetError));
        assert_eq!(read(kind, "#div/0!"), Err(Refusal::SpreadsheetError));
    }
    assert_eq!(read(FieldKind::Text, "#1 Main Street").unwrap(), "#1 Main Street");
}

#[test]
fn the_last_day_of_the_year_9999_means_never() {
    for raw in [
        "9999-12-31", "31.12.9999", " 31/12/9999", "12/31/9999", "99991231", "9999-12-31T00:00:00Z", "31-Dec-9999",
        "9999/12/31 00:00:00", "31.12.9999 23:59:59", "2958465", "4712-12-31", "31-Dec-4712", "0000-00-00",
        "00.00.0000", "00000000",
    ] {
        assert!(is_never(raw), "{raw}");
    }
    for raw in ["9999-12-30", "2099-12-31", "29584650", "never", "9999", "", "13/31/9999", "9999-31-12", "12319999"] {
        assert!(!is_never(raw), "{raw}");
    }
}

#[test]
fn every_refusal_is_a_sentence() {
    for refusal in [Refusal::TooLong, Refusal::NotADate, Refusal::AmbiguousDate, Refusal::NotANumber] {
        let sentence = refusal.to_string();
        assert!(sentence.ends_with('.') && sentence.starts_with(char::is_uppercase));
    }
    assert!(Refusal::AmbiguousDate.to_string().contains("dates=day_first"));
}

proptest! {
    #[test]
    fn normalising_twice_changes_nothing(raw in cell(), order in 0..3) {
        let order = [DateOrder::Iso, DateOrder::DayFirst, DateOrder::MonthFirst][order as usize];
        for kind in [FieldKind::Text, FieldKind::Email, FieldKind::Date, FieldKind::Number, FieldKind::Boolean] {
            if let Ok(once) = value(kind, &raw, order) {
                prop_assert_eq!(value(kind, &once, order), Ok(once.clone()), "{:?}", kind);
            }
        }
        let once = key(&raw);
        prop_assert_eq!(key(&once), once.clone());
        let mut into = String::new();
        key_into(&raw, &mut into);
        prop_assert_eq!(into.as_str(), &*once);
        prop_assert_eq!(is_blank(&raw), once.is_empty());
    }

    #[test]
    fn case_never_matters_in_an_ascii_key(raw in "[ -~]{0,20}") {
        prop_assert_eq!(key(&raw.to_uppercase()).into_owned(), key(&raw.to_lowercase()).into_owned());
    }
}

fn cell() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[ -~]{0,12}",
        "[0-9]{1,4}[-/. ][0-9A-Za-z]{1,3}[-/. ][0-9]{2,4}( 00:00:00)?",
        "[-+]?[0-9]{0,4}[.]?[0-9]{0,4}",
        "[A-Za-zÀ-ÿΣς]{1,5}@[A-Za-z.]{1,5}",
    ]
}
