//! The body of an answer: whole, or as it comes.

use bytes::Bytes;
use futures_util::stream::BoxStream;
use http_server::{BoxError, ResponseBody};

/// Bytes that come one after the other; an error cuts the connection, so that nobody takes a part for the whole.
pub type ByteStream = BoxStream<'static, Result<Bytes, BoxError>>;

/// The body of an answer.
pub enum AnswerBody {
    /// All of it.
    Whole(Bytes),
    /// As it comes.
    Stream(ByteStream),
}

impl AnswerBody {
    /// How long it is, where that is known before it has come.
    pub(crate) fn known_len(&self) -> Option<usize> {
        match self {
            Self::Whole(bytes) => Some(bytes.len()),
            Self::Stream(_) => None,
        }
    }

    pub(crate) fn into_response(self) -> ResponseBody {
        match self {
            Self::Whole(bytes) => http_server::full(bytes),
            Self::Stream(bytes) => http_server::stream(bytes),
        }
    }
}

impl<T: Into<Bytes>> From<T> for AnswerBody {
    fn from(whole: T) -> Self {
        Self::Whole(whole.into())
    }
}
