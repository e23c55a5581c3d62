//! A drive that failed stays out of service, over restarts, until an order takes it back.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use admin_api::Node as _;
use admin_api::types::{AddDrive, DriveInfo};
use bytes::Bytes;
use grid_types::DriveState;
use http::{Method, StatusCode};
use sys::{Clock, RealClock, RealRandom};

use super::Node;
use crate::client::{S3Client, Target};
use crate::config::{Config, TlsMode};
use crate::founding::{Founded, Founding, found};

/// Larger than an inline object.
const BODY_BYTES: usize = 200_000;
/// The watcher looks every second.
const PATIENCE: Duration = Duration::from_secs(20);

struct Rig {
    _root: tempfile::TempDir,
    config: Config,
    founded: Founded,
}

impl Rig {
    async fn new(drives: usize) -> Self {
        let root = tempfile::tempdir().unwrap();
        let folders: Vec<PathBuf> =
            (0..drives).map(|n| root.path().canonicalize().unwrap().join(format!("drive-{n}"))).collect();
        for folder in &folders {
            std::fs::create_dir(folder).unwrap();
        }
        let order = Founding {
            drives: folders.clone(),
            key_file: None,
            allow_not_empty: false,
            same_file_system_ok: true,
        };
        let founded = found(&order, Arc::new(RealClock), Arc::new(RealRandom)).await.unwrap();
        let mut config = Config { drives: folders, drives_are_domains: true, ..Config::default() };
        config.s3.listen = "127.0.0.1:0".parse().unwrap();
        config.admin.listen = "127.0.0.1:0".parse().unwrap();
        config.admin.tls = TlsMode::Off;
        config.rpc.listen = "127.0.0.1:0".parse().unwrap();
        config.rpc.multicast = false;
        Self { _root: root, config, founded }
    }

    async fn start(&self) -> Node {
        Node::start(&self.config, Arc::new(RealClock), Arc::new(RealRandom)).await.unwrap()
    }

    async fn ask(&self, node: &Node, method: Method, path: &str, body: &'static [u8]) -> StatusCode {
        let client = S3Client {
            target: Target::from_url(&node.s3_url(), None).unwrap(),
            access_key: self.founded.access_key.clone(),
            secret_key: self.founded.secret_key.clone(),
            region: self.config.s3.region.clone(),
        };
        client.send(method, path, Bytes::from_static(body), RealClock.now()).await.unwrap().status()
    }

    async fn info(&self, node: &Node, number: usize) -> DriveInfo {
        let path = self.config.drives[number].display().to_string();
        let drives = node.admin_node.drives().await.unwrap();
        drives.into_iter().find(|drive| drive.path == path).expect("the drive is listed")
    }

    async fn wait(&self, node: &Node, number: usize, state: DriveState) -> DriveInfo {
        let until = tokio::time::Instant::now() + PATIENCE;
        loop {
            let info = self.info(node, number).await;
            if info.state == state {
                return info;
            }
            assert!(tokio::time::Instant::now() < until, "not {state:?} but {info:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn fail(&self, node: &Node, number: usize) {
        let id = self.info(node, number).await.id.unwrap();
        node.admin_node
            .store()
            .drive(id)
            .unwrap()
            .take_out_of_service("a sync failed (pack batch): on purpose");
        self.wait(node, number, DriveState::Failing).await;
    }

    async fn add(&self, node: &Node, number: usize) -> DriveInfo {
        let path = self.config.drives[number].display().to_string();
        let order = AddDrive { path, allow_not_empty: false, same_file_system_ok: true };
        node.admin_node.add_drive(order).await.unwrap()
    }
}

fn body() -> &'static [u8] {
    Box::leak(vec![7; BODY_BYTES].into_boxed_slice())
}

/// Takes a folder away under a node that may be writing into it.
fn pull_out(folder: &Path) {
    let gone = folder.with_extension("gone");
    std::fs::rename(folder, &gone).unwrap();
    while let Err(error) = std::fs::remove_dir_all(&gone) {
        assert_eq!(error.kind(), std::io::ErrorKind::DirectoryNotEmpty, "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_drive_waits_for_an_order_over_restarts() {
    let rig = Rig::new(3).await;
    let node = rig.start().await;
    rig.fail(&node, 1).await;
    // The mark is on the other drives within a look.
    tokio::time::sleep(Duration::from_secs(2)).await;
    node.shutdown().await;
    for _ in 0..2 {
        let node = rig.start().await;
        let info = rig.info(&node, 1).await;
        assert_eq!(info.state, DriveState::Failing, "taken back without an order: {info:?}");
        let told = info.problem.unwrap_or_default();
        assert!(told.contains("a sync failed") && told.contains("shoal drive add"), "{told}");
        assert!(node.admin_node.store().drive(info.id.unwrap()).is_none());
        // It is looked at by nobody, so it does not come back later either.
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(rig.info(&node, 1).await.state, DriveState::Failing);
        node.shutdown().await;
    }
    let node = rig.start().await;
    assert_eq!(rig.add(&node, 1).await.state, DriveState::Active);
    tokio::time::sleep(Duration::from_secs(2)).await;
    node.shutdown().await;
    let node = rig.start().await;
    let info = rig.info(&node, 1).await;
    assert_eq!((info.state, info.problem), (DriveState::Active, None), "the order was forgotten");
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_takes_a_failed_drive_back_while_the_node_runs() {
    let rig = Rig::new(2).await;
    let node = rig.start().await;
    rig.fail(&node, 0).await;
    assert_eq!(rig.add(&node, 0).await.state, DriveState::Active);
    assert_eq!(rig.wait(&node, 0, DriveState::Active).await.problem, None);
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lone_failed_drive_is_read_and_not_written() {
    let rig = Rig::new(1).await;
    let node = rig.start().await;
    assert_eq!(rig.ask(&node, Method::PUT, "/bucket", b"").await, StatusCode::OK);
    assert_eq!(rig.ask(&node, Method::PUT, "/bucket/large", body()).await, StatusCode::OK);
    assert_eq!(rig.ask(&node, Method::PUT, "/bucket/small", b"inline").await, StatusCode::OK);
    rig.fail(&node, 0).await;
    // Nothing is acknowledged from that moment on, what needs no chunk neither.
    assert_eq!(rig.ask(&node, Method::PUT, "/bucket/more", b"inline").await, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(rig.ask(&node, Method::DELETE, "/bucket/small", b"").await, StatusCode::SERVICE_UNAVAILABLE);
    tokio::time::sleep(Duration::from_secs(2)).await;
    node.shutdown().await;

    let node = rig.start().await;
    assert!(node.warnings.iter().any(|warning| warning.contains("takes no writes")), "{:?}", node.warnings);
    let told = rig.info(&node, 0).await.problem.unwrap_or_default();
    assert!(told.contains("a sync failed") && told.contains("shoal drive add"), "{told}");
    assert_eq!(rig.ask(&node, Method::GET, "/bucket/large", b"").await, StatusCode::OK);
    assert_eq!(rig.ask(&node, Method::GET, "/bucket/small", b"").await, StatusCode::OK);
    for (path, body) in [("/bucket/more", &b"inline"[..]), ("/other", b"")] {
        assert_eq!(rig.ask(&node, Method::PUT, path, body).await, StatusCode::SERVICE_UNAVAILABLE, "{path}");
    }
    assert_eq!(rig.ask(&node, Method::PUT, "/bucket/more", body()).await, StatusCode::SERVICE_UNAVAILABLE);
    // Reading goes on and changes nothing.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(rig.info(&node, 0).await.write_score, 0);
    assert_eq!(rig.ask(&node, Method::GET, "/bucket/large", b"").await, StatusCode::OK);

    assert_eq!(rig.add(&node, 0).await.state, DriveState::Active);
    assert_eq!(rig.ask(&node, Method::PUT, "/bucket/more", body()).await, StatusCode::OK);
    assert_eq!(rig.ask(&node, Method::DELETE, "/bucket/small", b"").await, StatusCode::NO_CONTENT);
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_into_a_folder_at_run_time_is_told_and_left_alone() {
    let rig = Rig::new(3).await;
    let other = Rig::new(1).await;
    let node = rig.start().await;
    let spare = rig.config.drives[2].clone();
    // A drive is swapped for one of another grid, then for a copy of a drive in service.
    for (from, told, state) in [
        (&other.config.drives[0], "another grid", DriveState::Foreign),
        (&rig.config.drives[0], "is a copy of drive", DriveState::Foreign),
    ] {
        pull_out(&spare);
        std::fs::create_dir(&spare).unwrap();
        for name in ["shoal-drive", "shoal-node"] {
            std::fs::copy(from.join(name), spare.join(name)).unwrap();
        }
        let until = tokio::time::Instant::now() + 2 * PATIENCE;
        loop {
            let drives = node.admin_node.drives().await.unwrap();
            let here = |drive: &&DriveInfo| drive.path == spare.display().to_string() && drive.state == state;
            if drives.iter().find(here).is_some_and(|drive| drive.problem.as_ref().unwrap().contains(told)) {
                break;
            }
            assert!(tokio::time::Instant::now() < until, "{told}: {drives:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(std::fs::read_dir(&spare).unwrap().count(), 2, "something was written into it");
    }
    node.shutdown().await;
}
