//! Values: the canonical field values of one person, packed in one string so that a row costs no allocation of its own.

use crate::field::FieldId;

/// Non-blank values by field, in the order of the fields' numbers, one value a field.
/// Cleared and filled again for the next row, it keeps its memory.
#[derive(Clone, Debug, Default)]
pub struct Values {
    text: String,
    spans: Vec<Span>,
}

#[derive(Clone, Copy, Debug)]
struct Span {
    field: FieldId,
    start: u32,
    len: u32,
}

impl Values {
    /// The value of a field; `None` if it is blank.
    pub fn get(&self, field: FieldId) -> Option<&str> {
        let at = self.spans.binary_search_by_key(&field, |s| s.field).ok()?;
        Some(self.slice(self.spans[at]))
    }

    /// Sets a field, or makes it blank with `None` or an empty text.
    pub fn set(&mut self, field: FieldId, value: Option<&str>) {
        let value = value.filter(|v| !v.is_empty());
        if let Some(v) = value
            && self.spans.last().is_none_or(|last| last.field < field)
        {
            // Nearly always fields come in their order.
            let span = self.push(field, v);
            self.spans.push(span);
            return;
        }
        let at = self.spans.binary_search_by_key(&field, |s| s.field);
        match (at, value) {
            (Ok(i), None) => drop(self.spans.remove(i)),
            (Err(_), None) => {}
            (Ok(i), Some(v)) => self.spans[i] = self.push(field, v),
            (Err(i), Some(v)) => {
                let span = self.push(field, v);
                self.spans.insert(i, span);
            }
        }
    }

    /// Fields that are not blank, with their values, in the order of the fields' numbers.
    pub fn iter(&self) -> impl Iterator<Item = (FieldId, &str)> {
        self.spans.iter().map(|s| (s.field, self.slice(*s)))
    }

    /// Makes room for so many fields and bytes of text.
    pub fn reserve(&mut self, fields: usize, bytes: usize) {
        self.spans.reserve(fields);
        self.text.reserve(bytes);
    }

    /// How many fields are not blank.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether every field is blank.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Makes every field blank and keeps the memory.
    pub fn clear(&mut self) {
        self.text.clear();
        self.spans.clear();
    }

    fn push(&mut self, field: FieldId, value: &str) -> Span {
        let start = self.text.len() as u32;
        self.text.push_str(value);
        Span { field, start, len: value.len() as u32 }
    }

    fn slice(&self, span: Span) -> &str {
        &self.text[span.start as usize..(span.start + span.len) as usize]
    }
}

impl PartialEq for Values {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Values {}

impl<'a> FromIterator<(FieldId, &'a str)> for Values {
    fn from_iter<T: IntoIterator<Item = (FieldId, &'a str)>>(iter: T) -> Self {
        let mut values = Values::default();
        iter.into_iter().for_each(|(f, v)| values.set(f, Some(v)));
        values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_value_set_is_the_value() {
        let mut v = Values::default();
        v.set(FieldId::EMAIL, Some("a@x"));
        v.set(FieldId::EMPLOYEE_ID, Some("1"));
        v.set(FieldId::EMAIL, Some("b@x"));
        assert_eq!(v.iter().collect::<Vec<_>>(), [(FieldId::EMPLOYEE_ID, "1"), (FieldId::EMAIL, "b@x")]);
        v.set(FieldId::EMAIL, Some(""));
        assert_eq!((v.get(FieldId::EMAIL), v.len()), (None, 1));
    }

    #[test]
    fn equality_is_of_values_not_of_memory() {
        let mut a: Values = [(FieldId::EMAIL, "old@x")].into_iter().collect();
        a.set(FieldId::EMAIL, Some("new@x"));
        assert_eq!(a, [(FieldId::EMAIL, "new@x")].into_iter().collect());
    }
}
