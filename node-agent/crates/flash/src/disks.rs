//! The disks of this computer, and what would be lost by writing to them.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use disk_image::table::{Table, TableError};

/// The kernel's sizes are in these units, whatever the sectors of a disk.
const SYS_UNIT_BYTES: u64 = 512;
/// A disk is empty if so many bytes at either end are zero.
const EMPTY_BYTES: u64 = 1 << 20;
/// Devices that are no disks one could flash: memory, optical drives, what is made out of other disks.
const NOT_DISKS: [&str; 7] = ["ram", "zram", "sr", "fd", "dm-", "md", "nbd"];

/// A disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// `/dev/…`, or the path of an ordinary file.
    pub path: PathBuf,
    /// Maker and model, as far as they are known.
    pub model: String,
    /// What tells it from others of its kind; the name of the device or file where it has none.
    pub serial: String,
    /// Capacity.
    pub bytes: u64,
    /// Can it be taken out: a card, a USB device?
    pub removable: bool,
    /// Why it must not be written to.
    pub in_use: Option<String>,
    /// What is on it, in words; nothing where it is empty.
    pub contents: Option<String>,
}

/// Where the kernel tells of disks.
#[derive(Debug, Clone)]
pub struct Kernel {
    /// `/sys/block`
    pub blocks: PathBuf,
    /// Devices with a file system that is mounted, by `MAJOR:MINOR`, and where.
    pub mounted: Vec<(String, String)>,
    /// Devices that are swapped to, by path.
    pub swaps: BTreeSet<PathBuf>,
}

impl Kernel {
    /// The one that runs.
    pub fn running() -> io::Result<Self> {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
        let swaps = std::fs::read_to_string("/proc/swaps").unwrap_or_default();
        Ok(Self {
            blocks: "/sys/block".into(),
            mounted: mounts
                .lines()
                .filter_map(|line| {
                    // Source: proc_pid_mountinfo(5): id, parent, major:minor, root, mount point, …
                    let mut words = line.split(' ').skip(2);
                    Some((words.next()?.to_owned(), words.nth(1)?.to_owned()))
                })
                .collect(),
            swaps: swaps.lines().skip(1).filter_map(|line| Some(line.split(' ').next()?.into())).collect(),
        })
    }

    /// All disks, those that can be taken out first.
    pub fn disks(&self) -> io::Result<Vec<Disk>> {
        let mut disks = Vec::new();
        for entry in std::fs::read_dir(&self.blocks)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            // Loop devices are files, and found by their path when somebody means one.
            if NOT_DISKS.iter().any(|prefix| name.starts_with(prefix)) || name.starts_with("loop") {
                continue;
            }
            disks.extend(self.disk(&name).filter(|disk| disk.bytes > 0));
        }
        disks.sort_by(|left, right| (!left.removable, &left.path).cmp(&(!right.removable, &right.path)));
        Ok(disks)
    }

    /// The disk, loop device or ordinary file at a path.
    pub fn at(&self, path: &Path) -> io::Result<Disk> {
        let real = std::fs::canonicalize(path)?;
        let name = real.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let kind = std::fs::metadata(&real)?;
        if kind.is_file() {
            let mut file = File::open(&real)?;
            return Ok(Disk {
                contents: contents(&mut file, kind.len())?,
                path: real,
                model: "a file".to_owned(),
                serial: name,
                bytes: kind.len(),
                removable: true,
                in_use: None,
            });
        }
        if self.blocks.join(&name).is_dir()
            && let Some(disk) = self.disk(&name)
        {
            return Ok(disk);
        }
        let whole = std::fs::read_dir(&self.blocks)?
            .flatten()
            .map(|entry| entry.path())
            .find(|disk| disk.join(&name).join("partition").exists());
        Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            match whole.as_deref().and_then(Path::file_name) {
                Some(whole) => {
                    format!("{name} is a partition: an image needs the whole disk, /dev/{}", whole.display())
                }
                None => format!("{} is no disk", path.display()),
            },
        ))
    }

    fn disk(&self, name: &str) -> Option<Disk> {
        let folder = self.blocks.join(name);
        let text = |file: &str| {
            let text = std::fs::read_to_string(folder.join(file)).ok()?;
            let text = text.trim();
            (!text.is_empty()).then(|| text.to_owned())
        };
        let bytes = text("size")?.parse::<u64>().ok()?.checked_mul(SYS_UNIT_BYTES)?;
        let words = [text("device/vendor"), text("device/model").or_else(|| text("device/name"))];
        let model = words.into_iter().flatten().collect::<Vec<_>>().join(" ");
        let real = std::fs::canonicalize(&folder).unwrap_or_else(|_| folder.clone());
        let usb = real.components().any(|part| part.as_os_str().to_string_lossy().starts_with("usb"));
        let card = name.starts_with("mmcblk") && text("device/type").is_none_or(|kind| kind == "SD");
        let path = Path::new("/dev").join(name);
        let contents = File::open(&path).and_then(|mut file| contents(&mut file, bytes));
        Some(Disk {
            model: if model.is_empty() { "unknown model".to_owned() } else { model },
            serial: text("device/serial").or_else(|| text("serial")).unwrap_or_else(|| name.to_owned()),
            bytes,
            removable: usb || card || text("removable").is_some_and(|flag| flag == "1"),
            in_use: self.in_use(name, &path),
            contents: contents.unwrap_or_else(|error| Some(format!("cannot be read: {error}"))),
            path,
        })
    }

    fn in_use(&self, name: &str, path: &Path) -> Option<String> {
        let folder = self.blocks.join(name);
        let parts = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        let parts = parts.map(|entry| entry.path()).filter(|path| path.join("partition").exists());
        for part in std::iter::once(folder.clone()).chain(parts) {
            let device =
                part.file_name().map_or_else(|| path.to_owned(), |name| Path::new("/dev").join(name));
            let number = std::fs::read_to_string(part.join("dev")).unwrap_or_default();
            if let Some((_, place)) = self.mounted.iter().find(|(mounted, _)| mounted == number.trim()) {
                return Some(match place.as_str() {
                    "/" => "this system runs from it".to_owned(),
                    place => format!("{} is mounted at {place}: unmount it first", device.display()),
                });
            }
            if self.swaps.contains(&device) {
                return Some(format!("this system swaps to {}", device.display()));
            }
            let holders = std::fs::read_dir(part.join("holders")).into_iter().flatten().flatten();
            if let Some(holder) = holders.into_iter().next() {
                let holder = holder.file_name();
                return Some(format!("{} is part of {}", device.display(), holder.display()));
            }
        }
        None
    }
}

/// What is on a disk, in words; nothing where it is empty.
pub fn contents<T: Read + Seek>(disk: &mut T, bytes: u64) -> io::Result<Option<String>> {
    let end = EMPTY_BYTES.min(bytes);
    let mut ends = Vec::new();
    for at in [0, bytes - end] {
        disk.seek(SeekFrom::Start(at))?;
        disk.by_ref().take(end).read_to_end(&mut ends)?;
    }
    if ends.iter().all(|&byte| byte == 0) {
        return Ok(None);
    }
    let words = match Table::read(disk) {
        Ok(table) => {
            let count = table.partitions.iter().flatten().count();
            format!("a table with {count} {}", if count == 1 { "partition" } else { "partitions" })
        }
        Err(TableError::Gpt) => "a GPT".to_owned(),
        Err(_) => "data without a table".to_owned(),
    };
    Ok(Some(words))
}
