//! What travels in the bodies and trailers of HTTP/2: errors, and how a message says that it is whole.
//!
//! Invariant: a message is whole when its trailers say so. HTTP/2 alone would not do: a connection that is given up, or
//! a stream reset without an error code, looks like an end to the reader. The page is docs/formats/rpc.md.

#[cfg(test)]
mod wire_tests;

use data_encoding::BASE64URL_NOPAD;
use grid_types::ErrorCode;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::{Fate, RpcError};

/// Version of an error's encoding.
const ERROR_VERSION: u8 = 1;
/// Words of an error that travel; more is cut. In a trailer they take 4/3 of it.
pub const DETAIL_BYTES_MAX: usize = 1_024;
/// An encoded error is never longer: version, fate, a code of up to 5 bytes, a length of 2.
pub(crate) const ERROR_BYTES_MAX: usize = DETAIL_BYTES_MAX + 16;
/// The trailer: `ok`, or an error.
const END: HeaderName = HeaderName::from_static("shoal-end");
const WHOLE: HeaderValue = HeaderValue::from_static("ok");

/// Postcard of (version, fate, number of the code, words).
pub(crate) fn encode_error(error: &RpcError) -> Vec<u8> {
    // What a peer never got from a third node is, for the caller of the peer, refused: this request did arrive.
    let fate = u8::from(error.fate == Fate::Unknown);
    let mut end = error.detail.len().min(DETAIL_BYTES_MAX);
    while !error.detail.is_char_boundary(end) {
        end -= 1;
    }
    postcard::to_allocvec(&(ERROR_VERSION, fate, error.code, &error.detail[..end])).unwrap_or_default()
}

/// An error that the peer sent. What cannot be read is an error as well, of unknown fate.
pub(crate) fn decode_error(bytes: &[u8]) -> RpcError {
    // The number alone first: a peer of a later release may know more codes.
    let Ok((ERROR_VERSION, fate, number, detail)) = postcard::from_bytes::<(u8, u8, u32, &str)>(bytes) else {
        return RpcError::unknown("the peer answered with an error that cannot be read");
    };
    let code = postcard::to_allocvec(&number).ok().and_then(|bytes| postcard::from_bytes(&bytes).ok());
    let fate = if fate == 0 { Fate::Refused } else { Fate::Unknown };
    RpcError { code: code.unwrap_or(ErrorCode::Internal), detail: detail.to_owned(), fate }
}

/// The trailers of a message that is whole.
pub(crate) fn whole() -> HeaderMap {
    HeaderMap::from_iter([(END, WHOLE)])
}

/// The trailers of a message that broke off.
pub(crate) fn broken(error: &RpcError) -> HeaderMap {
    let text = BASE64URL_NOPAD.encode(&encode_error(error));
    HeaderValue::from_str(&text).map(|value| HeaderMap::from_iter([(END, value)])).unwrap_or_default()
}

/// What the trailers of a message say of it.
pub(crate) fn end_of(trailers: &HeaderMap) -> Result<(), RpcError> {
    match trailers.get(END) {
        Some(value) if *value == WHOLE => Ok(()),
        Some(value) => Err(BASE64URL_NOPAD.decode(value.as_bytes()).map_or_else(
            |_| RpcError::unknown("a message whose end cannot be read"),
            |bytes| decode_error(&bytes),
        )),
        None => Err(RpcError::unknown("a message broke off before its end")),
    }
}
