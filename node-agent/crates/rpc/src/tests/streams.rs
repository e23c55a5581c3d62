use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use grid_types::ErrorCode;
use parking_lot::Mutex;

use super::{BULK_ECHO, ECHO, Grid, LONG, PIECE, grid, grid_with, pieces};
use crate::{Body, Fate, Method, Network, NetworkExt, RpcConfig, RpcError, collect, empty};

/// 3 MiB.
const PIECES: usize = 48;
/// Pieces that may lie between a sender and a reader that does not read: the stream's window, what the sender queues
/// beyond it, one piece in hand at either end, one that is being asked for.
fn on_the_way_max() -> usize {
    let config = RpcConfig::default();
    (config.stream_window_bytes as usize + config.send_buffer_bytes) / PIECE + 3
}

#[tokio::test]
async fn a_stream_goes_there_and_comes_back() {
    let grid = grid().await;
    let taken = Arc::new(Mutex::new(0));
    let mut answer = grid
        .peers
        .send(grid.node, Method::bulk("/test/stream"), pieces(PIECES, taken.clone()), LONG)
        .await
        .unwrap();
    let mut bytes = 0;
    while let Some(piece) = answer.next().await {
        for byte in piece.unwrap() {
            assert_eq!(usize::from(byte), bytes / PIECE, "in order");
            bytes += 1;
        }
    }
    assert_eq!((bytes, *taken.lock()), (PIECES * PIECE, PIECES));
}

#[tokio::test]
async fn a_service_that_does_not_read_bounds_the_caller() {
    let grid = grid().await;
    let taken = Arc::new(Mutex::new(0));
    let sent = tokio::spawn(grid.peers.send(
        grid.node,
        Method::bulk("/test/read_late"),
        pieces(PIECES, taken.clone()),
        LONG,
    ));
    grid.service.waiting.notified().await;
    // Calls over the same connection: whatever could have been sent before them has been.
    for _ in 0..20 {
        grid.peers.call(grid.node, BULK_ECHO, Bytes::from_static(b"?"), LONG).await.unwrap();
    }
    assert!(*taken.lock() <= on_the_way_max(), "{} pieces left", *taken.lock());
    grid.service.gate.notify_one();
    let answer = collect(sent.await.unwrap().unwrap(), 8).await.unwrap();
    assert_eq!(answer, ((PIECES * PIECE) as u64).to_le_bytes().as_slice());
    assert_eq!(*taken.lock(), PIECES);
}

#[tokio::test]
async fn a_caller_that_does_not_read_bounds_the_service_and_holds_up_nobody() {
    let grid = grid().await;
    let mut answer = grid.peers.send(grid.node, Method::bulk("/test/flood"), empty(), LONG).await.unwrap();
    for _ in 0..20 {
        for method in [BULK_ECHO, ECHO] {
            assert_eq!(
                grid.peers.call(grid.node, method, Bytes::from_static(b"?"), LONG).await.unwrap(),
                "?"
            );
        }
    }
    let taken = *grid.service.flooded.lock();
    assert!(taken > 0 && taken <= on_the_way_max(), "{taken} pieces left");
    let mut bytes = 0;
    while let Some(piece) = answer.next().await {
        bytes += piece.unwrap().len();
    }
    assert_eq!((bytes, *grid.service.flooded.lock()), (PIECES * PIECE, PIECES));
}

/// Streams that nobody reads, all but one of those that a connection has.
const UNREAD: usize = 39;

fn few_streams() -> RpcConfig {
    RpcConfig { streams_max: UNREAD as u32 + 1, ..RpcConfig::default() }
}

async fn calls_get_through(grid: &Grid) {
    for _ in 0..20 {
        for method in [BULK_ECHO, ECHO] {
            let echo = grid.peers.call(grid.node, method, Bytes::from_static(b"?"), LONG);
            assert_eq!(echo.await.unwrap(), "?");
        }
    }
}

#[tokio::test]
async fn answers_that_nobody_reads_hold_up_no_others() {
    let grid = grid_with(few_streams()).await;
    let mut stuck = Vec::new();
    for _ in 0..UNREAD {
        stuck.push(grid.peers.send(grid.node, Method::bulk("/test/flood"), empty(), LONG).await.unwrap());
    }
    calls_get_through(&grid).await;
    let taken = *grid.service.flooded.lock();
    assert!(taken <= UNREAD * on_the_way_max(), "each stream stops: {taken} pieces left");
    // The last stream, too: who gets none is told so, and control calls go on.
    stuck.push(grid.peers.send(grid.node, Method::bulk("/test/flood"), empty(), LONG).await.unwrap());
    let short = Duration::from_millis(50);
    let error = grid.peers.call(grid.node, BULK_ECHO, Bytes::new(), short).await.unwrap_err();
    assert_eq!(error.fate, Fate::NotSent, "{error}");
    assert_eq!(grid.peers.call(grid.node, ECHO, Bytes::from_static(b"?"), LONG).await.unwrap(), "?");
    // One after the other: none of them needs another one to be read first.
    for answer in stuck {
        assert_eq!(collect(answer, PIECES * PIECE).await.unwrap().len(), PIECES * PIECE);
    }
}

#[tokio::test]
async fn requests_that_no_service_reads_hold_up_no_others() {
    let grid = grid_with(few_streams()).await;
    let taken = Arc::new(Mutex::new(0));
    let late = |_| {
        let body = pieces(PIECES, taken.clone());
        tokio::spawn(grid.peers.send(grid.node, Method::bulk("/test/read_late"), body, LONG))
    };
    let stuck: Vec<_> = (0..UNREAD).map(late).collect();
    // Each has filled its window.
    let window = RpcConfig::default().stream_window_bytes as usize / PIECE;
    while *taken.lock() < UNREAD * window {
        tokio::task::yield_now().await;
    }
    calls_get_through(&grid).await;
    assert!(*taken.lock() <= UNREAD * on_the_way_max(), "{} pieces left", *taken.lock());
    for call in stuck {
        while !call.is_finished() {
            grid.service.gate.notify_one();
            tokio::task::yield_now().await;
        }
        let answer = collect(call.await.unwrap().unwrap(), 8).await.unwrap();
        assert_eq!(answer, ((PIECES * PIECE) as u64).to_le_bytes().as_slice());
    }
}

fn then(pieces: Vec<Result<Bytes, RpcError>>, rest: Body) -> Body {
    futures_util::stream::iter(pieces).chain(rest).boxed()
}

#[tokio::test]
async fn a_request_that_breaks_off_reaches_its_service_as_an_error() {
    let grid = grid().await;
    let half = || Ok(Bytes::from_static(b"half"));
    let swallow = Method::bulk("/test/swallow");

    // The sender's own error survives, in both directions.
    let broken = Err(RpcError::new(ErrorCode::DriveFailed, "no more bytes"));
    let error = grid.peers.send(grid.node, swallow, then(vec![half(), broken], empty()), LONG).await.err();
    assert_eq!(error.map(|error| error.code), Some(ErrorCode::DriveFailed));
    grid.service.swallow_ended.notified().await;

    // A call that is given up.
    let stands = then(vec![half()], futures_util::stream::pending().boxed());
    let given_up = grid.peers.send(grid.node, swallow, stands, Duration::from_millis(300)).await.err();
    assert_eq!(given_up.map(|error| error.fate), Some(Fate::Unknown));
    grid.service.swallow_ended.notified().await;

    // A call whose future is dropped once the service has it.
    let (told, ready) = tokio::sync::oneshot::channel();
    let told = futures_util::stream::once(async move {
        told.send(()).unwrap();
        Ok(Bytes::from_static(b"other half"))
    });
    let stands = then(vec![half()], told.chain(futures_util::stream::pending()).boxed());
    let dropped = tokio::spawn(grid.peers.send(grid.node, swallow, stands, LONG));
    ready.await.unwrap();
    dropped.abort();
    grid.service.swallow_ended.notified().await;

    let ends = grid.service.swallowed.lock().clone();
    assert_eq!(ends.len(), 3);
    let errors: Vec<_> = ends.into_iter().map(|end| end.unwrap_err()).collect();
    assert_eq!((errors[0].code, errors[0].detail.as_str()), (ErrorCode::DriveFailed, "no more bytes"));
    assert_eq!((errors[1].fate, errors[2].fate), (Fate::Unknown, Fate::Unknown));
}

#[tokio::test]
async fn dropping_an_answer_ends_the_request_that_still_grows() {
    let grid = grid().await;
    let (alive, mut gone) = tokio::sync::mpsc::channel::<()>(1);
    let body = futures_util::stream::once(async { Ok(Bytes::from_static(b"x")) })
        .chain(futures_util::stream::once(async move {
            let _alive = alive;
            futures_util::future::pending().await
        }))
        .boxed();
    let mut answer = grid.peers.send(grid.node, Method::bulk("/test/stream"), body, LONG).await.unwrap();
    assert_eq!(answer.next().await.unwrap().unwrap(), "x");
    drop(answer);
    assert_eq!(gone.recv().await, None, "the request's body was dropped");
}

#[tokio::test]
async fn an_answer_that_stands_still_fails() {
    let grid = grid().await;
    let deadline = Duration::from_millis(100);
    let mut answer =
        grid.peers.send(grid.node, Method::bulk("/test/stand_still"), empty(), deadline).await.unwrap();
    assert_eq!(answer.next().await.unwrap().unwrap(), "x");
    let error = answer.next().await.unwrap().unwrap_err();
    assert_eq!(error.fate, Fate::Unknown);
    assert!(answer.next().await.is_none());
}

#[tokio::test]
async fn a_request_that_moves_may_take_longer_than_its_deadline() {
    let grid = grid().await;
    let deadline = Duration::from_secs(1);
    // 24 pieces, 50 ms apart: the deadline passes, and the answer comes after all.
    let slow = futures_util::stream::iter(0..24)
        .then(|_| async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            Ok(Bytes::from_static(b"."))
        })
        .boxed();
    let answer = grid.peers.send(grid.node, BULK_ECHO, slow, deadline).await.unwrap();
    assert_eq!(collect(answer, 100).await.unwrap(), ".".repeat(24));
}

/// Many of everything on two threads, some given up at random moments: nobody hangs, nothing is mixed up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_of_calls_and_streams_gets_through() {
    let grid = grid().await;
    let crowd = (0..400_u32).map(|number| {
        let (peers, node) = (grid.peers.clone(), grid.node);
        tokio::spawn(async move {
            match number % 4 {
                0 => {
                    let said = Bytes::copy_from_slice(&number.to_le_bytes());
                    assert_eq!(peers.call(node, ECHO, said.clone(), LONG).await.unwrap(), said);
                }
                1 => {
                    let answer = peers
                        .send(node, Method::bulk("/test/stream"), pieces(3, Arc::default()), LONG)
                        .await
                        .unwrap();
                    assert_eq!(collect(answer, 3 * PIECE).await.unwrap().len(), 3 * PIECE);
                }
                2 => {
                    let call = peers.send(node, BULK_ECHO, pieces(3, Arc::default()), LONG);
                    let _ = tokio::time::timeout(Duration::from_micros(u64::from(number) * 20), call).await;
                }
                _ => {
                    let flood = peers.send(node, Method::bulk("/test/flood"), empty(), LONG).await;
                    assert!(!flood.unwrap().next().await.unwrap().unwrap().is_empty());
                }
            }
        })
    });
    for one in futures_util::future::join_all(crowd).await {
        one.unwrap();
    }
    assert_eq!(grid.server.connections(), 2);
}
