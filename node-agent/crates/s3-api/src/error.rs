//! AWS's error codes, and the one place where codes of the grid become S3's.

use http::StatusCode;

/// One S3 error code with its HTTP status: `S3ErrorCode("NoSuchKey", 404)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct S3ErrorCode(pub &'static str, pub u16);

/// An error answer.
#[derive(Debug)]
pub struct S3Error {
    /// The code.
    pub code: S3ErrorCode,
    /// A sentence.
    pub message: String,
    /// More elements of the XML (`Key`, `BucketName`, `Condition`, `ActualObjectSize` …).
    pub details: Vec<(&'static str, String)>,
    /// Headers to add (`Retry-After`, `Content-Range` of a 416, `ETag` of a 304 …).
    pub headers: Vec<(http::HeaderName, http::HeaderValue)>,
}

impl S3Error {
    /// With AWS's own sentence for the code where `message` is empty.
    pub fn new(code: S3ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), details: Vec::new(), headers: Vec::new() }
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.code.1).expect("codes carry valid statuses")
    }
}
