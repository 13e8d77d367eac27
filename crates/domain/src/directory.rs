//! The directory: who is found by words, filters and a day, and in which order; read from packed members.

use serde::{Deserialize, Serialize};
use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};

use crate::{
    access::RowLimits,
    codec::{self, Damaged, Glance},
    eligibility,
    field::FieldId,
    ids::{Day, FeedNo, MemberNo},
    member::Member,
    settings::Settings,
};

/// Whom to find.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// Words; each must stand somewhere in a name, an e-mail, a match key of now or before, an employee id or a department.
    pub text: String,
    /// How they stand on the day.
    pub who: Who,
    /// Of this department.
    pub department: Option<String>,
    /// At this location.
    pub location: Option<String>,
    /// With this employment status.
    pub status: Option<String>,
    /// Claimed by this feed.
    pub feed: Option<FeedNo>,
    /// Only people whom these limits let through, whatever else is asked.
    pub only: RowLimits,
    /// In which order.
    pub sort: Sort,
    /// From the last to the first; those without a value stay behind the others.
    pub descending: bool,
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$of:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name {
            $($(#[$of])* $variant,)*
        }

        impl $name {
            /// All of them.
            pub const ALL: &[$name] = &[$($name::$variant,)*];

            /// The word for it.
            pub fn word(self) -> &'static str {
                match self { $($name::$variant => $word,)* }
            }

            /// What a word stands for.
            pub fn from_word(word: &str) -> Option<$name> {
                Self::ALL.iter().copied().find(|w| w.word() == word)
            }
        }
    };
}

words! {
    /// How somebody stands on a day.
    Who {
        /// On the roster, or eligible all the same.
        #[default]
        Present = "present",
        /// Eligible on the day.
        Eligible = "eligible",
        /// On the roster, and not eligible on the day.
        NotEligible = "not_eligible",
        /// On the roster once, and not eligible on the day.
        Former = "former",
        /// Everybody who ever was on the roster.
        All = "all",
    }
}

words! {
    /// In which order people are listed. Equals are in order of their coming.
    Sort {
        /// By last and first name.
        #[default]
        Name = "name",
        /// By match key.
        Key = "key",
        /// By e-mail address.
        Email = "email",
        /// By department, then by name.
        Department = "department",
        /// By location, then by name.
        Location = "location",
        /// By employment status, then by name.
        Status = "employment_status",
        /// By start date.
        StartDate = "start_date",
        /// By end date.
        EndDate = "end_date",
    }
}

/// A place in the order: behind it the next page begins. It compares as the people do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// What is sorted by; the blank ones last.
    pub text: Vec<u8>,
    /// Who.
    pub no: MemberNo,
}

/// Folds case and accents, so that `Zoë` and `zoe` are one.
pub fn fold_text(text: &str, out: &mut Vec<u8>) {
    if text.is_ascii() {
        out.extend(text.bytes().map(|b| b.to_ascii_lowercase()));
        return;
    }
    let mut put = |c: char| out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    for c in text.nfkd().filter(|c| !is_combining_mark(*c)).flat_map(char::to_lowercase) {
        match c {
            'ß' => "ss".chars().for_each(&mut put),
            'æ' => "ae".chars().for_each(&mut put),
            'œ' => "oe".chars().for_each(&mut put),
            'ø' => put('o'),
            'ł' => put('l'),
            'đ' | 'ð' => put('d'),
            'þ' => "th".chars().for_each(&mut put),
            'ı' => put('i'),
            c if is_combining_mark(c) => {}
            c => put(c),
        }
    }
}

fn folded(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    fold_text(text, &mut out);
    out
}

/// What the words are looked for in.
const SEARCHED: [FieldId; 6] = [
    FieldId::FIRST_NAME,
    FieldId::LAST_NAME,
    FieldId::PREFERRED_NAME,
    FieldId::EMAIL,
    FieldId::EMPLOYEE_ID,
    FieldId::DEPARTMENT,
];
/// Stands between two things that are searched, so that no word is found across them.
const BETWEEN: u8 = b'\n';

fn is_among(limits: &RowLimits, glance: &Glance) -> bool {
    let claimed = |feed| glance.spells.iter().any(|s| s.feed == feed && s.to.is_none());
    limits.take(claimed, |field| glance.value(field))
}

/// Looks through packed members, one after the other. It keeps its memory.
pub struct Search<'q> {
    words: Vec<memchr::memmem::Finder<'q>>,
    equal: Vec<(FieldId, Vec<u8>)>,
    query: &'q Query,
    settings: &'q Settings,
    day: Day,
    text: Vec<u8>,
    key: Vec<u8>,
    bare: Member,
}

impl<'q> Search<'q> {
    /// A search for this query, with the settings that hold, on a day.
    pub fn new(query: &'q Query, settings: &'q Settings, day: Day) -> Search<'q> {
        let words = folded(&query.text);
        let words = words.split(u8::is_ascii_whitespace).filter(|w| !w.is_empty());
        let words = words.map(|w| memchr::memmem::Finder::new(w).into_owned()).collect();
        let filters = [
            (FieldId::DEPARTMENT, &query.department),
            (FieldId::LOCATION, &query.location),
            (FieldId::EMPLOYMENT_STATUS, &query.status),
        ];
        let equal = filters.into_iter().filter_map(|(field, value)| Some((field, folded(value.as_deref()?.trim()))));
        Search { words, equal: equal.collect(), query, settings, day, text: Vec::new(), key: Vec::new(), bare: blank() }
    }

    /// Whether a packed member is found.
    ///
    /// # Errors
    /// [`Damaged`] if the bytes are not one whole member.
    pub fn finds<'m>(&mut self, no: MemberNo, packed: &'m [u8], glance: &mut Glance<'m>) -> Result<bool, Damaged> {
        codec::glance(no, packed, glance)?;
        Ok(!glance.spells.is_empty()
            && self.query.feed.is_none_or(|f| glance.spells.iter().any(|s| s.feed == f && s.to.is_none()))
            && (self.query.only.is_empty() || is_among(&self.query.only, glance))
            && self.has_values(glance)
            && self.has_words(glance)
            && self.stands(glance))
    }

    fn has_values(&mut self, glance: &Glance) -> bool {
        let text = &mut self.text;
        self.equal.iter().all(|(field, wanted)| {
            text.clear();
            fold_text(glance.value(*field).trim(), text);
            text == wanted
        })
    }

    fn has_words(&mut self, glance: &Glance) -> bool {
        if self.words.is_empty() {
            return true;
        }
        self.text.clear();
        for field in SEARCHED {
            fold_text(glance.value(field), &mut self.text);
            self.text.push(BETWEEN);
        }
        for key in std::iter::once(glance.key).chain(glance.aliases.iter().copied()) {
            fold_text(key, &mut self.text);
            self.text.push(BETWEEN);
        }
        self.words.iter().all(|word| word.find(&self.text).is_some())
    }

    fn stands(&mut self, glance: &Glance) -> bool {
        let listed = glance.spells.iter().any(|s| s.to.is_none());
        match (self.query.who, listed) {
            (Who::All, _) | (Who::Present, true) => return true,
            (Who::NotEligible, false) | (Who::Former, true) => return false,
            _ => {}
        }
        // Eligibility is a rule of members: it is given one that has what it asks for.
        self.bare.values.clear();
        for field in [FieldId::EMPLOYMENT_STATUS, FieldId::START_DATE, FieldId::END_DATE] {
            self.bare.values.set(field, Some(glance.value(field)));
        }
        self.bare.spells.clear();
        self.bare.spells.extend_from_slice(&glance.spells);
        let eligible = eligibility::eligible(&self.bare, self.settings, self.day).eligible;
        matches!(self.query.who, Who::Present | Who::Eligible) == eligible
    }

    /// What somebody is sorted by.
    pub fn sort_key(&mut self, glance: &Glance) -> &[u8] {
        let own = match self.query.sort {
            Sort::Name => FieldId::LAST_NAME,
            Sort::Key => return self.sort_text(&[glance.key]),
            Sort::Email => FieldId::EMAIL,
            Sort::Department => FieldId::DEPARTMENT,
            Sort::Location => FieldId::LOCATION,
            Sort::Status => FieldId::EMPLOYMENT_STATUS,
            Sort::StartDate => FieldId::START_DATE,
            Sort::EndDate => FieldId::END_DATE,
        };
        let (own, last, first) =
            (glance.value(own), glance.value(FieldId::LAST_NAME), glance.value(FieldId::FIRST_NAME));
        match self.query.sort {
            Sort::Name => self.sort_text(&[own, first]),
            Sort::Department | Sort::Location | Sort::Status => self.sort_text(&[own, last, first]),
            _ => self.sort_text(&[own]),
        }
    }

    /// Texts one behind the other; each blank one behind all others. Backwards every byte is turned around.
    fn sort_text(&mut self, texts: &[&str]) -> &[u8] {
        self.key.clear();
        for text in texts {
            self.key.push(u8::from(text.is_empty()));
            let start = self.key.len();
            fold_text(text, &mut self.key);
            // Ends before any other byte, so that a text stands before whatever begins with it.
            self.key.push(0);
            if self.query.descending {
                self.key[start..].iter_mut().for_each(|b| *b = !*b);
            }
        }
        &self.key
    }
}

fn blank() -> Member {
    Member {
        no: 0,
        uuid: uuid::Uuid::nil(),
        key: String::new(),
        aliases: Vec::new(),
        values: Default::default(),
        spells: Vec::new(),
        words: Vec::new(),
    }
}

/// The first so many of what is found, behind a place; and how many there are in all.
pub struct First {
    limit: usize,
    after: Option<Place>,
    kept: std::collections::BinaryHeap<Place>,
    /// How many are found, before and behind the place.
    pub found: u64,
}

impl First {
    /// Keeps at most so many, all of them behind a place.
    pub fn new(limit: usize, after: Option<Place>) -> First {
        First { limit, after, kept: std::collections::BinaryHeap::new(), found: 0 }
    }

    /// How many are kept at most, and behind which place.
    pub fn bounds(&self) -> (usize, Option<Place>) {
        (self.limit, self.after.clone())
    }

    /// Takes somebody who was found.
    pub fn take(&mut self, text: &[u8], no: MemberNo) {
        self.found += 1;
        let is_behind = |place: &Place| (text, no) > (&*place.text, place.no);
        if self.after.as_ref().is_some_and(|after| !is_behind(after)) {
            return;
        }
        if self.kept.len() == self.limit {
            if self.kept.peek().is_none_or(is_behind) {
                return;
            }
            self.kept.pop();
        }
        self.kept.push(Place { text: text.to_vec(), no });
    }

    /// Adds what another one has kept.
    pub fn join(&mut self, other: First) {
        self.found += other.found;
        for place in other.kept {
            self.kept.push(place);
            if self.kept.len() > self.limit {
                self.kept.pop();
            }
        }
    }

    /// Those who are kept, in order.
    pub fn in_order(self) -> Vec<Place> {
        self.kept.into_sorted_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_and_accents_make_no_difference() {
        for (text, wanted) in [
            ("Zoë", "zoe"),
            ("ÉLODIE", "elodie"),
            ("Straße", "strasse"),
            ("Ångström", "angstrom"),
            ("Łukasz Øst", "lukasz ost"),
            ("İpek", "ipek"),
            ("ﬁn", "fin"),
            ("李雷", "李雷"),
        ] {
            assert_eq!(String::from_utf8(folded(text)).unwrap(), wanted);
        }
    }

    #[test]
    fn what_begins_another_stands_before_it_and_blanks_stand_last_either_way() {
        let settings = Settings::default();
        let order = |descending| {
            let query = Query { descending, ..Query::default() };
            let mut search = Search::new(&query, &settings, 0);
            let mut texts = vec!["", "ab", "abc", "B"];
            texts.sort_by_key(|text| search.sort_text(&[text]).to_vec());
            texts
        };
        assert_eq!(order(false), ["ab", "abc", "B", ""]);
        assert_eq!(order(true), ["B", "abc", "ab", ""]);
    }

    #[test]
    fn the_first_behind_a_place_are_kept_whoever_comes_when() {
        let place = |n: u32| Place { text: vec![(n % 5) as u8], no: n };
        let mut all: Vec<Place> = (0..40).map(place).collect();
        all.sort();
        for limit in [1, 3, 100] {
            for after in [None, Some(all[7].clone())] {
                let (mut one, mut two) = (First::new(limit, after.clone()), First::new(limit, after.clone()));
                (0..40)
                    .map(place)
                    .for_each(|p| if p.no % 3 == 0 { one.take(&p.text, p.no) } else { two.take(&p.text, p.no) });
                one.join(two);
                assert_eq!(one.found, 40);
                let wanted: Vec<Place> =
                    all.iter().filter(|p| after.as_ref().is_none_or(|a| *p > a)).take(limit).cloned().collect();
                assert_eq!(one.in_order(), wanted);
            }
        }
    }
}
