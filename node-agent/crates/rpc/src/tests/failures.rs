use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use grid_types::ErrorCode;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::{BULK_ECHO, ECHO, LONG, grid, grid_with, key, loopback, pieces};
use crate::{Fate, Method, Network, NetworkExt, Peers, RpcConfig, RpcServer, empty};

#[tokio::test]
async fn nobody_listening_is_not_sent_and_fails_fast_for_a_while() {
    let config = RpcConfig { backoff_min: LONG, backoff_max: LONG, ..RpcConfig::default() };
    let grid = grid_with(config).await;
    let closed = {
        let listener = TcpListener::bind(loopback()).await.unwrap();
        listener.local_addr().unwrap()
    };
    let node = key().node();
    let unknown = grid.peers.call(node, ECHO, Bytes::new(), LONG).await.unwrap_err();
    assert_eq!((unknown.code, unknown.fate), (ErrorCode::Unavailable, Fate::NotSent));

    grid.peers.set_addresses(grid.node, vec![closed]);
    let refused = grid.peers.call(grid.node, ECHO, Bytes::new(), LONG).await.unwrap_err();
    assert_eq!(refused.fate, Fate::NotSent);

    // Somebody listens there now, and for the time of the back-off nobody looks.
    let _late = TcpListener::bind(closed).await.unwrap();
    let again = grid.peers.call(grid.node, ECHO, Bytes::new(), LONG).await.unwrap_err();
    assert_eq!(again, refused);

    grid.peers.set_addresses(grid.node, vec![grid.server.address()]);
    assert!(
        grid.peers.call(grid.node, ECHO, Bytes::new(), LONG).await.is_ok(),
        "new addresses are tried at once"
    );
}

#[tokio::test]
async fn a_black_hole_is_not_sent_by_the_callers_deadline_and_the_next_address_is_tried() {
    let grid = grid().await;
    // Accepts by its backlog and never answers.
    let hole = TcpListener::bind(loopback()).await.unwrap();
    let node = key().node();
    grid.peers.set_addresses(node, vec![hole.local_addr().unwrap()]);
    let error = grid.peers.call(node, ECHO, Bytes::new(), Duration::from_millis(50)).await.unwrap_err();
    assert_eq!(error.fate, Fate::NotSent);
    let send = grid.peers.send(node, ECHO, crate::once(Bytes::new()), Duration::from_millis(50)).await;
    assert_eq!(send.err().map(|error| error.fate), Some(Fate::NotSent));

    let config = RpcConfig { handshake_timeout: Duration::from_millis(500), ..RpcConfig::default() };
    let peers = Peers::new(grid.client_key.clone(), config);
    peers.set_addresses(grid.node, vec![hole.local_addr().unwrap(), grid.server.address()]);
    assert_eq!(peers.call(grid.node, ECHO, Bytes::from_static(b"."), LONG).await.unwrap(), ".");
}

#[tokio::test]
async fn addresses_that_come_during_an_attempt_are_tried_once_it_failed() {
    let config = RpcConfig {
        handshake_timeout: Duration::from_millis(500),
        backoff_min: LONG,
        backoff_max: LONG,
        ..RpcConfig::default()
    };
    let grid = grid_with(config).await;
    let hole = TcpListener::bind(loopback()).await.unwrap();
    grid.peers.set_addresses(grid.node, vec![hole.local_addr().unwrap()]);
    let early = grid.peers.call(grid.node, ECHO, Bytes::new(), Duration::from_millis(50)).await;
    assert_eq!(early.unwrap_err().fate, Fate::NotSent);
    grid.peers.set_addresses(grid.node, vec![grid.server.address()]);
    let joined = grid.peers.call(grid.node, ECHO, Bytes::new(), LONG).await;
    assert_eq!(joined.unwrap_err().fate, Fate::NotSent, "the attempt under way went to the old address");
    assert!(grid.peers.call(grid.node, ECHO, Bytes::new(), LONG).await.is_ok());
}

#[tokio::test]
async fn no_answer_by_the_deadline_is_unknown_and_the_handler_runs_on() {
    let grid = grid().await;
    let gated = Method::control("/test/gated");
    assert!(grid.peers.call(grid.node, ECHO, Bytes::new(), LONG).await.is_ok());
    let error = grid
        .peers
        .send(grid.node, gated, crate::once(Bytes::from_static(b"x")), Duration::from_millis(300))
        .await
        .err()
        .unwrap();
    assert_eq!((error.code, error.fate), (ErrorCode::Unavailable, Fate::Unknown));
    grid.service.waiting.notified().await;
    assert_eq!(Arc::strong_count(&grid.service), 4, "the test, two services and the handler that waits");
    assert!(grid.peers.call(grid.node, ECHO, Bytes::new(), LONG).await.is_ok());
    grid.service.gate.notify_one();
    while Arc::strong_count(&grid.service) > 3 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_server_that_comes_back_on_its_port_is_found_again() {
    let grid =
        grid_with(RpcConfig { drain_timeout: Duration::from_millis(200), ..RpcConfig::default() }).await;
    let address = grid.server.address();
    let call = || grid.peers.call(grid.node, ECHO, Bytes::from_static(b"."), LONG);
    assert_eq!(call().await.unwrap(), ".");
    let under_way = tokio::spawn(grid.peers.call(grid.node, Method::bulk("/test/gated"), Bytes::new(), LONG));
    grid.service.waiting.notified().await;
    grid.server.shutdown().await;
    assert_eq!(under_way.await.unwrap().unwrap_err().fate, Fate::Unknown, "it was cut after the drain time");
    assert_eq!(call().await.unwrap_err().fate, Fate::NotSent, "nobody is there");

    let config = RpcConfig::default();
    let again =
        RpcServer::bind(address, &grid.server_key, grid.members.clone(), grid.services.clone(), config);
    let _again = again.await.unwrap();
    let answered = async {
        loop {
            match call().await {
                Ok(answer) => break answer,
                Err(error) => assert_eq!(error.fate, Fate::NotSent),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert_eq!(tokio::time::timeout(LONG, answered).await.unwrap(), ".");
}

#[tokio::test]
async fn shutdown_lets_requests_in_flight_finish() {
    let grid = grid().await;
    let under_way =
        tokio::spawn(grid.peers.call(grid.node, Method::control("/test/gated"), Bytes::new(), LONG));
    grid.service.waiting.notified().await;
    let service = grid.service.clone();
    let down = tokio::spawn(grid.server.shutdown());
    service.gate.notify_one();
    assert_eq!(under_way.await.unwrap().unwrap(), "");
    down.await.unwrap();
}

/// Carries bytes between a client and a server until it is told to stop, and then keeps the connections open.
async fn proxy(to: SocketAddr) -> (SocketAddr, CancellationToken) {
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let listener = TcpListener::bind(loopback()).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let stopped = stopped.clone();
            tokio::spawn(async move {
                let mut client = client;
                let mut server = TcpStream::connect(to).await.unwrap();
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut client, &mut server) => { let _ = client.shutdown().await; }
                    () = stopped.cancelled() => std::future::pending::<()>().await,
                }
            });
        }
    });
    (address, stop)
}

#[tokio::test]
async fn a_peer_that_falls_silent_is_noticed_on_both_lanes() {
    // Pings are what ends the calls: their own deadlines are far away.
    let config = RpcConfig {
        ping_after: Duration::from_millis(50),
        ping_timeout: Duration::from_secs(1),
        bulk_ping_timeout: LONG,
        handshake_timeout: Duration::from_secs(1),
        ..RpcConfig::default()
    };
    let grid = grid_with(config).await;
    let (address, stop) = proxy(grid.server.address()).await;
    grid.peers.set_addresses(grid.node, vec![address]);
    assert!(grid.peers.call(grid.node, ECHO, Bytes::new(), LONG).await.is_ok());
    assert!(grid.peers.call(grid.node, BULK_ECHO, Bytes::new(), LONG).await.is_ok());
    stop.cancel();
    let (control, bulk) = tokio::join!(
        grid.peers.call(grid.node, ECHO, Bytes::new(), LONG * 10),
        grid.peers.call(grid.node, BULK_ECHO, Bytes::new(), LONG * 10)
    );
    assert_eq!(control.unwrap_err().fate, Fate::Unknown);
    assert_eq!(bulk.unwrap_err().fate, Fate::Unknown);
    let next = grid.peers.call(grid.node, ECHO, Bytes::new(), LONG).await.unwrap_err();
    assert_eq!(next.fate, Fate::NotSent, "no connection, no request");
}

#[tokio::test]
async fn a_connection_that_breaks_in_the_middle_of_an_answer_is_no_end() {
    let grid = grid().await;
    let mut answer = grid.peers.send(grid.node, Method::bulk("/test/flood"), empty(), LONG).await.unwrap();
    answer.next().await.unwrap().unwrap();
    grid.server.revoke(grid.client_key.node());
    let mut last = None;
    while let Some(piece) = answer.next().await {
        last = Some(piece.map(|piece| piece.len()));
    }
    assert_eq!(last.unwrap().unwrap_err().fate, Fate::Unknown);
}

#[tokio::test]
async fn a_connection_that_breaks_in_the_middle_of_a_request_reaches_the_service_as_an_error() {
    let grid = grid().await;
    let endless = pieces(2, Arc::default()).chain(futures_util::stream::pending()).boxed();
    let sent = tokio::spawn(grid.peers.send(grid.node, Method::bulk("/test/swallow"), endless, LONG));
    while grid.service.callers.lock().is_empty() {
        tokio::task::yield_now().await;
    }
    grid.peers.forget(grid.node);
    grid.service.swallow_ended.notified().await;
    assert_eq!(grid.service.swallowed.lock()[0].as_ref().map_err(|error| error.fate), Err(Fate::Unknown));
    assert_eq!(sent.await.unwrap().err().map(|error| error.fate), Some(Fate::Unknown));
    let forgotten = grid.peers.call(grid.node, ECHO, Bytes::new(), LONG).await.unwrap_err();
    assert_eq!(forgotten.fate, Fate::NotSent);
}

#[tokio::test]
async fn a_thousand_calls_given_up_leave_the_connection_alone() {
    let grid = grid().await;
    assert!(grid.peers.call(grid.node, ECHO, Bytes::new(), LONG).await.is_ok());
    let exporter = grid.service.callers.lock()[0].exporter;
    for _ in 0..1_200 {
        let answer =
            grid.peers.send(grid.node, Method::control("/test/stand_still"), empty(), LONG).await.unwrap();
        drop(answer);
    }
    assert!(grid.peers.call(grid.node, ECHO, Bytes::new(), LONG).await.is_ok());
    assert_eq!(grid.service.callers.lock().last().unwrap().exporter, exporter, "still the first connection");
}
