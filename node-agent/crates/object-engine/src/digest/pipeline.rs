//! Digests of a body while it streams.
//!
//! MD5 is the slowest step of a write (about 1.4 CPU seconds a GB for one body alone), so for bodies above
//! `DIGEST_OFFLOAD_BYTES` it runs in the `DigestPool` while the next bytes are sealed and coded. At most one batch runs
//! and one is collected, so memory is bounded by two batches and a piece.

use bytes::Bytes;
use tokio::sync::oneshot;

use super::Md5Hasher;
use super::checksum::{Checksum, ChecksumKind};
use super::hasher::ChecksumHasher;
use super::pool::{DigestPool, Job};

/// Bodies up to here are hashed where they are received: handing them over would cost more than it gains. Two batches:
/// from there on one is hashed while the next comes, and bodies that come at once are hashed together.
pub const DIGEST_OFFLOAD_BYTES: u64 = 2 * BATCH_BYTES as u64;
/// Bytes handed over at once: about 180 µs of MD5, a hundred times the cost of handing over.
const BATCH_BYTES: usize = 128 << 10;
/// A rest of fewer bytes is hashed where it is: about 20 µs, what handing over costs.
const REST_BYTES_MIN: usize = 16 << 10;

/// What a body hashed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digests {
    /// Bytes of the body.
    pub size: u64,
    /// Their MD5.
    pub md5: [u8; 16],
    /// The additional checksum, where one was asked for.
    pub checksum: Option<Checksum>,
}

impl Digests {
    /// The MD5 as an ETag without quotes.
    pub fn etag(&self) -> String {
        data_encoding::HEXLOWER.encode(&self.md5)
    }
}

pub(super) struct BodyHasher {
    pub(super) md5: Md5Hasher,
    pub(super) checksum: Option<ChecksumHasher>,
}

impl BodyHasher {
    fn update(&mut self, bytes: &[u8]) {
        self.md5.update(bytes);
        if let Some(checksum) = &mut self.checksum {
            checksum.update(bytes);
        }
    }
}

enum Place {
    Here(BodyHasher),
    Running(oneshot::Receiver<BodyHasher>),
}

/// Digests of a body while it streams. Safe to drop at any time.
pub struct DigestPipeline {
    pool: DigestPool,
    /// `None` only while a method moves it, and after the pool was lost.
    place: Option<Place>,
    batch: Vec<Bytes>,
    batch_bytes: usize,
    size: u64,
    offload: bool,
}

/// The runtime is shutting down.
#[derive(Debug, thiserror::Error)]
#[error("the body's digest could not be computed")]
pub struct DigestLost;

impl DigestPipeline {
    /// Starts one. `length` is the body's announced length, if there is one.
    pub fn new(pool: &DigestPool, checksum: Option<ChecksumKind>, length: Option<u64>) -> Self {
        let hasher = BodyHasher { md5: Md5Hasher::default(), checksum: checksum.map(ChecksumHasher::new) };
        Self {
            pool: pool.clone(),
            place: Some(Place::Here(hasher)),
            batch: Vec::new(),
            batch_bytes: 0,
            size: 0,
            offload: length.is_some_and(|length| length > DIGEST_OFFLOAD_BYTES),
        }
    }

    /// Bytes taken so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Takes the next piece; waits while a batch runs and another is full.
    pub async fn update(&mut self, piece: Bytes) -> Result<(), DigestLost> {
        self.size += piece.len() as u64;
        self.offload |= self.size > DIGEST_OFFLOAD_BYTES;
        if !self.offload {
            let Some(Place::Here(hasher)) = &mut self.place else { return Err(DigestLost) };
            hasher.update(&piece);
            return Ok(());
        }
        self.batch_bytes += piece.len();
        self.batch.push(piece);
        if self.batch_bytes >= BATCH_BYTES {
            let hasher = self.take_hasher().await?;
            self.run_batch(hasher);
        }
        Ok(())
    }

    /// The digests of all that was taken; once.
    pub async fn finish(&mut self) -> Result<Digests, DigestLost> {
        let mut hasher = self.take_hasher().await?;
        if self.offload && self.batch_bytes >= REST_BYTES_MIN {
            self.run_batch(hasher);
            hasher = self.take_hasher().await?;
        }
        for piece in self.batch.drain(..) {
            hasher.update(&piece);
        }
        Ok(Digests {
            size: self.size,
            md5: hasher.md5.finish(),
            checksum: hasher.checksum.map(ChecksumHasher::finish_full),
        })
    }

    async fn take_hasher(&mut self) -> Result<BodyHasher, DigestLost> {
        match self.place.take() {
            Some(Place::Here(hasher)) => Ok(hasher),
            Some(Place::Running(job)) => job.await.map_err(|_| DigestLost),
            None => Err(DigestLost),
        }
    }

    fn run_batch(&mut self, hasher: BodyHasher) {
        let pieces = std::mem::take(&mut self.batch);
        self.batch_bytes = 0;
        let (done, running) = oneshot::channel();
        self.pool.submit(Job { hasher, pieces, done });
        self.place = Some(Place::Running(running));
    }
}
