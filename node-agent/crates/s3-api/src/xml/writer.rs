//! Writes answers.

use std::fmt::{Display, Write as _};

use super::S3_NAMESPACE;

/// What every document begins with; a slow answer sends it ahead.
pub(crate) const DECLARATION: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";

/// Builds one document. Element names are ours; texts are escaped.
#[derive(Debug)]
pub struct XmlWriter {
    document: String,
    open: Vec<&'static str>,
}

impl XmlWriter {
    /// Begins a document whose root carries S3's namespace.
    pub fn new(root: &'static str) -> Self {
        let mut document = String::with_capacity(1_024);
        document.push_str(DECLARATION);
        let _ = write!(document, "<{root} xmlns=\"{S3_NAMESPACE}\">");
        Self { document, open: vec![root] }
    }

    /// A whole document whose root holds a text and nothing else.
    pub fn with_text(root: &'static str, text: impl Display) -> String {
        let mut xml = Self::new(root);
        let _ = write!(Escaped { document: &mut xml.document, numbered: false }, "{text}");
        xml.finish()
    }

    /// Opens an element.
    pub fn open(&mut self, name: &'static str) -> &mut Self {
        let _ = write!(self.document, "<{name}>");
        self.open.push(name);
        self
    }

    /// Opens a `Grantee` of a type, the one element of S3 that needs an attribute.
    pub fn open_grantee(&mut self, r#type: &'static str) -> &mut Self {
        let _ = write!(
            self.document,
            "<Grantee xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"{type}\">"
        );
        self.open.push("Grantee");
        self
    }

    /// Closes what was opened last.
    pub fn close(&mut self) -> &mut Self {
        if let Some(name) = self.open.pop() {
            let _ = write!(self.document, "</{name}>");
        }
        self
    }

    /// An element with a text. What XML 1.0 cannot hold becomes U+FFFD, so that every client can read the document.
    pub fn element(&mut self, name: &'static str, text: impl Display) -> &mut Self {
        self.write(name, text, false)
    }

    /// An element of a listing that names keys, which a client must be able to tell apart: as S3 does, what XML 1.0
    /// cannot hold is written as a number, and clients whose parsers refuse that ask for `encoding-type=url`.
    pub fn listed(&mut self, name: &'static str, text: impl Display) -> &mut Self {
        self.write(name, text, true)
    }

    fn write(&mut self, name: &'static str, text: impl Display, numbered: bool) -> &mut Self {
        let _ = write!(self.document, "<{name}>");
        let _ = write!(Escaped { document: &mut self.document, numbered }, "{text}");
        let _ = write!(self.document, "</{name}>");
        self
    }

    /// An element with a text, if there is one.
    pub fn optional(&mut self, name: &'static str, text: Option<impl Display>) -> &mut Self {
        if let Some(text) = text {
            self.element(name, text);
        }
        self
    }

    /// Closes all that is open and gives the document.
    pub fn finish(mut self) -> String {
        while !self.open.is_empty() {
            self.close();
        }
        self.document
    }
}

/// Escapes what is written through it. Characters that XML 1.0 cannot hold become numbers or U+FFFD.
struct Escaped<'a> {
    document: &'a mut String,
    numbered: bool,
}

impl std::fmt::Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        for character in text.chars() {
            match character {
                '&' => self.document.push_str("&amp;"),
                '<' => self.document.push_str("&lt;"),
                '>' => self.document.push_str("&gt;"),
                '"' => self.document.push_str("&quot;"),
                // A parser would turn a bare carriage return into a line feed.
                '\r' => self.document.push_str("&#xd;"),
                '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => {
                    if self.numbered {
                        write!(self.document, "&#x{:x};", u32::from(character))?;
                    } else {
                        self.document.push('\u{fffd}');
                    }
                }
                other => self.document.push(other),
            }
        }
        Ok(())
    }
}

/// `encoding-type=url`: all but unreserved characters, `*` and `/`. A blank is `%20`, which both kinds of clients
/// decode: those that take `+` for a blank, and those that do not.
pub fn url_encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for &byte in text.as_bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'*' | b'/' => {
                out.push(char::from(byte));
            }
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}
