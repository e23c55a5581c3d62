//! The one declarative table of operations. A row: name, method, bucket/object/service level, the query or header that
//! selects it, the IAM action, how its body is taken, and its handler. Later issues add rows.

use std::pin::Pin;

use http::{HeaderMap, Method, Response};
use http_server::ResponseBody;

use crate::request::{Query, S3Request};
use crate::{S3Error, S3Front};

/// What a path addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// `/`
    Service,
    /// `/bucket`
    Bucket,
    /// `/bucket/key`
    Object,
}

/// How the body of an operation is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyUse {
    /// There is none; one that comes is drained up to a small limit.
    None,
    /// Collected up to `xml_bytes_max`.
    Xml,
    /// Streamed to the handler.
    Stream,
}

/// A handler's future.
pub type Answer<'a> = Pin<Box<dyn Future<Output = Result<Response<ResponseBody>, S3Error>> + Send + 'a>>;

/// One row.
pub struct Operation {
    /// AWS's name, for example `PutObject`.
    pub name: &'static str,
    /// The method.
    pub method: Method,
    /// What the path must address.
    pub level: Level,
    /// Query parameters that must be there (`uploads`, `uploadId` …).
    pub query: &'static [&'static str],
    /// A header that must be there (`x-amz-copy-source`).
    pub header: Option<&'static str>,
    /// The IAM action, for example `s3:PutObject`.
    pub action: &'static str,
    /// The body.
    pub body: BodyUse,
    /// The handler.
    pub handler: for<'a> fn(&'a S3Front, S3Request) -> Answer<'a>,
}

/// Finds the row for a request. Rows with more selectors win. A known sub-resource without a row (`?acl`, `?policy` …)
/// is NotImplemented, never a fall-through to the plain operation.
pub fn find(
    _method: &Method,
    _level: Level,
    _query: &Query,
    _headers: &HeaderMap,
) -> Result<&'static Operation, S3Error> {
    todo!()
}
