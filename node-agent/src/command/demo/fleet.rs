//! A demo of several nodes: a process each on loopback, the first one founded, the others joined with a ticket.

use std::fmt::Write;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use admin_api::types::{CreateTicket, NewTicket, NodeList, Readiness, Status};
use grid_types::ProfileChoice;
use http::Method;
use rustix::process::{Pid, Signal, kill_process};
use sys::{Clock, Random};
use tokio::time::Instant;

use super::store::{DemoKeys, DemoStore};
use crate::client::{AdminAddress, AdminClient};
use crate::command::Failure;
use crate::founding::Founding;
use crate::grid::{JoinBy, Joining, join, multicast_of};
use crate::process::DIE_WITH_PARENT_VARIABLE;

/// For a node to start and to become ready.
const READY_PATIENCE: Duration = Duration::from_secs(60);
/// From SIGTERM to SIGKILL: longer than a node drains.
const STOP_PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks.
const LOOK_PAUSE: Duration = Duration::from_millis(50);
/// How long a ticket of a demo is good.
const TICKET_SECONDS: u64 = 600;

/// What a fleet begins with.
pub struct FleetOrder<'a> {
    /// The demo's folder.
    pub dir: &'a Path,
    /// Nodes.
    pub nodes: u32,
    /// Drive folders of each.
    pub drives: u32,
    /// How objects are protected.
    pub profile: ProfileChoice,
    /// Ports of the first node's S3 and admin doors.
    pub first: (SocketAddr, SocketAddr),
    /// HTTPS for S3.
    pub tls: bool,
    /// Signatures of version 2.
    pub signature_v2: bool,
}

/// Processes of a demo. Dropping it kills them.
pub struct Fleet {
    nodes: Vec<FleetNode>,
    /// Its keys.
    pub keys: DemoKeys,
}

struct FleetNode {
    number: u32,
    process: Child,
    socket: PathBuf,
    log: PathBuf,
    status: Option<Status>,
}

impl Drop for FleetNode {
    fn drop(&mut self) {
        if matches!(self.process.try_wait(), Ok(None)) {
            let _ = self.process.kill();
            let _ = self.process.wait();
        }
    }
}

impl Fleet {
    /// Starts the nodes one after the other; each is ready before the next one joins.
    pub async fn start(
        order: &FleetOrder<'_>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Self, Failure> {
        let first = order.dir.join("node-1");
        std::fs::create_dir_all(&first)?;
        let demo = DemoStore::open_or_found(&first, order.drives, clock.clone(), random.clone()).await?;
        let mut fleet = Self { nodes: Vec::new(), keys: demo.keys };
        let mut wait_for = Vec::new();
        for number in 1..=order.nodes {
            let folder = order.dir.join(format!("node-{number}"));
            let config = folder.join("shoal.toml");
            let new = !config.exists();
            if new {
                let rpc = free_port()?;
                let drives: Vec<PathBuf> =
                    (1..=order.drives).map(|drive| folder.join(format!("drive-{drive}"))).collect();
                if number > 1 {
                    for drive in &drives {
                        std::fs::create_dir_all(drive)?;
                    }
                    let ticket = fleet.ticket().await?;
                    let joining = Joining {
                        folders: Founding {
                            drives: drives.clone(),
                            key_file: None,
                            allow_not_empty: false,
                            same_file_system_ok: true,
                        },
                        door: JoinBy::Ticket(ticket.ticket.parse()?),
                        peers: Vec::new(),
                        multicast: Some(multicast_of(rpc)),
                        addresses: vec![rpc],
                        name: format!("node-{number}"),
                        patience: READY_PATIENCE,
                    };
                    join(&joining, clock.clone(), random.clone()).await?;
                }
                std::fs::write(&config, order.config(number, &folder, &drives, rpc)?)?;
            }
            fleet.spawn(number, &folder, &config)?;
            if new {
                fleet.until_ready(number).await?;
            } else {
                wait_for.push(number);
            }
        }
        for number in wait_for {
            fleet.until_ready(number).await?;
        }
        fleet.until_together(order.nodes).await?;
        Ok(fleet)
    }

    /// A ticket for one node, from the first one.
    async fn ticket(&self) -> Result<NewTicket, Failure> {
        let order = CreateTicket { uses: 1, valid_seconds: TICKET_SECONDS, drives: "image-data".to_owned() };
        let first = self.nodes.first().ok_or("no node runs")?;
        Ok(first.client()?.order("/v1/tickets", &order).await?)
    }

    fn spawn(&mut self, number: u32, folder: &Path, config: &Path) -> Result<(), Failure> {
        let log = folder.join("shoal.log");
        let output = File::options().create(true).append(true).open(&log)?;
        let process = Command::new(std::env::current_exe()?)
            .args(["serve", "--config"])
            .arg(config)
            .env(DIE_WITH_PARENT_VARIABLE, "1")
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()?;
        let socket = socket_of(folder);
        self.nodes.push(FleetNode { number, process, socket, log, status: None });
        Ok(())
    }

    async fn until_ready(&mut self, number: u32) -> Result<(), Failure> {
        let node = self.nodes.iter_mut().find(|node| node.number == number).ok_or("no such node")?;
        let until = Instant::now() + READY_PATIENCE;
        loop {
            if let Some(status) = node.process.try_wait()? {
                let log = std::fs::read_to_string(&node.log).unwrap_or_default();
                let last = log.lines().rev().take(5).collect::<Vec<_>>();
                let last: Vec<&str> = last.into_iter().rev().collect();
                return Err(format!("node {number} ended with {status}:\n{}", last.join("\n")).into());
            }
            let client = node.client()?;
            let ready: Result<Readiness, _> = client.call(Method::GET, "/health/ready").await;
            if ready.is_ok_and(|ready| ready.ready) {
                node.status = Some(client.call(Method::GET, "/v1/status").await?);
                return Ok(());
            }
            if Instant::now() > until {
                return Err(format!("node {number} is not ready; see {}", node.log.display()).into());
            }
            tokio::time::sleep(LOOK_PAUSE).await;
        }
    }

    /// Until every node sees every other one with its drives.
    async fn until_together(&self, nodes: u32) -> Result<(), Failure> {
        let until = Instant::now() + READY_PATIENCE;
        for node in &self.nodes {
            loop {
                let seen: NodeList = node.client()?.call(Method::GET, "/v1/nodes").await?;
                let alive = seen.nodes.iter().filter(|seen| seen.state == "alive" && seen.drives > 0);
                if alive.count() == nodes as usize {
                    break;
                }
                if Instant::now() > until {
                    return Err(format!("node {} does not see all others", node.number).into());
                }
                tokio::time::sleep(LOOK_PAUSE).await;
            }
        }
        Ok(())
    }

    /// S3 endpoints, by node.
    pub fn endpoints(&self) -> Vec<String> {
        self.statuses().flat_map(|status| status.s3.first().cloned()).collect()
    }

    /// The operator's doors, by node.
    pub fn admins(&self) -> Vec<String> {
        self.statuses().flat_map(|status| status.admin.first().cloned()).collect()
    }

    /// The operator's sockets, by node.
    pub fn sockets(&self) -> Vec<&Path> {
        self.nodes.iter().map(|node| node.socket.as_path()).collect()
    }

    /// Processes, by node.
    pub fn pids(&self) -> Vec<u32> {
        self.nodes.iter().map(|node| node.process.id()).collect()
    }

    fn statuses(&self) -> impl Iterator<Item = &Status> {
        self.nodes.iter().filter_map(|node| node.status.as_ref())
    }

    /// Lets all nodes end what they do, and waits for them.
    pub async fn stop(mut self) {
        for node in &self.nodes {
            if let Some(pid) = i32::try_from(node.process.id()).ok().and_then(Pid::from_raw) {
                // It may have ended by itself.
                let _ = kill_process(pid, Signal::TERM);
            }
        }
        let until = Instant::now() + STOP_PATIENCE;
        for node in &mut self.nodes {
            while matches!(node.process.try_wait(), Ok(None)) && Instant::now() < until {
                tokio::time::sleep(LOOK_PAUSE).await;
            }
        }
    }
}

impl FleetNode {
    fn client(&self) -> Result<AdminClient, Failure> {
        Ok(AdminClient::new(&AdminAddress::Socket(self.socket.clone()))?)
    }
}

impl FleetOrder<'_> {
    fn config(
        &self,
        number: u32,
        folder: &Path,
        drives: &[PathBuf],
        rpc: SocketAddr,
    ) -> Result<String, Failure> {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let (s3, admin) = if number == 1 { self.first } else { (any, any) };
        let quoted = |path: &Path| format!("{:?}", path.display().to_string());
        let drives: Vec<String> = drives.iter().map(|drive| quoted(drive)).collect();
        let mut text = String::new();
        writeln!(text, "drives = [{}]", drives.join(", "))?;
        writeln!(text, "drives_are_domains = true\nprofile = \"{}\"", self.profile)?;
        writeln!(text, "socket = {}", quoted(&socket_of(folder)))?;
        writeln!(text, "[s3]\nlisten = \"{s3}\"\nsignature_v2 = {}", self.signature_v2)?;
        writeln!(text, "tls = \"{}\"", if self.tls { "generated" } else { "off" })?;
        // Loopback alone: the operator key does not leave this machine.
        writeln!(text, "[admin]\nlisten = \"{admin}\"\ntls = \"off\"")?;
        writeln!(text, "[rpc]\nlisten = \"{rpc}\"")?;
        Ok(text)
    }
}

/// In the folder of temporary files where the node's own folder has too long a name for a socket.
fn socket_of(folder: &Path) -> PathBuf {
    let beside = folder.join("admin.sock");
    if beside.as_os_str().len() <= super::SOCKET_PATH_BYTES_MAX {
        return beside;
    }
    let hash = ring::digest::digest(&ring::digest::SHA256, folder.as_os_str().as_encoded_bytes());
    let name = data_encoding::HEXLOWER.encode(&hash.as_ref()[..8]);
    std::env::temp_dir().join(format!("shoal-{name}.sock"))
}

fn free_port() -> std::io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}
