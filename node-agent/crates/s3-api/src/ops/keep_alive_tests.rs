//! Slow work waits for a signal here, not for time, so that the tests say the same on a busy machine.

use std::time::Duration;

use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use http_server::{RequestId, ResponseBody};
use tokio::sync::oneshot;

use super::{About, Finished, answer};
use crate::xml::{DECLARATION, XmlWriter};
use crate::{S3Error, S3ErrorCode};

/// Far beyond what quick work takes.
const LONG: Duration = Duration::from_secs(600);
/// The first interval ends at once.
const SHORT: Duration = Duration::from_millis(1);

fn about() -> About {
    About { resource: "/b/k".to_owned(), request_id: RequestId(7), host_id: "host".to_owned() }
}

fn finished() -> Result<Finished, S3Error> {
    let mut headers = HeaderMap::new();
    headers.insert("x-amz-checksum-crc32", "AAAAAA==".parse().unwrap());
    Ok(Finished { headers, document: XmlWriter::new("Done").finish() })
}

/// The next piece of a body; `None` at its end.
async fn piece(body: &mut ResponseBody) -> Option<String> {
    let frame = body.frame().await?.unwrap();
    Some(String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap())
}

/// Work that ends when it is told to, its answer up to two blanks, and what follows when it ends with `end`.
async fn slow(end: Result<Finished, S3Error>) -> String {
    let (signal, signalled) = oneshot::channel();
    let work = async move { signalled.await.unwrap() };
    let answered = answer(SHORT, about(), work).await.unwrap();
    assert_eq!(answered.status(), StatusCode::OK);
    assert_eq!(answered.headers().get("content-type").unwrap(), "application/xml");
    let mut body = answered.into_body();
    assert_eq!(piece(&mut body).await.as_deref(), Some(DECLARATION));
    for _ in 0..2 {
        assert_eq!(piece(&mut body).await.as_deref(), Some(" "));
    }
    assert!(signal.send(end).is_ok());
    let mut rest = String::new();
    while let Some(text) = piece(&mut body).await {
        rest.push_str(&text);
    }
    rest.trim_start().to_owned()
}

#[tokio::test]
async fn quick_work_has_its_own_status_and_headers() {
    let answered = answer(LONG, about(), async { finished() }).await.unwrap();
    assert_eq!(answered.status(), StatusCode::OK);
    assert!(answered.headers().contains_key("x-amz-checksum-crc32"));
    assert_eq!(piece(&mut answered.into_body()).await, Some(XmlWriter::new("Done").finish()));

    let refused = answer(LONG, about(), async { Err(S3ErrorCode::NO_SUCH_KEY.into()) }).await;
    assert_eq!(refused.map(|_| ()).unwrap_err().code, S3ErrorCode::NO_SUCH_KEY);
}

#[tokio::test]
async fn slow_work_sends_blanks_and_then_its_document() {
    let document = XmlWriter::new("Done").finish();
    assert_eq!(slow(finished()).await, document.strip_prefix(DECLARATION).unwrap());
}

#[tokio::test]
async fn slow_failures_are_an_error_document_inside_200() {
    let text = slow(Err(S3ErrorCode::PRECONDITION_FAILED.into())).await;
    assert!(text.starts_with("<Error><Code>PreconditionFailed</Code>"), "{text}");
    assert!(text.contains("<Resource>/b/k</Resource>"), "{text}");
}

#[tokio::test]
async fn work_that_panics_is_an_internal_error() {
    let refused = answer(LONG, about(), async { panic!("a bug") }).await;
    assert_eq!(refused.map(|_| ()).unwrap_err().code, S3ErrorCode::INTERNAL_ERROR);
}

#[tokio::test]
async fn work_goes_on_when_the_client_leaves() {
    let (signal, signalled) = oneshot::channel();
    let (done, seen) = oneshot::channel();
    let work = async move {
        signalled.await.unwrap();
        done.send(()).unwrap();
        finished()
    };
    drop(answer(SHORT, about(), work).await.unwrap());
    signal.send(()).unwrap();
    assert!(seen.await.is_ok());
}
