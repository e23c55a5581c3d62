//! The status page: four files that the binary carries, without secrets. The page asks `/v1` with the key that its
//! reader types; it holds nothing that a stranger may not see.
//!
//! Invariants: no script, style or connection but of the same origin, none within the document; nobody frames it; no
//! string becomes markup (Trusted Types without a policy), since names of nodes come from strangers.

use std::sync::LazyLock;

use bytes::Bytes;
use data_encoding::HEXLOWER;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use sha2::{Digest, Sha256};

use crate::api::{Answer, Call};
use crate::{AdminApi, AdminError};

/// What a browser may do with the page.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
     require-trusted-types-for 'script'; trusted-types 'none'";
/// Bytes of a file's hash in its ETag: enough to tell releases apart.
const ETAG_BYTES: usize = 16;

/// One of them.
struct File {
    content_type: &'static str,
    bytes: &'static [u8],
    etag: HeaderValue,
}

impl File {
    fn new(content_type: &'static str, bytes: &'static [u8]) -> Self {
        let tag = format!("\"{}\"", HEXLOWER.encode(&Sha256::digest(bytes)[..ETAG_BYTES]));
        // Hexadecimal digits and quotes are always a header value; without a tag the file is sent each time.
        let etag = HeaderValue::try_from(tag).unwrap_or_else(|_| HeaderValue::from_static("\"\""));
        Self { content_type, bytes, etag }
    }

    fn answer(&self, call: &Call) -> Answer {
        let known = call.if_none_match.as_ref().is_some_and(|known| names(known, &self.etag));
        let (status, body) = if known {
            (StatusCode::NOT_MODIFIED, Bytes::new())
        } else {
            (StatusCode::OK, Bytes::from_static(self.bytes))
        };
        Answer { status, content_type: self.content_type, headers: self.headers(), body: body.into() }
    }

    fn headers(&self) -> HeaderMap {
        let fixed: [(HeaderName, &'static str); 5] = [
            // The names stay the same from release to release: the browser keeps them and asks whether they still hold.
            (header::CACHE_CONTROL, "no-cache"),
            (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
            (header::REFERRER_POLICY, "no-referrer"),
            (header::X_FRAME_OPTIONS, "DENY"),
            (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        ];
        let fixed = fixed.into_iter().map(|(name, value)| (name, HeaderValue::from_static(value)));
        fixed.chain([(header::ETAG, self.etag.clone())]).collect()
    }
}

/// Does `If-None-Match` hold this tag?
fn names(if_none_match: &HeaderValue, etag: &HeaderValue) -> bool {
    let (Ok(list), Ok(etag)) = (if_none_match.to_str(), etag.to_str()) else { return false };
    let plain = |tag: &str| tag.trim().strip_prefix("W/").unwrap_or(tag.trim()) == etag;
    list.trim() == "*" || list.split(',').any(plain)
}

macro_rules! file {
    ($handler:ident, $content_type:literal, $name:literal) => {
        pub async fn $handler(_api: &AdminApi, call: Call) -> Result<Answer, AdminError> {
            static FILE: LazyLock<File> =
                LazyLock::new(|| File::new($content_type, include_bytes!(concat!("../../page/", $name))));
            Ok(FILE.answer(&call))
        }
    };
}

file!(document, "text/html; charset=utf-8", "index.html");
file!(script, "text/javascript; charset=utf-8", "page.js");
file!(style, "text/css; charset=utf-8", "page.css");
file!(icon, "image/svg+xml", "icon.svg");
