//! Writing an image, and believing nothing that was not read back.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};

use disk_image::seed::{Seed, SeedError};
use ring::digest::{Context, Digest, SHA256, digest};

use crate::image::BLOCK_BYTES;

/// A mark is one block of this size.
const MARK_BYTES: usize = 4_096;
/// The first mark lies here, each next twice as far, the last at the end of the disk.
const FIRST_MARK_AT: u64 = 16 << 20;
/// Zeroed at the end of the disk: the second copy of a GPT that somebody left there.
const END_BYTES: u64 = 1 << 20;

/// Something to write to.
pub trait Medium: Read + Write + Seek {
    /// Everything written is on the medium, and what is read next comes from there, not from memory.
    fn settle(&mut self) -> io::Result<()>;
}

impl Medium for File {
    fn settle(&mut self) -> io::Result<()> {
        self.sync_all()?;
        rustix::fs::fadvise(&*self, 0, None, rustix::fs::Advice::DontNeed)?;
        Ok(())
    }
}

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Looks whether the disk is as large as it says.
    Capacity,
    /// Writes the image.
    Write,
    /// Reads it back.
    Verify,
}

/// Why a disk is not flashed.
#[derive(Debug, thiserror::Error)]
pub enum FlashError {
    /// Reading the image failed.
    #[error("the image cannot be read: {0}")]
    Image(#[source] io::Error),
    /// The disk failed.
    #[error("the disk fails at {at}: {source}: try another reader, or another card")]
    Disk {
        /// First byte of what was tried.
        at: u64,
        /// The system's word.
        source: io::Error,
    },
    /// Too small.
    #[error("the image has {image} bytes, the disk {disk}: use a larger one")]
    TooSmall {
        /// Of the image.
        image: u64,
        /// Of the disk.
        disk: u64,
    },
    /// A swindle.
    #[error(
        "the disk says that it has {claimed} bytes, but what was written at {lost} came back wrong: it is a fake, or broken; \
         do not use it"
    )]
    Fake {
        /// What it says.
        claimed: u64,
        /// The first place that does not hold what was written there.
        lost: u64,
    },
    /// Written, and another thing came back.
    #[error(
        "what was written came back differently between {at} and {end}: the disk is broken; do not use it"
    )]
    Differs {
        /// First byte of the block.
        at: u64,
        /// First byte behind it.
        end: u64,
    },
    /// The image changed while it was written, or its reading is not reliable.
    #[error("the image is not what was checked a moment ago: nothing on the disk can be used; try again")]
    Changed,
    /// The image has no place for it.
    #[error(
        "this image has no seed block: configuration and ticket go into files of its first volume instead"
    )]
    NoSeed,
    /// Configuration or ticket.
    #[error(transparent)]
    Seed(#[from] SeedError),
}

/// What to write.
pub struct Order<'a> {
    /// Length of the image.
    pub image_bytes: u64,
    /// Its SHA-256.
    pub image_sha256: Digest,
    /// Capacity that the disk claims.
    pub disk_bytes: u64,
    /// Configuration and ticket.
    pub seed: Option<&'a Seed>,
    /// Makes marks that no card can know in advance.
    pub nonce: [u8; 16],
}

/// Writes `image` to `disk`. Each phase tells its bytes done and all of them.
pub fn flash<M: Medium>(
    order: &Order<'_>,
    image: &mut dyn Read,
    disk: &mut M,
    progress: &mut dyn FnMut(Phase, u64, u64),
) -> Result<(), FlashError> {
    if order.image_bytes > order.disk_bytes {
        return Err(FlashError::TooSmall { image: order.image_bytes, disk: order.disk_bytes });
    }
    if order.seed.is_some() && order.image_bytes != disk_image::card::IMAGE_BYTES {
        return Err(FlashError::NoSeed);
    }
    check_capacity(order, disk, progress)?;
    let sums = write(order, image, disk, progress)?;
    verify(order, &sums, disk, progress)?;
    if let Some(seed) = order.seed {
        seed.write(disk)?;
        let at = disk_image::card::SEED_AT;
        disk.settle().map_err(|source| FlashError::Disk { at, source })?;
        if Seed::read(disk)?.as_ref() != Some(seed) {
            return Err(FlashError::Differs { at, end: order.image_bytes });
        }
    }
    Ok(())
}

/// Where marks go on a disk of so many bytes, ascending.
fn marks(disk_bytes: u64) -> Vec<u64> {
    let Some(last) = disk_bytes.checked_sub(MARK_BYTES as u64) else { return Vec::new() };
    let last = last / MARK_BYTES as u64 * MARK_BYTES as u64;
    let mut places: Vec<u64> = std::iter::successors(Some(FIRST_MARK_AT), |at| at.checked_mul(2))
        .take_while(|&at| at < last)
        .collect();
    places.insert(0, 0);
    if last > 0 {
        places.push(last);
    }
    places
}

fn mark(nonce: &[u8; 16], at: u64) -> Vec<u8> {
    let mut seed = nonce.to_vec();
    seed.extend_from_slice(&at.to_le_bytes());
    digest(&SHA256, &seed).as_ref().repeat(MARK_BYTES / 32)
}

/// A fake card maps what lies beyond its memory onto what it has, or drops it: of marks over the whole disk, some come back
/// wrong. All are written before the first is read.
fn check_capacity<M: Medium>(
    order: &Order<'_>,
    disk: &mut M,
    progress: &mut dyn FnMut(Phase, u64, u64),
) -> Result<(), FlashError> {
    let places = marks(order.disk_bytes);
    let steps = 2 * places.len() as u64;
    let mut done = 0;
    let mut step = || {
        done += 1;
        progress(Phase::Capacity, done, steps);
    };
    for &at in &places {
        put(disk, at, &mark(&order.nonce, at))?;
        step();
    }
    disk.settle().map_err(|source| FlashError::Disk { at: 0, source })?;
    let mut lost = None;
    for &at in &places {
        let found = get(disk, at, MARK_BYTES)?;
        if found != mark(&order.nonce, at) {
            lost = lost.or(Some(at));
        }
        step();
    }
    if let Some(lost) = lost {
        return Err(FlashError::Fake { claimed: order.disk_bytes, lost });
    }
    for &at in &places {
        put(disk, at, &[0; MARK_BYTES])?;
    }
    let end = END_BYTES.min(order.disk_bytes);
    put(disk, order.disk_bytes - end, &vec![0; end as usize])
}

/// Writes the image; the SHA-256 of each block.
fn write<M: Medium>(
    order: &Order<'_>,
    image: &mut dyn Read,
    disk: &mut M,
    progress: &mut dyn FnMut(Phase, u64, u64),
) -> Result<Vec<Digest>, FlashError> {
    let mut whole = Context::new(&SHA256);
    let mut sums = Vec::new();
    let mut at = 0;
    let mut block = Vec::with_capacity(BLOCK_BYTES);
    loop {
        block.clear();
        Read::take(&mut *image, BLOCK_BYTES as u64).read_to_end(&mut block).map_err(FlashError::Image)?;
        if block.is_empty() {
            break;
        }
        if at + block.len() as u64 > order.image_bytes {
            return Err(FlashError::Changed);
        }
        whole.update(&block);
        sums.push(digest(&SHA256, &block));
        put(disk, at, &block)?;
        at += block.len() as u64;
        progress(Phase::Write, at, order.image_bytes);
    }
    if at != order.image_bytes || whole.finish().as_ref() != order.image_sha256.as_ref() {
        return Err(FlashError::Changed);
    }
    disk.settle().map_err(|source| FlashError::Disk { at: 0, source })?;
    Ok(sums)
}

fn verify<M: Medium>(
    order: &Order<'_>,
    sums: &[Digest],
    disk: &mut M,
    progress: &mut dyn FnMut(Phase, u64, u64),
) -> Result<(), FlashError> {
    let mut at = 0;
    for sum in sums {
        let length = (order.image_bytes - at).min(BLOCK_BYTES as u64);
        let found = get(disk, at, length as usize)?;
        let end = at + length;
        if digest(&SHA256, &found).as_ref() != sum.as_ref() {
            return Err(FlashError::Differs { at, end });
        }
        at = end;
        progress(Phase::Verify, at, order.image_bytes);
    }
    Ok(())
}

fn put<M: Medium>(disk: &mut M, at: u64, bytes: &[u8]) -> Result<(), FlashError> {
    let mut write = || {
        disk.seek(SeekFrom::Start(at))?;
        disk.write_all(bytes)
    };
    write().map_err(|source| FlashError::Disk { at, source })
}

fn get<M: Medium>(disk: &mut M, at: u64, length: usize) -> Result<Vec<u8>, FlashError> {
    let mut bytes = vec![0; length];
    let mut read = || {
        disk.seek(SeekFrom::Start(at))?;
        disk.read_exact(&mut bytes)
    };
    read().map_err(|source| FlashError::Disk { at, source })?;
    Ok(bytes)
}
