//! The seed block: the last MiB of an image, where whoever flashes puts configuration and ticket without touching a file
//! system. The image itself carries an empty one, so its hash can be published; a board reads the block at its first start,
//! takes over what it says, and writes zeros over it.

use std::io::{self, Read, Seek, SeekFrom, Write};

use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use crate::card::{SEED_AT, SEED_BYTES};

const MAGIC: [u8; 8] = *b"SHOALSED";
const VERSION: u32 = 1;
/// Magic, version, length, CRC-32 of the text.
const HEAD_BYTES: usize = 20;
/// Longest text of a seed.
pub const SEED_TEXT_BYTES_MAX: usize = 64 << 10;

/// What a flashed card tells its board.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seed {
    /// What `shoal.toml` on the BOOT volume would say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<String>,
    /// A join ticket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
}

impl Drop for Seed {
    fn drop(&mut self) {
        self.ticket.zeroize();
    }
}

/// Why there is no seed to read.
#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    /// Reading or writing failed.
    #[error("the seed block cannot be read or written: {0}")]
    Io(#[from] io::Error),
    /// A later version wrote it.
    #[error("the seed block has version {0}; this version reads {VERSION}: flash a newer image")]
    Version(u32),
    /// Torn or rotten.
    #[error("the seed block is damaged: flash the card again")]
    Damaged,
    /// Not what a seed says.
    #[error("the seed block cannot be understood: {0}")]
    Content(String),
    /// Too long.
    #[error("configuration and ticket together may have {SEED_TEXT_BYTES_MAX} bytes")]
    TooLong,
}

impl Seed {
    /// Writes the block.
    pub fn write<T: Write + Seek>(&self, card: &mut T) -> Result<(), SeedError> {
        let text =
            Zeroizing::new(toml::to_string(self).map_err(|error| SeedError::Content(error.to_string()))?);
        if text.len() > SEED_TEXT_BYTES_MAX {
            return Err(SeedError::TooLong);
        }
        let mut block = Zeroizing::new(vec![0u8; HEAD_BYTES + text.len()]);
        block[..8].copy_from_slice(&MAGIC);
        block[8..12].copy_from_slice(&VERSION.to_le_bytes());
        block[12..16].copy_from_slice(&(text.len() as u32).to_le_bytes());
        block[16..20].copy_from_slice(&crc32fast::hash(text.as_bytes()).to_le_bytes());
        block[HEAD_BYTES..].copy_from_slice(text.as_bytes());
        card.seek(SeekFrom::Start(SEED_AT))?;
        card.write_all(&block)?;
        card.flush()?;
        Ok(())
    }

    /// Reads the block; nothing where it is empty.
    pub fn read<T: Read + Seek>(card: &mut T) -> Result<Option<Self>, SeedError> {
        let mut head = [0u8; HEAD_BYTES];
        card.seek(SeekFrom::Start(SEED_AT))?;
        card.read_exact(&mut head)?;
        if head[..8] != MAGIC {
            return if head == [0; HEAD_BYTES] { Ok(None) } else { Err(SeedError::Damaged) };
        }
        let number = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        if number(8) != VERSION {
            return Err(SeedError::Version(number(8)));
        }
        let length = number(12) as usize;
        if length > SEED_TEXT_BYTES_MAX {
            return Err(SeedError::Damaged);
        }
        let mut text = Zeroizing::new(vec![0u8; length]);
        card.read_exact(&mut text)?;
        if crc32fast::hash(&text) != number(16) {
            return Err(SeedError::Damaged);
        }
        let text = std::str::from_utf8(&text).map_err(|_| SeedError::Damaged)?;
        // The reason alone: the line that a parser would quote may hold the ticket.
        toml::from_str(text).map(Some).map_err(|error| SeedError::Content(error.message().to_owned()))
    }

    /// Writes zeros over the whole block.
    pub fn wipe<T: Write + Seek>(card: &mut T) -> Result<(), SeedError> {
        card.seek(SeekFrom::Start(SEED_AT))?;
        io::copy(&mut io::repeat(0).take(SEED_BYTES), card)?;
        card.flush()?;
        Ok(())
    }
}
