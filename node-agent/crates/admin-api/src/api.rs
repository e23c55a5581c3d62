//! Takes a request, finds its row, asks for its proof, answers.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use http_server::{Handler, Peer, RequestBody, RequestLabels, ResponseBody};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::table::{Access, Found, find};
use crate::{AdminError, AnswerBody, Metrics, Node, OperatorKeyHash};

/// Bytes of one request's JSON. The largest order is a path and two flags.
pub const REQUEST_BYTES_MAX: usize = 64 << 10;

/// What proves an operator at a door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// Whoever can open the door may: the Unix socket with mode 0600.
    Local,
    /// The operator key as a bearer token: TCP.
    OperatorKey,
}

/// One call of a row.
#[derive(Debug, Clone)]
pub struct Call {
    /// Values of the path's `{…}`, decoded.
    pub parameters: Vec<String>,
    /// What the caller knows already, as `If-None-Match` has it.
    pub if_none_match: Option<HeaderValue>,
    /// The body.
    pub body: Bytes,
}

impl Call {
    /// The value of the first `{…}`; the table says that there is one.
    pub fn parameter(&self) -> Result<&str, AdminError> {
        self.parameters
            .first()
            .map(String::as_str)
            .ok_or_else(|| AdminError::invalid("the path lacks a name"))
    }

    /// The body as JSON.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, AdminError> {
        serde_json::from_slice(&self.body).map_err(|error| {
            AdminError::invalid(format!("the body is not what this operation takes: {error}"))
        })
    }
}

/// What a row answers.
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// Of the body.
    pub content_type: &'static str,
    /// Beside the content type. Without a `Cache-Control` of its own an answer is not stored.
    pub headers: HeaderMap,
    /// The body.
    pub body: AnswerBody,
}

impl Answer {
    /// 200 with these bytes.
    pub fn new(content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self {
            status: StatusCode::OK,
            content_type,
            headers: HeaderMap::new(),
            body: AnswerBody::Whole(body.into()),
        }
    }

    /// 200 with JSON.
    pub fn json(value: &impl Serialize) -> Result<Self, AdminError> {
        Self::json_with(StatusCode::OK, value)
    }

    /// JSON with a status.
    pub fn json_with(status: StatusCode, value: &impl Serialize) -> Result<Self, AdminError> {
        let mut body = serde_json::to_vec(value).map_err(|error| {
            AdminError::new(StatusCode::INTERNAL_SERVER_ERROR, "Internal", format!("writing JSON: {error}"))
        })?;
        body.push(b'\n');
        Ok(Self { status, ..Self::new("application/json", body) })
    }
}

/// The table at work over one node.
pub struct AdminApi {
    /// The node.
    pub node: Arc<dyn Node>,
    /// Its figures.
    pub metrics: Arc<Metrics>,
    operator_key: ArcSwapOption<OperatorKeyHash>,
}

impl AdminApi {
    /// Without an operator key no proof is accepted over TCP.
    pub fn new(node: Arc<dyn Node>, metrics: Arc<Metrics>, operator_key: Option<OperatorKeyHash>) -> Self {
        Self { node, metrics, operator_key: ArcSwapOption::from_pointee(operator_key) }
    }

    /// From now on this key is the one that proves an operator.
    pub fn replace_operator_key(&self, hash: OperatorKeyHash) {
        self.operator_key.store(Some(Arc::new(hash)));
    }

    fn proven(&self, trust: Trust, headers: &HeaderMap) -> Result<(), AdminError> {
        if trust == Trust::Local {
            return Ok(());
        }
        let token = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.strip_prefix("Bearer "));
        let known = self.operator_key.load();
        match (token, known.as_deref()) {
            (Some(token), Some(hash)) if hash.matches(token.trim()) => Ok(()),
            (Some(_), _) => Err(AdminError::new(
                StatusCode::UNAUTHORIZED,
                "InvalidOperatorKey",
                "this operator key is not accepted; `shoal key operator` on the node makes a new one",
            )),
            (None, _) => Err(AdminError::new(
                StatusCode::UNAUTHORIZED,
                "OperatorKeyMissing",
                "send the operator key as `Authorization: Bearer KEY`, or use the Unix socket on the node",
            )),
        }
    }

    /// Finds the row, asks for the proof, collects the body (only then), calls the handler. Also the row's name.
    async fn answer(
        &self,
        trust: Trust,
        request: Request<RequestBody>,
    ) -> (&'static str, Result<Answer, AdminError>) {
        let (parts, body) = request.into_parts();
        let (row, parameters) = match find(&parts.method, parts.uri.path()) {
            Found::Row(row, parameters) => (row, parameters),
            Found::OtherMethods(methods) => {
                return ("Unknown", Err(method_not_allowed(&parts.method, &methods)));
            }
            Found::Nothing => {
                let message = format!("there is no {}; GET /v1/operations lists what is", parts.uri.path());
                return ("Unknown", Err(AdminError::not_found("NoSuchOperation", message)));
            }
        };
        if row.access == Access::Operator
            && let Err(error) = self.proven(trust, &parts.headers)
        {
            return (row.name, Err(error));
        }
        let parameters = match parameters.into_iter().map(decode).collect::<Result<Vec<_>, _>>() {
            Ok(parameters) => parameters,
            Err(error) => return (row.name, Err(error)),
        };
        let body = match Limited::new(body, REQUEST_BYTES_MAX).collect().await {
            Ok(collected) => collected.to_bytes(),
            Err(error) => {
                let message = format!("the body cannot be read (at most {REQUEST_BYTES_MAX} bytes): {error}");
                return (row.name, Err(AdminError::invalid(message)));
            }
        };
        let if_none_match = parts.headers.get(header::IF_NONE_MATCH).cloned();
        (row.name, (row.handler)(self, Call { parameters, if_none_match, body }).await)
    }
}

fn method_not_allowed(method: &Method, others: &[&'static Method]) -> AdminError {
    let others: Vec<&str> = others.iter().map(|method| method.as_str()).collect();
    let message = format!("{method} is not possible here, but {} is", others.join(", "));
    AdminError::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message)
}

fn decode(segment: &str) -> Result<String, AdminError> {
    percent_encoding::percent_decode_str(segment)
        .decode_utf8()
        .map(std::borrow::Cow::into_owned)
        .map_err(|_| AdminError::invalid(format!("`{segment}` is not UTF-8")))
}

/// One listener's side of the table.
pub struct AdminDoor {
    /// The table.
    pub api: Arc<AdminApi>,
    /// What proves an operator here.
    pub trust: Trust,
}

impl Handler for AdminDoor {
    async fn handle(&self, request: Request<RequestBody>, _peer: Peer) -> Response<ResponseBody> {
        let head = request.method() == Method::HEAD;
        let (operation, answer) = self.api.answer(self.trust, request).await;
        let mut response = match answer {
            Ok(answer) => respond(answer, head),
            Err(error) => {
                let body = serde_json::to_vec(&error.reply()).unwrap_or_default();
                let answer = Answer { status: error.status, ..Answer::new("application/json", body) };
                let mut response = respond(answer, head);
                if error.status == StatusCode::UNAUTHORIZED {
                    let challenge = HeaderValue::from_static("Bearer realm=\"shoal\"");
                    response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
                }
                response
            }
        };
        response.extensions_mut().insert(RequestLabels { operation, error_code: None });
        response
    }
}

/// To HEAD: the length of what GET would bring, and nothing of it. Over HTTP/2 nobody else keeps it back.
pub(crate) fn respond(answer: Answer, head: bool) -> Response<ResponseBody> {
    let length = answer.body.known_len().map(HeaderValue::from);
    let body = if head { http_server::empty() } else { answer.body.into_response() };
    let mut response = Response::new(body);
    *response.status_mut() = answer.status;
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.extend(answer.headers);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(answer.content_type));
    if let Some(length) = length.filter(|_| head) {
        headers.insert(header::CONTENT_LENGTH, length);
    }
    response
}
