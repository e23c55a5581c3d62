//! A pull reader for the small documents that S3 takes.

use quick_xml::Reader;
use quick_xml::events::Event;

use crate::{S3Error, S3ErrorCode};

/// Elements inside each other at most; the deepest document of S3 that we take (lifecycle, tags) has 7.
const DEPTH_MAX: usize = 16;
/// Elements of one document at most: a Complete of 10,000 parts with five checksums each has 80,001.
const ELEMENTS_MAX: usize = 100_000;
/// Characters of one text at most. The longest that means anything is a key of 1,024 bytes, six characters a byte.
const TEXT_BYTES_MAX: usize = 16 << 10;

/// Why a document was refused; all of it is MalformedXML to the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum XmlError {
    /// Not UTF-8.
    #[error("the document is not UTF-8")]
    Encoding,
    /// Not well-formed XML.
    #[error("not well-formed: {0}")]
    Syntax(String),
    /// A document type declaration; S3's documents have none, and it could define entities.
    #[error("a document type declaration is not allowed")]
    DocType,
    /// An entity other than the five of XML and numeric ones.
    #[error("entity `&{0};` is not defined")]
    Entity(String),
    /// Too deep, too many elements or too long a text.
    #[error("the document has more {0} than allowed")]
    Limit(&'static str),
    /// Well-formed, but not what the operation takes.
    #[error("{0}")]
    Schema(String),
}

impl From<XmlError> for S3Error {
    fn from(error: XmlError) -> Self {
        tracing::debug!(%error, "an XML body was refused");
        Self::from(S3ErrorCode::MALFORMED_XML)
    }
}

/// Pulls elements out of a document. Names come without their prefix; attributes are ignored, as S3 does.
///
/// After `root` or `child` gave a name, the caller either takes its `text`, its children (`child` until `None`) or
/// `skip`s it.
pub struct XmlReader<'a> {
    events: Reader<&'a [u8]>,
    depth: usize,
    elements: usize,
}

impl<'a> XmlReader<'a> {
    /// Over a whole document.
    pub fn new(document: &'a [u8]) -> Result<Self, XmlError> {
        let text = std::str::from_utf8(document).map_err(|_| XmlError::Encoding)?;
        let mut events = Reader::from_str(text.trim_start_matches('\u{feff}'));
        events.config_mut().expand_empty_elements = true;
        Ok(Self { events, depth: 0, elements: 0 })
    }

    /// Enters the root, which must have this name.
    pub fn root(&mut self, name: &str) -> Result<(), XmlError> {
        match self.child()? {
            Some(found) if found == name => Ok(()),
            Some(found) => Err(XmlError::Schema(format!("root `{name}` is wanted, `{found}` came"))),
            None => Err(XmlError::Schema("the document is empty".to_owned())),
        }
    }

    /// Enters the next child of the current element; `None` leaves the current element.
    pub fn child(&mut self) -> Result<Option<String>, XmlError> {
        loop {
            match self.event()? {
                Event::Start(start) => {
                    let name = start.local_name().as_ref().to_owned();
                    self.depth += 1;
                    self.elements += 1;
                    if self.depth > DEPTH_MAX {
                        return Err(XmlError::Limit("depth"));
                    }
                    if self.elements > ELEMENTS_MAX {
                        return Err(XmlError::Limit("elements"));
                    }
                    return Ok(Some(name));
                }
                Event::End(_) => {
                    self.depth -= 1;
                    return Ok(None);
                }
                Event::Text(text) if text.chars().all(char::is_whitespace) => {}
                Event::Text(_) | Event::CData(_) | Event::GeneralRef(_) => {
                    return Err(XmlError::Schema("text where an element is wanted".to_owned()));
                }
                Event::Eof if self.depth == 0 => return Ok(None),
                Event::Eof => return Err(XmlError::Syntax("the document ends early".to_owned())),
                _ => {}
            }
        }
    }

    /// The text of the current element, which has no children; leaves it.
    pub fn text(&mut self) -> Result<String, XmlError> {
        let mut text = String::new();
        loop {
            match self.event()? {
                Event::Text(piece) => text.push_str(&piece.xml10_content()),
                Event::CData(piece) => text.push_str(&piece.xml10_content()),
                Event::GeneralRef(reference) => match reference.resolve_char_ref() {
                    Ok(Some(character)) => text.push(character),
                    Ok(None) => match quick_xml::escape::resolve_xml_entity(&reference) {
                        Some(character) => text.push_str(character),
                        None => return Err(XmlError::Entity(reference.to_string())),
                    },
                    Err(error) => return Err(XmlError::Syntax(error.to_string())),
                },
                Event::End(_) => {
                    self.depth -= 1;
                    return Ok(text);
                }
                Event::Start(_) => {
                    return Err(XmlError::Schema("an element where text is wanted".to_owned()));
                }
                Event::Eof => return Err(XmlError::Syntax("the document ends early".to_owned())),
                _ => {}
            }
            if text.len() > TEXT_BYTES_MAX {
                return Err(XmlError::Limit("text"));
            }
        }
    }

    /// Leaves the current element with all that is in it.
    pub fn skip(&mut self) -> Result<(), XmlError> {
        let outside = self.depth - 1;
        while self.depth > outside {
            match self.event()? {
                Event::Start(_) => {
                    self.depth += 1;
                    self.elements += 1;
                    if self.depth > DEPTH_MAX {
                        return Err(XmlError::Limit("depth"));
                    }
                    if self.elements > ELEMENTS_MAX {
                        return Err(XmlError::Limit("elements"));
                    }
                }
                Event::End(_) => self.depth -= 1,
                Event::Eof => return Err(XmlError::Syntax("the document ends early".to_owned())),
                _ => {}
            }
        }
        Ok(())
    }

    /// Checks that nothing but blanks and comments follows the root.
    pub fn finish(mut self) -> Result<(), XmlError> {
        match self.child()? {
            None => Ok(()),
            Some(name) => Err(XmlError::Schema(format!("`{name}` follows the root"))),
        }
    }

    fn event(&mut self) -> Result<Event<'a>, XmlError> {
        match self.events.read_event() {
            Ok(Event::DocType(_)) => Err(XmlError::DocType),
            Ok(event) => Ok(event),
            Err(error) => Err(XmlError::Syntax(error.to_string())),
        }
    }
}
