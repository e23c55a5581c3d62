//! A node of one drive behind a server on loopback.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chunk_store::{ChunkStore, Drive, DriveConfig, DriveLabel, label};
use grid_types::{
    DriveId, DriveSnapshot, DriveState, FailureDomain, GridId, GridSnapshot, MemoryBudget, NodeId, Profile,
    ProfileChoice, Score,
};
use http_server::{HttpConfig, HttpServer};
use iam::Iam;
use keyring::RootKey;
use meta_store::home::HomeDrive;
use meta_store::{MetaConfig, MetaStore};
use object_engine::{EngineConfig, ObjectEngine};
use segment_store::{GridView, SegmentConfig, SegmentStore};
use sys::{Clock, Disk, RealClock, RealDisk, RealRandom, SimClock};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::client::{Answer, Client, UNSIGNED, read_answer};
use crate::{S3Config, S3Front};

const BODY_STALL_TIMEOUT: Duration = Duration::from_millis(400);

pub(super) struct Rig {
    pub(super) client: Client,
    pub(super) clock: SimClock,
    address: SocketAddr,
    _server: HttpServer,
    _folder: tempfile::TempDir,
}

/// With a bucket named `bucket` and one access key.
pub(super) async fn rig() -> Rig {
    rig_with(S3Config { host_suffixes: vec!["s3.example.com".to_owned()], ..S3Config::default() }).await
}

/// With other settings.
pub(super) async fn rig_with(settings: S3Config) -> Rig {
    let folder = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(folder.path()).unwrap());
    let real: Arc<dyn Clock> = Arc::new(RealClock);
    let (grid, node, id) =
        (GridId::from_bytes([1; 16]), NodeId::from_bytes([2; 16]), DriveId::from_bytes([3; 16]));
    let made = DriveLabel { grid, node, drive: id, generation: 1, created: real.now() };
    label::create(&*disk, &made, false).unwrap();
    let config = DriveConfig { reserve_per_mille: 0, reserve_bytes_min: 0, ..DriveConfig::default() };
    let (opened, drive_clock) = (disk.clone(), real.clone());
    let drive =
        tokio::task::spawn_blocking(move || Drive::open(opened, drive_clock, config)).await.unwrap().unwrap();
    let random = Arc::new(RealRandom);
    let home = vec![HomeDrive { id, disk }];
    let meta = MetaStore::found(home, MetaConfig::default(), real.clone(), random.clone()).await.unwrap();
    let view = GridView::default();
    let snapshot = DriveSnapshot {
        id,
        node,
        file_system: FailureDomain("one".to_owned()),
        state: DriveState::Active,
        read_score: Score::BEST,
        write_score: Score::BEST,
        total_bytes: 1 << 40,
        free_bytes: 1 << 40,
    };
    view.publish(GridSnapshot { epoch: 1, drives: vec![snapshot], all_have_aes: true });
    let budget = MemoryBudget::new("test", 64 << 20, 64);
    let chunks = ChunkStore::new(vec![drive]);
    let segments = SegmentStore::new(chunks, view, random.clone(), budget, SegmentConfig::default());
    let root_key = RootKey::generate(&*random);
    let engine_config =
        EngineConfig { profile: ProfileChoice::Fixed(Profile::Copies(1)), ..EngineConfig::default() };
    let engine = ObjectEngine::new(
        meta.clone(),
        segments,
        root_key.clone(),
        real.clone(),
        random.clone(),
        engine_config,
    );
    let clock = SimClock::new(real.now());
    let iam = Iam::new(meta, root_key, Arc::new(clock.clone()), random);
    let (key, secret) = iam.create("alice", None).await.unwrap();
    engine.create_bucket(&"bucket".parse().unwrap(), "alice").await.unwrap();
    let front = S3Front::new(engine, iam, Arc::new(clock.clone()), settings);
    let http = HttpConfig { body_stall_timeout: BODY_STALL_TIMEOUT, ..HttpConfig::default() };
    let server = HttpServer::bind("127.0.0.1:0".parse().unwrap(), None, http, Arc::new(front)).await.unwrap();
    let address = server.address().unwrap();
    let client =
        Client { key_id: key.id, secret: secret.to_string(), host: address.to_string(), now: clock.now() };
    Rig { client, clock, address, _server: server, _folder: folder }
}

impl Rig {
    pub(super) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends bytes on a connection of its own and reads one answer.
    pub(super) async fn raw(&self, request: &[u8]) -> Answer {
        let mut stream = self.connect().await;
        stream.write_all(request).await.unwrap();
        let method = String::from_utf8_lossy(&request[..request.len().min(8)]).into_owned();
        read_answer(&mut stream, method.split(' ').next().unwrap()).await
    }

    /// A signed request with an unsigned payload.
    pub(super) async fn send(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        self.raw(&self.client.request(method, target, headers, UNSIGNED, body)).await
    }
}
