//! Boards are data: one TOML file each, with `inherit`: a name, or several of which each is laid over those before it. Tables of a
//! board are laid over those of what it inherits, key by key; lists replace lists, but for keys that end in `+`, which
//! append. Unknown keys are errors.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// A chain of `inherit` longer than this is a circle.
const INHERIT_MAX: usize = 8;

/// One board.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Board {
    /// What people call it.
    pub title: String,
    /// How sure we are that it works.
    pub support: Support,
    /// Debian's name of the architecture.
    pub architecture: Architecture,
    /// Least RAM of its kind, MiB.
    pub ram_mib: u32,
    /// The kernel.
    pub kernel: Kernel,
    /// How it starts.
    pub boot: Boot,
    /// What the agent as init must know of the hardware.
    pub init: Init,
    /// Packages beside the kernel, and which of their files the initramfs gets.
    #[serde(default)]
    pub files: Vec<PackageFile>,
    /// Programs of an emulated board's own, texts by their path in the initramfs: what plays the world around it.
    #[serde(default)]
    pub scripts: BTreeMap<String, String>,
    /// How an emulator runs the image, where one can.
    pub emulator: Option<Emulator>,
    /// What else is worth saying.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// How sure we are that a board works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Support {
    /// An emulator or a board passed the suite of hil-tests.
    Tested,
    /// The image is built; nobody has run it.
    BuildOnly,
}

/// Debian's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Architecture {
    /// 64-bit ARM.
    Arm64,
    /// ARMv7 with hardware floating point.
    Armhf,
    /// 64-bit x86.
    Amd64,
}

impl Architecture {
    /// As Debian writes it.
    pub const fn debian(self) -> &'static str {
        match self {
            Self::Arm64 => "arm64",
            Self::Armhf => "armhf",
            Self::Amd64 => "amd64",
        }
    }

    /// As `just cross` takes it.
    pub const fn short(self) -> &'static str {
        match self {
            Self::Arm64 => "aarch64",
            Self::Armhf => "armv7",
            Self::Amd64 => "x86_64",
        }
    }

    /// The target that the agent is built for.
    pub const fn rust_target(self) -> &'static str {
        match self {
            Self::Arm64 => "aarch64-unknown-linux-musl",
            Self::Armhf => "armv7-unknown-linux-musleabihf",
            Self::Amd64 => "x86_64-unknown-linux-musl",
        }
    }
}

/// The kernel and what of it the initramfs gets.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Kernel {
    /// Debian's package that names the newest kernel of its kind.
    pub package: String,
    /// Command line, but for what the boot script adds.
    pub command_line: String,
    /// Modules by name; those that they need come with them. A name that ends in `?` may be missing from the kernel.
    pub modules: Vec<String>,
    /// Parameters of modules: `i6300esb = "heartbeat=30"`.
    #[serde(default)]
    pub module_parameters: BTreeMap<String, String>,
    /// Device trees, paths below the package's folder of them; none where the firmware brings one.
    #[serde(default)]
    pub device_trees: Vec<String>,
}

/// How the board starts.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Boot {
    /// What finds the slot.
    pub method: Method,
    /// Files of packages on volume SHOAL, for the firmware to find.
    #[serde(default)]
    pub files: Vec<PackageFile>,
    /// Device trees on volume SHOAL, paths below the kernel package's folder of them, for firmware that chooses one itself.
    #[serde(default)]
    pub device_trees: Vec<String>,
    /// Lines of `config.txt`, which a Raspberry Pi's firmware reads.
    #[serde(default)]
    pub config_txt: Vec<String>,
    /// The whole environment of a U-Boot that reads it from `uboot.env`; without it, U-Boot has its own.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// Where the boot script loads things: hexadecimal addresses by name.
    #[serde(default)]
    pub addresses: BTreeMap<String, String>,
}

/// What finds the slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// U-Boot runs `boot.scr` of the first partition.
    UBootScript,
    /// EFI firmware starts Debian's GRUB, one of `[[boot.files]]`, which reads `EFI/debian/grub.cfg` of the first partition.
    Grub,
}

/// What the agent as init must know of the hardware.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Init {
    /// Devices that the node's state is shown on.
    pub consoles: Vec<String>,
    /// LEDs by the names that the kernel gives them; the first that is there shows the state.
    #[serde(default)]
    pub leds: Vec<String>,
    /// Can it join Wi-Fi?
    #[serde(default)]
    pub wifi: bool,
    /// Has it a hardware watchdog that a driver serves?
    pub watchdog: bool,
    /// Has it a clock that runs without power?
    pub real_time_clock: bool,
}

/// A file of a package, and where it goes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PackageFile {
    /// The package, of the board's architecture.
    pub package: String,
    /// Path in the package, without the first slash.
    pub from: String,
    /// Path where it goes; the same where it is not said.
    #[serde(default)]
    pub to: Option<String>,
}

/// How QEMU runs the image.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Emulator {
    /// The program.
    pub program: String,
    /// Its machine and processor, before drives and networks.
    pub arguments: Vec<String>,
    /// Firmware: package and path in it.
    #[serde(default)]
    pub firmware: Option<PackageFile>,
    /// How the machine gets the firmware.
    #[serde(default)]
    pub firmware_as: FirmwareAs,
    /// Where in memory the firmware must lie, if QEMU would put it elsewhere.
    #[serde(default)]
    pub firmware_at: Option<u32>,
    /// Which of the machine's serial ports is the console, counted from 0.
    #[serde(default)]
    pub serial_port: u8,
    /// What card and network are plugged into.
    #[serde(default)]
    pub bus: Bus,
    /// Device tree of a machine that is given one: a path below the kernel package's folder of them.
    #[serde(default)]
    pub device_tree: Option<String>,
    /// Devices, by their `compatible`, which the emulator has only in a form that the driver does not survive: they are
    /// taken out of its device tree.
    #[serde(default)]
    pub hidden: Vec<String>,
}

/// What card and network of an emulated machine are plugged into.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bus {
    /// Virtio on PCI, with a watchdog and a power button.
    #[default]
    Pci,
    /// A card slot and USB; the console is the second serial port, and there is no power button.
    RaspberryPi,
}

/// How a machine of QEMU gets its firmware.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FirmwareAs {
    /// `-bios`
    #[default]
    Bios,
    /// Flash memory that cannot be written.
    Flash,
    /// `-kernel`: the machine has no firmware of its own, and this is what that would start.
    Kernel,
}

/// Why a board cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum BoardError {
    /// Reading failed.
    #[error("{path}: {why}")]
    File {
        /// The file.
        path: String,
        /// What is wrong, with the line where it is known.
        why: String,
    },
    /// Too long a chain.
    #[error("{0}: `inherit` goes round in a circle")]
    Circle(String),
}

impl Board {
    /// Reads `NAME.toml` of a folder and all that it inherits.
    pub fn load(folder: &Path, name: &str) -> Result<Self, BoardError> {
        let whole = merged(folder, name, INHERIT_MAX)?;
        let path = folder.join(format!("{name}.toml")).display().to_string();
        Self::deserialize(whole).map_err(|error| BoardError::File { path, why: error.message().to_owned() })
    }

    /// Names of all boards of a folder: files whose names begin with `_` only serve to be inherited.
    pub fn names(folder: &Path) -> std::io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if let Some(name) = name.strip_suffix(".toml")
                && !name.starts_with('_')
                && !name.contains('.')
            {
                names.push(name.to_owned());
            }
        }
        names.sort();
        Ok(names)
    }

    /// Every package that the image is made from.
    pub fn packages(&self) -> Vec<&str> {
        let firmware = self.emulator.iter().filter_map(|emulator| emulator.firmware.as_ref());
        let mut packages: Vec<&str> = std::iter::once(self.kernel.package.as_str())
            .chain(
                self.files.iter().chain(&self.boot.files).chain(firmware).map(|file| file.package.as_str()),
            )
            .collect();
        packages.sort_unstable();
        packages.dedup();
        packages
    }
}

fn merged(folder: &Path, name: &str, left: usize) -> Result<toml::Table, BoardError> {
    let path = folder.join(format!("{name}.toml"));
    let tell = |why: String| BoardError::File { path: path.display().to_string(), why };
    let text = std::fs::read_to_string(&path).map_err(|error| tell(error.to_string()))?;
    let mut own: toml::Table = toml::from_str(&text).map_err(|error| tell(error.to_string()))?;
    let Some(parent) = own.remove("inherit") else { return Ok(own) };
    let parents = match parent {
        toml::Value::Array(parents) => parents,
        parent => vec![parent],
    };
    let left = left.checked_sub(1).ok_or_else(|| BoardError::Circle(name.to_owned()))?;
    let mut whole = toml::Table::new();
    for parent in parents {
        let parent = parent.as_str().ok_or_else(|| tell("`inherit` takes names of boards".to_owned()))?;
        lay_over(&mut whole, merged(folder, parent, left)?).map_err(tell)?;
    }
    lay_over(&mut whole, own).map_err(tell)?;
    Ok(whole)
}

fn lay_over(below: &mut toml::Table, above: toml::Table) -> Result<(), String> {
    for (key, value) in above {
        if let Some(list) = key.strip_suffix('+') {
            let toml::Value::Array(more) = value else { return Err(format!("`{key}` must be a list")) };
            match below.entry(list).or_insert_with(|| toml::Value::Array(Vec::new())) {
                toml::Value::Array(there) => there.extend(more),
                _ => return Err(format!("`{list}` is no list, so `{key}` cannot append to it")),
            }
            continue;
        }
        match (below.get_mut(&key), value) {
            (Some(toml::Value::Table(there)), toml::Value::Table(more)) => lay_over(there, more)?,
            (_, value) => {
                below.insert(key, value);
            }
        }
    }
    Ok(())
}
