//! Continuation tokens: where a listing goes on, in a form that clients do not build themselves.
//!
//! URL-safe base64 of: version (1 byte, 1), CRC-32C of the rest (4 bytes, big endian), the text. The CRC finds tokens
//! that were cut or made up; a token gives no right that `start-after` would not give.

use data_encoding::BASE64URL_NOPAD;

use super::headers::invalid_argument;
use crate::S3Error;

const VERSION: u8 = 1;

/// The token for a text.
pub(crate) fn seal(text: &str) -> String {
    let mut bytes = vec![VERSION];
    bytes.extend_from_slice(&crc32c::crc32c(text.as_bytes()).to_be_bytes());
    bytes.extend_from_slice(text.as_bytes());
    BASE64URL_NOPAD.encode(&bytes)
}

/// The text of a token.
pub(crate) fn open(token: &str) -> Result<String, S3Error> {
    let read = || {
        let bytes = BASE64URL_NOPAD.decode(token.as_bytes()).ok()?;
        let (version, rest) = bytes.split_first()?;
        let (crc, text) = rest.split_first_chunk::<4>()?;
        let text = std::str::from_utf8(text).ok()?;
        (*version == VERSION && *crc == crc32c::crc32c(text.as_bytes()).to_be_bytes())
            .then(|| text.to_owned())
    };
    read().ok_or_else(|| {
        invalid_argument("The continuation token provided is incorrect", "continuation-token", token)
    })
}

#[cfg(test)]
mod tests {
    use super::{open, seal};

    #[test]
    fn tokens_open_and_others_do_not() {
        for text in ["", "a", "photos/2006/ä\u{1}", "x\u{10ffff}"] {
            assert_eq!(open(&seal(text)).unwrap(), text);
        }
        let whole = seal("some/key");
        for wrong in ["", "AQ", "!!", &whole[..whole.len() - 2], &whole.replacen('A', "B", 1), "c29tZS9rZXk"]
        {
            assert_eq!(open(wrong).unwrap_err().code.0, "InvalidArgument", "{wrong}");
        }
    }
}
