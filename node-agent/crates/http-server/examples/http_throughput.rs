//! A bare sink and source, to measure what the HTTP path alone costs: `PUT /…` is read and dropped, `GET /SIZE` answers
//! SIZE bytes from memory in pieces of 256 KiB. `GET /cpu` answers the CPU seconds spent so far.
//!
//! `cargo run --release -p http-server --example http_throughput -- 127.0.0.1:9900`

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_server::{Handler, HttpConfig, HttpServer, Peer, RequestBody, ResponseBody, full, stream};

const PIECE_BYTES: u64 = 256 << 10;

struct SinkAndSource;

impl Handler for SinkAndSource {
    async fn handle(&self, mut request: Request<RequestBody>, _peer: Peer) -> Response<ResponseBody> {
        let path = request.uri().path().trim_start_matches('/').to_owned();
        if path == "cpu" {
            return Response::new(full(cpu_seconds().to_string()));
        }
        let (mut bytes, mut pieces) = (0_u64, 0_u64);
        while let Some(Ok(piece)) = request.body_mut().next().await {
            bytes += piece.len() as u64;
            pieces += 1;
        }
        let Ok(size) = path.parse::<u64>() else {
            return Response::new(full(format!("{bytes} bytes in {pieces} pieces")));
        };
        let piece = Bytes::from(vec![7; PIECE_BYTES as usize]);
        let pieces = (0..size.div_ceil(PIECE_BYTES)).map(move |number| {
            let length = (size - number * PIECE_BYTES).min(PIECE_BYTES);
            Ok(piece.slice(..length as usize))
        });
        let mut response = Response::new(stream(futures_util::stream::iter(pieces)));
        response.headers_mut().insert("content-length", size.into());
        response
    }
}

/// User and system time of this process, from the kernel's accounting in ticks of 10 ms.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

#[tokio::main]
async fn main() {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let mut config = HttpConfig::default();
    if let Some(bytes) = std::env::args().nth(2) {
        config.body_buffer_bytes = bytes.parse().expect("bytes of a body buffer");
    }
    let address = address.parse().expect("an address to listen on");
    let server = HttpServer::bind(address, None, config, Arc::new(SinkAndSource)).await.expect("listens");
    println!("{}", server.address().expect("a TCP address"));
    std::future::pending::<()>().await;
}
