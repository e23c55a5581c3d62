//! The pipeline that every request passes.

use std::sync::Arc;

use http::header::{CONTENT_TYPE, DATE, HOST, HeaderName, RETRY_AFTER, SERVER};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_server::{Handler, Peer, RequestBody, RequestLabels, ResponseBody, empty, full};
use iam::{Action, Caller, Iam};
use object_engine::ObjectEngine;
use sys::{Clock, TimeTrust};

use crate::address::{Address, bucket_of_host};
use crate::auth::{
    Payload, PayloadHash, Proof, ProofRules, SignedRequest, SigningKeyCache, parse_proof, verify,
    verify_version_2,
};
use crate::body::{self, Announced};
use crate::error::http_date;
use crate::query_headers::with_query_headers;
use crate::request::{Query, S3Body, S3Request};
use crate::table::{self, BodyUse, Operation};
use crate::{S3Config, S3Error, S3ErrorCode};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-amz-request-id");
const HOST_ID: HeaderName = HeaderName::from_static("x-amz-id-2");
const SERVER_NAME: HeaderValue = HeaderValue::from_static("Shoal");
const XML: HeaderValue = HeaderValue::from_static("application/xml");

/// Members and NTP are asked so often while the time is not proven.
const TIME_RETRY_SECONDS: &str = "5";

/// The S3 front door.
pub struct S3Front {
    /// What the handlers call.
    pub engine: ObjectEngine,
    /// Who may.
    pub iam: Iam,
    /// For skew and expiry.
    pub clock: Arc<dyn Clock>,
    /// Settings.
    pub config: S3Config,
    signing_keys: SigningKeyCache,
    host_id: HeaderValue,
}

impl S3Front {
    /// Over the engine. A `host_id` that is no header value shows as `shoal`.
    pub fn new(engine: ObjectEngine, iam: Iam, clock: Arc<dyn Clock>, mut config: S3Config) -> Self {
        let host_id = HeaderValue::from_str(&config.host_id).unwrap_or_else(|_| {
            "shoal".clone_into(&mut config.host_id);
            HeaderValue::from_static("shoal")
        });
        Self { engine, iam, clock, config, signing_keys: SigningKeyCache::default(), host_id }
    }

    /// Everything up to the handler's answer. `labels` learns the operation as soon as it is known.
    async fn process(
        &self,
        mut head: Parts,
        body: RequestBody,
        peer: Peer,
        labels: &mut RequestLabels,
    ) -> Result<Response<ResponseBody>, S3Error> {
        let host = host_of(&head)?;
        let address = Address::parse(&host, head.uri.path(), &self.config.host_suffixes)?;
        let raw_query = head.uri.query().unwrap_or("");
        let query = Query::parse(raw_query)?;
        // The signature is held against the headers as sent; all that follows sees those of the query as well.
        let sent =
            with_query_headers(&query, &head.headers)?.map(|all| std::mem::replace(&mut head.headers, all));
        let operation = table::find(&head.method, address.level(), &query, &head.headers)?;
        labels.operation = operation.name;
        self.require_time()?;
        let signed = SignedRequest {
            method: head.method.as_str(),
            path: head.uri.path(),
            query: raw_query,
            headers: sent.as_ref().unwrap_or(&head.headers),
            host: &host,
        };
        let (caller, payload) = self.authenticate(&signed, &query).await?;
        self.iam.authorize(&caller, Action(operation.action), &address.resource()).await?;
        let body = self.open_body(operation, &head, body, payload)?;
        let request = S3Request {
            method: head.method,
            bucket: address.bucket,
            key: address.key,
            query,
            resource: head.uri.path().to_owned(),
            headers: head.headers,
            caller,
            body,
            peer,
        };
        (operation.handler)(self, request).await
    }

    /// Neither signatures nor expiries nor stamps mean anything by a clock that may show any time.
    fn require_time(&self) -> Result<(), S3Error> {
        if !self.config.refuse_unproven_time || self.clock.reading().trust != TimeTrust::Unproven {
            return Ok(());
        }
        let error = S3Error::new(
            S3ErrorCode::SERVICE_UNAVAILABLE,
            "The time of this node is not proven yet. Please try again.",
        );
        Err(error.header(RETRY_AFTER, TIME_RETRY_SECONDS))
    }

    async fn authenticate(
        &self,
        request: &SignedRequest<'_>,
        query: &Query,
    ) -> Result<(Caller, Payload), S3Error> {
        let rules = ProofRules { skew_max: self.config.skew_max, version_2: self.config.signature_v2 };
        let proof = parse_proof(request.headers, query, self.clock.reading().time, rules)?;
        let key_id = match &proof {
            Proof::Anonymous { payload } => return Ok((Caller::Anonymous, unsigned_payload(*payload))),
            Proof::Version2(proof) => &proof.key_id,
            Proof::Signature { scope, .. } => &scope.key_id,
        };
        let (key, secret) = self.iam.lookup(key_id).await.map_err(|error| {
            let error = S3Error::from(error);
            let unknown = error.code == S3ErrorCode::INVALID_ACCESS_KEY_ID;
            if unknown { error.detail("AWSAccessKeyId", key_id.clone()) } else { error }
        })?;
        let payload = match &proof {
            Proof::Version2(proof) => {
                let bucket = bucket_of_host(request.host, &self.config.host_suffixes);
                verify_version_2(request, proof, bucket, &secret)?;
                unsigned_payload(proof.payload)
            }
            proof => verify(request, proof, &secret, &self.signing_keys)?.payload,
        };
        Ok((Caller::Key(key), payload))
    }

    /// The body as the operation takes it. Reads nothing of it yet: `Expect: 100-continue` is answered when the handler
    /// polls it first.
    fn open_body(
        &self,
        operation: &Operation,
        head: &Parts,
        body: RequestBody,
        payload: Payload,
    ) -> Result<S3Body, S3Error> {
        if operation.body == BodyUse::None {
            return Ok(body::none());
        }
        let chunked = matches!(payload, Payload::Chunked { .. });
        // The checksum of a Complete is that of the object, not of the document that it comes with.
        let announced = if operation.name == "CompleteMultipartUpload" {
            Announced::of_document(&head.headers, chunked)?
        } else {
            Announced::parse(&head.headers, chunked)?
        };
        if operation.body == BodyUse::Stream && announced.length.is_none() {
            return Err(S3ErrorCode::MISSING_CONTENT_LENGTH.into());
        }
        body::open(body, payload, announced, &self.config)
    }

    fn refuse(&self, error: S3Error, about: &About) -> Response<ResponseBody> {
        let mut response = Response::new(empty());
        *response.status_mut() = error.status();
        let without_body = about.method == Method::HEAD || error.status() == StatusCode::NOT_MODIFIED;
        if !without_body {
            let id = about.peer.request_id.to_string();
            *response.body_mut() = full(error.to_xml(&about.resource, &id, &self.config.host_id));
        }
        if error.status() != StatusCode::NOT_MODIFIED {
            response.headers_mut().insert(CONTENT_TYPE, XML);
        }
        for (name, value) in error.headers {
            response.headers_mut().append(name, value);
        }
        response
    }
}

/// What an error answer says of its request.
struct About {
    method: Method,
    resource: String,
    peer: Peer,
}

impl Handler for S3Front {
    async fn handle(&self, request: Request<RequestBody>, peer: Peer) -> Response<ResponseBody> {
        let (head, body) = request.into_parts();
        let about = About { method: head.method.clone(), resource: head.uri.path().to_owned(), peer };
        let mut labels = RequestLabels { operation: "Unknown", error_code: None };
        let mut response = match self.process(head, body, peer, &mut labels).await {
            Ok(response) => response,
            Err(error) => {
                labels.error_code = Some(error.code.name());
                if error.status().is_server_error() {
                    tracing::warn!(request_id = %peer.request_id, operation = labels.operation, %error, "refused");
                }
                self.refuse(error, &about)
            }
        };
        response.extensions_mut().insert(labels);
        let headers = response.headers_mut();
        if let Ok(id) = HeaderValue::from_str(&peer.request_id.to_string()) {
            headers.insert(REQUEST_ID, id);
        }
        headers.insert(HOST_ID, self.host_id.clone());
        headers.insert(SERVER, SERVER_NAME);
        // By the clock that signatures are held against: SDKs correct theirs by it. Without one the server takes the host's.
        if let Ok(date) = HeaderValue::from_str(&http_date(self.clock.reading().time)) {
            headers.insert(DATE, date);
        }
        response
    }
}

/// `:authority` or `Host`, as sent. Both at once must agree (an absolute URI on HTTP/1.1 rules, as RFC 9112 says).
fn host_of(head: &Parts) -> Result<String, S3Error> {
    if let Some(authority) = head.uri.authority() {
        return Ok(authority.as_str().to_owned());
    }
    let mut hosts = head.headers.get_all(HOST).iter();
    let (first, second) = (hosts.next(), hosts.next());
    let malformed =
        || S3Error::new(S3ErrorCode::INVALID_REQUEST, "The Host header of the request is malformed.");
    match (first, second) {
        (None, _) => Ok(String::new()),
        (Some(host), None) => host.to_str().map(str::to_owned).map_err(|_| malformed()),
        (Some(_), Some(_)) => Err(malformed()),
    }
}

/// The body of a request whose signature, if any, does not cover it.
fn unsigned_payload(payload: PayloadHash) -> Payload {
    match payload {
        PayloadHash::Sha256(hash) => Payload::Sha256(hash),
        PayloadHash::StreamingUnsignedTrailer => Payload::Chunked { signer: None, trailer: true },
        // Signed chunks of an unsigned request were refused where the proof was parsed.
        PayloadHash::Unsigned | PayloadHash::StreamingSigned { .. } => Payload::Plain,
    }
}
