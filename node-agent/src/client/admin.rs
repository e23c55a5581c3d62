//! The operator's door, as the command line uses it.

use std::path::{Path, PathBuf};

use admin_api::types::Readiness;
use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::Full;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{AnswerStream, ClientError, Target};

/// How to reach the door.
#[derive(Debug, Clone)]
pub enum AdminAddress {
    /// The Unix socket: who can open it needs no key.
    Socket(PathBuf),
    /// Over the network.
    Url {
        /// `http://HOST:PORT` or `https://HOST:PORT`.
        url: String,
        /// The bearer token.
        operator_key: Option<String>,
        /// PEM of the authority to trust.
        authority: Option<PathBuf>,
    },
}

/// The operator's door.
pub struct AdminClient {
    target: Target,
    operator_key: Option<String>,
}

impl AdminClient {
    /// Connects with each call.
    pub fn new(address: &AdminAddress) -> Result<Self, ClientError> {
        match address {
            AdminAddress::Socket(path) => {
                Ok(Self { target: Target::Socket(path.clone()), operator_key: None })
            }
            AdminAddress::Url { url, operator_key, authority } => Ok(Self {
                target: Target::from_url(url, authority.as_deref().map(Path::new))?,
                operator_key: operator_key.clone(),
            }),
        }
    }

    /// Calls without a body.
    pub async fn call<A: DeserializeOwned>(&self, method: Method, path: &str) -> Result<A, ClientError> {
        self.send(method, path, Bytes::new()).await
    }

    /// Can the node serve now, and why not? An answer either way, and cheap for the node.
    pub async fn readiness(&self) -> Result<Readiness, ClientError> {
        let answer = self.target.send(self.request(Method::GET, "/health/ready", Bytes::new())?).await?;
        let (status, body) = (answer.status(), answer.into_body());
        serde_json::from_slice(&body).map_err(|_| refusal(status, &body))
    }

    /// Calls with a body of JSON.
    pub async fn order<A: DeserializeOwned>(
        &self,
        path: &str,
        order: &impl Serialize,
    ) -> Result<A, ClientError> {
        let body = serde_json::to_vec(order).map_err(|error| ClientError::Address(error.to_string()))?;
        self.send(Method::POST, path, body.into()).await
    }

    /// Calls with a body of JSON; the answer is read as it comes.
    pub async fn order_stream(
        &self,
        path: &str,
        order: &impl Serialize,
    ) -> Result<AnswerStream, ClientError> {
        let body = serde_json::to_vec(order).map_err(|error| ClientError::Address(error.to_string()))?;
        let answer = self.target.open(self.request(Method::POST, path, body.into())?).await?;
        let (status, body) = (answer.status(), answer.into_body());
        if status.is_success() { Ok(body) } else { Err(refusal(status, &body.collect().await?)) }
    }

    fn request(&self, method: Method, path: &str, body: Bytes) -> Result<Request<Full<Bytes>>, ClientError> {
        let host = match &self.target {
            Target::Socket(_) => "localhost".to_owned(),
            tcp => tcp.authority(),
        };
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, host);
        if let Some(key) = &self.operator_key {
            request = request.header(header::AUTHORIZATION, format!("Bearer {key}"));
        }
        request
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|error| ClientError::Address(error.to_string()))
    }

    async fn send<A: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<A, ClientError> {
        let answer = self.target.send(self.request(method, path, body)?).await?;
        let status = answer.status();
        let body = answer.into_body();
        if !status.is_success() {
            return Err(refusal(status, &body));
        }
        serde_json::from_slice(&body).map_err(|error| ClientError::Talk {
            target: self.target.authority(),
            reason: format!("the answer is not what this version expects: {error}"),
        })
    }
}

fn refusal(status: StatusCode, body: &[u8]) -> ClientError {
    match serde_json::from_slice::<admin_api::ErrorReply>(body) {
        Ok(reply) => ClientError::Refused { code: reply.code, message: reply.message },
        Err(_) => ClientError::Refused { code: status.as_str().to_owned(), message: status.to_string() },
    }
}

/// One segment of a path.
pub fn segment(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}
