//! XML in pieces of any size comes apart in the same way, and damage is one sentence.

use super::*;

/// Gives as many bytes at a time as it is told to.
struct Dripping<'a>(&'a [u8], usize);

impl Read for Dripping<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.1.min(self.0.len()).min(buffer.len());
        let (now, later) = self.0.split_at(n);
        buffer[..n].copy_from_slice(now);
        self.0 = later;
        Ok(n)
    }
}

fn tokens(xml: &[u8], at_once: usize) -> Result<Vec<String>, String> {
    let mut scan = Scan::new(Dripping(xml, at_once));
    let mut tokens = Vec::new();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    loop {
        tokens.push(match scan.next().map_err(|e| e.to_string())? {
            Token::Open(tag) => {
                let said: Result<Vec<String>, IntakeError> = tag
                    .attributes()
                    .map(|a| a.map(|(name, value)| format!(" {}={}", text(name), text(value))))
                    .collect();
                format!("<{}{}>", text(tag.name), said.map_err(|e| e.to_string())?.concat())
            }
            Token::Close(name) => format!("</{}>", text(name)),
            Token::Text(raw) => text(raw),
            Token::Verbatim(raw) => format!("[{}]", text(raw)),
            Token::End => return Ok(tokens),
        });
    }
}

#[test]
fn tags_and_texts_come_one_after_the_other() {
    let xml = b"\xEF\xBB\xBF<?xml version='1.0'?><!DOCTYPE x [<!ELEMENT a (b)>]><x:a r = \"1>2\" x:s='\"'>one<!-- <no> -- -->\
        <b/>t&amp;wo<c t=\"\" /><![CDATA[<raw>]]]]><d\n>\n</d ></x:a> ";
    let expected = [
        "\u{feff}", "<a r=1>2 x:s=\">", "one", "<b>", "</b>", "t&amp;wo", "<c t=>", "</c>", "[<raw>]]]", "<d>", "\n",
        "</d>", "</a>", " ",
    ];
    for at_once in [1, 2, 3, 7, 1000] {
        assert_eq!(tokens(xml, at_once).unwrap(), expected, "{at_once}");
    }
}

#[test]
fn what_is_no_xml_is_damage() {
    for xml in [
        "<", "<a", "<a b='", "</a", "<>", "< a>", "<a <b>", "<!", "<!-- a --", "<![CDATA[x]]", "<!DOCTYPE x [",
        "<?xml", "<a b>", "<a b=c>", "<a b='1>", "<a ='", "<:>",
    ] {
        for at_once in [1, 100] {
            assert!(tokens(xml.as_bytes(), at_once).unwrap_err().contains("damaged"), "{xml}");
        }
    }
}

#[test]
fn entities_are_refused_wherever_they_are_declared() {
    let far = format!("<!--{}--><!DOCTYPE a [<!ENTITY b \"c\">]><a/>", " ".repeat(9000));
    assert!(tokens(far.as_bytes(), 50).unwrap_err().contains("declares XML entities"));
}

#[test]
fn nothing_grows_without_measure() {
    let long = [b"<a>".as_slice(), &vec![b' '; 9 << 20]].concat();
    assert!(tokens(&long, 1 << 20).unwrap_err().contains("longer than 1 MiB"));
    let comment = [b"<a><!--".as_slice(), &vec![b'-'; 9 << 20], b"--></a>"].concat();
    assert_eq!(tokens(&comment, 1 << 20).unwrap(), ["<a>", "</a>"]);
}
