//! The initramfs of a board: the static agent as init, the modules, busybox and the tools for ext4.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::Failure;
use crate::board::Board;
use crate::cpio::{Entry, Tree};
use crate::modules::Modules;
use crate::packages::Packages;

/// Best of what the kernel unpacks; the build is not in a hurry, the boot is.
const ZSTD_LEVEL: i32 = 19;
/// Programs of busybox that init calls by name.
const BUSYBOX_PROGRAMS: [&str; 3] = ["ip", "udhcpc", "blockdev"];
/// The agent under another name: what the DHCP client calls.
const NETWORK_EVENT: &str = "usr/bin/shoal-network-event";

/// What init is told; read by the crate `board` as `/etc/shoal/board.toml`.
#[derive(Serialize)]
struct InitFile<'a> {
    board: &'a str,
    version: &'a str,
    not_before: i64,
    modules: Vec<ModuleLine>,
    trusted_keys: &'a [String],
    #[serde(flatten)]
    init: &'a crate::board::Init,
}

#[derive(Serialize)]
struct ModuleLine {
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    parameters: String,
}

/// Everything that goes into an initramfs.
pub struct Parts<'a> {
    /// Name of the board.
    pub name: &'a str,
    /// The board.
    pub board: &'a Board,
    /// Version of Shoal.
    pub version: &'a str,
    /// The static agent.
    pub agent: &'a Path,
    /// Keys whose updates this image takes.
    pub trusted_keys: &'a [String],
}

/// Builds the archive, compressed.
pub fn build(parts: &Parts<'_>, packages: &Packages) -> Result<Vec<u8>, Failure> {
    let mut tree = Tree::default();
    for folder in ["proc", "sys", "dev", "run", "tmp", "data", "boot", "etc", "mnt"] {
        tree.put(folder, Entry::Folder);
    }
    tree.put("dev/console", Entry::Device { major: 5, minor: 1 });
    for (link, to) in [("lib", "usr/lib"), ("bin", "usr/bin"), ("sbin", "usr/sbin"), ("lib64", "usr/lib")] {
        tree.link(link, to);
    }
    tree.program("init", read(parts.agent)?);
    tree.link("usr/bin/shoal", "/init");
    tree.link(NETWORK_EVENT, "/init");
    let architecture = parts.board.architecture;
    for file in &parts.board.files {
        let root = packages.unpacked(&file.package, architecture)?;
        let to = file.to.as_ref().unwrap_or(&file.from);
        let path = resolved(&root, &file.from)?;
        tree.program(to, read(&path)?);
    }
    for (path, text) in &parts.board.scripts {
        tree.program(path, text.as_bytes().to_vec());
    }
    for program in BUSYBOX_PROGRAMS {
        tree.link(&format!("usr/bin/{program}"), "busybox");
    }
    let modules = Modules::load(&packages.unpacked(&parts.board.kernel.package, architecture)?)?;
    let mut lines = Vec::new();
    for module in modules.ordered(&parts.board.kernel.modules)? {
        tree.file(&format!("usr/lib/modules/{}.ko", module.name), modules.content(&module)?);
        let parameters = parts.board.kernel.module_parameters.get(&module.name).cloned().unwrap_or_default();
        lines.push(ModuleLine { name: module.name, parameters });
    }
    let init = InitFile {
        board: parts.name,
        version: parts.version,
        not_before: not_before(&packages.lock().day)?,
        modules: lines,
        trusted_keys: parts.trusted_keys,
        init: &parts.board.init,
    };
    tree.file("etc/shoal/board.toml", toml::to_string(&init)?.into_bytes());
    Ok(zstd::encode_all(&tree.archive()[..], ZSTD_LEVEL)?)
}

/// The day of the pins (`20261121T091544Z`) in seconds since 1970: no clock shows less.
fn not_before(day: &str) -> Result<i64, Failure> {
    let form = time::macros::format_description!("[year][month][day]T[hour][minute][second]Z");
    let time =
        time::PrimitiveDateTime::parse(day, &form).map_err(|error| format!("the lock's day: {error}"))?;
    Ok(time.assume_utc().unix_timestamp())
}

/// Follows links inside the unpacked package, never out of it.
pub fn resolved(root: &Path, path: &str) -> Result<PathBuf, Failure> {
    let whole = root.join(path);
    let real = std::fs::canonicalize(&whole).map_err(|error| format!("{}: {error}", whole.display()))?;
    if !real.starts_with(std::fs::canonicalize(root)?) {
        return Err(format!("{path} leads out of its package").into());
    }
    Ok(real)
}

/// Reads a file; the error names it.
pub fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()).into())
}
