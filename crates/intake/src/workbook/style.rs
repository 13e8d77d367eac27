//! What the number format of a cell makes of its number: a day, a number filled up with zeros, or nothing else.

/// What becomes of a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Style {
    /// It stays one; lengths of time are numbers too.
    #[default]
    Plain,
    /// A day, perhaps with a time.
    Moment,
    /// Filled up with zeros to so many digits.
    Zeros(usize),
}

/// The style of a number format: its number tells, or for those of the workbook's own its code.
pub(super) fn style(number: u32, code: Option<&str>) -> Style {
    match (code, number) {
        (Some(code), _) => style_of(code),
        (None, 14..=22 | 27..=36 | 45 | 47 | 50..=58) => Style::Moment,
        (None, _) => Style::Plain,
    }
}

fn style_of(code: &str) -> Style {
    let zeros = zeros(code);
    if zeros > 0 {
        return Style::Zeros(zeros);
    }
    if code.eq_ignore_ascii_case("general") {
        return Style::Plain;
    }
    let mut letters = code.chars();
    while let Some(letter) = letters.next() {
        match letter {
            ';' => break,
            '"' => drop(letters.by_ref().find(|c| *c == '"')),
            '\\' | '_' | '*' => drop(letters.next()),
            '[' => {
                // `[h]` counts hours, and `[Red]` is a colour.
                let inside: String = letters.by_ref().take_while(|c| *c != ']').collect();
                if !inside.is_empty() && inside.chars().all(|c| matches!(c.to_ascii_lowercase(), 'h' | 'm' | 's')) {
                    return Style::Plain;
                }
            }
            'd' | 'D' | 'm' | 'M' | 'y' | 'Y' | 'h' | 'H' | 's' | 'S' => return Style::Moment,
            _ => {}
        }
    }
    Style::Plain
}

/// To how many digits a number format fills up; 0 if it does not.
fn zeros(format: &str) -> usize {
    let fills = format.len() > 1 && format.len() <= 32 && format.bytes().all(|b| b == b'0');
    if fills { format.len() } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_tells_days_from_numbers() {
        for code in [
            "yyyy\\-mm\\-dd",
            "[$-407]d. mmmm yyyy;@",
            "[$-404]e\"\\xfc\"m\"\\xfc\"d\"\\xfc\"",
            "m/d/yy h:mm",
            "*-yyyy-mm-dd",
            "[Red]dd/mm/yyyy",
            "h:mm AM/PM",
            "aaaa, d",
        ] {
            assert_eq!(style(164, Some(code)), Style::Moment, "{code}");
        }
        for code in [
            "General",
            "0.00",
            "@",
            "0_ ;[Red]\\-0\\ ",
            "\\Y000000",
            "#,##0.0####\" YMD\"",
            "[h]:mm:ss",
            "[ss]",
            "[Blue]\\+[h]:mm;[Red]\\-[h]:mm",
            "[>=100][Magenta]General",
            "#,##0*y",
            "0;yyyy",
            "#,##0.00\\ _M\"H\"_);[Red]#,##0.00\\ _M\"S\"_)",
        ] {
            assert_eq!(style(164, Some(code)), Style::Plain, "{code}");
        }
    }

    #[test]
    fn built_in_formats_go_by_their_number_unless_the_workbook_says_otherwise() {
        let moments: Vec<u32> = (0..200).filter(|number| style(*number, None) == Style::Moment).collect();
        let expected: Vec<u32> = (14..=22).chain(27..=36).chain([45, 47]).chain(50..=58).collect();
        assert_eq!(moments, expected);
        assert_eq!(style(14, Some("0.00")), Style::Plain);
        assert_eq!(style(0, Some("yyyy")), Style::Moment);
    }

    #[test]
    fn zeros_fill_up() {
        let all = ["0", "0.00", "General", "000", "00000"].map(|code| style(164, Some(code)));
        assert_eq!(all, [Style::Plain, Style::Plain, Style::Plain, Style::Zeros(3), Style::Zeros(5)]);
    }
}
