//! What node to node calls cost on this machine: `cargo run --release -p rpc --example rpc_throughput`.
//!
//! Client and server share the process: CPU seconds are those of both ends together.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt, join_all};
use futures_util::{StreamExt, stream};
use grid_types::NodeId;
use rpc::{
    Body, CALL_BYTES_MAX, Caller, Method, Network, NetworkExt, NodeKey, Peers, RpcConfig, RpcError,
    RpcServer, Service, Services, Trust, collect, once,
};
use tokio::time::Instant;

const ECHO: Method = Method::control("/bench/echo");
const TAKE: Method = Method::bulk("/bench/take");
const GIVE: Method = Method::bulk("/bench/give");
const DEADLINE: Duration = Duration::from_secs(60);
const CALLS: usize = 20_000;
const PIECE: usize = 64 << 10;
const PIECES: usize = (1 << 30) / PIECE;

struct Everybody;

impl Trust for Everybody {
    fn is_member(&self, _node: NodeId) -> bool {
        true
    }
}

struct Bench;

impl Service for Bench {
    fn answer(
        &self,
        _caller: Caller,
        method: &str,
        body: Body,
    ) -> BoxFuture<'static, Result<Body, RpcError>> {
        let method = method.to_owned();
        async move {
            match method.as_str() {
                "echo" => Ok(once(collect(body, CALL_BYTES_MAX).await?)),
                "give" => Ok(gibibyte()),
                _ => Ok(once(Bytes::copy_from_slice(&drain(body).await?.to_le_bytes()))),
            }
        }
        .boxed()
    }
}

fn gibibyte() -> Body {
    let piece = Bytes::from(vec![0x5a; PIECE]);
    stream::iter(0..PIECES).map(move |_| Ok(piece.clone())).boxed()
}

async fn drain(mut body: Body) -> Result<u64, RpcError> {
    let mut bytes = 0;
    while let Some(piece) = body.next().await {
        bytes += piece?.len() as u64;
    }
    Ok(bytes)
}

/// CPU seconds of this process: fields 14 and 15 of proc(5)'s `stat`, in ticks of 10 ms.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    ticks as f64 / 100.0
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let ((server_key, _), (client_key, _)) = (NodeKey::generate()?, NodeKey::generate()?);
    let services = Services::default();
    services.add("bench", Arc::new(Bench));
    let config = RpcConfig::default();
    let listen = ([127, 0, 0, 1], 0).into();
    let server = RpcServer::bind(listen, &server_key, Arc::new(Everybody), services, config.clone()).await?;
    let (peers, node) = (Peers::new(client_key, config), server_key.node());
    peers.set_addresses(node, vec![server.address()]);
    peers.call(node, ECHO, Bytes::new(), DEADLINE).await?;

    for at_once in [1, 16, 64] {
        let message = Bytes::from(vec![1; 1 << 10]);
        let (began, cpu) = (Instant::now(), cpu_seconds());
        let callers = (0..at_once).map(|_| async {
            for _ in 0..CALLS / at_once {
                peers.call(node, ECHO, message.clone(), DEADLINE).await?;
            }
            Ok::<_, RpcError>(())
        });
        for done in join_all(callers).await {
            done?;
        }
        let (wall, cpu) = (began.elapsed().as_secs_f64(), cpu_seconds() - cpu);
        let calls = (CALLS / at_once * at_once) as f64;
        println!(
            "echo of 1 KiB, {at_once:2} at once: {:.0} calls/s, {:.1} us CPU a call",
            calls / wall,
            cpu * 1e6 / calls
        );
    }
    for (what, upload) in [("there", true), ("back", false)] {
        let (began, cpu) = (Instant::now(), cpu_seconds());
        if upload {
            drain(peers.send(node, TAKE, gibibyte(), DEADLINE).await?).await?;
        } else {
            drain(peers.send(node, GIVE, rpc::empty(), DEADLINE).await?).await?;
        }
        let (wall, cpu) = (began.elapsed().as_secs_f64(), cpu_seconds() - cpu);
        let gigabytes = (PIECE * PIECES) as f64 / 1e9;
        println!(
            "1 GiB {what}: {:.0} MB/s, {:.2} s CPU a GB (both ends)",
            gigabytes * 1e3 / wall,
            cpu / gigabytes
        );
    }
    server.shutdown().await;
    Ok(())
}
