//! What the headers of a request say: ranges, conditions, metadata, checksums, and what is not built yet.

mod checksum;
mod condition;
mod metadata;
mod range;
mod refuse;

pub use checksum::object_checksum;
pub(crate) use checksum::{
    algorithm_name, checksum_element, checksum_headers, checksum_value, is_checksum_value, kind_of_element,
    parse_algorithm, parse_checksum, parse_checksum_type, type_name, upload_checksum,
};
pub use condition::{copy_source_conditions, etag_of_header, read_conditions, write_condition};
pub use metadata::{attributes, put_attributes, redirect};
pub use range::{copy_source_range, if_range_holds, range};
pub(crate) use refuse::refuse_unsupported;

use http::HeaderMap;

use crate::{S3Error, S3ErrorCode};

/// The text of a header: UTF-8 where it is, else Latin-1, as HTTP once said. Several fields of one name are joined by
/// commas, which is what they mean.
pub(crate) fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    let mut joined: Option<String> = None;
    for value in headers.get_all(name) {
        let text = decode(value.as_bytes());
        match &mut joined {
            None => joined = Some(text),
            Some(before) => {
                before.push(',');
                before.push_str(&text);
            }
        }
    }
    joined
}

/// Bytes of a header as text.
pub(crate) fn decode(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().map(|&byte| char::from(byte)).collect(),
    }
}

/// InvalidArgument with the argument's name and value, as S3 shows them.
pub(crate) fn invalid_argument(message: &str, name: &str, value: &str) -> S3Error {
    S3Error::new(S3ErrorCode::INVALID_ARGUMENT, message)
        .detail("ArgumentName", name)
        .detail("ArgumentValue", value)
}

#[cfg(test)]
mod tests;
