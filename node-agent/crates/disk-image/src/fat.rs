//! FAT volumes: made with files in them, and changed file by file. What is written depends on the input alone: the volume id
//! is given, and every time stamp is the first that FAT knows.

use std::io::{self, Read, Seek, Write};

use fatfs::{FatType, FileSystem, FormatVolumeOptions, FsOptions};

use crate::card::SECTOR_BYTES;

/// Files that people edit on BOOT are small; more is a mistake, or an attack on the memory of a board.
pub const TEXT_BYTES_MAX: u64 = 1 << 20;

/// Makes an empty FAT32 volume over all of `volume`, `bytes` long, which must read as zeros.
pub fn format<T: Read + Write + Seek>(volume: &mut T, bytes: u64, label: &str, id: u32) -> io::Result<()> {
    let mut padded = [b' '; 11];
    let label = label.as_bytes();
    if label.len() > padded.len() || !label.is_ascii() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "a volume label has at most 11 ASCII letters",
        ));
    }
    padded[..label.len()].copy_from_slice(label);
    let sectors = u32::try_from(bytes / SECTOR_BYTES)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "a FAT volume reaches 2 TiB at most"))?;
    let options = FormatVolumeOptions::new()
        .fat_type(FatType::Fat32)
        .bytes_per_cluster(512)
        .total_sectors(sectors)
        .volume_id(id)
        .volume_label(padded);
    fatfs::format_volume(volume, options)
}

/// A mounted volume.
pub struct Volume<T: Read + Write + Seek> {
    inner: FileSystem<T>,
}

impl<T: Read + Write + Seek> Volume<T> {
    /// Opens a volume that exists.
    pub fn open(volume: T) -> io::Result<Self> {
        Ok(Self { inner: FileSystem::new(volume, FsOptions::new().update_accessed_date(false))? })
    }

    /// Writes a file in the top folder, over one that is there. There are no others: what the library writes as the entries
    /// `.` and `..` of a folder has long names, and checkers take that for damage.
    pub fn write(&self, name: &str, mut content: impl Read) -> io::Result<u64> {
        if name.is_empty() || name.contains('/') {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "files stand in the top folder and have a name",
            ));
        }
        let mut file = self.inner.root_dir().create_file(name)?;
        file.truncate()?;
        let written = io::copy(&mut content, &mut file)?;
        file.flush()?;
        Ok(written)
    }

    /// The content of a file; nothing where there is none.
    pub fn read(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        let file = match self.inner.root_dir().open_file(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut content = Vec::new();
        file.take(self.bytes()).read_to_end(&mut content)?;
        Ok(Some(content))
    }

    /// Removes a file; true where there was one. Its bytes are overwritten first: it may have held a secret.
    pub fn wipe(&self, path: &str) -> io::Result<bool> {
        let root = self.inner.root_dir();
        let mut file = match root.open_file(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        let length = file.seek(io::SeekFrom::End(0))?;
        file.seek(io::SeekFrom::Start(0))?;
        io::copy(&mut io::repeat(0).take(length), &mut file)?;
        file.flush()?;
        drop(file);
        root.remove(path)?;
        Ok(true)
    }

    /// Names in the top folder.
    pub fn names(&self) -> io::Result<Vec<String>> {
        self.inner.root_dir().iter().map(|entry| Ok(entry?.file_name())).collect()
    }

    /// Writes what is not written yet, and how much is free.
    pub fn finish(self) -> io::Result<()> {
        self.inner.stats()?;
        self.inner.unmount()
    }

    fn bytes(&self) -> u64 {
        self.inner
            .stats()
            .map_or(u64::MAX, |stats| u64::from(stats.total_clusters()) * u64::from(stats.cluster_size()))
    }
}
