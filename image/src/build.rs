//! `shoal-image build`: from pinned packages and an agent to a card image, its hash, and the lists that go with it.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use disk_image::Window;
use disk_image::card::{
    BOOT_AT, BOOT_BYTES, BOOT_LABEL, IMAGE_BYTES, SECTOR_BYTES, SLOT_AT, SLOT_BYTES, SLOT_LABELS, partitions,
};
use disk_image::fat::{Volume, format};
use disk_image::manifest::{MANIFEST_FILE, MANIFEST_VERSION, Manifest, SIGNATURE_FILE, SlotFile, sha256_hex};
use disk_image::table::Table;

use crate::board::{Architecture, Board, Method};
use crate::documents;
use crate::initramfs::{self, read};
use crate::keys::{Signer, TRUSTED_VARIABLE};
use crate::packages::Packages;
use crate::tarball::pack;
use crate::{Failure, grub, modules, uboot};

/// Of the finished image; the image is read once more than that by whoever flashes it.
const ZSTD_LEVEL: i32 = 10;
/// Reaches from one slot to its twin, and is the largest that readers take without being asked: 128 MiB.
const ZSTD_WINDOW_LOG: u32 = 27;
/// What people see first when they put the card into their computer.
const READ_ME: &str = include_str!("../card-readme.txt");
/// Say nothing, and are there for Raspberry Pi Imager to overwrite: 1.8 gives a name of more than eleven letters that it makes
/// itself wrong numbers, so that nobody finds the file.
const FOR_IMAGERS: [(&str, &str); 2] =
    [("user-data", "#cloud-config\n{}\n"), ("network-config", "version: 2\n")];

/// Builds the image of a board.
#[derive(Args)]
pub struct Build {
    /// Name of the board: `shoal-image list` shows them
    board: String,
    /// The static agent for the board's architecture [default: what `just cross` built]
    #[arg(long, value_name = "FILE")]
    agent: Option<PathBuf>,
    /// Where the image and what belongs to it are written
    #[arg(long, default_value = "target/image")]
    out: PathBuf,
    /// Where packages are kept
    #[arg(long, default_value = "target/image/cache")]
    cache: PathBuf,
    /// Leave out the compressed form
    #[arg(long)]
    plain: bool,
}

/// Slot a is known to work, none is under trial.
const FIRST_STATE: [(&str, &str); 3] = [("slot", "a"), ("trial", ""), ("tries", "0")];

/// A file of a volume.
type Content = (String, Vec<u8>);

impl Build {
    /// Runs to completion.
    pub fn run(&self, boards: &Path) -> Result<(), Failure> {
        let board = Board::load(boards, &self.board)?;
        let packages = Packages::new(boards, &self.cache)?;
        let built = || format!("target/cross/{}/board/shoal", board.architecture.rust_target()).into();
        let agent: PathBuf = self.agent.clone().unwrap_or_else(built);
        check_agent(&agent, board.architecture)?;
        let signer = Signer::find()?;
        let slot = self.slot(&board, &agent, &packages, &signer)?;
        let boot = boot_files(&board, &packages)?;
        std::fs::create_dir_all(&self.out)?;
        let path = self.out.join(format!("shoal-{}.img", self.board));
        let half = self.out.join(format!("shoal-{}.img.half", self.board));
        let _ = std::fs::remove_file(&half);
        eprintln!("writing {}", path.display());
        write_card(&half, &board, &boot, &slot)?;
        std::fs::rename(&half, &path)?;
        let spdx = documents::spdx(&self.board, &board, packages.lock())?;
        std::fs::write(path.with_extension("spdx.json"), spdx)?;
        let plain = read(&path)?;
        let mut hashes = vec![(path.clone(), sha256_hex(&plain))];
        if !self.plain {
            let packed_path = self.out.join(format!("shoal-{}.img.zst", self.board));
            eprintln!("compressing to {}", packed_path.display());
            let packed = compressed(&plain)?;
            std::fs::write(&packed_path, &packed)?;
            let manifest = documents::imager(&self.board, &board, &plain, &packed)?;
            std::fs::write(path.with_extension("rpi-imager.json"), manifest)?;
            hashes.push((packed_path, sha256_hex(&packed)));
        }
        let lines: String = hashes
            .iter()
            .map(|(path, hash)| {
                format!("{hash}  {}\n", path.file_name().unwrap_or_default().to_string_lossy())
            })
            .collect();
        std::fs::write(path.with_extension("sha256"), &lines)?;
        for (path, hash) in &hashes {
            let mib = std::fs::metadata(path)?.len() as f64 / f64::from(1 << 20);
            println!("{}  {mib:.1} MiB  sha256 {hash}", path.display());
        }
        if signer.development {
            println!("Signed by a key for development: not for release (docs/boards.md).");
        }
        Ok(())
    }

    /// Kernel, device trees, initramfs, and the signed list of them.
    fn slot(
        &self,
        board: &Board,
        agent: &Path,
        packages: &Packages,
        signer: &Signer,
    ) -> Result<Vec<Content>, Failure> {
        let root = packages.unpacked(&board.kernel.package, board.architecture)?;
        let kernel = kernel_of(&root)?;
        let kernel = if packed(board) { gzip(&kernel)? } else { kernel };
        eprintln!("packing the initramfs");
        let mut trusted = vec![signer.key.public().to_text()];
        trusted.extend(std::env::var(TRUSTED_VARIABLE).unwrap_or_default().lines().map(str::to_owned));
        let parts = initramfs::Parts {
            name: &self.board,
            board,
            version: env!("CARGO_PKG_VERSION"),
            agent,
            trusted_keys: &trusted,
        };
        let mut files = vec![
            ("kernel".to_owned(), kernel),
            ("initramfs".to_owned(), initramfs::build(&parts, packages)?),
            ("command_line.env".to_owned(), command_line(board)?),
        ];
        for tree in &board.kernel.device_trees {
            files.push((format!("dtb-{}", file_name(tree)), read(&device_tree(&root, tree)?)?));
        }
        let manifest = Manifest {
            format: MANIFEST_VERSION,
            board: self.board.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            development: signer.development,
            files: files.iter().map(|(path, content)| SlotFile::of(path, content)).collect(),
        };
        let text = manifest.to_text();
        let comment = format!("board {} version {}", manifest.board, manifest.version);
        files.push((SIGNATURE_FILE.to_owned(), signer.key.sign(&text, &comment).into_bytes()));
        files.push((MANIFEST_FILE.to_owned(), text.into_bytes()));
        Ok(files)
    }
}

/// 64-bit ARM kernels come unpacked; U-Boot reads a packed one from a card in half the time.
fn packed(board: &Board) -> bool {
    board.architecture == Architecture::Arm64 && board.boot.method == Method::UBootScript
}

/// In the form that the slot's boot loader reads.
fn command_line(board: &Board) -> Result<Vec<u8>, Failure> {
    let line = &board.kernel.command_line;
    match board.boot.method {
        Method::UBootScript => Ok(format!("command_line={line}\n").into_bytes()),
        Method::Grub => Ok(grub::block(&[("command_line", line)])?),
    }
}

fn boot_files(board: &Board, packages: &Packages) -> Result<Vec<Content>, Failure> {
    let mut files = vec![("READ-ME.txt".to_owned(), READ_ME.replace('\n', "\r\n").into_bytes())];
    files.extend(FOR_IMAGERS.map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec())));
    match board.boot.method {
        Method::UBootScript => {
            let tree = board.kernel.device_trees.first().map(|name| format!("dtb-{}", file_name(name)));
            let script = uboot::script(&board.boot.addresses, packed(board), tree.as_deref())?;
            files.push(("boot.scr".to_owned(), uboot::wrap_script(&script)));
        }
        Method::Grub => {
            if !board.boot.addresses.is_empty() {
                return Err("`[boot.addresses]` is for U-Boot: GRUB finds its own".into());
            }
            let path = |name: &str| format!("{}/{name}", grub::FOLDER);
            files.push((path(grub::SCRIPT_FILE), grub::script().into_bytes()));
            files.push((path(grub::STATE_FILE), grub::block(&FIRST_STATE)?));
        }
    }
    if !board.boot.config_txt.is_empty() {
        files.push(("config.txt".to_owned(), (board.boot.config_txt.join("\n") + "\n").into_bytes()));
    }
    if !board.boot.environment.is_empty() {
        files.push((uboot::ENVIRONMENT_FILE.to_owned(), uboot::environment(&board.boot.environment)?));
    }
    let kernel = packages.unpacked(&board.kernel.package, board.architecture)?;
    for tree in &board.boot.device_trees {
        files.push((file_name(tree).to_owned(), read(&device_tree(&kernel, tree)?)?));
    }
    for file in &board.boot.files {
        let root = packages.unpacked(&file.package, board.architecture)?;
        let to = file.to.as_ref().unwrap_or(&file.from);
        files.push((to.clone(), read(&initramfs::resolved(&root, &file.from)?)?));
    }
    let mut licences = format!("Shoal\n\n{}", include_str!("../../LICENSE"));
    for package in board.packages() {
        let root = packages.unpacked(package, board.architecture)?;
        let documents = root.join("usr/share/doc");
        let mut folders: Vec<_> =
            std::fs::read_dir(&documents).into_iter().flatten().collect::<Result<_, _>>()?;
        folders.sort_by_key(std::fs::DirEntry::file_name);
        for folder in folders {
            let copyright = folder.path().join("copyright");
            // Some of these are links to the one of another package of the same source.
            if copyright.is_file() {
                let text = String::from_utf8_lossy(&read(&copyright)?).into_owned();
                licences.push_str(&format!("\n\n==== {}\n\n{text}", folder.file_name().to_string_lossy()));
            }
        }
    }
    files.push(("LICENCES.txt".to_owned(), licences.into_bytes()));
    files.sort();
    Ok(files)
}

fn write_card(path: &Path, board: &Board, boot: &[Content], slot: &[Content]) -> Result<(), Failure> {
    let mut card = File::options().read(true).write(true).create_new(true).open(path)?;
    card.set_len(IMAGE_BYTES)?;
    // From the content, so that two images differ and one image is always the same.
    let id = slot.iter().chain(boot).fold(0, |id, (name, content)| {
        id ^ crc32fast::hash(name.as_bytes()).rotate_left(1) ^ crc32fast::hash(content)
    });
    let mut table = Table::new(id);
    for (index, partition) in partitions().into_iter().enumerate() {
        table.add(index, partition)?;
    }
    table.write(&mut card)?;
    let u_boot = board.boot.method == Method::UBootScript;
    for sector in uboot::STATE_SECTORS.into_iter().filter(|_| u_boot) {
        card.seek(SeekFrom::Start(sector * SECTOR_BYTES))?;
        card.write_all(&uboot::state(&FIRST_STATE))?;
    }
    volume(&mut card, BOOT_AT, BOOT_BYTES, BOOT_LABEL, id, boot)?;
    for (number, (at, label)) in SLOT_AT.into_iter().zip(SLOT_LABELS).enumerate() {
        volume(&mut card, at, SLOT_BYTES, label, id.wrapping_add(1 + number as u32), slot)?;
    }
    card.sync_all()?;
    Ok(())
}

fn volume(
    card: &mut File,
    at: u64,
    bytes: u64,
    label: &str,
    id: u32,
    files: &[Content],
) -> Result<(), Failure> {
    format(&mut Window::new(&mut *card, at, bytes), bytes, label, id)?;
    let volume = Volume::open(Window::new(&mut *card, at, bytes))?;
    for (path, content) in files {
        let told = |error: std::io::Error| -> Failure {
            format!("{path} ({} KiB) does not go onto volume {label}: {error}", content.len() >> 10).into()
        };
        volume.write(path, &content[..]).map_err(told)?;
    }
    volume.finish()?;
    Ok(())
}

fn kernel_of(root: &Path) -> Result<Vec<u8>, Failure> {
    let boot = std::fs::read_dir(root.join("boot")).into_iter().flatten().flatten();
    let kernel = boot.map(|entry| entry.path()).find(|path| file_name_begins(path, "vmlinuz-"));
    let kernel = kernel.or_else(|| modules::folder(root).ok().map(|folder| folder.join("vmlinuz")));
    read(&kernel.ok_or("the kernel's package holds no vmlinuz")?)
}

fn file_name_begins(path: &Path, with: &str) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(with))
}

/// Slots have no folders.
fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// The file of a device tree in the kernel's package: beside the modules since Debian 14.
pub fn device_tree(root: &Path, tree: &str) -> Result<PathBuf, Failure> {
    let above = std::fs::read_dir(root.join("usr/lib"))?.flatten().map(|entry| entry.path());
    let older = above.into_iter().find(|path| file_name_begins(path, "linux-image-"));
    Ok(older.map_or_else(|| modules::folder(root).map(|folder| folder.join("dtb")), Ok)?.join(tree))
}

/// Whatever stands in both slots is stored once.
fn compressed(plain: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = zstd::Encoder::new(Vec::new(), ZSTD_LEVEL)?;
    encoder.window_log(ZSTD_WINDOW_LOG)?;
    encoder.long_distance_matching(true)?;
    encoder.set_pledged_src_size(Some(plain.len() as u64))?;
    encoder.write_all(plain)?;
    encoder.finish()
}

/// The same bytes for the same input.
fn gzip(content: &[u8]) -> Result<Vec<u8>, Failure> {
    pack("gzip", &["-9", "-n"], content)
}

/// An agent of the wrong kind would be noticed only on the board.
pub fn check_agent(path: &Path, architecture: Architecture) -> Result<(), Failure> {
    let build = format!("build it with `just cross {}`", architecture.short());
    let content = read(path).map_err(|error| format!("{error}: {build}"))?;
    let wanted: (u8, u16) = match architecture {
        Architecture::Arm64 => (2, 183),
        Architecture::Armhf => (1, 40),
        Architecture::Amd64 => (2, 62),
    };
    let header = content.get(..20).filter(|header| header.starts_with(b"\x7fELF"));
    let found = header.map(|header| (header[4], u16::from_le_bytes([header[18], header[19]])));
    if found == Some(wanted) {
        return Ok(());
    }
    Err(format!("{} is no program for {}: {build}", path.display(), architecture.debian()).into())
}
