//! A run of the command line: its configuration, its output, and the engine when a command needs it.

use muster_engine::Engine;

use crate::{
    config::{self, Config},
    fail::Failure,
    output::Output,
};

/// What a command works with.
pub struct Session<'a> {
    /// The configuration.
    pub config: Config,
    /// Where to answer.
    pub out: &'a mut Output,
}

impl Session<'_> {
    /// Opens the engine.
    ///
    /// # Errors
    /// If the database cannot be opened.
    pub async fn engine(&self) -> Result<Engine, Failure> {
        let Config { database, data_dir, actor, .. } = &self.config;
        Engine::open(database, data_dir, actor).await.map_err(|e| match Failure::from(e) {
            failure if failure.kind == "unavailable" => {
                let message = failure.message.replacen("The database", &format!("The database {}", shown(database)), 1);
                Failure { message, ..failure }
            }
            failure => failure,
        })
    }

    /// A command line to try next, with this run's program and database in it.
    pub fn suggestion(&self, rest: &str) -> String {
        let program = config::words().next().filter(|p| p.contains('/')).unwrap_or_else(|| "muster".to_owned());
        let words = std::iter::once(program).chain(self.config.repeated.iter().cloned());
        let mut line: Vec<String> = words.map(|w| quoted(&w)).collect();
        line.push(rest.to_owned());
        line.join(" ")
    }
}

/// An address without the password in it.
fn shown(database: &str) -> String {
    match (database.split_once("://"), database.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, place))) => format!("{scheme}://{place}"),
        _ => database.split('?').next().unwrap_or_default().to_owned(),
    }
}

/// A word as a shell takes it.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@,+%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_password() {
        assert_eq!(shown("postgres://me:se@cret@host/db"), "postgres://host/db");
        assert_eq!(shown("postgres://host/db?password=secret"), "postgres://host/db");
        assert_eq!(shown("sqlite:./data@home/muster.db"), "sqlite:./data@home/muster.db");
    }

    #[test]
    fn a_word_is_quoted_where_a_shell_would_take_it_apart() {
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted("./a-b"), "./a-b");
    }
}
