//! XML in and out.
//!
//! In: a pull reader in constant memory, bounded in depth and elements, without DTD and without entities beyond the
//! five of XML and numeric ones. Out: a writer that escapes each text and closes what it opened.

mod reader;
mod writer;

pub use reader::{XmlError, XmlReader};
pub(crate) use writer::DECLARATION;
pub use writer::{XmlWriter, url_encode};

/// The namespace of S3's documents.
pub const S3_NAMESPACE: &str = "http://s3.amazonaws.com/doc/2006-03-01/";

#[cfg(test)]
mod reader_tests;
#[cfg(test)]
mod writer_tests;
