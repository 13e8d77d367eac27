//! The pages of the kinds of problem: the `type` of a problem is the address of its page.

use serde_json::json;

use super::markdown::{Heading, Rendered, anchor, escape, inline};
use crate::problem::{KINDS, Kind, PAGES};

/// Where they are listed.
pub const PATH: &str = "/api-docs/problems";

/// The address of a kind's page.
pub fn path(kind: &Kind) -> String {
    format!("{PAGES}{}", kind.slug)
}

/// All kinds, by status.
pub fn all() -> Rendered {
    let mut html = String::from(
        "<h1>Problems</h1>\n<p>Whatever is not done is answered with a problem as \
         <a href=\"https://www.rfc-editor.org/rfc/rfc9457\">RFC 9457</a> has it, <code>application/problem+json</code>. Its \
         <code>type</code> never changes and is the address of a page here; <code>title</code> is the same for every problem of \
         the kind, <code>detail</code> says what happened in your case, and <code>errors</code> points into the body that you \
         sent. Tell problems apart by <code>type</code>: there may be new ones, so go by the status where you do not know it.</p>\n",
    );
    let mut headings = Vec::new();
    let mut statuses: Vec<u16> = KINDS.iter().map(|k| k.status).collect();
    statuses.dedup();
    for status in statuses {
        let id = format!("status-{status}");
        let row = |kind: &&Kind| {
            let (path, slug) = (path(kind), kind.slug);
            format!("<tr><td><a href=\"{path}\"><code>{slug}</code></a></td><td>{}</td></tr>\n", escape(kind.title))
        };
        let rows: String = KINDS.iter().filter(|k| k.status == status).map(row).collect();
        html.push_str(&format!(
            "<h2 id=\"{id}\">{status}{}</h2>\n<div class=\"table\"><table>\n<thead><tr><th>kind</th><th>what it is</th></tr>\
             </thead>\n<tbody>\n{rows}</tbody></table></div>\n",
            anchor(&id)
        ));
        headings.push(Heading { id, text: status.to_string() });
    }
    Rendered { title: "Problems".to_owned(), html, headings }
}

/// One kind: what leads to it, what to do, and how it looks.
pub fn one(kind: &Kind) -> Rendered {
    let (title, slug, status, path) = (escape(kind.title), kind.slug, kind.status, path(kind));
    let (cause, cure) = (inline(kind.cause), inline(kind.cure));
    let said = |text: &str| json!(text).to_string();
    let example = escape(&format!(
        "{{\n  \"type\": {},\n  \"title\": {},\n  \"status\": {status},\n  \"detail\": {}\n}}\n",
        said(&path),
        said(kind.title),
        said("What happened in your case, and what to do.")
    ));
    let html = format!(
        "<p class=\"trail\"><a href=\"{PATH}\">Problems</a> / <a href=\"{PATH}#status-{status}\">{status}</a></p>\n\
         <h1>{title}</h1>\n<p>HTTP status <strong>{status}</strong>, type <code>{path}</code></p>\n\
         <h2 id=\"cause\">What leads to it</h2>\n<p>{cause}</p>\n<h2 id=\"cure\">What to do</h2>\n<p>{cure}</p>\n\
         <h2 id=\"looks\">How it looks</h2>\n<pre><code class=\"language-json\">{example}</code></pre>\n\
         <p>More may stand beside it: <code>errors</code>, a list of <code>pointer</code> and <code>detail</code>, where parts of \
         the body are wrong, and what a kind says besides. The answer's <code>X-Request-Id</code> finds it again in the \
         log of whoever runs the server.</p>\n{}",
        neighbours(slug)
    );
    Rendered { title: kind.title.to_owned(), html, headings: Vec::new() }
}

/// The way to the kinds before and after.
fn neighbours(slug: &str) -> String {
    let at = KINDS.iter().position(|k| k.slug == slug).unwrap_or_default();
    let link = |kind: Option<&&Kind>, class: &str, mark: &str| {
        let link = |k: &&Kind| format!("<a class=\"{class}\" href=\"{}\">{mark} {}</a>\n", path(k), escape(k.title));
        kind.map(link).unwrap_or_default()
    };
    let before = link(at.checked_sub(1).and_then(|i| KINDS.get(i)), "before", "←");
    let after = link(KINDS.get(at + 1), "after", "→");
    format!("<nav class=\"neighbours\" aria-label=\"Other kinds\">\n{before}{after}</nav>\n")
}
