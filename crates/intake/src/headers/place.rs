//! Where the header row is: below titles and notes, and sometimes in two rows of which one is merged over several columns.

/// Says of how many names of a row the meaning is known.
pub type Knows<'a> = &'a dyn Fn(&[String]) -> usize;

/// Among how many rows the header row is looked for.
pub const LOOKED_AT: usize = 25;

/// A header row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Which of the rows it is.
    pub index: usize,
    /// How many rows directly below it are header rows too: some systems write technical names and labels.
    pub below: usize,
    /// Its names, if they are not those of the row as it stands.
    pub names: Option<Vec<String>>,
}

/// Finds the header row among the first rows: the one of whose names most are known. The first row it is unless another
/// is clearly better, so that names that are all unknown lead to an error about themselves.
pub fn find(rows: &[Vec<String>], knows: Knows<'_>) -> Place {
    let (known, mut place) = best(rows, knows);
    let is_header_too = |row: &Vec<String>| known >= 3 && knows(row) * 2 >= known.max(5);
    place.below = rows.iter().skip(place.index + 1).take_while(|row| is_header_too(row)).count();
    place
}

fn best(rows: &[Vec<String>], knows: Knows<'_>) -> (usize, Place) {
    let Some(first) = rows.first() else { return Default::default() };
    let mut best = (knows(first), Place::default());
    if best.0 >= 2 && first.iter().all(|name| !name.is_empty()) {
        return best;
    }
    for (index, row) in rows.iter().enumerate().skip(1) {
        let alone = (knows(row), Place { index, ..Place::default() });
        let merged = filled_from_above(&rows[index - 1], row);
        let merged = merged.map(|names| (knows(&names), Place { index, names: Some(names), below: 0 }));
        for found in [Some(alone), merged].into_iter().flatten() {
            if found.0 >= 2 && found.0 > best.0 {
                best = found;
            }
        }
    }
    best
}

/// A row whose blank cells take the names that stand above them, as cells do that are merged over two rows.
fn filled_from_above(above: &[String], row: &[String]) -> Option<Vec<String>> {
    let name = |i: usize| match row.get(i) {
        Some(name) if !name.is_empty() => name.clone(),
        _ => above.get(i).cloned().unwrap_or_default(),
    };
    let names: Vec<String> = (0..row.len().max(above.len())).map(name).collect();
    (names != row).then_some(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(rows: &[&str]) -> (usize, Option<String>) {
        let rows: Vec<Vec<String>> = rows.iter().map(|r| r.split(',').map(str::to_owned).collect()).collect();
        let known = ["id", "email", "first", "last", "site"];
        let place = find(&rows, &|names| names.iter().filter(|n| known.contains(&n.as_str())).count());
        (place.index, place.names.map(|n| n.join(",")))
    }

    #[test]
    fn titles_above_the_header_are_passed_over() {
        assert_eq!(place(&["id,email", "1,a"]), (0, None));
        assert_eq!(place(&["Report", "as of today,", "id,email,x", "1,a,b"]), (2, None));
    }

    #[test]
    fn labels_below_technical_names_are_no_person() {
        let rows: Vec<Vec<String>> = ["id,email,first,last", "id,email,First name,last", "1,a,Ann,site"]
            .iter()
            .map(|r| r.split(',').map(str::to_owned).collect())
            .collect();
        let place = find(&rows, &|names| {
            names.iter().filter(|n| ["id", "email", "first", "last", "site"].contains(&n.as_str())).count()
        });
        assert_eq!((place.index, place.below), (0, 1));
    }

    #[test]
    fn unknown_names_stay_where_they_are() {
        assert_eq!(place(&["a,b", "site,1", "c,d"]), (0, None));
        assert_eq!(place(&[]), (0, None));
    }

    #[test]
    fn cells_merged_over_two_rows_are_put_together() {
        assert_eq!(
            place(&["id,Name,,email", ",first,last,", "1,Ann,Lee,a@x"]),
            (1, Some("id,first,last,email".into()))
        );
        assert_eq!(place(&["Person,,Work", "id,first,email", "1,Ann,a"]), (1, None));
    }
}
