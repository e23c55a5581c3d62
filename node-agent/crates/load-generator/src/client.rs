//! A small S3 client: Signature Version 4 with unsigned payloads over one keep-alive connection.

use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use data_encoding::HEXLOWER;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use ring::{digest, hmac};

const UNSIGNED: &str = "UNSIGNED-PAYLOAD";

/// Where to send requests and how to sign them.
#[derive(Clone)]
pub struct Target {
    /// Connections go to these in turn.
    addresses: Arc<[SocketAddr]>,
    next: Arc<AtomicUsize>,
    /// The one of this connection.
    host: String,
    access_key: String,
    secret_key: String,
    region: String,
}

/// One keep-alive connection.
pub struct Connection {
    target: Target,
    sender: SendRequest<Full<Bytes>>,
    /// A second handle of the socket, for its options.
    socket: std::os::fd::OwnedFd,
}

impl Target {
    /// Servers with these credentials.
    pub fn new(addresses: Vec<SocketAddr>, access_key: &str, secret_key: &str, region: &str) -> Self {
        Self {
            addresses: addresses.into(),
            next: Arc::default(),
            host: String::new(),
            access_key: access_key.to_owned(),
            secret_key: secret_key.to_owned(),
            region: region.to_owned(),
        }
    }

    /// Makes the bucket; one that is there already is fine.
    pub async fn create_bucket(&self, bucket: &str) -> Result<(), String> {
        let mut connection = self.connect().await?;
        let (status, _) = connection.call(Method::PUT, &format!("/{bucket}"), Bytes::new()).await?;
        if status.is_success() || status == StatusCode::CONFLICT {
            Ok(())
        } else {
            Err(format!("creating the bucket: HTTP {status}"))
        }
    }

    /// Opens a connection.
    pub async fn connect(&self) -> Result<Connection, String> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let address = self.addresses[turn % self.addresses.len()];
        let stream = tokio::net::TcpStream::connect(address)
            .await
            .map_err(|error| format!("connecting to {address}: {error}"))?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        let socket = stream.as_fd().try_clone_to_owned().map_err(|error| error.to_string())?;
        let (sender, connection) = hyper::client::conn::http1::Builder::new()
            .max_buf_size(1 << 20)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| error.to_string())?;
        tokio::spawn(async move {
            let _closed = connection.await;
        });
        let target = Self { host: address.to_string(), ..self.clone() };
        Ok(Connection { target, sender, socket })
    }

    /// The `Authorization` header for a request without query.
    fn authorization(&self, method: &Method, path: &str, stamp: &str) -> String {
        let date = &stamp[..8];
        let canonical = format!(
            "{method}\n{path}\n\nhost:{}\nx-amz-content-sha256:{UNSIGNED}\nx-amz-date:{stamp}\n\n\
             host;x-amz-content-sha256;x-amz-date\n{UNSIGNED}",
            self.host
        );
        let hash = HEXLOWER.encode(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
        let scope = format!("{date}/{}/s3/aws4_request", self.region);
        let to_sign = format!("AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hash}");
        let sign =
            |key: &[u8], text: &str| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes());
        let key = sign(format!("AWS4{}", self.secret_key).as_bytes(), date);
        let key = sign(key.as_ref(), &self.region);
        let key = sign(key.as_ref(), "s3");
        let key = sign(key.as_ref(), "aws4_request");
        let signature = HEXLOWER.encode(sign(key.as_ref(), &to_sign).as_ref());
        format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders=host;x-amz-content-sha256;x-amz-date, \
             Signature={signature}",
            self.access_key
        )
    }
}

impl Connection {
    /// Sends one request, reads the whole answer; returns status and body length.
    pub async fn call(
        &mut self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<(StatusCode, u64), String> {
        let format = time::macros::format_description!("[year][month][day]T[hour][minute][second]Z");
        let stamp = time::OffsetDateTime::now_utc().format(&format).map_err(|error| error.to_string())?;
        let authorization = self.target.authorization(&method, path, &stamp);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", &self.target.host)
            .header("x-amz-content-sha256", UNSIGNED)
            .header("x-amz-date", &stamp)
            .header("authorization", authorization)
            .header("content-length", body.len())
            .body(Full::new(body))
            .map_err(|error| error.to_string())?;
        self.sender.ready().await.map_err(|error| error.to_string())?;
        // Sending puts the socket back into delayed-ACK mode, where a server without TCP_NODELAY waits 40 ms: switch it
        // off once the request is on its way.
        let quick_ack = async {
            tokio::task::yield_now().await;
            tokio::task::yield_now().await;
            rustix::net::sockopt::set_tcp_quickack(&self.socket, true)
        };
        let (answer, switched) = tokio::join!(self.sender.send_request(request), quick_ack);
        switched.map_err(|error| error.to_string())?;
        let mut answer = answer.map_err(|error| error.to_string())?;
        let mut length = 0;
        while let Some(frame) = answer.body_mut().frame().await {
            let frame = frame.map_err(|error| format!("reading the answer: {error}"))?;
            length += frame.data_ref().map_or(0, |data| data.len() as u64);
        }
        Ok((answer.status(), length))
    }
}
