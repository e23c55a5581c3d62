//! PUT, GET and DELETE through the front door, as a client would.

use bytes::Bytes;
use data_encoding::HEXLOWER;
use http::{Method, StatusCode};
use sys::{Clock, Random};

use crate::client::{ClientError, S3Client};

/// Large enough for several packets and chunk files, small enough to be quick.
const OBJECT_BYTES: usize = 3 << 20;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum SelfTestError {
    /// The request did not get an answer.
    #[error("{step}: {source}")]
    Client {
        /// `PUT object`, …
        step: &'static str,
        /// The cause.
        source: ClientError,
    },
    /// The answer was another one than wanted.
    #[error("{step}: the answer was {status}: {body}")]
    Status {
        /// `PUT object`, …
        step: &'static str,
        /// What came.
        status: StatusCode,
        /// Its beginning.
        body: String,
    },
    /// The object came back changed.
    #[error("GET object: {got} bytes came back, not the {wanted} that were stored")]
    Bytes {
        /// Bytes received.
        got: usize,
        /// Bytes stored.
        wanted: usize,
    },
}

/// Makes a bucket, stores, reads, compares, deletes, and takes the bucket away again.
pub async fn run(client: &S3Client, clock: &dyn Clock, random: &dyn Random) -> Result<(), SelfTestError> {
    let bucket = format!("/shoal-self-test-{}", HEXLOWER.encode(&random.id()[..6]));
    let object = format!("{bucket}/object");
    let mut bytes = vec![0; OBJECT_BYTES];
    random.fill(&mut bytes);
    let bytes = Bytes::from(bytes);
    let step = async |name: &'static str, method: Method, path: &str, body: Bytes, wanted: StatusCode| {
        let answer = client
            .send(method, path, body, clock.now())
            .await
            .map_err(|source| SelfTestError::Client { step: name, source })?;
        if answer.status() == wanted { Ok(answer.into_body()) } else { Err(unexpected(name, &answer)) }
    };
    step("make bucket", Method::PUT, &bucket, Bytes::new(), StatusCode::OK).await?;
    step("PUT object", Method::PUT, &object, bytes.clone(), StatusCode::OK).await?;
    let read = step("GET object", Method::GET, &object, Bytes::new(), StatusCode::OK).await?;
    if read != bytes {
        return Err(SelfTestError::Bytes { got: read.len(), wanted: bytes.len() });
    }
    step("DELETE object", Method::DELETE, &object, Bytes::new(), StatusCode::NO_CONTENT).await?;
    step("GET deleted object", Method::GET, &object, Bytes::new(), StatusCode::NOT_FOUND).await?;
    step("delete bucket", Method::DELETE, &bucket, Bytes::new(), StatusCode::NO_CONTENT).await?;
    Ok(())
}

/// Makes a bucket, or finds it made.
pub async fn make_bucket(client: &S3Client, name: &str, clock: &dyn Clock) -> Result<(), SelfTestError> {
    const STEP: &str = "make bucket";
    let answer = client
        .send(Method::PUT, &format!("/{name}"), Bytes::new(), clock.now())
        .await
        .map_err(|source| SelfTestError::Client { step: STEP, source })?;
    match answer.status() {
        StatusCode::OK | StatusCode::CONFLICT => Ok(()),
        _ => Err(unexpected(STEP, &answer)),
    }
}

fn unexpected(step: &'static str, answer: &http::Response<Bytes>) -> SelfTestError {
    let body: String = String::from_utf8_lossy(answer.body()).chars().take(300).collect();
    SelfTestError::Status { step, status: answer.status(), body }
}
