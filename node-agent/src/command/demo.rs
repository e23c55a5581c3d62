//! `shoal demo`: a local grid to try things with.

mod fleet;
mod self_test;
mod store;

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use grid_types::ProfileChoice;
use serde_json::json;
use sys::{Clock, Random, RealClock, RealRandom};

use super::Failure;
use crate::client::{S3Client, Target};
use crate::config::{ADMIN_PORT_DEFAULT, Config, LogFormat, ProfileText, S3_PORT_DEFAULT, TlsMode};
use crate::node::{Node, SOCKET_FILE};
use fleet::{Fleet, FleetOrder};
use store::DemoStore;

/// Unix: `sun_path` holds 108 bytes with its end; the socket is bound under a longer name first.
const SOCKET_PATH_BYTES_MAX: usize = 96;
/// Drive folders of a demo of one node.
const DRIVES_DEFAULT: u32 = 4;
/// The bucket that the printed line copies into.
const DEMO_BUCKET: &str = "demo";

/// Starts a local grid to try things with.
#[derive(Args)]
pub struct Demo {
    /// Keep the data here, and take it up again with the same keys [default: a new folder for temporary files]
    #[arg(long, value_name = "PATH")]
    dir: Option<PathBuf>,
    /// Delete the data at the end
    #[arg(long)]
    ephemeral: bool,
    /// Nodes, a process each
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=16))]
    nodes: u32,
    /// Drive folders of each node of a new demo [default: 4, or 1 with several nodes]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    drives: Option<u32>,
    /// auto, copies:N or ec:K+M
    #[arg(long, default_value = "auto")]
    profile: ProfileChoice,
    /// Port of S3; 0 = any [default: 9000, or any where that is taken]
    #[arg(long, value_name = "PORT")]
    s3_port: Option<u16>,
    /// Port of the operator's door; 0 = any [default: 9001, or any where that is taken]
    #[arg(long, value_name = "PORT")]
    admin_port: Option<u16>,
    /// HTTPS, with a certificate made here
    #[arg(long)]
    tls: bool,
    /// Take signatures of version 2 as well, which boto3 presigns with
    #[arg(long)]
    signature_v2: bool,
    /// Print exactly one JSON line once it is ready
    #[arg(long)]
    json: bool,
}

impl Demo {
    /// Until SIGTERM or SIGINT.
    pub async fn run(self) -> Result<(), Failure> {
        crate::logging::start(if self.json { "info" } else { "warn" }, LogFormat::Text);
        let clock: Arc<dyn Clock> = Arc::new(RealClock);
        let random: Arc<dyn Random> = Arc::new(RealRandom);
        let dir = self.folder(&*random)?;
        if self.nodes > 1 {
            let served = self.serve_fleet(&dir, clock, random).await;
            self.clean_up(&dir)?;
            return served;
        }
        let drives = self.drives.unwrap_or(DRIVES_DEFAULT);
        let demo = DemoStore::open_or_found(&dir, drives, clock.clone(), random.clone()).await?;
        let mut notes = Vec::new();
        if !demo.new && self.drives.is_some_and(|drives| demo.drives.len() != drives as usize) && !self.json {
            notes.push(format!(
                "{} holds {} drives; --drives counts for a new demo",
                dir.display(),
                demo.drives.len()
            ));
        }
        let config = self.config(&demo, &mut notes);
        let node = Node::start(&config, clock.clone(), random.clone()).await?;
        let served = self.serve(&dir, &demo, &config, &node, &notes, &*clock, &*random).await;
        node.shutdown().await;
        self.clean_up(&dir)?;
        served
    }

    fn clean_up(&self, dir: &Path) -> Result<(), Failure> {
        if self.ephemeral {
            std::fs::remove_dir_all(dir)
                .map_err(|error| format!("{} could not be deleted: {error}", dir.display()))?;
        }
        Ok(())
    }

    async fn serve_fleet(
        &self,
        dir: &Path,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<(), Failure> {
        let mut notes = Vec::new();
        let order = FleetOrder {
            dir,
            nodes: self.nodes,
            drives: self.drives.unwrap_or(1),
            profile: self.profile,
            first: (
                listen(self.s3_port, S3_PORT_DEFAULT, "S3", &mut notes),
                listen(self.admin_port, ADMIN_PORT_DEFAULT, "the operator's door", &mut notes),
            ),
            tls: self.tls,
            signature_v2: self.signature_v2,
        };
        let stopped = super::stop_signal()?;
        let fleet = Fleet::start(&order, clock.clone(), random.clone()).await?;
        let endpoints = fleet.endpoints();
        let authority = self.tls.then(|| {
            dir.join("node-1/drive-1")
                .join(crate::certificate::TLS_FOLDER)
                .join(crate::certificate::AUTHORITY_FILE)
        });
        let region = Config::default().s3.region;
        // Through the last node what the first one was asked for must be there, too.
        let client = S3Client {
            target: Target::from_url(endpoints.last().ok_or("no node serves")?, authority.as_deref())?,
            access_key: fleet.keys.access_key.clone(),
            secret_key: fleet.keys.secret_key.clone(),
            region: region.clone(),
        };
        let tested = self_test::run(&client, &*clock, &*random).await;
        if self.json {
            super::print_json(&json!({
                "endpoint": endpoints.first(),
                "endpoints": endpoints,
                "region": region,
                "access_key": fleet.keys.access_key,
                "secret_key": fleet.keys.secret_key,
                "pids": fleet.pids(),
                "admin": fleet.admins().first(),
                "admins": fleet.admins(),
                "sockets": fleet.sockets(),
                "admin_key": fleet.keys.operator_key,
                "ca": authority,
                "dir": dir,
                "self_test": tested.as_ref().err().map_or("ok".to_owned(), ToString::to_string),
            }))?;
        } else {
            let bucket = self_test::make_bucket(&client, DEMO_BUCKET, &*clock).await;
            for note in &notes {
                println!("note: {note}");
            }
            println!("A grid of {} nodes serves S3; each of them answers everything.\n", self.nodes);
            for endpoint in &endpoints {
                println!("  endpoint      {endpoint}");
            }
            println!("  region        {region}");
            println!("  access key    {}", fleet.keys.access_key);
            println!("  secret key    {}", fleet.keys.secret_key);
            println!("  admin         {}", fleet.admins().join(" "));
            println!("  operator key  {}", fleet.keys.operator_key);
            println!("  data          {}", dir.display());
            println!("  members       shoal node list --socket {}", fleet.sockets()[0].display());
            if self.ephemeral {
                println!("\nThe data is deleted at the end.");
            }
            let bundle = authority
                .as_ref()
                .map(|path| format!("AWS_CA_BUNDLE={} ", path.display()))
                .unwrap_or_default();
            println!(
                "\nCopy a file into it:\n\n  {bundle}AWS_ACCESS_KEY_ID={} AWS_SECRET_ACCESS_KEY={} \
                 AWS_DEFAULT_REGION={region} \\\n  aws --endpoint-url {} s3 cp README.md s3://{DEMO_BUCKET}/\n",
                fleet.keys.access_key, fleet.keys.secret_key, endpoints[0]
            );
            match &tested {
                Ok(()) => println!("Self-test: PUT, GET and DELETE through S3 are right."),
                Err(error) => println!("Self-test FAILED: {error}"),
            }
            if let Err(error) = bucket {
                println!("The bucket `{DEMO_BUCKET}` could not be made: {error}");
            }
            println!("\nStop it with Ctrl-C.");
        }
        stopped.await;
        fleet.stop().await;
        Ok(())
    }

    fn folder(&self, random: &dyn Random) -> Result<PathBuf, Failure> {
        use std::os::unix::fs::DirBuilderExt;
        let dir = match &self.dir {
            Some(dir) => std::path::absolute(dir)?,
            None => {
                let name = data_encoding::HEXLOWER.encode(&random.id()[..4]);
                std::env::temp_dir().join(format!("shoal-demo-{name}"))
            }
        };
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&dir)
            .map_err(|error| format!("{}: {error}", dir.display()))?;
        Ok(dir.canonicalize()?)
    }

    fn config(&self, demo: &DemoStore, notes: &mut Vec<String>) -> Config {
        let mut config =
            Config { drives: demo.drives.clone(), profile: ProfileText(self.profile), ..Config::default() };
        config.drives_are_domains = true;
        config.rpc.listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        config.s3.signature_v2 = self.signature_v2;
        config.s3.listen = listen(self.s3_port, S3_PORT_DEFAULT, "S3", notes);
        config.admin.listen = listen(self.admin_port, ADMIN_PORT_DEFAULT, "the operator's door", notes);
        config.s3.tls = if self.tls { TlsMode::Generated } else { TlsMode::Off };
        // Loopback alone: the operator key does not leave this machine.
        config.admin.tls = TlsMode::Off;
        let beside = demo.drives.first().map(|drive| drive.join(SOCKET_FILE));
        if beside.is_some_and(|path| path.as_os_str().len() > SOCKET_PATH_BYTES_MAX) {
            let short = std::env::temp_dir().join(format!("shoal-demo-{}.sock", std::process::id()));
            config.socket = Some(short);
        }
        config
    }

    async fn serve(
        &self,
        dir: &Path,
        demo: &DemoStore,
        config: &Config,
        node: &Node,
        notes: &[String],
        clock: &dyn Clock,
        random: &dyn Random,
    ) -> Result<(), Failure> {
        let client = S3Client {
            target: Target::from_url(&node.s3_url(), node.authority.as_deref())?,
            access_key: demo.keys.access_key.clone(),
            secret_key: demo.keys.secret_key.clone(),
            region: config.s3.region.clone(),
        };
        let tested = self_test::run(&client, clock, random).await;
        let stopped = super::stop_signal()?;
        if self.json {
            super::print_json(&json!({
                "endpoint": node.s3_url(),
                "endpoints": [node.s3_url()],
                "region": config.s3.region,
                "access_key": demo.keys.access_key,
                "secret_key": demo.keys.secret_key,
                "pids": [std::process::id()],
                "admin": node.admin_url(),
                "admin_key": demo.keys.operator_key,
                "ca": node.authority,
                "dir": dir,
                "self_test": tested.as_ref().err().map_or("ok".to_owned(), ToString::to_string),
            }))?;
            if let Err(error) = tested {
                tracing::error!(%error, "the self-test failed");
            }
        } else {
            let bucket = self_test::make_bucket(&client, DEMO_BUCKET, clock).await;
            self.print(dir, demo, config, node, notes);
            match tested {
                Ok(()) => println!("Self-test: PUT, GET and DELETE through S3 are right."),
                Err(error) => println!("Self-test FAILED: {error}"),
            }
            if let Err(error) = bucket {
                println!("The bucket `{DEMO_BUCKET}` could not be made: {error}");
            }
            println!("\nStop it with Ctrl-C.");
        }
        stopped.await;
        Ok(())
    }

    fn print(&self, dir: &Path, demo: &DemoStore, config: &Config, node: &Node, notes: &[String]) {
        for note in notes.iter().chain(&node.warnings) {
            println!("note: {note}");
        }
        let keys = &demo.keys;
        println!("A grid of one node with {} drives serves S3.\n", demo.drives.len());
        println!("  endpoint      {}", node.s3_url());
        println!("  region        {}", config.s3.region);
        println!("  access key    {}", keys.access_key);
        println!("  secret key    {}", keys.secret_key);
        println!("  admin         {}", node.admin_url());
        println!("  operator key  {}", keys.operator_key);
        println!("  data          {}", dir.display());
        if let Some(authority) = &node.authority {
            println!("  trust         {}", authority.display());
        }
        if self.ephemeral {
            println!("\nThe data is deleted at the end.");
        } else if self.dir.is_none() {
            println!("\nTake it up again:  shoal demo --dir {}", dir.display());
        }
        let bundle = node.authority.as_ref().map(|path| format!("AWS_CA_BUNDLE={} ", path.display()));
        println!(
            "\nCopy a file into it:\n\n  {}AWS_ACCESS_KEY_ID={} AWS_SECRET_ACCESS_KEY={} AWS_DEFAULT_REGION={} \\\n  aws \
             --endpoint-url {} s3 cp README.md s3://{DEMO_BUCKET}/\n",
            bundle.unwrap_or_default(),
            keys.access_key,
            keys.secret_key,
            config.s3.region,
            node.s3_url()
        );
    }
}

/// The port asked for; else the usual one, or any where that is taken.
fn listen(asked: Option<u16>, usual: u16, what: &str, notes: &mut Vec<String>) -> SocketAddr {
    let loopback = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
    if let Some(port) = asked {
        return loopback(port);
    }
    match TcpListener::bind(loopback(usual)) {
        Ok(_free) => loopback(usual),
        Err(_) => {
            notes.push(format!("port {usual} is taken: {what} gets another one"));
            loopback(0)
        }
    }
}
