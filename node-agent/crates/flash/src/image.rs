//! Images: plain or compressed with zstd, and their checksums.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER_PERMISSIVE;
use ring::digest::{Context, Digest, SHA256};
use zstd::stream::read::Decoder;

/// Read at once.
pub const BLOCK_BYTES: usize = 1 << 20;
/// Files with checksums are short.
const CHECKSUMS_BYTES_MAX: u64 = 1 << 20;
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Why an image is not used.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// Reading failed.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// Damaged on its way here.
    #[error("{path} is damaged: its SHA-256 is {found}, {wanted} was published; download it again")]
    Checksum {
        /// The file.
        path: PathBuf,
        /// Published.
        wanted: String,
        /// Computed.
        found: String,
    },
    /// Nobody says what it should be.
    #[error(
        "there is no checksum of {0}: put the .sha256 file that was published with it beside it, or give --sha256"
    )]
    NoChecksum(PathBuf),
    /// No SHA-256.
    #[error("`{0}` is no SHA-256: 64 hexadecimal digits are wanted")]
    NotSha256(String),
    /// Neither plain nor zstd.
    #[error("{0} is no image: neither a disk image nor one packed with zstd")]
    Unknown(PathBuf),
}

/// An image file.
#[derive(Debug, Clone)]
pub struct Image {
    path: PathBuf,
    packed: bool,
}

impl Image {
    /// Looks at the first bytes.
    pub fn open(path: &Path) -> Result<Self, ImageError> {
        let told = |source| ImageError::Io { path: path.to_owned(), source };
        let mut head = Vec::new();
        File::open(path).map_err(told)?.take(512).read_to_end(&mut head).map_err(told)?;
        let packed = head.starts_with(&ZSTD_MAGIC);
        if !packed && head.get(510..) != Some(&[0x55, 0xaa]) {
            return Err(ImageError::Unknown(path.to_owned()));
        }
        Ok(Self { path: path.to_owned(), packed })
    }

    /// Compares the file with what was published: `given`, else the line of its name in a `.sha256` file beside it.
    /// `progress` is told the bytes read so far and all bytes.
    pub fn verify(&self, given: Option<&str>, progress: &mut dyn FnMut(u64, u64)) -> Result<(), ImageError> {
        let wanted = match given {
            Some(given) => given.to_owned(),
            None => self.published()?.ok_or_else(|| ImageError::NoChecksum(self.path.clone()))?,
        };
        let digest = HEXLOWER_PERMISSIVE.decode(wanted.as_bytes()).ok().filter(|digest| digest.len() == 32);
        let Some(digest) = digest else { return Err(ImageError::NotSha256(wanted)) };
        let mut file = File::open(&self.path).map_err(|source| self.told(source))?;
        let bytes = file.metadata().map_err(|source| self.told(source))?.len();
        let found = hash(&mut file, |done| progress(done, bytes)).map_err(|source| self.told(source))?.0;
        if found.as_ref() != digest {
            let found = HEXLOWER_PERMISSIVE.encode(found.as_ref());
            return Err(ImageError::Checksum { path: self.path.clone(), wanted, found });
        }
        Ok(())
    }

    fn published(&self) -> Result<Option<String>, ImageError> {
        let Some(name) = self.path.file_name().map(|name| name.to_string_lossy().into_owned()) else {
            return Ok(None);
        };
        let folder = self.path.parent().unwrap_or(Path::new(""));
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        for entry in std::fs::read_dir(folder).map_err(|source| self.told(source))?.flatten() {
            if entry.path().extension().is_none_or(|extension| extension != "sha256") {
                continue;
            }
            let mut text = String::new();
            let read = File::open(entry.path())
                .and_then(|file| file.take(CHECKSUMS_BYTES_MAX).read_to_string(&mut text));
            if read.is_err() {
                continue;
            }
            if let Some(found) = published_in(&text, &name) {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The bytes that go onto the disk.
    pub fn content(&self) -> Result<Box<dyn Read + Send>, ImageError> {
        let file = File::open(&self.path).map_err(|source| self.told(source))?;
        if !self.packed {
            return Ok(Box::new(file));
        }
        let decoder = Decoder::with_buffer(BufReader::with_capacity(BLOCK_BYTES, file))
            .map_err(|source| self.told(source))?;
        Ok(Box::new(decoder))
    }

    /// How many bytes [`Image::content`] gives, and their SHA-256.
    pub fn measure(&self, mut progress: impl FnMut(u64)) -> Result<(u64, Digest), ImageError> {
        let (digest, bytes) =
            hash(&mut self.content()?, &mut progress).map_err(|source| self.told(source))?;
        Ok((bytes, digest))
    }

    fn told(&self, source: io::Error) -> ImageError {
        ImageError::Io { path: self.path.clone(), source }
    }
}

/// The digest of the file `name` in a list as sha256sum writes it: digest, a blank, a blank or a star, name.
pub fn published_in(list: &str, name: &str) -> Option<String> {
    list.lines().find_map(|line| {
        let (digest, rest) = line.split_once(' ')?;
        (rest.trim_start_matches([' ', '*']) == name).then(|| digest.to_owned())
    })
}

fn hash(content: &mut dyn Read, mut progress: impl FnMut(u64)) -> io::Result<(Digest, u64)> {
    let mut context = Context::new(&SHA256);
    let mut block = vec![0; BLOCK_BYTES];
    let mut bytes = 0;
    loop {
        let read = content.read(&mut block)?;
        if read == 0 {
            return Ok((context.finish(), bytes));
        }
        context.update(&block[..read]);
        bytes += read as u64;
        progress(bytes);
    }
}
