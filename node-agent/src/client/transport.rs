//! One request on one connection: TCP, TLS or a Unix socket.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinHandle;

/// Bytes of an answer that are taken: a page of metrics or drives, or the self-test's object.
const ANSWER_BYTES_MAX: usize = 16 << 20;
/// A call that takes longer is given up; verifying a drive has no such limit.
const CALL_TIMEOUT: Duration = Duration::from_secs(600);
/// A streamed answer of which nothing comes for so long is given up.
const STALL_TIMEOUT: Duration = Duration::from_secs(120);

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody there.
    #[error("{target} cannot be reached: {source}")]
    Connect {
        /// The address or the socket.
        target: String,
        /// The cause.
        source: std::io::Error,
    },
    /// It is there and does not answer as HTTP should.
    #[error("talking to {target}: {reason}")]
    Talk {
        /// The address or the socket.
        target: String,
        /// The cause.
        reason: String,
    },
    /// The address cannot be used.
    #[error("{0}")]
    Address(String),
    /// It refused; the sentence is the server's.
    #[error("{message} ({code})")]
    Refused {
        /// The server's code.
        code: String,
        /// The server's sentence.
        message: String,
    },
}

/// Where to connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A Unix socket.
    Socket(PathBuf),
    /// `host:port`, plain.
    Tcp {
        /// Host or address.
        host: String,
        /// Port.
        port: u16,
    },
    /// `host:port` over TLS.
    Tls {
        /// Host or address; must be in the certificate.
        host: String,
        /// Port.
        port: u16,
        /// PEM of the authority to trust.
        authority: PathBuf,
    },
}

impl Target {
    /// From `http://host:port` or `https://host:port`; `authority` is needed for the latter.
    pub fn from_url(url: &str, authority: Option<&Path>) -> Result<Self, ClientError> {
        let wrong = |why: &str| ClientError::Address(format!("`{url}` is no endpoint: {why}"));
        let parsed: http::Uri =
            url.parse().map_err(|_| wrong("write http://HOST:PORT or https://HOST:PORT"))?;
        let host =
            parsed.host().ok_or_else(|| wrong("it names no host"))?.trim_matches(['[', ']']).to_owned();
        match (parsed.scheme_str(), authority) {
            (Some("http"), _) => Ok(Self::Tcp { host, port: parsed.port_u16().unwrap_or(80) }),
            (Some("https"), Some(authority)) => {
                let port = parsed.port_u16().unwrap_or(443);
                Ok(Self::Tls { host, port, authority: authority.to_owned() })
            }
            (Some("https"), None) => Err(wrong("over HTTPS, name the authority to trust with --ca FILE")),
            _ => Err(wrong("write http://HOST:PORT or https://HOST:PORT")),
        }
    }

    /// For messages and the `Host` header.
    pub fn authority(&self) -> String {
        match self {
            Self::Socket(path) => path.display().to_string(),
            Self::Tcp { host, port } | Self::Tls { host, port, .. } if host.contains(':') => {
                format!("[{host}]:{port}")
            }
            Self::Tcp { host, port } | Self::Tls { host, port, .. } => format!("{host}:{port}"),
        }
    }

    /// Sends one request and collects the answer.
    pub async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, ClientError> {
        let collected = async {
            let (head, body) = self.connect_and_send(request).await?.into_parts();
            Ok(Response::from_parts(head, body.collect().await?))
        };
        match tokio::time::timeout(CALL_TIMEOUT, collected).await {
            Ok(answer) => answer,
            Err(_) => Err(self.talk(&format!("no answer within {} s", CALL_TIMEOUT.as_secs()))),
        }
    }

    /// Sends one request; the answer is read as it comes, whatever its length.
    pub async fn open(&self, request: Request<Full<Bytes>>) -> Result<Response<AnswerStream>, ClientError> {
        match tokio::time::timeout(CALL_TIMEOUT, self.connect_and_send(request)).await {
            Ok(answer) => answer,
            Err(_) => Err(self.talk(&format!("no answer within {} s", CALL_TIMEOUT.as_secs()))),
        }
    }

    async fn connect_and_send(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<AnswerStream>, ClientError> {
        let unreachable = |source| ClientError::Connect { target: self.authority(), source };
        match self {
            Self::Socket(path) => {
                self.exchange(UnixStream::connect(path).await.map_err(unreachable)?, request).await
            }
            Self::Tcp { host, port } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(unreachable)?;
                self.exchange(stream, request).await
            }
            Self::Tls { host, port, authority } => {
                let config = trusting(authority).map_err(|reason| self.talk(&reason))?;
                let name =
                    ServerName::try_from(host.clone()).map_err(|error| self.talk(&error.to_string()))?;
                let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(unreachable)?;
                let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
                self.exchange(connector.connect(name, stream).await.map_err(unreachable)?, request).await
            }
        }
    }

    async fn exchange(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<AnswerStream>, ClientError> {
        let talk = |error: hyper::Error| self.talk(&error.to_string());
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(talk)?;
        // Its errors reach the sender as well.
        let driving = Driving(tokio::spawn(async move {
            let _ = connection.await;
        }));
        let answer = sender.send_request(request).await.map_err(talk)?;
        let (head, body) = answer.into_parts();
        Ok(Response::from_parts(head, AnswerStream { body, target: self.clone(), _driving: driving }))
    }

    fn talk(&self, reason: &str) -> ClientError {
        ClientError::Talk { target: self.authority(), reason: reason.to_owned() }
    }
}

/// The task that moves the bytes of a connection; it ends with this.
struct Driving(JoinHandle<()>);

impl Drop for Driving {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The body of an answer as it comes.
pub struct AnswerStream {
    body: Incoming,
    target: Target,
    _driving: Driving,
}

impl AnswerStream {
    /// The next bytes; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        loop {
            let frame = match tokio::time::timeout(STALL_TIMEOUT, self.body.frame()).await {
                Ok(frame) => frame,
                Err(_) => {
                    return Err(self.target.talk(&format!("nothing came for {} s", STALL_TIMEOUT.as_secs())));
                }
            };
            match frame {
                None => return Ok(None),
                Some(Err(error)) => return Err(self.target.talk(&format!("the answer broke off: {error}"))),
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        return Ok(Some(bytes));
                    }
                }
            }
        }
    }

    /// All of it, up to the limit of ordinary answers.
    pub async fn collect(self) -> Result<Bytes, ClientError> {
        let body = Limited::new(self.body, ANSWER_BYTES_MAX).collect().await;
        Ok(body.map_err(|error| self.target.talk(&error.to_string()))?.to_bytes())
    }
}

fn trusting(authority: &Path) -> Result<rustls::ClientConfig, String> {
    let mut roots = rustls::RootCertStore::empty();
    let told = |error: &dyn std::fmt::Display| format!("{}: {error}", authority.display());
    let certificates: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(authority).map_err(|error| told(&error))?.collect();
    // A system's list may have some that are of no use for TLS.
    let (usable, _) = roots.add_parsable_certificates(certificates.map_err(|error| told(&error))?);
    if usable == 0 {
        return Err(told(&"it holds no certificate of an authority"));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth())
}
