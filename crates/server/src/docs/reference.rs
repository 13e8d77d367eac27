//! The reference: every address of the OpenAPI document, to be read without JavaScript.

use serde_json::{Map, Value};

use super::{
    OPENAPI, TRY,
    markdown::{Heading, Rendered, anchor, escape, inline, slug},
    problems,
    schemas::{self, shape},
};

/// Where it is.
pub const PATH: &str = "/api-docs/reference";

/// The methods of an address, in the order in which they are shown.
const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// One method of one address.
struct Operation<'a> {
    path: &'a str,
    method: &'a str,
    is: &'a Value,
}

/// The page made from the document.
pub fn page(document: &Value) -> Rendered {
    let mut page = Rendered { title: "Reference".to_owned(), ..Rendered::default() };
    page.html = format!(
        "<h1>Reference</h1>\n<p>Every address of the API, made from <a href=\"{OPENAPI}\"><code>openapi.json</code></a>. The \
         <a href=\"/api-docs\">guide</a> says how they go together; <a href=\"{TRY}\">Try it</a> sends requests from the browser.</p>\n\
         <p>Every request needs a key. Every answer has an <code>X-Request-Id</code>, and to a key that is let in \
         <code>RateLimit</code> and <code>RateLimit-Policy</code>. What is written <em>or null</em> may be missing as well.</p>\n"
    );
    for tag in list(document, "/tags") {
        section(document, tag, &mut page);
    }
    schemas::section(document, &mut page);
    page
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or("")
}

fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn object<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    value[name].as_object().into_iter().flat_map(Map::iter)
}

/// What a resource offers: a list of its addresses, and then each of them.
fn section(document: &Value, tag: &Value, page: &mut Rendered) {
    let name = text(tag, "name");
    let found: Vec<Operation> = operations(document).filter(|op| is_of(op.is, name)).collect();
    let id = slug(name);
    let title = capital(name);
    let shown = escape(&title);
    page.html.push_str(&format!("<h2 id=\"{id}\">{shown}{}</h2>\n", anchor(&id)));
    page.html.push_str(&format!("<p>{}</p>\n<ul class=\"addresses\">\n", inline(text(tag, "description"))));
    for op in &found {
        let (id, line, summary) = (id_of(op), line(op), escape(text(op.is, "summary")));
        page.html.push_str(&format!("<li><a href=\"#{id}\">{line}</a> {summary}</li>\n"));
    }
    page.html.push_str("</ul>\n");
    for op in &found {
        operation(op, &mut page.html);
    }
    page.headings.push(Heading { id, text: title });
}

fn operations(document: &Value) -> impl Iterator<Item = Operation<'_>> {
    object(document, "paths").flat_map(|(path, item)| {
        let found = METHODS.iter().filter_map(move |method| Some((*method, item.get(*method)?)));
        found.map(move |(method, is)| Operation { path, method, is })
    })
}

fn is_of(operation: &Value, tag: &str) -> bool {
    list(operation, "/tags").iter().any(|t| t == tag)
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

fn id_of(op: &Operation<'_>) -> String {
    slug(&format!("{} {}", op.method, op.path))
}

fn line(op: &Operation<'_>) -> String {
    let (method, shown, path) = (op.method, op.method.to_uppercase(), escape(op.path));
    format!("<code class=\"method {method}\">{shown}</code> <code>{path}</code>")
}

fn operation(op: &Operation<'_>, html: &mut String) {
    let (id, summary) = (id_of(op), escape(text(op.is, "summary")));
    html.push_str(&format!("<section class=\"operation\">\n<h3 id=\"{id}\">{summary}{}</h3>\n", anchor(&id)));
    html.push_str(&format!("<p class=\"line\">{}</p>\n", line(op)));
    if let Some(description) = op.is["description"].as_str() {
        html.push_str(&format!("<div>{}</div>\n", inline(description)));
    }
    html.push_str(&right(op.is));
    html.push_str(&parameters(op.is));
    html.push_str(&body(op.is));
    html.push_str(&answers(op.is));
    html.push_str("</section>\n");
}

/// What a key must have been given: the roles that the document names beside the way to send a key.
fn right(operation: &Value) -> String {
    let named = list(operation, "/security").iter().find_map(|way| way["bearer"].as_array());
    match named.map(|roles| roles.iter().filter_map(Value::as_str).collect::<Vec<_>>()) {
        Some(roles) if !roles.is_empty() => {
            let roles: Vec<String> = roles.iter().map(|r| format!("<code>{}</code>", escape(r))).collect();
            format!("<p class=\"right\">Right: {}</p>\n", roles.join(", "))
        }
        _ => "<p class=\"right\">Any key may ask this.</p>\n".to_owned(),
    }
}

fn parameters(operation: &Value) -> String {
    let rows: String = list(operation, "/parameters").iter().map(parameter).collect();
    table("Parameters", ["name", "where", "type", ""], &rows)
}

fn parameter(parameter: &Value) -> String {
    let place = match text(parameter, "in") {
        "query" => "address, behind <code>?</code>",
        "path" => "address",
        "header" => "header",
        other => other,
    };
    let must = if parameter["required"] == true { "<strong>Needed.</strong> " } else { "" };
    let (name, is) = (escape(text(parameter, "name")), shape(&parameter["schema"]));
    let described = [parameter, &parameter["schema"]].into_iter().find_map(|d| d["description"].as_str());
    let about = inline(described.unwrap_or(""));
    format!("<tr><td><code>{name}</code></td><td>{place}</td><td>{is}</td><td>{must}{about}</td></tr>\n")
}

fn body(operation: &Value) -> String {
    let request = &operation["requestBody"];
    let rows: String = object(request, "content").map(|(kind, media)| content_row(kind, media)).collect();
    let about = text(request, "description");
    let about = if about.is_empty() { String::new() } else { format!("<p>{}</p>\n", inline(about)) };
    table("Body", ["Content-Type", "what"], &rows) + &about
}

fn content_row(kind: &str, media: &Value) -> String {
    let what = if media["schema"].is_null() { "the bytes of the payload".to_owned() } else { shape(&media["schema"]) };
    format!("<tr><td><code>{}</code></td><td>{what}</td></tr>\n", escape(kind))
}

/// What is answered when all is well, one by one; and which statuses are problems, in a line.
fn answers(operation: &Value) -> String {
    let (mut rows, mut failures) = (String::new(), Vec::new());
    for (status, response) in object(operation, "responses") {
        match status.parse::<u16>() {
            Ok(code) if code < 400 => rows.push_str(&answer_row(code, response)),
            Ok(code) => failures.push(format!("<a href=\"{}#status-{code}\">{code}</a>", problems::PATH)),
            // A range, such as 4XX: those in it are named one by one.
            Err(_) => {}
        }
    }
    let failures = failures.join(" ");
    let failures =
        format!("<p class=\"failures\">Or a <a href=\"#schema-ProblemDocument\">problem</a>: {failures}</p>\n");
    table("Answers", ["status", "what", ""], &rows) + &failures
}

fn answer_row(code: u16, response: &Value) -> String {
    let mut contents: Vec<String> = Vec::new();
    for (kind, media) in object(response, "content") {
        let what = if media["schema"].is_null() { String::new() } else { shape(&media["schema"]) };
        contents.push(format!("{what} <code>{}</code>", escape(kind)));
    }
    let contents = if contents.is_empty() { "nothing".to_owned() } else { contents.join("<br>") };
    let about = inline(text(response, "description"));
    format!("<tr><td>{code}</td><td>{contents}</td><td>{about}</td></tr>\n")
}

/// A table with a heading; nothing, if it has no rows.
pub fn table<const N: usize>(title: &str, heads: [&str; N], rows: &str) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let heads = heads.map(|head| format!("<th>{head}</th>")).concat();
    let title = if title.is_empty() { String::new() } else { format!("<h4>{title}</h4>\n") };
    format!(
        "{title}<div class=\"table\"><table>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}</tbody></table></div>\n"
    )
}

#[cfg(test)]
mod tests {
    use utoipa::OpenApi;

    use super::*;

    #[test]
    fn every_address_and_every_schema_is_there() {
        let document = serde_json::to_value(crate::openapi::Api::openapi()).unwrap();
        let page = page(&document);
        let all: Vec<Operation> = operations(&document).collect();
        let said: usize = object(&document, "paths").map(|(_, item)| item.as_object().unwrap().len()).sum();
        assert!(all.len() == said && said > 30, "{said}");
        for op in &all {
            assert_eq!(page.html.matches(&format!("<h3 id=\"{}\"", id_of(op))).count(), 1, "{} {}", op.method, op.path);
        }
        for (name, _) in object(&document["components"], "schemas") {
            assert!(page.html.contains(&format!("id=\"schema-{name}\"")), "{name}");
        }
        let led: Vec<&str> = page.html.split("href=\"#").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        let lost: Vec<&&str> = led.iter().filter(|id| !page.html.contains(&format!("id=\"{id}\""))).collect();
        assert!(lost.is_empty(), "{lost:?}");
    }
}
