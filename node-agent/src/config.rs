//! The configuration file: typed, every key known, every mistake explained by line. Parsed once, at the edge; each
//! crate below gets its own small config.

mod explain;
mod template;
mod value;

#[cfg(test)]
mod config_tests;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use membership::NTP_SERVERS_MAX;
use serde::Deserialize;

pub use explain::{ConfigError, Mistake};
pub use template::template;
pub use value::{
    AccessLogTarget, ByteSize, CipherText, ClockSource, DegradedWrites, LogFormat, ProfileText, TlsMode,
    UnprovenTime,
};

/// Port of S3 unless configured.
pub const S3_PORT_DEFAULT: u16 = 9000;
/// Port of the operator's door unless configured.
pub const ADMIN_PORT_DEFAULT: u16 = 9001;
/// Port of node to node calls unless configured.
pub const RPC_PORT_DEFAULT: u16 = 9002;
/// Held for requests at once: the share of the 150 MiB bar that is not code, page caches and SQLite.
const MEMORY_BYTES_DEFAULT: u64 = 64 << 20;
/// Less cannot hold one `ec` write and one read side by side.
const MEMORY_BYTES_MIN: u64 = 16 << 20;

/// The whole file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Folders that `shoal init` made drives.
    pub drives: Vec<PathBuf>,
    /// The root key; default `shoal-root.key`, a copy in each drive.
    pub key_file: Option<PathBuf>,
    /// The operator's Unix socket; default `shoal-admin.sock` in the first drive in service.
    pub socket: Option<PathBuf>,
    /// The profile of STANDARD.
    pub profile: ProfileText,
    /// Other storage classes.
    pub storage_classes: BTreeMap<String, ProfileText>,
    /// Objects up to here live in their metadata row.
    pub inline_bytes_max: ByteSize,
    /// What requests may hold in memory, all together.
    pub memory: ByteSize,
    /// Write with fewer than two writable domains where there are two or more?
    pub degraded_writes: DegradedWrites,
    /// Seals new segments whatever the CPUs say.
    pub cipher: CipherText,
    /// Count every drive as a failure domain although several lie on one file system. For demos and tests.
    pub drives_are_domains: bool,
    /// The S3 door.
    pub s3: S3Section,
    /// The operator's door.
    pub admin: AdminSection,
    /// Node to node.
    pub rpc: RpcSection,
    /// Which time it is.
    pub clock: ClockSection,
    /// Becoming a member.
    pub join: JoinSection,
    /// Logs.
    pub log: LogSection,
}

/// `[s3]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct S3Section {
    /// Address and port; port 0 = any.
    pub listen: SocketAddr,
    /// The region that clients are told.
    pub region: String,
    /// `bucket.SUFFIX` addresses a bucket.
    pub host_suffixes: Vec<String>,
    /// Take signatures of version 2 as well?
    pub signature_v2: bool,
    /// Connections at once.
    pub connections_max: usize,
    /// HTTPS?
    pub tls: TlsMode,
    /// PEM, with `tls = "files"`.
    pub certificate: Option<PathBuf>,
    /// PEM, with `tls = "files"`.
    pub certificate_key: Option<PathBuf>,
}

/// `[admin]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdminSection {
    /// Address and port; port 0 = any.
    pub listen: SocketAddr,
    /// HTTPS?
    pub tls: TlsMode,
    /// PEM, with `tls = "files"`.
    pub certificate: Option<PathBuf>,
    /// PEM, with `tls = "files"`.
    pub certificate_key: Option<PathBuf>,
}

/// `[rpc]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RpcSection {
    /// Address and port for other nodes; port 0 = any.
    pub listen: SocketAddr,
    /// Where other nodes reach this one, where `listen` does not say it: behind a forwarded port.
    pub advertise: Vec<SocketAddr>,
    /// Be seen, and look for others, by multicast DNS?
    pub multicast: bool,
    /// Interfaces for that, instead of all that lead out of this host.
    pub interfaces: Vec<String>,
    /// `HOST:PORT` of members, where multicast does not pass.
    pub peers: Vec<String>,
}

/// `[clock]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClockSection {
    /// What makes the time proven.
    pub source: ClockSource,
    /// What S3 does until then.
    pub unproven: UnprovenTime,
    /// NTP servers, `HOST` or `HOST:PORT`, with `source = "proven"`.
    pub ntp: Vec<String>,
    /// A clock with a battery that keeps UTC, with `source = "proven"`: `/dev/rtc0`.
    pub rtc: Option<PathBuf>,
}

/// `[join]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JoinSection {
    /// A file with a ticket: `shoal serve` on drives without a label joins the grid with it, and then deletes the file.
    pub ticket_file: Option<PathBuf>,
    /// The pin of the grid in which an operator enrols this node's key: `shoal serve` on drives without a label prints the
    /// key, and joins once it is enrolled.
    pub enrolled: Option<String>,
}

/// `[log]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogSection {
    /// A level (`info`) or a filter (`info,repair=debug`).
    pub level: String,
    /// `text` or `json`.
    pub format: LogFormat,
    /// `off`, `stdout`, or a file.
    pub access: AccessLogTarget,
}

const fn everywhere(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port)
}

impl Default for Config {
    fn default() -> Self {
        Self {
            drives: Vec::new(),
            key_file: None,
            socket: None,
            profile: ProfileText::default(),
            storage_classes: BTreeMap::new(),
            inline_bytes_max: ByteSize(grid_types::INLINE_BYTES_MAX_DEFAULT),
            memory: ByteSize(MEMORY_BYTES_DEFAULT),
            degraded_writes: DegradedWrites::Refuse,
            cipher: CipherText::default(),
            drives_are_domains: false,
            s3: S3Section::default(),
            admin: AdminSection::default(),
            rpc: RpcSection::default(),
            clock: ClockSection::default(),
            join: JoinSection::default(),
            log: LogSection::default(),
        }
    }
}

impl Default for S3Section {
    fn default() -> Self {
        Self {
            listen: everywhere(S3_PORT_DEFAULT),
            region: "us-east-1".to_owned(),
            host_suffixes: Vec::new(),
            signature_v2: false,
            connections_max: 1_024,
            tls: TlsMode::Off,
            certificate: None,
            certificate_key: None,
        }
    }
}

impl Default for AdminSection {
    fn default() -> Self {
        Self {
            listen: everywhere(ADMIN_PORT_DEFAULT),
            tls: TlsMode::Generated,
            certificate: None,
            certificate_key: None,
        }
    }
}

impl Default for RpcSection {
    fn default() -> Self {
        Self {
            listen: everywhere(RPC_PORT_DEFAULT),
            advertise: Vec::new(),
            multicast: true,
            interfaces: Vec::new(),
            peers: Vec::new(),
        }
    }
}

impl Default for ClockSection {
    fn default() -> Self {
        Self { source: ClockSource::Host, unproven: UnprovenTime::Refuse, ntp: Vec::new(), rtc: None }
    }
}

impl Default for LogSection {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: LogFormat::Text, access: AccessLogTarget::Off }
    }
}

impl Config {
    /// Reads and checks a file; relative paths in it count from its folder.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        let config = Self::parse(&text)
            .map_err(|mistakes| ConfigError::Mistakes { path: path.to_owned(), mistakes })?;
        Ok(config.resolved_from(path.parent().unwrap_or(Path::new(""))))
    }

    /// Parses text; all mistakes that can be told apart are told.
    pub fn parse(text: &str) -> Result<Self, Vec<Mistake>> {
        let config: Self = toml::from_str(text).map_err(|error| vec![explain::of_toml(text, &error)])?;
        let mistakes = config.mistakes(text);
        if mistakes.is_empty() { Ok(config) } else { Err(mistakes) }
    }

    fn mistakes(&self, text: &str) -> Vec<Mistake> {
        let mut mistakes = Vec::new();
        let mut tell = |section: &str, key: &str, message: String| {
            mistakes.push(explain::of_key(text, section, key, message));
        };
        if self.drives.is_empty() {
            tell(
                "",
                "drives",
                "`drives` is missing or empty: name the folders that `shoal init` made".to_owned(),
            );
        }
        for (index, drive) in self.drives.iter().enumerate() {
            if self.drives[..index].contains(drive) {
                tell("", "drives", format!("{} is named twice", drive.display()));
            }
        }
        if self.memory.0 < MEMORY_BYTES_MIN {
            tell("", "memory", format!("`memory` must be at least {} MiB", MEMORY_BYTES_MIN >> 20));
        }
        if self.inline_bytes_max.0 > grid_types::SMALL_BYTES_MAX {
            let max = grid_types::SMALL_BYTES_MAX >> 10;
            tell("", "inline_bytes_max", format!("`inline_bytes_max` must be at most {max} KiB"));
        }
        for name in self.storage_classes.keys() {
            if name == "STANDARD" {
                let message = "the profile of STANDARD is `profile`, at the top of the file";
                tell("storage_classes", name, message.to_owned());
            }
        }
        if self.s3.region.is_empty() {
            tell("s3", "region", "`region` must not be empty".to_owned());
        }
        if self.s3.connections_max == 0 {
            tell("s3", "connections_max", "`connections_max` must be at least 1".to_owned());
        }
        let doors = [
            ("s3", self.s3.tls, &self.s3.certificate, &self.s3.certificate_key),
            ("admin", self.admin.tls, &self.admin.certificate, &self.admin.certificate_key),
        ];
        for (section, mode, certificate, key) in doors {
            let files = certificate.is_some() && key.is_some();
            if mode == TlsMode::Files && !files {
                let message = "`tls = \"files\"` needs `certificate` and `certificate_key`";
                tell(section, "tls", message.to_owned());
            }
            if mode != TlsMode::Files && (certificate.is_some() || key.is_some()) {
                let message = "`certificate` and `certificate_key` count with `tls = \"files\"` alone";
                tell(
                    section,
                    if certificate.is_some() { "certificate" } else { "certificate_key" },
                    message.to_owned(),
                );
            }
        }
        let same = |left: SocketAddr, right: SocketAddr| left.port() != 0 && left.port() == right.port();
        if same(self.s3.listen, self.admin.listen) && self.s3.listen.ip() == self.admin.listen.ip() {
            tell("admin", "listen", format!("port {} is taken by [s3] already", self.admin.listen.port()));
        }
        if self.clock.source == ClockSource::Host && (!self.clock.ntp.is_empty() || self.clock.rtc.is_some())
        {
            let key = if self.clock.rtc.is_some() { "rtc" } else { "ntp" };
            tell("clock", key, "`ntp` and `rtc` count with `source = \"proven\"` alone".to_owned());
        }
        if self.clock.ntp.len() > NTP_SERVERS_MAX {
            tell("clock", "ntp", format!("`ntp` takes at most {NTP_SERVERS_MAX} servers"));
        }
        if self.clock.ntp.iter().any(String::is_empty) {
            tell("clock", "ntp", "`ntp` names a server by nothing: write HOST or HOST:PORT".to_owned());
        }
        if let Some(pin) = &self.join.enrolled {
            if let Err(error) = pin.parse::<membership::GridPin>() {
                tell("join", "enrolled", error.to_string());
            }
            if self.join.ticket_file.is_some() {
                tell(
                    "join",
                    "enrolled",
                    "a node joins by ticket or by its key: name one of the two".to_owned(),
                );
            }
        }
        if crate::logging::filter(&self.log.level).is_none() {
            let message =
                format!("`{}` is no level; write error, warn, info, debug or trace", self.log.level);
            tell("log", "level", message);
        }
        mistakes
    }

    fn resolved_from(mut self, folder: &Path) -> Self {
        let resolve = |path: &mut PathBuf| *path = folder.join(&*path);
        self.drives.iter_mut().for_each(resolve);
        let optional = [
            &mut self.key_file,
            &mut self.socket,
            &mut self.join.ticket_file,
            &mut self.clock.rtc,
            &mut self.s3.certificate,
            &mut self.s3.certificate_key,
            &mut self.admin.certificate,
            &mut self.admin.certificate_key,
        ];
        optional.into_iter().flatten().for_each(resolve);
        if let AccessLogTarget::File(path) = &mut self.log.access {
            resolve(path);
        }
        self
    }
}
