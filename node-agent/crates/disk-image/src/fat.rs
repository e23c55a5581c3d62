//! FAT volumes: made with files in them, and changed file by file. What is written depends on the input alone: the volume id
//! is given, and every time stamp is zero: there is none.

use std::cell::RefCell;
use std::io::{self, Read, Seek, Write};
use std::rc::Rc;

use fatfs::{FatType, FileSystem, FormatVolumeOptions, FsOptions};

use crate::card::SECTOR_BYTES;
use crate::folders::{self, FOLDER_NAME_LETTERS_MAX};

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
    inner: FileSystem<Shared<T>>,
    disk: Shared<T>,
}

/// The bytes of a volume, for the library and for what mends its folders. Neither keeps any of them in memory.
struct Shared<T>(Rc<RefCell<T>>);

impl<T: Read> Read for Shared<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.borrow_mut().read(buffer)
    }
}

impl<T: Write> Write for Shared<T> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.borrow_mut().flush()
    }
}

impl<T: Seek> Seek for Shared<T> {
    fn seek(&mut self, to: io::SeekFrom) -> io::Result<u64> {
        self.0.borrow_mut().seek(to)
    }
}

impl<T: Read + Write + Seek> Volume<T> {
    /// Opens a volume that exists.
    pub fn open(volume: T) -> io::Result<Self> {
        let disk = Shared(Rc::new(RefCell::new(volume)));
        let options = FsOptions::new().update_accessed_date(false);
        Ok(Self { inner: FileSystem::new(Shared(Rc::clone(&disk.0)), options)?, disk })
    }

    /// Writes a file, over one that is there. Folders of its path (`EFI/BOOT/BOOTX64.EFI`) are made where they lack; their
    /// names have up to eight letters, digits, `_` or `-`.
    pub fn write(&self, path: &str, mut content: impl Read) -> io::Result<u64> {
        let (above, name) = path.rsplit_once('/').map_or((None, path), |(above, name)| (Some(above), name));
        if name.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a file has a name"));
        }
        if let Some(above) = above {
            self.make_folders(above)?;
        }
        let mut file = self.inner.root_dir().create_file(path)?;
        file.truncate()?;
        let written = io::copy(&mut content, &mut file)?;
        file.flush()?;
        Ok(written)
    }

    fn make_folders(&self, path: &str) -> io::Result<()> {
        let names: Vec<&str> = path.split('/').collect();
        if let Some(name) = names.iter().find(|name| !folders::fits(name)) {
            let why = format!(
                "a folder cannot be called `{name}`: 1 to {FOLDER_NAME_LETTERS_MAX} letters, digits, `_` or `-`"
            );
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        for depth in 1..=names.len() {
            let root = self.inner.root_dir();
            let path = names[..depth].join("/");
            match root.open_dir(&path) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    root.create_dir(&path)?;
                    folders::mend(&mut *self.disk.0.borrow_mut(), &names[..depth])?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
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

    /// Writes a text over a file's bytes, so that nothing of them is left; line ends fill it up to the old length.
    pub fn overwrite(&self, path: &str, text: &str) -> io::Result<()> {
        let mut file = self.inner.root_dir().open_file(path)?;
        let length = file.seek(io::SeekFrom::End(0))?;
        file.seek(io::SeekFrom::Start(0))?;
        file.write_all(text.as_bytes())?;
        let left = length.saturating_sub(text.len() as u64);
        io::copy(&mut io::repeat(b'\n').take(left), &mut file)?;
        file.flush()
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
