//! Bodies of requests and answers: streams of pieces.

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use grid_types::ErrorCode;

use crate::RpcError;

/// Pieces of a request or an answer, in order. An error ends it.
pub type Body = BoxStream<'static, Result<Bytes, RpcError>>;

/// A body of one piece.
pub fn once(bytes: Bytes) -> Body {
    stream::once(async move { Ok(bytes) }).boxed()
}

/// A body without bytes.
pub fn empty() -> Body {
    stream::empty().boxed()
}

/// The whole body; TooLarge beyond `limit` bytes.
pub async fn collect(mut body: Body, limit: usize) -> Result<Bytes, RpcError> {
    let mut whole: Option<Bytes> = None;
    let mut joined = BytesMut::new();
    while let Some(piece) = body.next().await {
        let piece = piece?;
        let len = whole.as_ref().map_or(joined.len(), Bytes::len) + piece.len();
        if len > limit {
            return Err(RpcError::new(ErrorCode::TooLarge, format!("a message of more than {limit} bytes")));
        }
        match whole.take() {
            None if joined.is_empty() => whole = Some(piece),
            first => {
                joined.extend_from_slice(first.as_deref().unwrap_or_default());
                joined.extend_from_slice(&piece);
            }
        }
    }
    Ok(whole.unwrap_or_else(|| joined.freeze()))
}
