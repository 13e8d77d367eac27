//! Which changes of a change set are meant: the flags that show, approve and reject share.

use clap::{
    Args,
    builder::{PossibleValuesParser, TypedValueParser},
};
use muster_domain::change::{Change, Kind};
use muster_engine::review;

/// Which changes are meant; all of them, unless it says otherwise.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Which changes")]
pub struct Choice {
    /// Only people with these match keys
    #[arg(long, value_name = "KEY", num_args = 1.., conflicts_with = "except")]
    pub only: Vec<String>,
    /// Not people with these match keys
    #[arg(long, value_name = "KEY", num_args = 1..)]
    pub except: Vec<String>,
    /// Only changes of these kinds
    #[arg(long = "kind", value_name = "KIND", num_args = 1.., value_parser = kind())]
    pub kinds: Vec<Kind>,
    /// Not these fields
    #[arg(long = "except-field", value_name = "FIELD", num_args = 1..)]
    pub except_fields: Vec<String>,
}

impl Choice {
    /// As the engine takes it.
    pub fn into_engine(self) -> review::Choice {
        let Choice { only, except, kinds, except_fields } = self;
        review::Choice { only, except, kinds, except_fields }
    }

    /// Whether a change is to be shown. What changes nothing on the roster is shown only if asked for.
    pub fn shows(&self, change: &Change) -> bool {
        let named = |keys: &[String]| keys.iter().any(|key| review::is_about(change, key));
        (self.only.is_empty() || named(&self.only))
            && !named(&self.except)
            && match self.kinds.is_empty() {
                true => !change.kind.is_silent() || !self.only.is_empty(),
                false => self.kinds.contains(&change.kind),
            }
    }
}

fn kind() -> impl TypedValueParser<Value = Kind> {
    let words = PossibleValuesParser::new(Kind::ALL.iter().map(|k| k.word()));
    words.try_map(|w| Kind::ALL.into_iter().find(|k| k.word() == w).ok_or("no such kind"))
}
