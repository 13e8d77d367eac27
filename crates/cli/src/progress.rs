//! Progress on a terminal's standard error: bytes while a payload is read, a spinner while it is compared.

use std::{
    io::{self, IsTerminal, Read},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};

/// A bar, or nothing where nobody would see it.
pub struct Progress(Option<ProgressBar>);

impl Progress {
    /// A bar for so many bytes, if they are known; hidden unless it is wanted and standard error is a terminal.
    pub fn reading(wanted: bool, bytes: Option<u64>) -> Progress {
        if !wanted || !io::stderr().is_terminal() {
            return Progress(None);
        }
        let bar = match bytes {
            Some(bytes) => ProgressBar::new(bytes).with_style(style("Reading {bar:30} {bytes}/{total_bytes}")),
            None => ProgressBar::new_spinner().with_style(style("{spinner} Reading {bytes}")),
        };
        Progress(Some(bar))
    }

    /// A spinner with a word on what is being done.
    pub fn working(wanted: bool, what: &'static str) -> Progress {
        let progress = Progress::reading(wanted, None);
        progress.turn(what);
        progress
    }

    /// The same reader, with its bytes shown as they go by.
    pub fn wrap<R: Read>(&self, reader: R) -> Watched<'_, R> {
        Watched { reader, progress: self }
    }

    /// Takes the bar away.
    pub fn done(self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }

    fn turn(&self, what: &'static str) {
        if let Some(bar) = &self.0 {
            bar.set_style(style("{spinner} {msg}  {elapsed}"));
            bar.set_message(what);
            bar.enable_steady_tick(Duration::from_millis(100));
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// A reader whose bytes are shown.
pub struct Watched<'a, R> {
    reader: R,
    progress: &'a Progress,
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.reader.read(buffer)?;
        match (&self.progress.0, n) {
            (Some(_), 0) if !buffer.is_empty() => self.progress.turn("Comparing with the roster"),
            (Some(bar), n) => bar.inc(n as u64),
            (None, _) => {}
        }
        Ok(n)
    }
}
