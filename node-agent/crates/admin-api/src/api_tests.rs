//! The table over a small node: over TCP with and without the key, over the Unix socket, and its refusals.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures_util::FutureExt;
use grid_types::{DriveId, DriveState, ErrorCode, GridId, NodeId, Timestamp};
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use http_server::{HttpConfig, HttpServer};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::node::NodeAnswer;
use crate::table::Access;
use crate::types::{
    AddDrive, ClockInfo, ConfirmPairing, CreateEnrolment, CreateKey, CreateTicket, DriveInfo, EnrolmentInfo,
    JobInfo, JobOrder, KeyInfo, Locate, Located, NewKey, NewTicket, NodeInfo, Pairing, QuarantineChoice,
    QuarantineDone, QuarantinedInfo, Readiness, ReleaseQuarantined, ReplaceDrive, RootKeyInfo, SetClock,
    Status, TicketInfo, VerifyReport,
};
use crate::{
    AdminApi, AdminDoor, AdminError, Metrics, Node, NodeSample, OperatorKey, OperatorKeyHash,
    REQUEST_BYTES_MAX, Trust,
};

const DRIVE: DriveId = DriveId::from_bytes([7; 16]);

/// Remembers what it was ordered.
#[derive(Default)]
struct SmallNode {
    unready: AtomicBool,
    orders: Mutex<Vec<String>>,
}

impl SmallNode {
    fn ordered<T: Send + 'static>(&self, order: String, answer: T) -> NodeAnswer<'static, T> {
        self.orders.lock().push(order);
        async move { Ok(answer) }.boxed()
    }
}

fn drive(locked: bool) -> DriveInfo {
    DriveInfo {
        id: Some(DRIVE),
        path: "/srv/a".to_owned(),
        state: DriveState::Active,
        locked,
        problem: None,
        read_score: 100,
        write_score: 100,
        file_system: "fs".to_owned(),
        total_bytes: 10,
        free_bytes: 5,
        corruptions: 0,
        read_p95_us: 1,
        sync_p95_us: 2,
    }
}

fn job(name: &str) -> JobInfo {
    JobInfo {
        name: name.to_owned(),
        state: "idle".to_owned(),
        purpose: String::new(),
        detail: String::new(),
        done: 0,
        failed: 0,
        waiting: 0,
        pass: None,
        items_per_second: 0.0,
        eta_seconds: None,
        last_error: None,
    }
}

fn clock() -> ClockInfo {
    ClockInfo {
        time: Timestamp(5),
        trust: "proven".to_owned(),
        source: "rtc".to_owned(),
        peer: None,
        uncertainty_us: None,
        floor: Some(Timestamp(4)),
        refused: Vec::new(),
        silent: Vec::new(),
        members: Vec::new(),
    }
}

impl Node for SmallNode {
    fn readiness(&self) -> Readiness {
        let reason = self.unready.load(Ordering::SeqCst).then(|| "no drive".to_owned());
        Readiness::of(reason.into_iter().collect())
    }
    fn status(&self) -> NodeAnswer<'_, Status> {
        let status = Status {
            version: "0".to_owned(),
            grid: GridId::from_bytes([1; 16]),
            node: NodeId::from_bytes([2; 16]),
            incarnation: 3,
            uptime_seconds: 4,
            s3: Vec::new(),
            admin: Vec::new(),
            region: "us-east-1".to_owned(),
            profile: "auto".to_owned(),
            promise: String::new(),
            readiness: self.readiness(),
            drives_in_service: 1,
            drives_known: 1,
            total_bytes: 10,
            free_bytes: 5,
            segments_incomplete: 0,
            segments_unrecoverable: 0,
            warnings: Vec::new(),
            clock: Some(clock()),
            board: Vec::new(),
        };
        async move { Ok(status) }.boxed()
    }
    fn sample(&self) -> NodeAnswer<'_, NodeSample> {
        async { Ok(NodeSample { ready: true, ..NodeSample::default() }) }.boxed()
    }
    fn drives(&self) -> NodeAnswer<'_, Vec<DriveInfo>> {
        async { Ok(vec![DriveInfo { path: "/srv/z".to_owned(), ..drive(false) }, drive(false)]) }.boxed()
    }
    fn add_drive(&self, order: AddDrive) -> NodeAnswer<'_, DriveInfo> {
        self.ordered(format!("add {} {}", order.path, order.allow_not_empty), drive(false))
    }
    fn replace_drive(&self, id: DriveId, order: ReplaceDrive) -> NodeAnswer<'_, DriveInfo> {
        self.ordered(format!("replace {id} {}", order.path), drive(false))
    }
    fn lock_drive(&self, id: DriveId, locked: bool) -> NodeAnswer<'_, DriveInfo> {
        if id != DRIVE {
            return async move { Err(AdminError::of(ErrorCode::NoSuchDrive, format!("no {id}"))) }.boxed();
        }
        self.ordered(format!("lock {locked}"), drive(locked))
    }
    fn verify_drive(&self, id: DriveId) -> NodeAnswer<'_, VerifyReport> {
        self.ordered(format!("verify {id}"), VerifyReport::default())
    }
    fn jobs(&self) -> NodeAnswer<'_, Vec<JobInfo>> {
        async { Ok(vec![job("scrub"), job("garbage")]) }.boxed()
    }
    fn order_job(&self, name: &str, order: JobOrder) -> NodeAnswer<'_, JobInfo> {
        self.ordered(format!("{order:?} {name}"), job(name))
    }
    fn clock(&self) -> NodeAnswer<'_, ClockInfo> {
        async { Ok(clock()) }.boxed()
    }
    fn set_clock(&self, order: SetClock) -> NodeAnswer<'_, ClockInfo> {
        self.ordered(format!("clock {} {}", order.time.0, order.lower_floor), clock())
    }
    fn nodes(&self) -> NodeAnswer<'_, Vec<NodeInfo>> {
        self.ordered("nodes".to_owned(), Vec::new())
    }
    fn remove_node(&self, node: NodeId) -> NodeAnswer<'_, ()> {
        self.ordered(format!("remove {node}"), ())
    }
    fn adopt_drive(&self, order: AddDrive) -> NodeAnswer<'_, DriveInfo> {
        self.ordered(format!("adopt {}", order.path), drive(false))
    }
    fn drain_drive(&self, id: DriveId) -> NodeAnswer<'_, DriveInfo> {
        self.ordered(format!("drain {id}"), drive(false))
    }
    fn locate(&self, order: Locate) -> NodeAnswer<'_, Located> {
        let version = grid_types::VersionId::from_bytes([1; 16]);
        let located = Located { version, size: 0, inline: true, segments: Vec::new() };
        self.ordered(format!("locate {} {}", order.bucket, order.key), located)
    }
    fn continue_without(&self, node: NodeId) -> NodeAnswer<'_, ()> {
        self.ordered(format!("continue without {node}"), ())
    }
    fn pairing(&self) -> NodeAnswer<'_, Pairing> {
        self.ordered("pairing".to_owned(), Pairing::default())
    }
    fn confirm_pairing(&self, order: ConfirmPairing) -> NodeAnswer<'_, ()> {
        self.ordered(format!("pair {}", order.code), ())
    }
    fn refuse_pairing(&self) -> NodeAnswer<'_, ()> {
        self.ordered("refuse pairing".to_owned(), ())
    }
    fn tickets(&self) -> NodeAnswer<'_, Vec<TicketInfo>> {
        self.ordered("tickets".to_owned(), Vec::new())
    }
    fn create_ticket(&self, order: CreateTicket) -> NodeAnswer<'_, NewTicket> {
        let (id, ticket) = ("T".to_owned(), "a secret".to_owned());
        let expires = Timestamp::from_secs(order.valid_seconds);
        self.ordered(format!("ticket for {}", order.uses), NewTicket { id, ticket, expires })
    }
    fn delete_ticket(&self, id: &str) -> NodeAnswer<'_, ()> {
        self.ordered(format!("delete ticket {id}"), ())
    }
    fn enrolments(&self) -> NodeAnswer<'_, Vec<EnrolmentInfo>> {
        self.ordered("enrolments".to_owned(), Vec::new())
    }
    fn enrol(&self, order: CreateEnrolment) -> NodeAnswer<'_, EnrolmentInfo> {
        let info = EnrolmentInfo {
            node: NodeId::from_bytes([1; 16]),
            public_key: order.public_key.clone(),
            state: "open".to_owned(),
            name: order.name,
            drives: order.drives,
            created: Timestamp::from_secs(1),
            expires: order.valid_seconds.map(Timestamp::from_secs),
            grid_pin: "pin".to_owned(),
        };
        self.ordered(format!("enrol {}", order.public_key), info)
    }
    fn withdraw_enrolment(&self, node: NodeId) -> NodeAnswer<'_, ()> {
        self.ordered(format!("withdraw {node}"), ())
    }
    fn keys(&self) -> NodeAnswer<'_, Vec<KeyInfo>> {
        let key = KeyInfo {
            id: "AK".to_owned(),
            user: "u".to_owned(),
            state: "active".to_owned(),
            created: Timestamp::from_secs(1),
        };
        async { Ok(vec![key]) }.boxed()
    }
    fn create_key(&self, order: CreateKey) -> NodeAnswer<'_, NewKey> {
        let key = NewKey { id: "AK".to_owned(), secret: "SK".to_owned(), user: order.user.clone() };
        self.ordered(format!("create {}", order.user), key)
    }
    fn set_key_active(&self, id: &str, active: bool) -> NodeAnswer<'_, ()> {
        self.ordered(format!("key {id} {active}"), ())
    }
    fn delete_key(&self, id: &str) -> NodeAnswer<'_, ()> {
        self.ordered(format!("delete {id}"), ())
    }
    fn quarantined(&self) -> NodeAnswer<'_, Vec<QuarantinedInfo>> {
        async { Ok(Vec::new()) }.boxed()
    }
    fn release_quarantined(&self, order: ReleaseQuarantined) -> NodeAnswer<'_, QuarantineDone> {
        self.ordered(
            format!("release {}/{}", order.bucket, order.key),
            QuarantineDone { segments: 1, bytes: 2 },
        )
    }
    fn delete_quarantined(&self, choice: QuarantineChoice) -> NodeAnswer<'_, QuarantineDone> {
        let segments = choice.segments.len() as u64;
        self.ordered(format!("drop {segments}"), QuarantineDone { segments, bytes: 0 })
    }
    fn take_backup(&self, order: crate::types::TakeBackup) -> NodeAnswer<'_, crate::ByteStream> {
        let pieces = ["one ", "two"].map(|piece| Ok(Bytes::from_static(piece.as_bytes())));
        self.ordered(
            format!("backup {}", order.salt),
            futures_util::StreamExt::boxed(futures_util::stream::iter(pieces)),
        )
    }
    fn root_key(&self) -> NodeAnswer<'_, RootKeyInfo> {
        let info = RootKeyInfo {
            active: 2,
            generations: vec![1, 2],
            rotating: true,
            records: 3,
            records_of_older: 1,
            records_stuck: 0,
            members: Vec::new(),
            waits_for: "half a minute".to_owned(),
            trouble: None,
        };
        self.ordered("root key".to_owned(), info)
    }
    fn rotate_root_key(&self) -> NodeAnswer<'_, ()> {
        self.ordered("rotate".to_owned(), ())
    }
    fn set_operator_key(&self, hash: OperatorKeyHash) -> NodeAnswer<'_, ()> {
        self.ordered(format!("operator {}", hash.0[0]), ())
    }
    fn random_bytes(&self) -> [u8; 32] {
        [9; 32]
    }
}

/// A node with both doors open.
pub(crate) struct Doors {
    node: Arc<SmallNode>,
    tcp: HttpServer,
    unix: HttpServer,
    socket: PathBuf,
    key: String,
    _folder: tempfile::TempDir,
}

impl Doors {
    pub(crate) async fn open() -> Self {
        let node = Arc::new(SmallNode::default());
        let key = OperatorKey::from_random([5; 32]);
        let api = Arc::new(AdminApi::new(node.clone(), Arc::new(Metrics::new()), Some(key.hash())));
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("admin.sock");
        let door = |trust| Arc::new(AdminDoor { api: api.clone(), trust });
        let loopback = "127.0.0.1:0".parse().unwrap();
        let config = HttpConfig::default;
        let tcp = HttpServer::bind(loopback, None, config(), door(Trust::OperatorKey)).await.unwrap();
        let unix = HttpServer::bind_unix(&socket, config(), door(Trust::Local)).await.unwrap();
        Self { node, tcp, unix, socket, key: key.reveal().to_owned(), _folder: folder }
    }

    async fn tcp(
        &self,
        method: Method,
        path: &str,
        key: Option<&str>,
        body: impl Into<Bytes>,
    ) -> (StatusCode, Value) {
        let stream = tokio::net::TcpStream::connect(self.tcp.address().unwrap()).await.unwrap();
        exchange(stream, method, path, key, body.into()).await
    }

    /// Without a key, over TCP: the whole answer.
    pub(crate) async fn stranger(&self, request: http::request::Builder) -> Response<Bytes> {
        let stream = tokio::net::TcpStream::connect(self.tcp.address().unwrap()).await.unwrap();
        send(stream, request.header(header::HOST, "x").body(Full::default()).unwrap()).await
    }

    async fn unix(&self, method: Method, path: &str, body: impl Into<Bytes>) -> (StatusCode, Value) {
        let stream = tokio::net::UnixStream::connect(&self.socket).await.unwrap();
        exchange(stream, method, path, None, body.into()).await
    }

    fn orders(&self) -> Vec<String> {
        self.node.orders.lock().drain(..).collect()
    }
}

/// One request on a new connection; the answer with its headers.
async fn send(
    stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
) -> Response<Bytes> {
    let io = hyper_util::rt::TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
    let driving = tokio::spawn(connection);
    let (parts, body) = sender.send_request(request).await.unwrap().into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    driving.abort();
    Response::from_parts(parts, bytes)
}

async fn exchange(
    stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    method: Method,
    path: &str,
    key: Option<&str>,
    body: Bytes,
) -> (StatusCode, Value) {
    let mut request = Request::builder().method(method).uri(path).header(header::HOST, "x");
    if let Some(key) = key {
        request = request.header(header::AUTHORIZATION, format!("Bearer {key}"));
    }
    let answer = send(stream, request.body(Full::new(body)).unwrap()).await;
    let value = serde_json::from_slice(answer.body())
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(answer.body()).into_owned()));
    (answer.status(), value)
}

#[tokio::test]
async fn health_needs_no_key_and_everything_else_does() {
    let doors = Doors::open().await;
    let (status, answer) = doors.tcp(Method::GET, "/health/live", None, "").await;
    assert_eq!((status, answer), (StatusCode::OK, json!({"live": true})));
    let (status, answer) = doors.tcp(Method::GET, "/health/ready", None, "").await;
    assert_eq!((status, answer), (StatusCode::OK, json!({"ready": true, "reasons": []})));
    doors.node.unready.store(true, Ordering::SeqCst);
    let (status, answer) = doors.tcp(Method::GET, "/health/ready", None, "").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer["reasons"][0], "no drive");

    for row in crate::table::OPERATIONS.iter().filter(|row| row.access == Access::Operator) {
        let path = row.path.replace("{id}", &DRIVE.to_string()).replace("{name}", "scrub");
        let (status, answer) = doors.tcp(row.method.clone(), &path, None, "").await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{} without a key", row.name);
        assert_eq!(answer["code"], "OperatorKeyMissing");
        let wrong = OperatorKey::from_random([6; 32]);
        let (status, answer) = doors.tcp(row.method.clone(), &path, Some(wrong.reveal()), "").await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{} with a wrong key", row.name);
        assert_eq!(answer["code"], "InvalidOperatorKey");
    }
    assert_eq!(doors.orders(), Vec::<String>::new(), "an unproven order reached the node");
}

#[tokio::test]
async fn orders_reach_the_node_by_key_and_by_socket() {
    let doors = Doors::open().await;
    let key = doors.key.clone();
    let (status, drives) = doors.tcp(Method::GET, "/v1/drives", Some(&key), "").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(drives["drives"][0]["path"], "/srv/a", "ordered by path");
    assert_eq!(drives["drives"][0]["state"], "active");
    assert_eq!(drives["drives"][0]["id"], DRIVE.to_string().as_str());

    let add = json!({"path": "/srv/b", "allow_not_empty": true}).to_string();
    assert_eq!(doors.unix(Method::POST, "/v1/drives", add).await.0, StatusCode::OK);
    let (_, clock) = doors.tcp(Method::GET, "/v1/clock", Some(&key), "").await;
    assert_eq!((&clock["source"], &clock["trust"]), (&json!("rtc"), &json!("proven")));
    let order = json!({"time": 1_795_000_000_000_000_u64}).to_string();
    assert_eq!(doors.unix(Method::POST, "/v1/clock", order).await.0, StatusCode::OK);
    let (_, locked) = doors.unix(Method::POST, &format!("/v1/drives/{DRIVE}/lock"), "").await;
    assert_eq!(locked["locked"], true);
    let replace = json!({"path": "/srv/c"}).to_string();
    doors.unix(Method::POST, &format!("/v1/drives/{DRIVE}/replace"), replace).await;
    doors.unix(Method::POST, "/v1/jobs/scrub/pause", "").await;
    doors.unix(Method::POST, "/v1/jobs/scrub/run", "").await;
    doors.unix(Method::DELETE, "/v1/keys/A%2FK", "").await;
    let (_, new) = doors.unix(Method::POST, "/v1/keys", json!({"user": "eve"}).to_string()).await;
    assert_eq!(new, json!({"id": "AK", "secret": "SK", "user": "eve"}));
    assert_eq!(
        doors.orders(),
        [
            "add /srv/b true".to_owned(),
            "clock 1795000000000000 false".to_owned(),
            "lock true".to_owned(),
            format!("replace {DRIVE} /srv/c"),
            "Pause scrub".to_owned(),
            "Run scrub".to_owned(),
            "delete A/K".to_owned(),
            "create eve".to_owned(),
        ]
    );
}

#[tokio::test]
async fn a_new_operator_key_ends_the_old_one() {
    let doors = Doors::open().await;
    let (status, answer) = doors.tcp(Method::POST, "/v1/operator-key", Some(&doors.key), "").await;
    assert_eq!(status, StatusCode::OK);
    let new = answer["operator_key"].as_str().unwrap().to_owned();
    assert_eq!(new, OperatorKey::from_random([9; 32]).reveal());
    assert_eq!(doors.tcp(Method::GET, "/v1/keys", Some(&doors.key), "").await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(doors.tcp(Method::GET, "/v1/keys", Some(&new), "").await.0, StatusCode::OK);
    assert_eq!(doors.orders().len(), 1);
}

#[tokio::test]
async fn refusals_are_json_with_a_code_and_a_sentence() {
    let doors = Doors::open().await;
    let unknown = DriveId::from_bytes([8; 16]);
    let long = vec![b' '; REQUEST_BYTES_MAX + 1];
    let cases = [
        (Method::GET, "/v1/nothing".to_owned(), Bytes::new(), 404, "NoSuchOperation"),
        (Method::GET, "/v1/drives/".to_owned(), Bytes::new(), 404, "NoSuchOperation"),
        (Method::DELETE, "/v1/drives".to_owned(), Bytes::new(), 405, "MethodNotAllowed"),
        (Method::POST, "/".to_owned(), Bytes::new(), 405, "MethodNotAllowed"),
        (Method::POST, "/v1/drives".to_owned(), Bytes::from_static(b"{"), 400, "InvalidArgument"),
        (
            Method::POST,
            "/v1/drives".to_owned(),
            Bytes::from_static(b"{\"path\":\"/a\",\"x\":1}"),
            400,
            "InvalidArgument",
        ),
        (Method::POST, "/v1/drives".to_owned(), long.into(), 400, "InvalidArgument"),
        (Method::POST, "/v1/drives/xyz/lock".to_owned(), Bytes::new(), 400, "InvalidArgument"),
        (Method::POST, format!("/v1/drives/{unknown}/lock"), Bytes::new(), 404, "NoSuchDrive"),
        (Method::POST, "/v1/keys".to_owned(), Bytes::from_static(b"{\"user\":\"\"}"), 400, "InvalidArgument"),
        (
            Method::POST,
            "/v1/keys".to_owned(),
            Bytes::from_static(b"{\"user\":\"a\",\"id\":\"x\"}"),
            400,
            "InvalidArgument",
        ),
        (Method::POST, "/v1/quarantine/delete".to_owned(), Bytes::from_static(b"{}"), 400, "InvalidArgument"),
        (Method::DELETE, "/v1/keys/%ff".to_owned(), Bytes::new(), 400, "InvalidArgument"),
    ];
    for (method, path, body, status, code) in cases {
        let (got, answer) = doors.unix(method.clone(), &path, body).await;
        assert_eq!(
            (got.as_u16(), answer["code"].as_str()),
            (status, Some(code)),
            "{method} {path}: {answer}"
        );
        assert!(answer["message"].as_str().is_some_and(|message| message.len() > 5), "{answer}");
    }
    assert_eq!(doors.orders(), Vec::<String>::new());
}

#[tokio::test]
async fn without_a_stored_key_tcp_accepts_none() {
    let api = Arc::new(AdminApi::new(Arc::new(SmallNode::default()), Arc::new(Metrics::new()), None));
    let door = Arc::new(AdminDoor { api, trust: Trust::OperatorKey });
    let tcp =
        HttpServer::bind("127.0.0.1:0".parse().unwrap(), None, HttpConfig::default(), door).await.unwrap();
    let stream = tokio::net::TcpStream::connect(tcp.address().unwrap()).await.unwrap();
    let (status, _) = exchange(stream, Method::GET, "/v1/status", Some(""), Bytes::new()).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
}

#[test]
fn what_needs_no_key_is_named_here() {
    let public: Vec<&str> = crate::table::OPERATIONS
        .iter()
        .filter(|row| row.access == Access::Public)
        .map(|row| row.path)
        .collect();
    assert_eq!(public, ["/", "/page.js", "/page.css", "/icon.svg", "/health/live", "/health/ready"]);
}

#[tokio::test]
async fn the_table_lists_itself_and_the_doors_close() {
    let doors = Doors::open().await;
    let (_, list) = doors.unix(Method::GET, "/v1/operations", "").await;
    assert_eq!(list["operations"].as_array().unwrap().len(), crate::table::OPERATIONS.len());
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&doors.socket).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let Doors { tcp, unix, .. } = doors;
    tokio::join!(tcp.shutdown(), unix.shutdown());
}

#[test]
fn the_same_path_and_method_occur_once() {
    let mut seen = std::collections::BTreeSet::new();
    for row in crate::table::OPERATIONS {
        assert!(seen.insert((row.method.as_str(), row.path)), "{} {} twice", row.method, row.path);
        assert!(seen.insert(("name", row.name)), "{} twice", row.name);
    }
}

#[tokio::test]
async fn a_backup_is_streamed_to_who_proves_to_be_an_operator() {
    let doors = Doors::open().await;
    let order = json!({"salt": "aa", "key": "bb", "memory_kib": 1, "passes": 1, "lanes": 1}).to_string();
    let (status, _) = doors.tcp(Method::POST, "/v1/backup", None, order.clone()).await;
    assert_eq!((status, doors.orders()), (StatusCode::UNAUTHORIZED, Vec::new()));
    let (status, body) = doors.tcp(Method::POST, "/v1/backup", Some(&doors.key), order).await;
    assert_eq!(
        (status, body, doors.orders()),
        (StatusCode::OK, json!("one two"), vec!["backup aa".to_owned()])
    );
    let (status, _) = doors.unix(Method::POST, "/v1/backup", "{}").await;
    assert_eq!((status, doors.orders()), (StatusCode::BAD_REQUEST, Vec::new()));
}
