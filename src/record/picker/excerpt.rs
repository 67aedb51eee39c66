//! The beginning of a text that may be HTML, without its tags.

use html5gum::{DefaultEmitter, Token, Tokenizer};

/// Bytes of a text that are looked at, so that markup without end costs no more than any.
const HTML_BYTES_MAX: usize = 256 * 1024;

/// How much of a text is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Excerpt {
    pub(super) characters_max: usize,
    /// Whether what was cut ends in `...`.
    pub(super) ellipsis: bool,
}

impl Excerpt {
    /// The beginning of a text.
    pub(super) fn of(self, html: &str) -> String {
        let text = self.plain(html);
        let text = text.trim();
        let Some((end, _)) = text.char_indices().nth(self.characters_max) else {
            return text.to_owned();
        };
        let ellipsis = if self.ellipsis { "..." } else { "" };
        [text[..end].trim_end(), ellipsis].concat()
    }

    /// The text between the tags, not much more of it than is wanted.
    pub(super) fn plain(self, html: &str) -> String {
        let html = &html[..html.floor_char_boundary(HTML_BYTES_MAX)];
        let mut emitter = DefaultEmitter::default();
        emitter.naively_switch_states(true);
        let mut plain = Plain::default();
        for Ok(token) in Tokenizer::new_with_emitter(html, emitter) {
            plain.take(token);
            // Two are for the space before and the character that shows there is more.
            if plain.characters > self.characters_max.saturating_add(2) {
                break;
            }
        }
        plain.text
    }
}

/// Text as it is gathered.
#[derive(Default)]
struct Plain {
    text: String,
    characters: usize,
    /// The elements that are open: their names, and whether what is in them is skipped.
    open: Vec<(Box<[u8]>, bool)>,
}

impl Plain {
    /// Elements inside each other that are kept in mind.
    const OPEN_MAX: usize = 512;

    fn take(&mut self, token: Token) {
        match token {
            Token::StartTag(tag) => self.start(&tag.name),
            Token::EndTag(tag) => self.end(&tag.name),
            Token::String(text) if !self.skips() => self.push(&String::from_utf8_lossy(&text)),
            Token::String(_) | Token::Comment(_) | Token::Doctype(_) | Token::Error(_) => {}
        }
    }

    fn skips(&self) -> bool {
        self.open.last().is_some_and(|&(_, skipped)| skipped)
    }

    fn start(&mut self, name: &[u8]) {
        // An option ends where the next one begins.
        if OPTION == name && self.open.last().is_some_and(|(open, _)| **open == *OPTION) {
            self.open.pop();
        }
        self.space_around(name);
        if !VOID.contains(&name) && self.open.len() < Self::OPEN_MAX {
            let skipped = self.skips() || SKIPPED.contains(&name);
            self.open.push((name.into(), skipped));
        }
    }

    /// Closes the innermost element of this name, and those inside it.
    fn end(&mut self, name: &[u8]) {
        if let Some(at) = self.open.iter().rposition(|(open, _)| **open == *name) {
            self.open.truncate(at);
            self.space_around(name);
        }
    }

    fn space_around(&mut self, name: &[u8]) {
        if !self.skips() && !INLINE.contains(&name) && !SKIPPED.contains(&name) {
            self.space();
        }
    }

    fn push(&mut self, text: &str) {
        for character in text.chars() {
            match character {
                ' ' | '\t' | '\n' | '\r' | '\x0C' => self.space(),
                character => {
                    self.text.push(character);
                    self.characters += 1;
                }
            }
        }
    }

    fn space(&mut self) {
        if !self.text.ends_with(' ') {
            self.text.push(' ');
            self.characters += 1;
        }
    }
}

const OPTION: &[u8] = b"option";

/// Elements whose contents are no text of their own.
#[rustfmt::skip]
const SKIPPED: &[&[u8]] = &[
    b"head", b"style", b"script", b"iframe", b"embed", b"applet", b"object", b"svg", b"img", b"picture",
    b"dialog", b"template", b"button", b"form", b"textarea", b"input", b"select", OPTION,
    // Its place is in the head, also where no head is written.
    b"title",
];

/// Elements that stand in a line of text; all others are blocks.
#[rustfmt::skip]
const INLINE: &[&[u8]] = &[
    b"a", b"abbr", b"acronym", b"b", b"bdi", b"bdo", b"big", b"br", b"cite", b"code", b"data", b"del",
    b"dfn", b"em", b"font", b"i", b"ins", b"kbd", b"label", b"map", b"mark", b"output", b"q", b"rp",
    b"rt", b"ruby", b"s", b"samp", b"small", b"span", b"strike", b"strong", b"sub", b"sup", b"time",
    b"tt", b"u", b"var", b"wbr",
];

/// Elements that have no contents and so no end.
#[rustfmt::skip]
const VOID: &[&[u8]] = &[
    b"area", b"base", b"br", b"col", b"embed", b"hr", b"img", b"input", b"link", b"meta", b"param",
    b"source", b"track", b"wbr",
];
