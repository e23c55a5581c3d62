//! A request after addressing, signature and body decoding: what the handlers of `ops` see.

use grid_types::{BucketName, ObjectKey};
use http::{HeaderMap, Method};
use http_server::Peer;
use iam::Caller;
use object_engine::{Body, ChecksumKind, ExpectedDigests};
use parking_lot::Mutex;

use crate::S3Error;
use crate::address::percent_decode;

/// Decoded query parameters, in the order sent.
#[derive(Debug, Clone, Default)]
pub struct Query(pub Vec<(String, String)>);

impl Query {
    /// From the query as sent, without `?`. `+` is a blank; what does not decode to UTF-8 is InvalidURI.
    pub fn parse(query: &str) -> Result<Self, S3Error> {
        let pair = |pair: &str| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((percent_decode(name, true)?, percent_decode(value, true)?))
        };
        query.split('&').filter(|text| !text.is_empty()).map(pair).collect::<Result<_, _>>().map(Self)
    }

    /// The first value of this name; `Some("")` for `?name` and `?name=`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// True where the name occurs.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }
}

/// A body, decoded from aws-chunked where it was, each chunk signature and the payload hash verified as it streams.
pub struct S3Body {
    /// Decoded bytes. In a mutex, never locked, because handlers share a request across awaits and a `Body` is not
    /// `Sync`: `into_inner` takes it out.
    pub stream: Mutex<Body>,
    /// Decoded length (`x-amz-decoded-content-length` or `Content-Length`).
    pub length: Option<u64>,
    /// Filled with `Content-MD5` and checksum headers before, trailers after the stream.
    pub expected: ExpectedDigests,
    /// The algorithm announced by a checksum header, `x-amz-trailer` or `x-amz-sdk-checksum-algorithm`.
    pub checksum: Option<ChecksumKind>,
}

/// One verified request.
pub struct S3Request {
    /// The method.
    pub method: Method,
    /// The bucket, if the path or host names one.
    pub bucket: Option<BucketName>,
    /// The key, if the path names one.
    pub key: Option<ObjectKey>,
    /// Query parameters.
    pub query: Query,
    /// Headers.
    pub headers: HeaderMap,
    /// Who asks.
    pub caller: Caller,
    /// The body; empty for methods without.
    pub body: S3Body,
    /// The connection.
    pub peer: Peer,
    /// The path as sent, for the error's Resource.
    pub resource: String,
}

impl S3Request {
    /// The bucket that the table says this operation has.
    pub fn bucket(&self) -> &BucketName {
        self.bucket.as_ref().expect("the table routes bucket operations only with a bucket")
    }

    /// The key that the table says this operation has.
    pub fn key(&self) -> &ObjectKey {
        self.key.as_ref().expect("the table routes object operations only with a key")
    }
}
