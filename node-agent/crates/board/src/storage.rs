//! Places for data: file systems on data drives, else a partition on the card.
//!
//! A data drive is any disk or partition with an ext file system whose label begins with `shoal`. It is checked before it
//! is mounted. What holds anything else is left alone; a disk that is blank from end to end is formatted only where the
//! owner has said so (`[board] format_blank_drives`), and nothing is erased but by a factory reset. The card gets a data partition only at the first start, and only
//! where there is no data drive.

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use disk_image::card::{DATA_AT, DATA_INDEX, DATA_LABEL, data_partition};
use disk_image::table::Table;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::blocks::{self, Block, Disk};
use crate::console::Console;

const SYS_BLOCK: &str = "/sys/block";
/// File systems with labels that begin so are data drives.
const LABEL_PREFIX: &str = "shoal";
/// Data drives are mounted here, each under its UUID.
const MOUNTS: &str = "/data";
/// The agent's folder on a data drive; beside it are `lost+found` and what else people put there.
const FOLDER: &str = "shoal";
/// Between two looks at the list of disks.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// A card reader on USB shows its card some seconds after power: 20 seconds.
const CARD_LOOKS_MAX: u32 = 400;
/// So many looks show no further disk: at the first start, when it is decided whether the card gets a data partition, 3
/// seconds, or half a second on boards that have nothing that brings disks late.
const QUIET_LOOKS_LATE: u32 = 60;
const QUIET_LOOKS_AT_FIRST: u32 = 10;
/// The same at later starts, when a disk that comes late is taken in later: 100 milliseconds.
const QUIET_LOOKS: u32 = 2;
/// Where the kernel shows what brings disks late: USB's hubs ask one after the other, SATA and SCSI wait for disks to spin up.
const LATE: [&str; 2] = ["/sys/bus/usb/devices", "/sys/class/scsi_host"];
/// A board that had a data drive waits a minute for it before it says that it is gone.
const DRIVE_LOOKS_MAX: u32 = 1_200;

/// `e2fsck -p`: nothing to mend, or mended.
const FSCK_GOOD: [i32; 2] = [0, 1];
/// `e2fsck -p`: mended, and the kernel must look anew; nothing is mounted yet, so that is no matter.
const FSCK_MENDED_REBOOT: [i32; 2] = [2, 3];

/// A mounted data drive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The folder that the agent gets.
    pub folder: PathBuf,
    /// Where the file system is mounted.
    pub mount_point: PathBuf,
    /// The device.
    pub device: PathBuf,
    /// Is it the card?
    pub on_card: bool,
}

/// What the owner lets happen to disks.
#[derive(Debug, Clone, Copy, Default)]
pub struct Permissions {
    /// Blank disks become data drives.
    pub format_blank_drives: bool,
}

/// Waits for the card that this system came from.
pub fn find_card() -> Option<Disk> {
    (0..CARD_LOOKS_MAX).find_map(|look| {
        if look > 0 {
            std::thread::sleep(LOOK_EVERY);
        }
        let mut disks = blocks::disks(Path::new(SYS_BLOCK)).into_iter();
        disks.find(|disk| blocks::open(&disk.whole).is_ok_and(|mut file| blocks::is_card(&mut file)))
    })
}

/// Waits until enough looks on end show the same disks. `decides`: a disk that comes later comes too late.
fn settled(decides: bool) -> Vec<Disk> {
    let late = || LATE.iter().any(|folder| blocks::has_entries(Path::new(folder)));
    // A bus may come late, too: it is looked for each time.
    let decided = |same| same >= QUIET_LOOKS_LATE || same >= QUIET_LOOKS_AT_FIRST && !late();
    let enough = |same| if decides { decided(same) } else { same >= QUIET_LOOKS };
    let mut last = blocks::disks(Path::new(SYS_BLOCK));
    let mut same = 0;
    while !enough(same) {
        std::thread::sleep(LOOK_EVERY);
        let now = blocks::disks(Path::new(SYS_BLOCK));
        same = if now == last { same + 1 } else { 0 };
        last = now;
    }
    last
}

/// Finds, makes, checks and mounts the places for data at a start. Empty where there are none: the console says why.
pub fn prepare(
    card: Option<&Disk>,
    first_start: bool,
    permissions: Permissions,
    console: &Console,
) -> Vec<Place> {
    let disks = settled(first_start);
    let mut places = mount_all(&disks, card, permissions, &[], console);
    let has_partition = card.is_some_and(|card| data_part(card).is_some());
    if places.is_empty() && !first_start && !has_partition {
        console.say("waiting for the data drive that this board had");
        for _ in 0..DRIVE_LOOKS_MAX {
            std::thread::sleep(LOOK_EVERY);
            places = newcomers(card, permissions, &[], console);
            if !places.is_empty() {
                break;
            }
        }
    }
    // The data of a card that has drives beside it by now stays in use: nothing moves by itself.
    if let Some(card) = card
        && (has_partition || (places.is_empty() && first_start))
    {
        match card_partition(card, console) {
            Ok(block) => places.extend(mount_told(&block, true, console)),
            Err(why) => console.say(&format!("the card takes no data: {why}")),
        }
    }
    places
}

/// Data drives that appeared since, mounted.
pub fn newcomers(
    card: Option<&Disk>,
    permissions: Permissions,
    known: &[Place],
    console: &Console,
) -> Vec<Place> {
    mount_all(&blocks::disks(Path::new(SYS_BLOCK)), card, permissions, known, console)
}

fn mount_all(
    disks: &[Disk],
    card: Option<&Disk>,
    permissions: Permissions,
    known: &[Place],
    console: &Console,
) -> Vec<Place> {
    let mut places = Vec::new();
    for disk in disks.iter().filter(|disk| card.is_none_or(|card| card.whole.path != disk.whole.path)) {
        if permissions.format_blank_drives && disk.parts.is_empty() && blank(&disk.whole) {
            console.say(&format!("formatting {}, which is blank", disk.whole.path.display()));
            if let Err(why) = make_file_system(&disk.whole.path, None, Before::LeftAlone) {
                console.say(&format!("{}: {why}", disk.whole.path.display()));
            }
        }
        for block in std::iter::once(&disk.whole).chain(&disk.parts) {
            if known.iter().any(|place| place.device == block.path) {
                continue;
            }
            places.extend(mount_told(block, false, console));
        }
    }
    places
}

fn blank(block: &Block) -> bool {
    blocks::open(block).and_then(|mut file| blocks::is_blank(&mut file, block.bytes)).unwrap_or(false)
}

/// Mounts a data drive; nothing where the device is none, and a word on the console where it is one and cannot be used.
fn mount_told(block: &Block, on_card: bool, console: &Console) -> Option<Place> {
    let ext = blocks::open(block).and_then(|mut file| blocks::ext(&mut file)).ok().flatten()?;
    if !ext.label.starts_with(LABEL_PREFIX) {
        return None;
    }
    match mount_place(block, &ext.id, on_card) {
        Ok(place) => Some(place),
        Err(why) => {
            console.say(&format!("data drive {}: {why}", block.path.display()));
            None
        }
    }
}

fn mount_place(block: &Block, id: &str, on_card: bool) -> Result<Place, String> {
    check(&block.path)?;
    let mount_point = Path::new(MOUNTS).join(id);
    std::fs::create_dir_all(&mount_point).map_err(|error| error.to_string())?;
    let flags = MountFlags::NOATIME | MountFlags::NODEV | MountFlags::NOSUID | MountFlags::NOEXEC;
    mount(&block.path, &mount_point, "ext4", flags, None).map_err(|error| match error {
        rustix::io::Errno::BUSY => "another one with the same UUID is mounted: a copy?".to_owned(),
        error => format!("it cannot be mounted: {error}"),
    })?;
    let folder = mount_point.join(FOLDER);
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    Ok(Place { folder, mount_point, device: block.path.clone(), on_card })
}

/// Lets go of a place.
pub fn release(place: &Place) {
    if unmount(&place.mount_point, UnmountFlags::empty()).is_err() {
        let _ = unmount(&place.mount_point, UnmountFlags::DETACH);
    }
}

fn check(device: &Path) -> Result<(), String> {
    let status = program("/usr/sbin/e2fsck", &["-p".as_ref(), device.as_ref()])?;
    match status {
        code if FSCK_GOOD.contains(&code) || FSCK_MENDED_REBOOT.contains(&code) => Ok(()),
        code => Err(format!(
            "its file system is damaged beyond what is mended without asking (e2fsck -p: {code}); mend it on another \
             computer with `e2fsck {}`, or replace the drive",
            device.display()
        )),
    }
}

fn data_part(card: &Disk) -> Option<&Block> {
    card.parts.iter().find(|part| part.at == DATA_AT)
}

/// The data partition of the card, made if it is not there. The file system comes first and the entry in the table last:
/// with the power gone between, there is no partition yet, and the next start begins anew.
fn card_partition(card: &Disk, console: &Console) -> Result<Block, String> {
    if let Some(part) = data_part(card) {
        return Ok(part.clone());
    }
    let partition =
        data_partition(card.whole.bytes).ok_or("less than 512 MiB are left on it: use a larger one")?;
    console.say(&format!("making a data partition of {} MiB on the card", partition.bytes >> 20));
    make_file_system(&card.whole.path, Some((partition.at, partition.bytes)), Before::LeftAlone)?;
    let told = |error: &dyn std::fmt::Display| error.to_string();
    let mut file =
        File::options().read(true).write(true).open(&card.whole.path).map_err(|error| told(&error))?;
    let mut table = Table::read(&mut file).map_err(|error| told(&error))?;
    table.add(DATA_INDEX, partition).map_err(|error| told(&error))?;
    table.write(&mut file).map_err(|error| told(&error))?;
    file.sync_all().map_err(|error| told(&error))?;
    drop(file);
    program("/usr/bin/blockdev", &["--rereadpt".as_ref(), card.whole.path.as_ref()])?;
    blocks::disks(Path::new(SYS_BLOCK))
        .iter()
        .find(|disk| disk.whole.path == card.whole.path)
        .and_then(data_part)
        .cloned()
        .ok_or_else(|| "the kernel does not show the new partition: restart the board".to_owned())
}

/// Erases what this board keeps, before anything is mounted: the data partition of the card, and with `drives` the data drives
/// too. They are data drives again afterwards, with nothing on them. What they were made of is discarded where the device can
/// do that; elsewhere bytes stay until they are written over.
pub fn reset(card: Option<&Disk>, drives: bool, console: &Console) -> Result<(), String> {
    for disk in settled(true) {
        let on_card = card.is_some_and(|card| card.whole.path == disk.whole.path);
        if !on_card && !drives {
            continue;
        }
        for block in std::iter::once(&disk.whole).chain(&disk.parts) {
            let ext = blocks::open(block).and_then(|mut file| blocks::ext(&mut file)).ok().flatten();
            if ext.is_some_and(|ext| ext.label.starts_with(LABEL_PREFIX)) {
                console.say(&format!("factory reset: erasing {}", block.path.display()));
                make_file_system(&block.path, None, Before::Discarded)?;
            }
        }
    }
    Ok(())
}

/// What becomes of the bytes that were there before a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    LeftAlone,
    Discarded,
}

/// An ext4 file system over a device, or over a part of it.
fn make_file_system(device: &Path, part: Option<(u64, u64)>, before: Before) -> Result<(), String> {
    let mut options = "lazy_itable_init=1,lazy_journal_init=1".to_owned();
    options.push_str(if before == Before::Discarded { ",discard" } else { ",nodiscard" });
    let mut length = None;
    if let Some((at, bytes)) = part {
        options.push_str(&format!(",offset={at}"));
        length = Some(format!("{}k", bytes >> 10));
    }
    let fixed = ["-q", "-F", "-t", "ext4", "-m", "0", "-L", DATA_LABEL, "-E", &options];
    let mut arguments: Vec<&OsStr> = fixed.iter().map(OsStr::new).collect();
    arguments.push(device.as_ref());
    arguments.extend(length.as_deref().map(OsStr::new));
    match program("/usr/sbin/mke2fs", &arguments)? {
        0 => Ok(()),
        code => Err(format!("mke2fs failed ({code})")),
    }
}

/// Runs a program of the image to its end; its exit code.
fn program(path: &str, arguments: &[&OsStr]) -> Result<i32, String> {
    let status = Command::new(path).args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).status();
    let status = status.map_err(|error| format!("{path}: {error}"))?;
    status.code().ok_or_else(|| format!("{path} was killed"))
}
