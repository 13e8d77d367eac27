//! Standard output: text for people or one JSON document. A reader that goes away early is no failure; a full disk is one.

use std::{
    fmt::Display,
    io::{self, BufWriter, IsTerminal, Stdout, Write},
};

use serde::Serialize;
use serde_json::{Map, Value};

use crate::fail::{Exit, Failure};

/// Where a command says what it has to say.
pub struct Output {
    /// Whether one JSON document is wanted.
    pub json: bool,
    /// Whether colours may be used.
    pub colour: bool,
    out: BufWriter<Stdout>,
    closed: bool,
    lost: Option<io::Error>,
}

impl Output {
    /// Standard output.
    pub fn new(json: bool) -> Output {
        let terminal = io::stdout().is_terminal();
        let set = |name: &str| std::env::var_os(name).is_some_and(|v| !v.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|t| t == "dumb");
        let colour = terminal && !set("NO_COLOR") && !dumb;
        Output { json, colour, out: BufWriter::new(io::stdout()), closed: false, lost: None }
    }

    /// A line for people.
    pub fn line(&mut self, text: impl Display) {
        self.write(|out| writeln!(out, "{text}"));
    }

    /// Text for people that brings its own line breaks.
    pub fn text(&mut self, text: &str) {
        self.write(|out| out.write_all(text.as_bytes()));
    }

    /// The one JSON document, or a line of a stream of them.
    pub fn document(&mut self, document: &impl Serialize) {
        self.write(|out| {
            serde_json::to_writer(&mut *out, document)?;
            out.write_all(b"\n")
        });
    }

    /// Why the command failed: on stderr, or as the JSON document.
    pub fn failure(&mut self, failure: &Failure) {
        if self.json {
            self.document(&serde_json::json!({ "error": failure }));
        } else {
            self.flush();
            let _ = writeln!(io::stderr(), "muster: {}", failure.message);
        }
    }

    /// Text in a colour or weight, if there are colours: an SGR code such as `1` or `31`.
    pub fn paint(&self, code: &str, text: impl Display) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_string() }
    }

    /// Writes out what is kept back.
    pub fn flush(&mut self) {
        self.write(|out| out.flush());
    }

    /// Whether the reader is gone, so that a long answer can end early.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Why not all that was said could be written, if it could not.
    pub fn lost(&self) -> Option<Failure> {
        let why = self.lost.as_ref()?;
        let message = format!(
            "The output could not be written to its end: {why}. What is there is cut; what the command did stays done."
        );
        Some(Failure::new("io", Exit::Failed, message))
    }

    fn write(&mut self, write: impl FnOnce(&mut BufWriter<Stdout>) -> io::Result<()>) {
        if !self.closed
            && let Err(e) = write(&mut self.out)
        {
            self.close(e);
        }
    }

    fn close(&mut self, error: io::Error) {
        self.closed = true;
        if error.kind() != io::ErrorKind::BrokenPipe {
            self.lost.get_or_insert(error);
        }
    }

    /// Writes for whoever wants to know how it went, too.
    fn try_write<T>(&mut self, write: impl FnOnce(&mut BufWriter<Stdout>) -> io::Result<T>) -> io::Result<T> {
        write(&mut self.out).inspect_err(|e| self.close(io::Error::new(e.kind(), e.to_string())))
    }
}

/// One JSON object with a list in it that is written item by item, because it may be long.
pub struct Listing<'a> {
    out: &'a mut Output,
    first: bool,
}

impl<'a> Listing<'a> {
    /// Begins the object with these members, and the list of that name.
    pub fn begin(out: &'a mut Output, head: &Map<String, Value>, name: &str) -> Listing<'a> {
        out.text("{");
        members(out, head, "", ",");
        out.text(&format!("{}:[", Value::from(name)));
        Listing { out, first: true }
    }

    /// Whether the reader is gone.
    pub fn is_closed(&self) -> bool {
        self.out.closed
    }

    /// Writes an item.
    pub fn item(&mut self, item: &impl Serialize) {
        let comma = !std::mem::replace(&mut self.first, false);
        self.out.write(|out| {
            out.write_all(if comma { b"," } else { b"" })?;
            Ok(serde_json::to_writer(out, item)?)
        });
    }

    /// Ends the list and the object, with these members behind the list.
    pub fn end(self, tail: &Map<String, Value>) {
        self.out.text("]");
        members(self.out, tail, ",", "");
        self.out.text("}\n");
    }

    /// Ends them because something went wrong in the middle: what was written so far stays one document.
    pub fn fail(self, failure: &Failure) -> Exit {
        let mut tail = Map::new();
        tail.insert("error".to_owned(), serde_json::json!(failure));
        self.end(&tail);
        failure.exit
    }
}

fn members(out: &mut Output, members: &Map<String, Value>, before: &str, after: &str) {
    for (name, value) in members {
        out.text(&format!("{before}{}:{value}{after}", Value::from(name.as_str())));
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.try_write(|out| out.write_all(bytes).map(|()| bytes.len()))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.try_write(BufWriter::flush)
    }
}
