use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use grid_types::ErrorCode;

use super::{BULK_ECHO, ECHO, LONG, Shared, TestService, grid, grid_with, key};
use crate::{Fate, Method, Network, NetworkExt, Peers, RpcConfig, Services, empty};

#[tokio::test]
async fn a_call_comes_back_and_names_the_caller_by_its_key() {
    let grid = grid().await;
    for method in [ECHO, BULK_ECHO] {
        let answer = grid.peers.call(grid.node, method, Bytes::from_static(b"hello"), LONG).await.unwrap();
        assert_eq!(answer, "hello");
    }
    let nothing = grid.peers.call(grid.node, ECHO, Bytes::new(), LONG).await.unwrap();
    assert_eq!(nothing, "");

    let callers = grid.service.callers.lock().clone();
    assert_eq!(callers.len(), 3);
    for caller in &callers {
        assert_eq!(caller.node, grid.client_key.node());
        assert_eq!(caller.public_key, grid.client_key.public_key());
        assert!(caller.member);
    }
    assert_ne!(callers[0].exporter, callers[1].exporter, "two lanes are two connections");
    assert_eq!(callers[0].exporter, callers[2].exporter, "a connection is used again");
    assert_eq!(grid.server.connections(), 2);
}

#[tokio::test]
async fn control_calls_are_answered_while_all_threads_for_bodies_are_busy() {
    let bulk = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("bulk")
        .enable_all()
        .build()
        .unwrap();
    let grid =
        grid_with(RpcConfig { bulk_runtime: Some(bulk.handle().clone()), ..RpcConfig::default() }).await;
    let thread = |method| grid.peers.call(grid.node, method, Bytes::new(), LONG);
    assert_eq!(thread(Method::bulk("/test/thread")).await.unwrap(), "bulk");
    assert_ne!(thread(Method::control("/test/thread")).await.unwrap(), "bulk");
    let (release, busy) = std::sync::mpsc::sync_channel::<()>(1);
    let hashing = bulk.spawn(async move { busy.recv() });
    let answer = grid.peers.call(grid.node, ECHO, Bytes::from_static(b"alive"), LONG).await;
    assert_eq!(answer.unwrap(), "alive");
    drop(release);
    assert!(hashing.await.unwrap().is_err(), "it was busy until now");
    bulk.shutdown_background();
}

#[tokio::test]
async fn errors_keep_code_words_and_fate() {
    let grid = grid().await;
    let call = |path| grid.peers.call(grid.node, Method::control(path), Bytes::new(), LONG);
    let refused = call("/test/refuse").await.unwrap_err();
    assert_eq!(
        (refused.code, refused.detail.as_str(), refused.fate),
        (ErrorCode::StaleGeneration, "no, thank you", Fate::Refused)
    );
    let unsure = call("/test/unsure").await.unwrap_err();
    assert_eq!((unsure.code, unsure.fate), (ErrorCode::Unavailable, Fate::Unknown));
    let long = call("/test/long_words").await.unwrap_err();
    assert_eq!((long.code, long.detail), (ErrorCode::Conflict, "é".repeat(512)));
    let broken = call("/test/panic").await.unwrap_err();
    assert_eq!((broken.code, broken.fate), (ErrorCode::Internal, Fate::Unknown));
    let absent = call("/nowhere/at_all").await.unwrap_err();
    assert_eq!((absent.code, absent.fate), (ErrorCode::Unavailable, Fate::Refused));
    assert_eq!(grid.server.connections(), 1, "none of that costs the connection");
}

#[tokio::test]
async fn an_error_in_the_middle_of_an_answer_is_no_end() {
    let grid = grid().await;
    let mut answer =
        grid.peers.send(grid.node, Method::bulk("/test/break_off"), empty(), LONG).await.unwrap();
    assert_eq!(answer.next().await.unwrap().unwrap(), "half a");
    let error = answer.next().await.unwrap().unwrap_err();
    assert_eq!((error.code, error.detail.as_str()), (ErrorCode::Corrupt, "the other half is rotten"));
    assert!(answer.next().await.is_none());
}

#[tokio::test]
async fn a_hundred_calls_share_one_connection() {
    let grid = grid().await;
    let calls = (0..100_u32)
        .map(|number| grid.peers.call(grid.node, ECHO, Bytes::copy_from_slice(&number.to_le_bytes()), LONG));
    let answers = futures_util::future::join_all(calls).await;
    for (number, answer) in (0..100_u32).zip(answers) {
        assert_eq!(answer.unwrap(), number.to_le_bytes().as_slice());
    }
    assert_eq!(grid.server.connections(), 1, "callers that wait for a connection wait for the same one");
}

#[tokio::test]
async fn more_calls_than_streams_wait_for_their_turn() {
    let config = RpcConfig { streams_max: 8, ..RpcConfig::default() };
    let grid = super::grid_with(config).await;
    let calls = (0..100).map(|_| grid.peers.call(grid.node, ECHO, Bytes::from_static(b"?"), LONG));
    for answer in futures_util::future::join_all(calls).await {
        assert_eq!(answer.unwrap(), "?");
    }
}

#[tokio::test]
async fn a_node_calls_itself_without_a_connection() {
    let (key, services) = (key(), Services::default());
    let service = Arc::new(TestService::default());
    services.add("test", Arc::new(Shared(service.clone())));
    let peers = Peers::new(key.clone(), RpcConfig::default()).with_local(services);
    assert_eq!(peers.call(key.node(), ECHO, Bytes::from_static(b"me"), LONG).await.unwrap(), "me");
    assert!(service.callers.lock()[0].member);
    let refused =
        peers.call(key.node(), Method::control("/test/refuse"), Bytes::new(), LONG).await.unwrap_err();
    assert_eq!((refused.code, refused.fate), (ErrorCode::StaleGeneration, Fate::Refused));
}

#[tokio::test]
async fn four_mebibytes_fit_in_a_call_and_no_more() {
    let grid = grid().await;
    let full = Bytes::from(vec![7; crate::CALL_BYTES_MAX]);
    assert_eq!(grid.peers.call(grid.node, BULK_ECHO, full.clone(), LONG).await.unwrap(), full);
    let more = Bytes::from(vec![7; crate::CALL_BYTES_MAX + 1]);
    let error = grid.peers.call(grid.node, BULK_ECHO, more, LONG).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::TooLarge);
    let answer = grid.peers.call(grid.node, BULK_ECHO, Bytes::from_static(b"on"), LONG).await.unwrap();
    assert_eq!(answer, "on", "the connection lives on");
}
