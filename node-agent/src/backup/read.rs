//! Reading a backup: verifying all of it, and taking it apart record by record.

use std::path::Path;

use keyring::{PassphraseCost, PassphraseKey, RootKeys, SALT_BYTES};
use membership::SignedList;
use zeroize::Zeroizing;

use super::format::{BackupError, Decoder, HEAD_BYTES, Head, Manifest, Record, Summary};
use super::store::{BackupPlace, BackupReader, StoreError};

/// A passphrase is a line; a file that is longer is another one.
const PASSPHRASE_BYTES_MAX: u64 = 4 << 10;

/// Why a backup cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Its bytes cannot be had.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// They are not as they should be.
    #[error("the backup {name} {source}")]
    Backup {
        /// Where it is.
        name: String,
        /// What is wrong.
        source: BackupError,
    },
    /// A task broke off.
    #[error("reading the backup broke off: {0}")]
    Task(#[from] tokio::task::JoinError),
}

/// The passphrase in a file: its first line.
pub fn passphrase_from(path: &Path) -> Result<Zeroizing<Vec<u8>>, StoreError> {
    use std::io::Read;
    let failed = |source| StoreError::File { path: path.to_owned(), source };
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(PASSPHRASE_BYTES_MAX).read_to_end(&mut bytes).map_err(failed)?;
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let line = bytes[..end].strip_suffix(b"\r").unwrap_or(&bytes[..end]);
    Ok(Zeroizing::new(line.to_vec()))
}

/// Derives on a thread that may block.
pub async fn derive(
    passphrase: Zeroizing<Vec<u8>>,
    salt: [u8; SALT_BYTES],
    cost: PassphraseCost,
) -> Result<Result<PassphraseKey, keyring::PassphraseError>, tokio::task::JoinError> {
    tokio::task::spawn_blocking(move || PassphraseKey::derive(&passphrase, &salt, cost)).await
}

/// A backup that is read from its beginning.
pub struct Backup {
    name: String,
    reader: BackupReader,
    /// The head.
    pub head: Head,
    decoder: Decoder,
    ended: bool,
}

/// What a backup holds beside images.
pub struct Contents {
    /// What it holds.
    pub manifest: Manifest,
    /// The root key.
    pub root_keys: RootKeys,
    /// Members.
    pub members: Option<SignedList>,
}

impl Backup {
    /// Reads the head. Without a passphrase no record comes out.
    pub async fn open(place: &BackupPlace, passphrase: Option<&[u8]>) -> Result<Self, ReadError> {
        let name = place.name();
        let told = |source: BackupError| ReadError::Backup { name: name.clone(), source };
        let mut reader = place.open().await?;
        let mut beginning = Vec::new();
        while beginning.len() < HEAD_BYTES {
            match reader.next().await? {
                Some(bytes) => beginning.extend_from_slice(&bytes),
                None if beginning.is_empty() => return Err(told(BackupError::CutShort(0))),
                None => break,
            }
        }
        let Some((bytes, rest)) = beginning.split_first_chunk::<HEAD_BYTES>() else {
            return Err(told(BackupError::CutShort(beginning.len() as u64)));
        };
        let head = Head::decode(bytes).map_err(told)?;
        let key = match passphrase {
            Some(passphrase) => {
                let derived = derive(Zeroizing::new(passphrase.to_vec()), head.salt, head.cost).await?;
                Some(derived.map_err(|error| told(error.into()))?)
            }
            None => None,
        };
        let mut decoder = Decoder::new(bytes, key.as_ref());
        decoder.push(rest);
        Ok(Self { name, reader, head, decoder, ended: false })
    }

    /// The next record; `None` at the end, when `finish` tells whether all was right.
    pub async fn next(&mut self) -> Result<Option<Record>, ReadError> {
        loop {
            let record = self.decoder.next();
            let record = record.map_err(|source| ReadError::Backup { name: self.name.clone(), source })?;
            if record.is_some() || self.ended {
                return Ok(record);
            }
            match self.reader.next().await? {
                Some(bytes) => self.decoder.push(&bytes),
                None => self.ended = true,
            }
        }
    }

    /// After the last record.
    pub fn finish(self) -> Result<Summary, ReadError> {
        let Self { name, decoder, .. } = self;
        decoder.finish().map_err(|source| ReadError::Backup { name, source })
    }

    /// Reads all of it; tells of each shard that was whole. What is in it, where a passphrase was given.
    pub async fn verify(
        mut self,
        mut whole: impl FnMut(usize, usize),
    ) -> Result<(Summary, Option<Contents>), ReadError> {
        let (mut manifest, mut root_keys, mut members) = (None, None, None);
        let mut done = 0;
        while let Some(record) = self.next().await? {
            match record {
                Record::Manifest(found) => manifest = Some(found),
                Record::RootKeys(keys) => root_keys = Some(keys),
                Record::Members(list) => members = list,
                Record::ImageEnd => {
                    done += 1;
                    whole(done, manifest.as_ref().map_or(0, |manifest: &Manifest| manifest.shards.len()));
                }
                Record::Image(_) | Record::Piece(_) => {}
            }
        }
        let summary = self.finish()?;
        let contents = manifest.zip(root_keys);
        Ok((summary, contents.map(|(manifest, root_keys)| Contents { manifest, root_keys, members })))
    }
}
