//! What stands around every page: its name, the way to the other pages, and what is on it.

use std::sync::LazyLock;

use super::{
    OPENAPI, ROOT, STYLE, TRY,
    markdown::{Heading, Rendered, escape},
    problems, reference,
};

/// Where the looks are.
pub const STYLE_PATH: &str = "/api-docs/style.css";

/// The pages that every page leads to.
const MENU: [(&str, &str); 8] = [
    (ROOT, "Guide"),
    (reference::PATH, "Reference"),
    (TRY, "Try it"),
    (problems::PATH, "Problems"),
    ("/api-docs/keys", "Keys"),
    ("/api-docs/events", "Events"),
    ("/api-docs/changelog", "Changelog"),
    (OPENAPI, "openapi.json"),
];

/// Another address for other looks, so that a browser that kept the former asks for them.
static STYLE_ADDRESS: LazyLock<String> =
    LazyLock::new(|| format!("{STYLE_PATH}?{}", &blake3::hash(STYLE.as_bytes()).to_hex()[..12]));

/// A whole page at an address.
pub fn page(path: &str, content: &Rendered) -> String {
    let title = escape(&content.title);
    let style = &*STYLE_ADDRESS;
    let (menu, contents) = (menu(path), contents(&content.headings));
    let html = &content.html;
    format!(
        "<!doctype html>\n<html lang=\"en-GB\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title} · Muster</title>\n\
         <link rel=\"icon\" href=\"data:,\">\n<link rel=\"stylesheet\" href=\"{style}\">\n</head>\n<body>\n\
         <a class=\"skip\" href=\"#content\">To the text</a>\n\
         <header>\n<a class=\"name\" href=\"{ROOT}\">Muster <span>API</span></a>\n{menu}</header>\n\
         <div class=\"page\">\n{contents}<main id=\"content\">\n{html}</main>\n</div>\n</body>\n</html>\n"
    )
}

fn menu(path: &str) -> String {
    let item = |(to, text): &(&str, &str)| {
        let here = *to == path || (*to == problems::PATH && path.starts_with(problems::PATH));
        let here = if here { " aria-current=\"page\"" } else { "" };
        format!("<a href=\"{to}\"{here}>{text}</a>\n")
    };
    format!("<nav aria-label=\"Documentation\">\n{}</nav>\n", MENU.iter().map(item).collect::<String>())
}

fn contents(headings: &[Heading]) -> String {
    if headings.len() < 3 {
        return String::new();
    }
    let item = |h: &Heading| format!("<li><a href=\"#{}\">{}</a></li>\n", escape(&h.id), escape(&h.text));
    let items: String = headings.iter().map(item).collect();
    format!("<nav class=\"contents\" aria-label=\"On this page\">\n<ul>\n{items}</ul>\n</nav>\n")
}
