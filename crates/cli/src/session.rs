//! A run of the command line: its configuration, its output, and the engine when a command needs it.

use muster_engine::Engine;

use crate::{config::Config, fail::Failure, output::Output};

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
        Ok(Engine::open(&self.config.database, &self.config.data_dir, &self.config.actor).await?)
    }

    /// A command line to try next, with this run's program and database in it.
    pub fn suggestion(&self, rest: &str) -> String {
        let program = std::env::args().next().filter(|p| p.contains('/')).unwrap_or_else(|| "muster".to_owned());
        let words = std::iter::once(program).chain(self.config.repeated.iter().cloned());
        let mut line: Vec<String> = words.map(|w| quoted(&w)).collect();
        line.push(rest.to_owned());
        line.join(" ")
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
    fn a_word_is_quoted_where_a_shell_would_take_it_apart() {
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted("./a-b"), "./a-b");
    }
}
