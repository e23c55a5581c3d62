use std::time::Duration;

use bytes::Bytes;
use grid_types::ErrorCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{ECHO, LONG, grid, grid_with, key};
use crate::{Fate, Method, NetworkExt, Peers, RpcConfig, dial_stranger};

const DOOR: Method = Method::control("/door/echo");

#[tokio::test]
async fn strangers_reach_open_services_alone() {
    let grid = grid().await;
    let joiner = key();
    let stranger = dial_stranger(grid.server.address(), &joiner, LONG).await.unwrap();
    assert_eq!(stranger.peer(), grid.node);
    assert_eq!(stranger.public_key(), grid.server_key.public_key());
    assert_eq!(stranger.address(), grid.server.address());

    let denied = stranger.call(ECHO, Bytes::from_static(b"!"), LONG).await.unwrap_err();
    assert_eq!((denied.code, denied.fate), (ErrorCode::AccessDenied, Fate::Refused));
    assert_eq!(stranger.call(DOOR, Bytes::from_static(b"!"), LONG).await.unwrap(), "!");
    {
        let callers = grid.service.callers.lock();
        assert_eq!((callers.len(), callers[0].node, callers[0].member), (1, joiner.node(), false));
        assert_eq!(&callers[0].exporter, stranger.exporter(), "both ends know the same bytes");
        assert_ne!(callers[0].exporter, [0; 32]);
    }

    let large = Bytes::from(vec![0; 65 << 10]);
    let error = stranger.call(DOOR, large, LONG).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::TooLarge);

    grid.members.add(joiner.node());
    assert_eq!(
        stranger.call(ECHO, Bytes::from_static(b"!"), LONG).await.unwrap(),
        "!",
        "membership is asked anew"
    );
}

#[tokio::test]
async fn another_nodes_key_is_refused() {
    let grid = grid().await;
    let other = key().node();
    grid.peers.set_addresses(other, vec![grid.server.address()]);
    let error = grid.peers.call(other, ECHO, Bytes::new(), LONG).await.unwrap_err();
    assert_eq!(error.fate, Fate::NotSent);
    assert_eq!(grid.service.callers.lock().len(), 0);

    // Behind the wrong one may be the right one.
    let wrong = grid_with(RpcConfig::default()).await;
    let peers = Peers::new(grid.client_key.clone(), RpcConfig::default());
    peers.set_addresses(grid.node, vec![wrong.server.address(), grid.server.address()]);
    assert_eq!(peers.call(grid.node, ECHO, Bytes::from_static(b"."), LONG).await.unwrap(), ".");
}

#[tokio::test]
async fn a_removed_member_is_cut_off() {
    let grid = grid().await;
    let call = || grid.peers.call(grid.node, ECHO, Bytes::from_static(b"."), LONG);
    assert_eq!(call().await.unwrap(), ".");
    grid.members.remove(grid.client_key.node());
    let denied = call().await.unwrap_err();
    assert_eq!((denied.code, denied.fate), (ErrorCode::AccessDenied, Fate::Refused));

    // What is under way ends with the connection.
    grid.members.add(grid.client_key.node());
    let under_way =
        tokio::spawn(grid.peers.call(grid.node, Method::control("/test/gated"), Bytes::new(), LONG));
    grid.service.waiting.notified().await;
    grid.server.close_strangers();
    assert_eq!(call().await.unwrap(), ".", "who is a member stays");
    grid.members.remove(grid.client_key.node());
    grid.server.close_strangers();
    let cut = under_way.await.unwrap().unwrap_err();
    assert_eq!(cut.fate, Fate::Unknown);

    grid.members.add(grid.client_key.node());
    assert_eq!(call().await.unwrap(), ".");
    let under_way =
        tokio::spawn(grid.peers.call(grid.node, Method::control("/test/gated"), Bytes::new(), LONG));
    grid.service.waiting.notified().await;
    grid.server.revoke(grid.client_key.node());
    assert_eq!(under_way.await.unwrap().unwrap_err().fate, Fate::Unknown);
    grid.service.gate.notify_waiters();
}

#[tokio::test]
async fn strangers_are_few_and_stay_short() {
    let config =
        RpcConfig { strangers_max: 2, stranger_lifetime: Duration::from_secs(1), ..RpcConfig::default() };
    let grid = grid_with(config).await;
    let dial = || async { dial_stranger(grid.server.address(), &key(), LONG).await };
    let (first, second) = (dial().await.unwrap(), dial().await.unwrap());
    let third = dial().await.err().unwrap();
    assert_eq!(third.fate, Fate::NotSent);
    assert_eq!(grid.peers.call(grid.node, ECHO, Bytes::from_static(b"."), LONG).await.unwrap(), ".");

    let gated = Method::control("/door/gated");
    let (one, two) =
        tokio::join!(first.call(gated, Bytes::new(), LONG), second.call(gated, Bytes::new(), LONG));
    for cut in [one.unwrap_err(), two.unwrap_err()] {
        assert_eq!((cut.code, cut.fate), (ErrorCode::Unavailable, Fate::Unknown), "{cut}");
    }
    let again = dial().await.unwrap();
    assert_eq!(again.call(DOOR, Bytes::from_static(b"."), LONG).await.unwrap(), ".");
    assert_eq!(grid.peers.call(grid.node, ECHO, Bytes::from_static(b"."), LONG).await.unwrap(), ".");
    assert_eq!(grid.server.connections(), 2, "the member's stayed");
}

#[tokio::test]
async fn who_became_a_member_is_sent_off_in_good_order() {
    let config = RpcConfig { stranger_lifetime: Duration::from_secs(1), ..RpcConfig::default() };
    let grid = grid_with(config).await;
    let joiner = key();
    let stranger = dial_stranger(grid.server.address(), &joiner, LONG).await.unwrap();
    grid.members.add(joiner.node());
    let service = grid.service.clone();
    let opens_late = async {
        service.waiting.notified().await;
        // The connection's time passes while the handler waits.
        tokio::time::sleep(Duration::from_millis(1_200)).await;
        service.gate.notify_one();
    };
    let (answer, ()) =
        tokio::join!(stranger.call(Method::control("/door/gated"), Bytes::new(), LONG), opens_late);
    assert_eq!(answer.unwrap(), "", "what is under way is finished");
    while grid.server.connections() > 0 {
        tokio::task::yield_now().await;
    }
    let late = stranger.call(DOOR, Bytes::new(), LONG).await.unwrap_err();
    assert_eq!(late.fate, Fate::NotSent);
}

#[tokio::test]
async fn one_address_does_not_keep_all_strangers_out() {
    let config = RpcConfig { strangers_per_address_max: 1, ..RpcConfig::default() };
    let grid = grid_with(config).await;
    let first = dial_stranger(grid.server.address(), &key(), LONG).await.unwrap();
    let second = dial_stranger(grid.server.address(), &key(), LONG).await.err().unwrap();
    assert_eq!(second.fate, Fate::NotSent);
    assert_eq!(first.call(DOOR, Bytes::from_static(b"."), LONG).await.unwrap(), ".");
}

#[tokio::test]
async fn a_member_opens_no_more_connections_than_it_may() {
    let config = RpcConfig { connections_per_member_max: 1, ..RpcConfig::default() };
    let grid = grid_with(config).await;
    assert!(grid.peers.call(grid.node, ECHO, Bytes::new(), LONG).await.is_ok());
    let error = grid.peers.call(grid.node, super::BULK_ECHO, Bytes::new(), LONG).await.unwrap_err();
    assert_eq!(error.fate, Fate::NotSent);
    assert!(error.detail.contains("no more connections"), "{error}");
}

#[tokio::test]
async fn garbage_silence_and_a_flood_of_handshakes_are_closed() {
    let config = RpcConfig {
        handshakes_max: 3,
        handshakes_per_address_max: 3,
        handshake_timeout: Duration::from_secs(1),
        ..RpcConfig::default()
    };
    let grid = grid_with(config).await;
    let mut garbage = TcpStream::connect(grid.server.address()).await.unwrap();
    garbage.write_all(b"GET / HTTP/1.1\r\nhost: shoal\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    // TLS says that this is none, or the connection is reset: in either way it ends.
    let _ = garbage.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");

    let mut silent = Vec::new();
    for _ in 0..8 {
        silent.push(TcpStream::connect(grid.server.address()).await.unwrap());
    }
    for tcp in &mut silent {
        assert!(matches!(tcp.read(&mut [0; 8]).await, Ok(0) | Err(_)), "closed without a word");
    }
    assert_eq!(grid.peers.call(grid.node, ECHO, Bytes::from_static(b"."), LONG).await.unwrap(), ".");
    assert_eq!(grid.server.connections(), 1);
}
