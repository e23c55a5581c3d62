//! Answers that may take long: copies and completes.
//!
//! As S3 does: whatever ends within the first interval gets a proper status. After it the answer is 200 with the XML
//! declaration, a blank each interval so that nobody on the way gives the connection up, and at the end the document,
//! which is an `Error` where the work failed. SDKs look for it.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response};
use http_server::{BoxError, RequestId, ResponseBody};
use tokio::task::{JoinError, JoinHandle};
use tokio::time::Instant;

use super::{Answered, xml_answer};
use crate::request::S3Request;
use crate::xml::DECLARATION;
use crate::{S3Error, S3ErrorCode, S3Front};

/// What slow work ends with.
pub(crate) struct Finished {
    /// Headers; lost where the answer has begun already, so the document says all that matters.
    pub headers: HeaderMap,
    /// The document.
    pub document: String,
}

/// For the error document of an answer that has begun.
pub(crate) struct About {
    /// The path as sent.
    pub resource: String,
    /// The request.
    pub request_id: RequestId,
    /// Who answers.
    pub host_id: String,
}

impl About {
    pub(crate) fn of(front: &S3Front, request: &S3Request) -> Self {
        Self {
            resource: request.resource.clone(),
            request_id: request.peer.request_id,
            host_id: front.config.host_id.clone(),
        }
    }
}

/// Runs `work` to its end even if the client leaves, and answers as above.
pub(crate) async fn answer<F>(every: Duration, about: About, work: F) -> Answered
where
    F: Future<Output = Result<Finished, S3Error>> + Send + 'static,
{
    let mut task = tokio::spawn(work);
    if let Ok(ended) = tokio::time::timeout(every, &mut task).await {
        let finished = ended.unwrap_or_else(|error| Err(broken(&error)))?;
        let mut answer = xml_answer(finished.document);
        answer.headers_mut().extend(finished.headers);
        return Ok(answer);
    }
    let mut answer = Response::new(blanks_then_document(every, about, task));
    answer.headers_mut().insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    Ok(answer)
}

fn broken(error: &JoinError) -> S3Error {
    tracing::error!(%error, "slow work broke");
    S3ErrorCode::INTERNAL_ERROR.into()
}

struct Waiting {
    task: Option<JoinHandle<Result<Finished, S3Error>>>,
    about: About,
    every: Duration,
    next_blank: Instant,
    declared: bool,
}

fn blanks_then_document(
    every: Duration,
    about: About,
    task: JoinHandle<Result<Finished, S3Error>>,
) -> ResponseBody {
    let waiting =
        Waiting { task: Some(task), about, every, next_blank: Instant::now() + every, declared: false };
    http_server::stream(futures_util::stream::unfold(waiting, |mut waiting| async move {
        if !waiting.declared {
            waiting.declared = true;
            return Some((Ok::<_, BoxError>(Bytes::from_static(DECLARATION.as_bytes())), waiting));
        }
        let task = waiting.task.as_mut()?;
        let ended = match tokio::time::timeout_at(waiting.next_blank, task).await {
            Ok(ended) => ended,
            Err(_) => {
                waiting.next_blank += waiting.every;
                return Some((Ok(Bytes::from_static(b" ")), waiting));
            }
        };
        waiting.task = None;
        let document = match ended.unwrap_or_else(|error| Err(broken(&error))) {
            Ok(finished) => finished.document,
            Err(error) => {
                let request_id = waiting.about.request_id.to_string();
                error.to_xml(&waiting.about.resource, &request_id, &waiting.about.host_id)
            }
        };
        let body = document.strip_prefix(DECLARATION).map(str::to_owned).unwrap_or(document);
        Some((Ok(Bytes::from(body)), waiting))
    }))
}

#[cfg(test)]
#[path = "keep_alive_tests.rs"]
mod keep_alive_tests;
