use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::{
    Handler, HttpConfig, HttpServer, Observer, Peer, RequestBody, RequestBodyError, RequestLabels,
    RequestObserver, RequestRecord, ResponseBody, TlsIdentity,
};

/// Answers by path, so that each test says in its request what it wants.
struct Door;

impl Handler for Door {
    async fn handle(&self, mut request: Request<RequestBody>, _peer: Peer) -> Response<ResponseBody> {
        let path = request.uri().path().to_owned();
        let mut response = match path.as_str() {
            "/panic" => panic!("asked for"),
            "/refuse" => {
                let mut response = Response::new(crate::full("no"));
                *response.status_mut() = StatusCode::FORBIDDEN;
                response
            }
            "/slow" => {
                tokio::time::sleep(Duration::from_millis(300)).await;
                Response::new(crate::full("slow"))
            }
            "/keep-body" => {
                // The answer ends while somebody still reads the body.
                tokio::spawn(async move {
                    while let Some(Ok(_)) = request.body_mut().next().await {}
                    tokio::time::sleep(Duration::from_millis(500)).await;
                });
                Response::new(crate::full("early"))
            }
            "/never" => std::future::pending().await,
            "/endless" => Response::new(crate::stream(futures_util::stream::repeat_with(|| {
                Ok(Bytes::from_static(&[7; 65_536]))
            }))),
            "/broken" => Response::new(crate::stream(futures_util::stream::iter([
                Ok(Bytes::from_static(b"some")),
                Err("the rest is lost".into()),
            ]))),
            "/late-panic" => Response::new(crate::stream(futures_util::stream::poll_fn(|_| panic!("late")))),
            "/head" => {
                let mut response = Response::new(crate::empty());
                response.headers_mut().insert("content-length", "12345".parse().unwrap());
                response
            }
            _ => {
                let mut count = 0;
                let mut failed = None;
                while let Some(piece) = request.body_mut().next().await {
                    match piece {
                        Ok(piece) => count += piece.len(),
                        Err(RequestBodyError::Stalled(_)) => failed = Some("stalled"),
                        Err(RequestBodyError::Cut(_)) => failed = Some("cut"),
                    }
                    if failed.is_some() {
                        break;
                    }
                }
                Response::new(crate::full(failed.map_or(format!("{path} {count}"), str::to_owned)))
            }
        };
        response.extensions_mut().insert(RequestLabels { operation: "Test", error_code: None });
        response
    }
}

#[derive(Clone)]
struct Records(mpsc::Sender<RequestRecord>);

impl RequestObserver for Records {
    fn request_finished(&self, record: &RequestRecord) {
        let _ = self.0.try_send(record.clone());
    }
}

async fn door(config: HttpConfig) -> (HttpServer, SocketAddr) {
    let server =
        HttpServer::bind("127.0.0.1:0".parse().unwrap(), None, config, Arc::new(Door)).await.unwrap();
    let address = server.address().unwrap();
    (server, address)
}

async fn watched_door(mut config: HttpConfig) -> (HttpServer, SocketAddr, mpsc::Receiver<RequestRecord>) {
    let (sender, receiver) = mpsc::channel(64);
    config.observer = Observer::new(Arc::new(Records(sender)));
    let (server, address) = door(config).await;
    (server, address, receiver)
}

/// Sends bytes, then reads to the end of the connection.
async fn talk(address: SocketAddr, request: impl AsRef<[u8]>) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_ref()).await.unwrap();
    read_to_close(&mut stream).await
}

async fn read_to_close(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await.unwrap().unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// Reads until `text` has come.
async fn read_until(stream: &mut (impl tokio::io::AsyncRead + Unpin), text: &str) -> String {
    let mut answer = String::new();
    let mut buffer = vec![0; 4_096];
    while !answer.contains(text) {
        let count =
            tokio::time::timeout(Duration::from_secs(20), stream.read(&mut buffer)).await.unwrap().unwrap();
        assert!(count > 0, "the connection closed after {answer:?}");
        answer.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
    answer
}

fn short() -> HttpConfig {
    HttpConfig {
        header_timeout: Duration::from_millis(150),
        idle_timeout: Duration::from_millis(400),
        body_stall_timeout: Duration::from_millis(200),
        drain_timeout: Duration::from_millis(300),
        park_after: Duration::from_millis(40),
        ..HttpConfig::default()
    }
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order_on_one_connection() {
    let (_server, address) = door(HttpConfig::default()).await;
    let answer = talk(
        address,
        "PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabcGET /b HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
    )
    .await;
    let (first, second) = (answer.find("/a 3").unwrap(), answer.find("/b 0").unwrap());
    assert!(first < second);
}

#[tokio::test]
async fn half_a_head_is_answered_with_408() {
    let (_server, address) = door(short()).await;
    let answer = talk(address, "GET /a HTTP/1.1\r\nHost: h\r\nX-Slow").await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
}

#[tokio::test]
async fn a_head_that_drips_is_answered_with_408_too() {
    let (_server, address) = door(short()).await;
    let (mut read, mut write) = TcpStream::connect(address).await.unwrap().into_split();
    let drip = tokio::spawn(async move {
        let _ = write.write_all(b"GET /a HTTP/1.1\r\nX: ").await;
        while write.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let answer = read_until(&mut read, "\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    drip.abort();
}

#[tokio::test]
async fn huge_and_many_headers_are_answered_with_431() {
    let (_server, address) = door(HttpConfig::default()).await;
    let huge = format!("GET / HTTP/1.1\r\nHost: h\r\nX: {}\r\n\r\n", "x".repeat(70_000));
    assert!(talk(address, huge).await.starts_with("HTTP/1.1 431 "));
    let many: String = (0..129).map(|n| format!("x-{n}: 1\r\n")).collect();
    assert!(talk(address, format!("GET / HTTP/1.1\r\n{many}\r\n")).await.starts_with("HTTP/1.1 431 "));
    let enough: String = (0..120).map(|n| format!("x-{n}: 1\r\n")).collect();
    let answer = talk(address, format!("GET / HTTP/1.1\r\nConnection: close\r\n{enough}\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test]
async fn idle_connections_are_closed_fresh_and_kept_ones() {
    let (server, address) = door(short()).await;
    assert_eq!(talk(address, "").await, "");
    let answer = talk(address, "GET /a HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert!(answer.ends_with("/a 0"), "{answer}");
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn a_parked_connection_serves_on_and_keeps_what_was_read_too_far() {
    let config = HttpConfig { header_timeout: Duration::from_secs(10), ..short() };
    let (_server, address) = door(HttpConfig { idle_timeout: Duration::from_secs(10), ..config }).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    for turn in 0..3 {
        // The second request's first bytes come with the first request.
        let request = format!("PUT /a{turn} HTTP/1.1\r\nContent-Length: 2\r\n\r\nxyGET /b");
        stream.write_all(request.as_bytes()).await.unwrap();
        read_until(&mut stream, &format!("/a{turn} 2")).await;
        tokio::time::sleep(Duration::from_millis(150)).await;
        stream.write_all(format!("{turn} HTTP/1.1\r\n\r\n").as_bytes()).await.unwrap();
        read_until(&mut stream, &format!("/b{turn} 0")).await;
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
}

#[tokio::test]
async fn large_bodies_follow_each_other_on_one_connection() {
    let (_server, address, mut records) = watched_door(HttpConfig::default()).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    for turn in 0..20 {
        let size = 100_000 * turn + 1;
        let mut request = format!("PUT /{turn} HTTP/1.1\r\nContent-Length: {size}\r\n\r\n").into_bytes();
        request.extend(vec![7; size]);
        // The next head comes with the end of the body.
        request.extend(b"GET /next HTTP/1.1\r\n");
        stream.write_all(&request).await.unwrap();
        read_until(&mut stream, &format!("/{turn} {size}")).await;
        stream.write_all(b"\r\n").await.unwrap();
        read_until(&mut stream, "/next 0").await;
        assert_eq!(records.recv().await.unwrap().bytes_in, size as u64);
        assert_eq!(records.recv().await.unwrap().path, "/next");
    }
}

#[tokio::test]
async fn a_body_kept_beyond_its_answer_is_never_taken_for_the_next_request() {
    let (_server, address, mut records) = watched_door(short()).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"PUT /keep-body HTTP/1.1\r\nContent-Length: 300000\r\n\r\n").await.unwrap();
    stream.write_all(&[b'x'; 200_000]).await.unwrap();
    read_until(&mut stream, "early").await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let smuggled = b"\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n";
    let _ = stream.write_all(&[smuggled.as_slice(), &[b'x'; 99_000]].concat()).await;
    let mut rest = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut rest)).await.unwrap();
    assert_eq!(records.recv().await.unwrap().path, "/keep-body");
    assert!(records.try_recv().is_err(), "bytes of a body were served as a request");
}

#[tokio::test]
async fn a_stalled_request_body_ends_with_an_error() {
    let (_server, address) = door(short()).await;
    let answer = talk(address, "PUT /a HTTP/1.1\r\nContent-Length: 10\r\n\r\nabc").await;
    assert!(answer.contains("stalled"), "{answer}");
}

#[tokio::test]
async fn a_client_that_does_not_take_its_answer_is_cut() {
    let (_server, address, mut records) = watched_door(short()).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /endless HTTP/1.1\r\n\r\n").await.unwrap();
    let record = tokio::time::timeout(Duration::from_secs(20), records.recv()).await.unwrap().unwrap();
    assert!(!record.complete);
    assert_eq!(record.status, Some(StatusCode::OK));
    assert!(record.bytes_out > 0);
}

#[tokio::test]
async fn a_slow_handler_is_not_taken_for_a_stalled_client() {
    let (_server, address) = door(short()).await;
    let answer = talk(address, "GET /slow HTTP/1.1\r\n\r\n").await;
    assert!(answer.ends_with("slow"), "{answer}");
}

#[tokio::test]
async fn panics_are_answered_with_500_and_the_server_lives() {
    let (_server, address, mut records) = watched_door(HttpConfig::default()).await;
    let answer = talk(address, "GET /panic HTTP/1.1\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
    assert_eq!(records.recv().await.unwrap().status, Some(StatusCode::INTERNAL_SERVER_ERROR));
    let answer = talk(address, "GET /late-panic HTTP/1.1\r\n\r\n").await;
    assert!(!answer.ends_with("0\r\n\r\n"), "{answer}");
    assert!(!records.recv().await.unwrap().complete);
    assert!(talk(address, "GET /a HTTP/1.1\r\nConnection: close\r\n\r\n").await.ends_with("/a 0"));
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_cut_not_ended() {
    let (_server, address, mut records) = watched_door(HttpConfig::default()).await;
    let answer = talk(address, "GET /broken HTTP/1.1\r\n\r\n").await;
    assert!(!answer.ends_with("0\r\n\r\n"), "{answer}");
    assert!(!records.recv().await.unwrap().complete);
}

#[tokio::test]
async fn a_short_unread_body_is_dropped_and_the_connection_kept() {
    let (_server, address) = door(HttpConfig::default()).await;
    let body = "x".repeat(60_000);
    let answer = talk(
        address,
        format!(
            "PUT /refuse HTTP/1.1\r\nContent-Length: 60000\r\n\r\n{body}GET /after HTTP/1.1\r\nConnection: close\r\n\r\n"
        ),
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 403 ") && answer.ends_with("/after 0"), "{answer}");
}

#[tokio::test]
async fn a_long_unread_body_closes_the_connection_but_the_answer_arrives() {
    let (_server, address) = door(HttpConfig::default()).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"PUT /refuse HTTP/1.1\r\nContent-Length: 50000000\r\n\r\n").await.unwrap();
    // Far more than the buffers of both sockets hold: without the lingering close this ends in a reset.
    for _ in 0..200 {
        stream.write_all(&[0; 65_536]).await.unwrap();
    }
    let answer = read_to_close(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 403 ") && answer.contains("connection: close"), "{answer}");
}

#[tokio::test]
async fn expect_continue_is_answered_only_when_the_body_is_wanted() {
    let (_server, address) = door(HttpConfig::default()).await;
    let head = "HTTP/1.1\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n";
    let refused = talk(address, format!("PUT /refuse {head}")).await;
    assert!(refused.starts_with("HTTP/1.1 403 "), "{refused}");
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("PUT /a {head}").as_bytes()).await.unwrap();
    let asked = read_until(&mut stream, "\r\n\r\n").await;
    assert_eq!(asked, "HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"abc").await.unwrap();
    read_until(&mut stream, "/a 3").await;
}

#[tokio::test]
async fn head_keeps_the_length_it_was_given() {
    let (_server, address) = door(HttpConfig::default()).await;
    let answer = talk(address, "HEAD /head HTTP/1.1\r\nConnection: close\r\n\r\n").await;
    assert!(answer.contains("content-length: 12345") && answer.ends_with("\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn shutdown_lets_a_request_end_and_refuses_new_ones() {
    let (server, address) = door(HttpConfig::default()).await;
    let request = tokio::spawn(talk(address, "GET /slow HTTP/1.1\r\n\r\n"));
    let idle = TcpStream::connect(address).await.unwrap();
    while server.connections() < 2 {
        tokio::task::yield_now().await;
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    server.shutdown().await;
    assert!(request.await.unwrap().ends_with("slow"));
    assert!(TcpStream::connect(address).await.is_err());
    drop(idle);
}

#[tokio::test]
async fn shutdown_cuts_what_outlives_the_drain_time() {
    let (server, address, mut records) = watched_door(short()).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /never HTTP/1.1\r\n\r\n").await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    server.shutdown().await;
    let record = records.recv().await.unwrap();
    assert_eq!((record.status, record.complete), (None, false));
}

#[tokio::test]
async fn a_handler_is_dropped_when_its_client_leaves() {
    let (_server, address, mut records) = watched_door(HttpConfig::default()).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /never HTTP/1.1\r\n\r\n").await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    drop(stream);
    let record = tokio::time::timeout(Duration::from_secs(20), records.recv()).await.unwrap().unwrap();
    assert_eq!(record.status, None);
}

#[tokio::test]
async fn connections_above_the_limit_wait_for_a_place() {
    let (server, address) = door(HttpConfig { connections_max: 1, ..HttpConfig::default() }).await;
    let mut first = TcpStream::connect(address).await.unwrap();
    first.write_all(b"GET /first HTTP/1.1\r\n\r\n").await.unwrap();
    read_until(&mut first, "/first 0").await;
    let second = tokio::spawn(talk(address, "GET /second HTTP/1.1\r\nConnection: close\r\n\r\n"));
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(server.connections(), 1);
    assert!(!second.is_finished());
    drop(first);
    assert!(second.await.unwrap().ends_with("/second 0"));
}

#[tokio::test]
async fn the_observer_hears_of_each_request() {
    let (_server, address, mut records) = watched_door(HttpConfig::default()).await;
    talk(
        address,
        "PUT /a/b?X-Amz-Signature=secret HTTP/1.1\r\nUser-Agent: test/1\r\nContent-Length: 5\r\nConnection: close\r\n\r\n12345",
    )
    .await;
    let record = records.recv().await.unwrap();
    assert_eq!(record.path, "/a/b");
    assert_eq!(record.user_agent.as_deref(), Some("test/1"));
    assert_eq!(record.labels.operation, "Test");
    assert_eq!((record.bytes_in, record.bytes_out), (5, "/a/b 5".len() as u64));
    assert_eq!((record.status, record.complete), (Some(StatusCode::OK), true));
    assert!(record.time_to_first_byte.unwrap() <= record.duration);
    assert!(record.peer.is_some() && !record.tls);
}

#[tokio::test]
async fn request_ids_differ() {
    let ids = crate::service::RequestIds::new();
    let mut drawn: Vec<u64> = (0..1_000).map(|_| ids.draw().0).collect();
    drawn.sort_unstable();
    drawn.dedup();
    assert_eq!(drawn.len(), 1_000);
    assert_eq!(crate::RequestId(255).to_string(), "00000000000000FF");
}

#[tokio::test]
async fn a_unix_socket_is_private_replaced_when_stale_and_left_alone_when_alive() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    // Stale: bound once, nobody listens.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let server = HttpServer::bind_unix(&path, HttpConfig::default(), Arc::new(Door)).await.unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let mut stream = tokio::net::UnixStream::connect(&path).await.unwrap();
    stream.write_all(b"GET /unix HTTP/1.1\r\n\r\n").await.unwrap();
    read_until(&mut stream, "/unix 0").await;
    assert!(HttpServer::bind_unix(&path, HttpConfig::default(), Arc::new(Door)).await.is_err());
    drop(stream);
    server.shutdown().await;
    assert!(!path.exists());
    std::fs::write(&path, "not a socket").unwrap();
    assert!(HttpServer::bind_unix(&path, HttpConfig::default(), Arc::new(Door)).await.is_err());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "not a socket");
}

#[tokio::test]
async fn an_address_in_use_is_named_in_the_error() {
    let (_server, address) = door(HttpConfig::default()).await;
    let error = HttpServer::bind(address, None, HttpConfig::default(), Arc::new(Door)).await.err().unwrap();
    assert!(error.to_string().contains(&address.to_string()), "{error}");
}

mod tls {
    use super::*;
    use http_body_util::BodyExt;
    use rustls::pki_types::ServerName;
    use rustls::{ClientConfig, RootCertStore};
    use tokio_rustls::TlsConnector;

    fn identity() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    async fn connect(
        address: SocketAddr,
        certificate: &str,
        protocols: &[&[u8]],
    ) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
        use rustls::pki_types::pem::PemObject;
        let mut roots = RootCertStore::empty();
        roots
            .add(rustls::pki_types::CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap())
            .unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        let tcp = TcpStream::connect(address).await?;
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, tcp).await
    }

    #[tokio::test]
    async fn http1_over_tls_parks_and_reloads_its_certificate() {
        let folder = tempfile::tempdir().unwrap();
        let (cert_path, key_path) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        let (first, first_key) = identity();
        std::fs::write(&cert_path, &first).unwrap();
        std::fs::write(&key_path, first_key).unwrap();
        let identity_of_server = TlsIdentity::load(&cert_path, &key_path).unwrap();
        let config = HttpConfig { idle_timeout: Duration::from_secs(10), ..short() };
        let server = HttpServer::bind(
            "127.0.0.1:0".parse().unwrap(),
            Some(identity_of_server.clone()),
            HttpConfig { header_timeout: Duration::from_secs(10), ..config },
            Arc::new(Door),
        )
        .await
        .unwrap();
        let address = server.address().unwrap();
        let mut stream = connect(address, &first, &[b"http/1.1"]).await.unwrap();
        for turn in 0..3 {
            stream.write_all(format!("GET /{turn} HTTP/1.1\r\n\r\n").as_bytes()).await.unwrap();
            read_until(&mut stream, &format!("/{turn} 0")).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let (second, second_key) = identity();
        std::fs::write(&cert_path, &second).unwrap();
        assert!(identity_of_server.reload().is_err(), "certificate and key do not match");
        assert!(!identity_of_server.reload().unwrap(), "the same pair is tried and told twice");
        connect(address, &first, &[]).await.unwrap();
        std::fs::write(&key_path, second_key).unwrap();
        assert!(identity_of_server.reload().unwrap());
        assert!(!identity_of_server.reload().unwrap());
        connect(address, &second, &[]).await.unwrap();
        assert!(connect(address, &first, &[]).await.is_err());
    }

    #[tokio::test]
    async fn http2_is_negotiated_and_serves_requests_side_by_side() {
        let (certificate, key) = identity();
        let identity = TlsIdentity::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap();
        let server = HttpServer::bind(
            "127.0.0.1:0".parse().unwrap(),
            Some(identity),
            HttpConfig::default(),
            Arc::new(Door),
        )
        .await
        .unwrap();
        let stream = connect(server.address().unwrap(), &certificate, &[b"h2"]).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let io = hyper_util::rt::TokioIo::new(stream);
        let (sender, connection) =
            hyper::client::conn::http2::handshake(hyper_util::rt::TokioExecutor::new(), io).await.unwrap();
        tokio::spawn(connection);
        let ask = |path: &str, body: Vec<u8>| {
            let request = Request::put(format!("https://localhost{path}"))
                .body(http_body_util::Full::new(Bytes::from(body)))
                .unwrap();
            let mut sender = sender.clone();
            async move {
                let response = sender.send_request(request).await.unwrap();
                String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
            }
        };
        let (slow, large) = tokio::join!(ask("/slow", vec![]), ask("/large", vec![1; 3_000_000]));
        assert_eq!((slow.as_str(), large.as_str()), ("slow", "/large 3000000"));
        // A large body left unread ends its stream, not the connection.
        assert_eq!(ask("/refuse", vec![1; 3_000_000]).await, "no");
        assert_eq!(ask("/after", vec![]).await, "/after 0");
    }

    #[tokio::test]
    async fn a_handshake_that_never_comes_is_given_up() {
        let (certificate, key) = identity();
        let identity = TlsIdentity::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap();
        let bound = HttpServer::bind("127.0.0.1:0".parse().unwrap(), Some(identity), short(), Arc::new(Door));
        let server = bound.await.unwrap();
        assert_eq!(talk(server.address().unwrap(), "").await, "");
    }
}
