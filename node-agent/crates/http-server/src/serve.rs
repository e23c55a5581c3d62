//! The accept loop.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::connection::{Orders, serve};
use crate::service::{RequestIds, Shared};
use crate::stream::Transport;
use crate::{Handler, HttpConfig, TlsIdentity};

/// After a failed accept (no descriptors left, mostly) the loop waits so long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why a listener could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}")]
pub struct ServeError {
    /// The address asked for.
    pub address: String,
    /// The cause.
    pub source: io::Error,
}

/// One listener at work. Dropping it stops accepting and cuts its connections.
pub struct HttpServer {
    address: Option<SocketAddr>,
    socket: Option<SocketFile>,
    connections: Arc<AtomicUsize>,
    drain_timeout: Duration,
    tasks: TaskTracker,
    orders: Orders,
    _cut_on_drop: DropGuard,
}

/// How many connections a server has open.
#[derive(Debug, Clone)]
pub struct ConnectionCount(Arc<AtomicUsize>);

impl ConnectionCount {
    /// Now.
    pub fn get(&self) -> usize {
        self.0.load(Relaxed)
    }
}

enum Listener {
    Tcp(TcpListener, Option<TlsAcceptor>),
    Unix(UnixListener),
}

enum Accepted {
    Tcp(TcpStream, SocketAddr),
    Unix(tokio::net::UnixStream),
}

/// The file of a Unix socket; removed on drop.
struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

impl HttpServer {
    /// Listens on TCP (port 0 = any) and serves until `shutdown`. With TLS, a listener takes TLS alone.
    pub async fn bind<H: Handler>(
        address: SocketAddr,
        tls: Option<TlsIdentity>,
        config: HttpConfig,
        handler: Arc<H>,
    ) -> Result<Self, ServeError> {
        let failed = |source| ServeError { address: address.to_string(), source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let bound = listener.local_addr().map_err(failed)?;
        let acceptor = tls.map(|identity| identity.acceptor());
        Ok(Self::start(Listener::Tcp(listener, acceptor), Some(bound), None, config, handler))
    }

    /// Listens on a Unix socket with mode 0600, replacing a stale one.
    pub async fn bind_unix<H: Handler>(
        path: &Path,
        config: HttpConfig,
        handler: Arc<H>,
    ) -> Result<Self, ServeError> {
        let failed = |source| ServeError { address: path.display().to_string(), source };
        let listener = bind_socket_file(path).await.map_err(failed)?;
        let file = SocketFile(path.to_owned());
        Ok(Self::start(Listener::Unix(listener), None, Some(file), config, handler))
    }

    fn start<H: Handler>(
        listener: Listener,
        address: Option<SocketAddr>,
        socket: Option<SocketFile>,
        config: HttpConfig,
        handler: Arc<H>,
    ) -> Self {
        let orders = Orders { drain: CancellationToken::new(), cut: CancellationToken::new() };
        let connections = Arc::new(AtomicUsize::new(0));
        let tasks = TaskTracker::new();
        let drain_timeout = config.drain_timeout;
        let shared = Arc::new(Shared { handler, config, ids: RequestIds::new() });
        let accepting = accept(listener, shared, connections.clone(), tasks.clone(), orders.clone());
        tasks.spawn(accepting);
        let cut_on_drop = orders.cut.clone().drop_guard();
        Self { address, socket, connections, drain_timeout, tasks, orders, _cut_on_drop: cut_on_drop }
    }

    /// The address really bound; `None` on a Unix socket.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Open connections now.
    pub fn connections(&self) -> usize {
        self.connections.load(Relaxed)
    }

    /// Counts open connections for as long as somebody asks, also after the server went.
    pub fn connection_count(&self) -> ConnectionCount {
        ConnectionCount(self.connections.clone())
    }

    /// Stops accepting, waits for requests in flight up to `drain_timeout`, then cuts. Runs to completion; dropped, it
    /// cuts at once.
    pub async fn shutdown(mut self) {
        self.orders.drain.cancel();
        self.tasks.close();
        if tokio::time::timeout(self.drain_timeout, self.tasks.wait()).await.is_err() {
            tracing::warn!(connections = self.connections(), "requests outlived the drain time and are cut");
            self.orders.cut.cancel();
            self.tasks.wait().await;
        }
        drop(self.socket.take());
    }
}

/// Binds beside the path and renames, so that the socket is never there with open permissions, and a stale file is
/// replaced in one step. A socket that somebody still listens on is left alone.
async fn bind_socket_file(path: &Path) -> io::Result<UnixListener> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "a file that is no socket is in the way",
            ));
        }
        Ok(_) if tokio::net::UnixStream::connect(path).await.is_ok() => {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens on it"));
        }
        _ => {}
    }
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}", std::process::id()));
    let beside = PathBuf::from(beside);
    let _ = std::fs::remove_file(&beside);
    let listener = UnixListener::bind(&beside)?;
    std::fs::set_permissions(&beside, std::fs::Permissions::from_mode(0o600))
        .and_then(|()| std::fs::rename(&beside, path))
        .inspect_err(|_| {
            let _ = std::fs::remove_file(&beside);
        })?;
    Ok(listener)
}

async fn accept<H: Handler>(
    listener: Listener,
    shared: Arc<Shared<H>>,
    connections: Arc<AtomicUsize>,
    tasks: TaskTracker,
    orders: Orders,
) {
    let slots = Arc::new(Semaphore::new(shared.config.connections_max));
    let next = async {
        loop {
            // The slot comes first: who has none stays in the kernel's backlog.
            let Ok(slot) = slots.clone().acquire_owned().await else { return };
            let accepted = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            connections.fetch_add(1, Relaxed);
            let count = Counted(connections.clone());
            let (shared, orders) = (shared.clone(), orders.clone());
            let acceptor = listener.acceptor().cloned();
            tasks.spawn(async move {
                if let Some((transport, address)) = open(accepted, acceptor, &shared.config, &orders).await {
                    serve(transport, address, shared, orders).await;
                }
                drop((slot, count));
            });
        }
    };
    tokio::select! {
        biased;
        () = orders.drain.cancelled() => {}
        () = orders.cut.cancelled() => {}
        () = next => {}
    }
}

/// Counts itself out when the connection ends, in whatever way.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// TCP_NODELAY, and the TLS handshake within the time of a request head.
async fn open(
    accepted: Accepted,
    acceptor: Option<TlsAcceptor>,
    config: &HttpConfig,
    orders: &Orders,
) -> Option<(Transport, Option<SocketAddr>)> {
    let (tcp, address) = match accepted {
        Accepted::Unix(unix) => return Some((Transport::Unix(unix), None)),
        Accepted::Tcp(tcp, address) => (tcp, address),
    };
    if let Err(error) = tcp.set_nodelay(true) {
        tracing::debug!(%error, "a connection closed before it was served");
        return None;
    }
    let Some(acceptor) = acceptor else { return Some((Transport::Tcp(tcp), Some(address))) };
    let handshake = tokio::time::timeout(config.header_timeout, acceptor.accept(tcp));
    tokio::select! {
        biased;
        () = orders.drain.cancelled() => None,
        () = orders.cut.cancelled() => None,
        shaken = handshake => match shaken {
            Ok(Ok(stream)) => Some((Transport::Tls(Box::new(stream)), Some(address))),
            Ok(Err(error)) => {
                tracing::debug!(%address, %error, "a TLS handshake failed");
                None
            }
            Err(_) => {
                tracing::debug!(%address, "a TLS handshake took too long");
                None
            }
        },
    }
}

impl Listener {
    async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(tcp, _) => tcp.accept().await.map(|(stream, address)| Accepted::Tcp(stream, address)),
            Self::Unix(unix) => unix.accept().await.map(|(stream, _)| Accepted::Unix(stream)),
        }
    }

    fn acceptor(&self) -> Option<&TlsAcceptor> {
        match self {
            Self::Tcp(_, acceptor) => acceptor.as_ref(),
            Self::Unix(_) => None,
        }
    }
}
