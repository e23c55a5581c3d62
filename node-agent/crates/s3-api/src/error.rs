//! AWS's error codes, and the one place where codes of the grid become S3's.
//! Source of codes, statuses and sentences: Amazon S3 API Reference, "Error Responses".

use std::fmt;
use std::fmt::Write as _;

use grid_types::{ErrorCode, Timestamp};
use http::header::{ETAG, LAST_MODIFIED, RETRY_AFTER};
use http::{HeaderName, HeaderValue, StatusCode};
use iam::IamError;
use object_engine::{BodyError, EngineError};

/// Seconds after which a client that was told to slow down should come back.
const RETRY_AFTER_SECONDS: &str = "1";

/// One S3 error code with its HTTP status: `S3ErrorCode("NoSuchKey", 404)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct S3ErrorCode(pub &'static str, pub u16);

macro_rules! codes {
    ($($name:ident $code:literal $status:literal $sentence:literal)*) => {
        #[allow(missing_docs, reason = "each name says its code; the sentences are below")]
        impl S3ErrorCode {
            $(pub const $name: Self = Self($code, $status);)*
        }

        /// AWS's own sentence for a code.
        fn sentence(code: S3ErrorCode) -> &'static str {
            match code.0 {
                $($code => $sentence,)*
                _ => "",
            }
        }

        #[cfg(test)]
        pub(crate) const ALL_CODES: &[S3ErrorCode] = &[$(S3ErrorCode::$name),*];
    };
}

codes! {
    ACCESS_DENIED "AccessDenied" 403 "Access Denied"
    AUTHORIZATION_HEADER_MALFORMED "AuthorizationHeaderMalformed" 400 "The authorization header that you provided is not valid."
    AUTHORIZATION_QUERY_PARAMETERS_ERROR "AuthorizationQueryParametersError" 400 "The authorization query parameters are not valid."
    BAD_DIGEST "BadDigest" 400 "The Content-MD5 you specified did not match what we received."
    BAD_REQUEST "BadRequest" 400 "The request is not valid."
    BUCKET_ALREADY_EXISTS "BucketAlreadyExists" 409 "The requested bucket name is not available. The bucket namespace is shared by all users of the system. Please select a different name and try again."
    BUCKET_ALREADY_OWNED_BY_YOU "BucketAlreadyOwnedByYou" 409 "Your previous request to create the named bucket succeeded and you already own it."
    BUCKET_NOT_EMPTY "BucketNotEmpty" 409 "The bucket you tried to delete is not empty"
    CONDITIONAL_REQUEST_CONFLICT "ConditionalRequestConflict" 409 "The conditional request cannot succeed due to a conflicting operation against this resource."
    CORS_FORBIDDEN "AccessForbidden" 403 "CORSResponse: CORS is not enabled for this bucket."
    ENTITY_TOO_LARGE "EntityTooLarge" 400 "Your proposed upload exceeds the maximum allowed size"
    ENTITY_TOO_SMALL "EntityTooSmall" 400 "Your proposed upload is smaller than the minimum allowed size"
    EXPIRED_TOKEN "ExpiredToken" 400 "The provided token has expired."
    ILLEGAL_LOCATION_CONSTRAINT "IllegalLocationConstraintException" 400 "The specified location-constraint is not valid"
    INCOMPLETE_BODY "IncompleteBody" 400 "You did not provide the number of bytes specified by the Content-Length HTTP header"
    INTERNAL_ERROR "InternalError" 500 "We encountered an internal error. Please try again."
    INVALID_ACCESS_KEY_ID "InvalidAccessKeyId" 403 "The AWS Access Key Id you provided does not exist in our records."
    INVALID_ARGUMENT "InvalidArgument" 400 "Invalid Argument"
    INVALID_BUCKET_NAME "InvalidBucketName" 400 "The specified bucket is not valid."
    INVALID_CHUNK_SIZE "InvalidChunkSizeError" 403 "Only the last chunk is allowed to have a size less than 8192 bytes"
    INVALID_DIGEST "InvalidDigest" 400 "The Content-MD5 you specified was invalid."
    INVALID_ENCRYPTION_ALGORITHM "InvalidEncryptionAlgorithmError" 400 "The encryption request you specified is not valid. The valid value is AES256."
    INVALID_LOCATION_CONSTRAINT "InvalidLocationConstraint" 400 "The specified location constraint is not valid."
    INVALID_OBJECT_STATE "InvalidObjectState" 403 "The operation is not valid for the current state of the object."
    INVALID_PART "InvalidPart" 400 "One or more of the specified parts could not be found. The part may not have been uploaded, or the specified entity tag may not match the part's entity tag."
    INVALID_PART_NUMBER "InvalidPartNumber" 416 "The requested partnumber is not satisfiable"
    INVALID_PART_ORDER "InvalidPartOrder" 400 "The list of parts was not in ascending order. Parts must be ordered by part number."
    INVALID_RANGE "InvalidRange" 416 "The requested range is not satisfiable"
    INVALID_REDIRECT_LOCATION "InvalidRedirectLocation" 400 "The website redirect location must be a URL or a path."
    INVALID_REQUEST "InvalidRequest" 400 "The request is not valid."
    INVALID_STORAGE_CLASS "InvalidStorageClass" 400 "The storage class you specified is not valid"
    INVALID_TAG "InvalidTag" 400 "The tag you specified is not valid."
    INVALID_TOKEN "InvalidToken" 400 "The provided token is malformed or otherwise invalid."
    INVALID_URI "InvalidURI" 400 "Couldn't parse the specified URI."
    KEY_TOO_LONG "KeyTooLongError" 400 "Your key is too long"
    MALFORMED_ACL "MalformedACLError" 400 "The XML you provided was not well-formed or did not validate against our published schema"
    MALFORMED_TRAILER "MalformedTrailerError" 400 "The request contained trailing data that was not well-formed or did not conform to our published schema."
    MALFORMED_XML "MalformedXML" 400 "The XML you provided was not well-formed or did not validate against our published schema"
    MAX_MESSAGE_LENGTH_EXCEEDED "MaxMessageLengthExceeded" 400 "Your request was too big."
    METADATA_TOO_LARGE "MetadataTooLarge" 400 "Your metadata headers exceed the maximum allowed metadata size"
    METHOD_NOT_ALLOWED "MethodNotAllowed" 405 "The specified method is not allowed against this resource."
    MISSING_CONTENT_LENGTH "MissingContentLength" 411 "You must provide the Content-Length HTTP header."
    MISSING_REQUEST_BODY "MissingRequestBodyError" 400 "Request Body is empty"
    MISSING_SECURITY_HEADER "MissingSecurityHeader" 400 "Your request was missing a required header"
    NO_SUCH_BUCKET "NoSuchBucket" 404 "The specified bucket does not exist"
    NO_SUCH_BUCKET_POLICY "NoSuchBucketPolicy" 404 "The bucket policy does not exist"
    NO_SUCH_CORS_CONFIGURATION "NoSuchCORSConfiguration" 404 "The CORS configuration does not exist"
    NO_SUCH_KEY "NoSuchKey" 404 "The specified key does not exist."
    NO_SUCH_LIFECYCLE_CONFIGURATION "NoSuchLifecycleConfiguration" 404 "The lifecycle configuration does not exist"
    NO_SUCH_OBJECT_LOCK_CONFIGURATION "NoSuchObjectLockConfiguration" 404 "The specified object does not have a ObjectLock configuration"
    NO_SUCH_PUBLIC_ACCESS_BLOCK "NoSuchPublicAccessBlockConfiguration" 404 "The public access block configuration was not found"
    NO_SUCH_TAG_SET "NoSuchTagSet" 404 "The TagSet does not exist"
    NO_SUCH_UPLOAD "NoSuchUpload" 404 "The specified multipart upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed."
    NO_SUCH_VERSION "NoSuchVersion" 404 "The specified version does not exist."
    NO_SUCH_WEBSITE_CONFIGURATION "NoSuchWebsiteConfiguration" 404 "The specified bucket does not have a website configuration"
    NOT_IMPLEMENTED "NotImplemented" 501 "A header or query you provided implies functionality that is not implemented"
    NOT_MODIFIED "NotModified" 304 "Not Modified"
    OBJECT_LOCK_CONFIGURATION_NOT_FOUND "ObjectLockConfigurationNotFoundError" 404 "Object Lock configuration does not exist for this bucket"
    OWNERSHIP_CONTROLS_NOT_FOUND "OwnershipControlsNotFoundError" 404 "The bucket ownership controls were not found"
    OPERATION_ABORTED "OperationAborted" 409 "A conflicting conditional operation is currently in progress against this resource. Please try again."
    PRECONDITION_FAILED "PreconditionFailed" 412 "At least one of the pre-conditions you specified did not hold"
    REPLICATION_CONFIGURATION_NOT_FOUND "ReplicationConfigurationNotFoundError" 404 "The replication configuration was not found"
    REQUEST_HEADER_SECTION_TOO_LARGE "RequestHeaderSectionTooLarge" 400 "Your request header section exceeds the maximum allowed size."
    REQUEST_TIMEOUT "RequestTimeout" 400 "Your socket connection to the server was not read from or written to within the timeout period."
    REQUEST_TIME_TOO_SKEWED "RequestTimeTooSkewed" 403 "The difference between the request time and the current time is too large."
    SERVER_SIDE_ENCRYPTION_CONFIGURATION_NOT_FOUND "ServerSideEncryptionConfigurationNotFoundError" 404 "The server side encryption configuration was not found"
    SERVICE_UNAVAILABLE "ServiceUnavailable" 503 "Service is unable to handle request."
    SIGNATURE_DOES_NOT_MATCH "SignatureDoesNotMatch" 403 "The request signature we calculated does not match the signature you provided. Check your key and signing method."
    SLOW_DOWN "SlowDown" 503 "Please reduce your request rate."
    STORAGE_FULL "StorageFull" 507 "The drives of this grid have no room left for the write."
    TOO_MANY_BUCKETS "TooManyBuckets" 400 "You have attempted to create more buckets than allowed."
    X_AMZ_CONTENT_SHA256_MISMATCH "XAmzContentSHA256Mismatch" 400 "The provided 'x-amz-content-sha256' header does not match what was computed."
}

impl S3ErrorCode {
    /// The code as it stands in the XML.
    pub const fn name(self) -> &'static str {
        self.0
    }
}

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
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

impl S3Error {
    /// With AWS's own sentence for the code where `message` is empty.
    pub fn new(code: S3ErrorCode, message: impl Into<String>) -> Self {
        let mut message = message.into();
        if message.is_empty() {
            message.push_str(sentence(code));
        }
        Self { code, message, details: Vec::new(), headers: Vec::new() }
    }

    /// Adds an element to the XML.
    #[must_use]
    pub fn detail(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.details.push((name, value.into()));
        self
    }

    /// Adds a header. A value that is no header value is left out.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: impl AsRef<str>) -> Self {
        if let Ok(value) = HeaderValue::from_str(value.as_ref()) {
            self.headers.push((name, value));
        }
        self
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.code.1).expect("codes carry valid statuses")
    }

    /// The XML body; also of an error that comes after a 200 was sent (copy, complete).
    pub fn to_xml(&self, resource: &str, request_id: &str, host_id: &str) -> String {
        let mut xml = String::with_capacity(512);
        xml.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error>");
        element(&mut xml, "Code", self.code.0);
        element(&mut xml, "Message", &self.message);
        for (name, text) in &self.details {
            element(&mut xml, name, text);
        }
        element(&mut xml, "Resource", resource);
        element(&mut xml, "RequestId", request_id);
        element(&mut xml, "HostId", host_id);
        xml.push_str("</Error>");
        xml
    }

    /// As the error of a body that is cut; comes back out of the engine with its code (`From<EngineError>`).
    pub fn into_body_error(self) -> BodyError {
        BodyError::Refused(Box::new(RefusedBody(self)))
    }

    /// Tells the client when to come back.
    fn with_retry(self) -> Self {
        if self.code.1 == 503 { self.header(RETRY_AFTER, RETRY_AFTER_SECONDS) } else { self }
    }
}

/// Writes `<name>text</name>`; what XML 1.0 cannot hold becomes U+FFFD.
fn element(xml: &mut String, name: &str, text: &str) {
    let _ = write!(xml, "<{name}>");
    for c in text.chars() {
        match c {
            '&' => xml.push_str("&amp;"),
            '<' => xml.push_str("&lt;"),
            '>' => xml.push_str("&gt;"),
            '\r' => xml.push_str("&#13;"),
            '\t' | '\n' => xml.push(c),
            c if (c as u32) < 0x20 || matches!(c, '\u{fffe}' | '\u{ffff}') => xml.push('\u{fffd}'),
            c => xml.push(c),
        }
    }
    let _ = write!(xml, "</{name}>");
}

/// A time as HTTP headers show it, in whole seconds.
pub(crate) fn http_date(at: Timestamp) -> String {
    httpdate::fmt_http_date(std::time::UNIX_EPOCH + std::time::Duration::from_secs(at.as_secs()))
}

impl fmt::Display for S3Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.0, self.message)
    }
}

impl std::error::Error for S3Error {}

impl From<S3ErrorCode> for S3Error {
    fn from(code: S3ErrorCode) -> Self {
        Self::new(code, "")
    }
}

/// The S3 code for a code of the grid. Row 7 alone does this.
pub fn code_of(code: ErrorCode) -> S3ErrorCode {
    match code {
        ErrorCode::NoSuchBucket => S3ErrorCode::NO_SUCH_BUCKET,
        ErrorCode::NoSuchKey => S3ErrorCode::NO_SUCH_KEY,
        ErrorCode::NoSuchUpload => S3ErrorCode::NO_SUCH_UPLOAD,
        ErrorCode::BucketAlreadyOwnedByYou => S3ErrorCode::BUCKET_ALREADY_OWNED_BY_YOU,
        ErrorCode::BucketAlreadyExists => S3ErrorCode::BUCKET_ALREADY_EXISTS,
        ErrorCode::BucketNotEmpty => S3ErrorCode::BUCKET_NOT_EMPTY,
        ErrorCode::PreconditionFailed => S3ErrorCode::PRECONDITION_FAILED,
        ErrorCode::ConditionalConflict => S3ErrorCode::CONDITIONAL_REQUEST_CONFLICT,
        ErrorCode::InvalidPart => S3ErrorCode::INVALID_PART,
        ErrorCode::InvalidPartOrder => S3ErrorCode::INVALID_PART_ORDER,
        ErrorCode::PartTooSmall => S3ErrorCode::ENTITY_TOO_SMALL,
        ErrorCode::TooLarge => S3ErrorCode::ENTITY_TOO_LARGE,
        ErrorCode::BadDigest => S3ErrorCode::BAD_DIGEST,
        ErrorCode::IncompleteBody => S3ErrorCode::INCOMPLETE_BODY,
        ErrorCode::InvalidRange => S3ErrorCode::INVALID_RANGE,
        ErrorCode::InvalidArgument => S3ErrorCode::INVALID_ARGUMENT,
        ErrorCode::StorageFull => S3ErrorCode::STORAGE_FULL,
        ErrorCode::SlowDown => S3ErrorCode::SLOW_DOWN,
        ErrorCode::InsufficientDomains
        | ErrorCode::Unavailable
        | ErrorCode::WrongShard
        | ErrorCode::StaleGeneration => S3ErrorCode::SERVICE_UNAVAILABLE,
        ErrorCode::Conflict => S3ErrorCode::CONDITIONAL_REQUEST_CONFLICT,
        ErrorCode::InvalidAccessKey => S3ErrorCode::INVALID_ACCESS_KEY_ID,
        ErrorCode::AccessDenied => S3ErrorCode::ACCESS_DENIED,
        ErrorCode::NotImplemented => S3ErrorCode::NOT_IMPLEMENTED,
        _ => S3ErrorCode::INTERNAL_ERROR,
    }
}

impl From<BodyError> for S3Error {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::Incomplete => Self::from(S3ErrorCode::INCOMPLETE_BODY),
            BodyError::Refused(cause) => match cause.downcast::<RefusedBody>() {
                Ok(refused) => refused.0,
                Err(cause) => Self::new(S3ErrorCode::INVALID_REQUEST, cause.to_string()),
            },
        }
    }
}

impl From<EngineError> for S3Error {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::NotModified { etag, modified } => Self::from(S3ErrorCode::NOT_MODIFIED)
                .header(ETAG, format!("\"{etag}\""))
                .header(LAST_MODIFIED, http_date(modified)),
            EngineError::Refused { code, detail } => {
                // Codes that say all there is to say keep AWS's sentence; clients and tests compare it.
                let says = matches!(
                    code,
                    ErrorCode::InvalidArgument
                        | ErrorCode::TooLarge
                        | ErrorCode::BadDigest
                        | ErrorCode::NotImplemented
                        | ErrorCode::StorageFull
                        | ErrorCode::InsufficientDomains
                );
                Self::new(code_of(code), if says { detail } else { String::new() }).with_retry()
            }
            EngineError::Body(body) => body.into(),
            other => {
                let code = code_of(other.code());
                if code == S3ErrorCode::INTERNAL_ERROR || code.1 >= 503 {
                    tracing::error!(error = %other, "an operation failed inside");
                }
                Self::from(code).with_retry()
            }
        }
    }
}

impl From<IamError> for S3Error {
    fn from(error: IamError) -> Self {
        let code = code_of(error.code());
        if code.1 >= 500 {
            tracing::error!(%error, "identity and access failed inside");
        }
        // Whoever may not do it learns no more than that: AWS's sentence alone.
        Self::from(code).with_retry()
    }
}

/// An S3 error on its way through the engine: the body decoder wraps it into `BodyError::Refused`.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.message)]
pub struct RefusedBody(pub S3Error);

#[cfg(test)]
#[path = "error_tests.rs"]
mod error_tests;
