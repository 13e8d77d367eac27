//! Markdown as HTML: headings that can be pointed to, tables that fit narrow screens, and links that lead to what is served.

use pulldown_cmark::{CowStr, Event, Options, Parser, Tag, TagEnd, html};

use super::{FILES, ROOT, TEXTS};

/// A text as it is shown.
#[derive(Default)]
pub struct Rendered {
    /// Its first heading.
    pub title: String,
    /// All of it.
    pub html: String,
    /// What it is made up of.
    pub headings: Vec<Heading>,
}

/// A heading that a page's table of contents shows.
pub struct Heading {
    /// What points to it, without `#`.
    pub id: String,
    /// Its words.
    pub text: String,
}

/// A whole page.
pub fn render(text: &str) -> Rendered {
    let mut rendered = Rendered::default();
    let mut events: Vec<Event> = Parser::new_ext(text, Options::ENABLE_TABLES).map(plain).collect();
    name_headings(&mut events, &mut rendered);
    let mut kept = Vec::new();
    let events = events.into_iter().flat_map(|event| with_frames(event, &mut kept));
    let mut out = String::with_capacity(text.len() * 2);
    html::push_html(&mut out, events);
    rendered.html = out;
    rendered
}

/// A few words inside something else: no paragraph around them.
pub fn inline(text: &str) -> String {
    let html = render(text).html;
    let inner = html.trim().strip_prefix("<p>").and_then(|h| h.strip_suffix("</p>"));
    inner.filter(|h| !h.contains("<p>")).map_or_else(|| html.clone(), str::to_owned)
}

/// Text for HTML, in an element or an attribute.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Words as the name of a place on a page.
pub fn slug(text: &str) -> String {
    let mut slug = String::new();
    for c in text.chars().flat_map(char::to_lowercase) {
        if c.is_alphanumeric() {
            slug.push(c);
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    slug.trim_end_matches('-').to_owned()
}

/// What looks like HTML in a text is text: nothing here writes any.
fn plain(event: Event<'_>) -> Event<'_> {
    match event {
        Event::Html(text) | Event::InlineHtml(text) => Event::Text(text),
        other => other,
    }
}

/// Gives every heading a name, and puts those of the second level into the table of contents.
fn name_headings(events: &mut [Event<'_>], rendered: &mut Rendered) {
    let mut met: Vec<String> = Vec::new();
    for at in 0..events.len() {
        let Event::Start(Tag::Heading { level, .. }) = &events[at] else { continue };
        let level = *level as usize;
        let inside = events[at + 1..].iter().take_while(|e| !matches!(e, Event::End(TagEnd::Heading(_))));
        let words = inside.map(|e| match e {
            Event::Text(text) | Event::Code(text) => text.as_ref(),
            _ => "",
        });
        let text: String = words.collect();
        let mut name = slug(&text);
        if met.contains(&name) {
            name = format!("{name}-{}", met.len());
        }
        met.push(name.clone());
        if level == 1 && rendered.title.is_empty() {
            rendered.title.clone_from(&text);
        }
        if level == 2 {
            rendered.headings.push(Heading { id: name.clone(), text });
        }
        if let Event::Start(Tag::Heading { id, .. }) = &mut events[at] {
            *id = Some(CowStr::from(name));
        }
    }
}

/// Something around tables and behind headings; and no link where it would lead nowhere. `kept` holds for each link that is
/// open whether it was kept, and for a heading its name.
fn with_frames<'a>(event: Event<'a>, kept: &mut Vec<Option<String>>) -> Vec<Event<'a>> {
    let raw = |text: String| Event::InlineHtml(CowStr::from(text));
    match event {
        Event::Start(Tag::Table(_)) => vec![raw("<div class=\"table\">".to_owned()), event],
        Event::End(TagEnd::Table) => vec![event, raw("</div>\n".to_owned())],
        Event::Start(Tag::Heading { id: Some(ref id), .. }) => {
            kept.push(Some(id.to_string()));
            vec![event]
        }
        Event::End(TagEnd::Heading(_)) => match kept.pop().flatten() {
            Some(id) => vec![raw(anchor(&id)), event],
            None => vec![event],
        },
        Event::Start(Tag::Link { link_type, dest_url, title, id }) => {
            let leads = target(&dest_url);
            kept.push(leads.clone());
            let link = |to: String| Event::Start(Tag::Link { link_type, dest_url: CowStr::from(to), title, id });
            leads.map(link).into_iter().collect()
        }
        Event::End(TagEnd::Link) => kept.pop().flatten().map(|_| event).into_iter().collect(),
        other => vec![other],
    }
}

/// The sign behind a heading that points to it.
pub fn anchor(id: &str) -> String {
    format!(" <a class=\"anchor\" href=\"#{}\" aria-label=\"Link to this place\">#</a>", escape(id))
}

/// Where a link of a text leads on the pages: to what of the repository is served, or away; else nowhere.
fn target(link: &str) -> Option<String> {
    if link.starts_with(['/', '#']) || link.starts_with("https://") {
        return Some(link.to_owned());
    }
    let (file, place) = link.split_once('#').map_or((link, String::new()), |(file, at)| (file, format!("#{at}")));
    // Texts lie in `docs/` and one directory below it, and name one another from where they are.
    let file = file.trim_start_matches("../");
    let found = TEXTS.iter().chain(&FILES).find(|(_, name, _)| *name == file);
    let near = || TEXTS.iter().find(|(path, name, _)| *path != ROOT && name.rsplit('/').next() == Some(file));
    found.or_else(near).map(|(path, ..)| format!("{path}{place}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_becomes_a_page() {
        let page = render(
            "# All of *it*\n\n## One `a`\n\n## One `a`\n\n| a |\n| --- |\n| <b> |\n\n[keys](keys.md#users) [no](bus.md) \
             [up](../examples/keep-in-step.sh) [out](https://example.com)\n",
        );
        assert_eq!(page.title, "All of it");
        assert_eq!(page.headings.iter().map(|h| h.id.as_str()).collect::<Vec<_>>(), ["one-a", "one-a-2"]);
        for part in [
            "<h1 id=\"all-of-it\">All of <em>it</em> <a class=\"anchor\" href=\"#all-of-it\"",
            "<div class=\"table\"><table>",
            "</table>\n</div>",
            "<td>&lt;b&gt;</td>",
            "<a href=\"/api-docs/keys#users\">keys</a> no <a href=\"/api-docs/keep-in-step.sh\">up</a>",
            "<a href=\"https://example.com\">out</a>",
        ] {
            assert!(page.html.contains(part), "{part}: {}", page.html);
        }
    }

    #[test]
    fn a_few_words_have_no_paragraph_around_them() {
        assert_eq!(inline("Say `full` & go."), "Say <code>full</code> &amp; go.");
        assert_eq!(inline("One.\n\nTwo."), "<p>One.</p>\n<p>Two.</p>\n");
        assert_eq!(escape("<a href=\"x\">&"), "&lt;a href=&quot;x&quot;&gt;&amp;");
        assert_eq!(slug("  What's `this`? -- Ä 2 "), "what-s-this-ä-2");
    }
}
