//! Pinned Debian packages: downloaded once, believed only by their SHA-256, unpacked below `target/`.

use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;
use disk_image::manifest::sha256_hex;
use serde::{Deserialize, Serialize};

use crate::board::{Architecture, Board};
use crate::{Failure, build, uboot};

/// The pins, beside the boards.
pub const LOCK_FILE: &str = "packages.lock.toml";
/// Debian's program that downloads and checks a hash, part of apt: it knows the host's mirrors' proxies and credentials.
const APT_HELPER: &str = "/usr/lib/apt/apt-helper";
/// Keeps every file that Debian ever published, for pins that mirrors have dropped.
const ARCHIVE: &str = "http://snapshot.debian.org/archive/debian";
/// A mirror to use instead of the one in the host's apt sources.
const MIRROR_VARIABLE: &str = "SHOAL_DEBIAN_MIRROR";

/// The lock file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    /// Debian's release that packages are from whose name names no other.
    pub release: String,
    /// When it was pinned, as the archive of all files names that day: `20261127T000000Z`.
    pub day: String,
    /// The pins.
    pub package: Vec<Pin>,
}

/// One package.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Pin {
    /// What boards call it: `NAME`, or `NAME/RELEASE` for one of another release.
    pub name: String,
    /// The package that really is taken, where `name` says it otherwise: names a release, or points to the newest kernel.
    /// A kernel may come in several packages, which all have its name.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub real: Option<String>,
    /// `arm64`, `armhf`, `amd64` or `all`.
    pub architecture: String,
    /// Version.
    pub version: String,
    /// Source package, for the list of what is in the image.
    pub source: String,
    /// Path on a mirror.
    pub path: String,
    /// SHA-256 of the file.
    pub sha256: String,
}

impl Lock {
    /// Reads the lock file.
    pub fn load(boards: &Path) -> Result<Self, Failure> {
        let path = boards.join(LOCK_FILE);
        let text = std::fs::read_to_string(&path)
            .map_err(|error| format!("{}: {error}; `just image-lock` makes it", path.display()))?;
        toml::from_str(&text).map_err(|error| format!("{}: {error}", path.display()).into())
    }

    /// The pins of a package: one, or the parts of a kernel.
    pub fn pins(&self, name: &str, architecture: Architecture) -> Result<Vec<&Pin>, Failure> {
        let architecture = architecture.debian();
        let fits =
            |pin: &&Pin| pin.name == name && [architecture, "all"].contains(&pin.architecture.as_str());
        let pins: Vec<&Pin> = self.package.iter().filter(fits).collect();
        if pins.is_empty() {
            let told = format!("{name}:{architecture} is not pinned in {LOCK_FILE}: run `just image-lock`");
            return Err(told.into());
        }
        Ok(pins)
    }
}

/// Downloads and unpacks below one folder, each package once.
pub struct Packages {
    lock: Lock,
    cache: PathBuf,
}

impl Packages {
    /// With the pins of `boards`, below `cache`.
    pub fn new(boards: &Path, cache: &Path) -> Result<Self, Failure> {
        Ok(Self { lock: Lock::load(boards)?, cache: cache.to_owned() })
    }

    /// The pins.
    pub fn lock(&self) -> &Lock {
        &self.lock
    }

    /// The folder that holds the files of a package, or of all parts of a kernel.
    pub fn unpacked(&self, name: &str, architecture: Architecture) -> Result<PathBuf, Failure> {
        let pins = self.lock.pins(name, architecture)?;
        let content = match pins[..] {
            [pin] => pin.sha256.clone(),
            _ => sha256_hex(pins.iter().map(|pin| pin.sha256.as_str()).collect::<String>().as_bytes()),
        };
        let folder = self.cache.join("unpacked").join(&content);
        if folder.exists() {
            return Ok(folder);
        }
        let half = self.cache.join("unpacked").join(format!("{content}.half"));
        let _ = std::fs::remove_dir_all(&half);
        std::fs::create_dir_all(&half)?;
        for pin in pins {
            let file = self.downloaded(pin)?;
            run(Command::new("dpkg-deb").arg("-x").arg(&file).arg(&half))?;
        }
        std::fs::rename(&half, &folder)?;
        Ok(folder)
    }

    fn downloaded(&self, pin: &Pin) -> Result<PathBuf, Failure> {
        let folder = self.cache.join("packages");
        std::fs::create_dir_all(&folder)?;
        let file = folder.join(format!("{}.deb", pin.sha256));
        if file.exists() {
            return Ok(file);
        }
        let half = folder.join(format!("{}.half", pin.sha256));
        let mut told = Vec::new();
        for place in [mirror(), format!("{ARCHIVE}/{}", self.lock.day)] {
            eprintln!("downloading {} {}", pin.name, pin.version);
            match download(&format!("{place}/{}", pin.path), &half, &pin.sha256) {
                Ok(()) => {
                    std::fs::rename(&half, &file)?;
                    return Ok(file);
                }
                Err(failure) => told.push(failure.to_string()),
            }
        }
        Err(format!(
            "{} {} cannot be had: {}. If Debian has replaced it, `just image-lock` pins the newest packages.",
            pin.name,
            pin.version,
            told.join("; ")
        )
        .into())
    }
}

/// Downloads one file; what does not have this hash is refused.
fn download(address: &str, to: &Path, sha256: &str) -> Result<(), Failure> {
    fetch(address, to, Some(sha256))?;
    // The helper has checked already; its word alone would not be ours.
    let content = std::fs::read(to)?;
    let found = sha256_hex(&content);
    if found != sha256 {
        return Err(format!("{address} has SHA-256 {found}, pinned is {sha256}").into());
    }
    Ok(())
}

/// Downloads one file with Debian's own helper.
pub fn fetch(address: &str, to: &Path, sha256: Option<&str>) -> Result<(), Failure> {
    let mut helper = Command::new(APT_HELPER);
    // Everyone may run this, not only root with its sandbox user.
    helper.args(["-o", "APT::Sandbox::User=", "download-file", address]).arg(to);
    if let Some(sha256) = sha256 {
        helper.arg(format!("SHA256:{sha256}"));
    }
    run(&mut helper)
}

/// The mirror of the host's own apt sources.
pub fn mirror() -> String {
    if let Ok(mirror) = std::env::var(MIRROR_VARIABLE) {
        return mirror.trim_end_matches('/').to_owned();
    }
    let mut texts = vec![std::fs::read_to_string("/etc/apt/sources.list").unwrap_or_default()];
    if let Ok(entries) = std::fs::read_dir("/etc/apt/sources.list.d") {
        let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        texts.extend(paths.iter().filter_map(|path| std::fs::read_to_string(path).ok()));
    }
    mirror_of(&texts).unwrap_or_else(|| "http://deb.debian.org/debian".to_owned())
}

/// The first address in apt's sources, of either form, that ends in `/debian`.
pub fn mirror_of(texts: &[String]) -> Option<String> {
    let words = texts.iter().flat_map(|text| text.lines()).filter(|line| !line.trim_start().starts_with('#'));
    words
        .flat_map(str::split_whitespace)
        .map(|word| word.trim_end_matches('/'))
        .find(|word| word.starts_with("http") && word.ends_with("/debian"))
        .map(str::to_owned)
}

/// Runs a program; its own words are the failure.
pub fn run(command: &mut Command) -> Result<(), Failure> {
    output(command).map(drop)
}

/// What a program prints.
pub fn output(command: &mut Command) -> Result<Vec<u8>, Failure> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("{program}: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(format!("{program} failed: {said}").into());
    }
    Ok(output.stdout)
}

/// Says how an emulator runs the image of a board.
#[derive(Args)]
pub struct EmulatorCommand {
    /// Name of the board
    board: String,
    /// Where packages are kept
    #[arg(long, default_value = "target/image/cache")]
    cache: PathBuf,
}

impl EmulatorCommand {
    /// Runs to completion.
    pub fn run(&self, boards: &Path) -> Result<(), Failure> {
        let board = Board::load(boards, &self.board)?;
        let emulator = board.emulator.as_ref().ok_or_else(|| format!("no emulator runs {}", self.board))?;
        let packages = Packages::new(boards, &self.cache)?;
        let unpacked = |package: &str| packages.unpacked(package, board.architecture);
        let firmware = match &emulator.firmware {
            Some(firmware) => Some(unpacked(&firmware.package)?.join(&firmware.from)),
            None => None,
        };
        let firmware = match (firmware, emulator.firmware_at) {
            (Some(firmware), Some(address)) => {
                let placed = self.cache.join(format!("{}.firmware", self.board));
                std::fs::write(&placed, uboot::wrap_program(address, &std::fs::read(firmware)?))?;
                Some(placed)
            }
            (firmware, _) => firmware,
        };
        let device_tree = match &emulator.device_tree {
            Some(tree) => Some(build::device_tree(&unpacked(&board.kernel.package)?, tree)?),
            None => None,
        };
        let told = serde_json::json!({
            "program": emulator.program,
            "arguments": emulator.arguments,
            "firmware": firmware,
            "firmware_as": emulator.firmware_as,
            "serial_port": emulator.serial_port,
            "bus": emulator.bus,
            "device_tree": device_tree,
            "hidden": emulator.hidden,
            "real_time_clock": board.init.real_time_clock,
            "watchdog": board.init.watchdog,
        });
        println!("{told}");
        Ok(())
    }
}
