//! Protection profiles: `copies:n`, `ec:k+m`, or `auto`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::limits::CHUNKS_PER_SEGMENT_MAX;

/// How one segment is spread over chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Profile {
    /// `n` whole copies.
    Copies(u8),
    /// Reed–Solomon with `k` data and `m` parity chunks.
    Ec {
        /// Data chunks: any `k` chunks give the segment back.
        k: u8,
        /// Parity chunks: so many may be lost.
        m: u8,
    },
}

impl Profile {
    /// Chunks that are enough to read.
    pub const fn data_chunks(self) -> usize {
        match self {
            Self::Copies(_) => 1,
            Self::Ec { k, .. } => k as usize,
        }
    }

    /// Chunks of a whole segment.
    pub const fn total_chunks(self) -> usize {
        match self {
            Self::Copies(n) => n as usize,
            Self::Ec { k, m } => k as usize + m as usize,
        }
    }

    /// Chunks that may be lost while the segment stays readable.
    pub const fn loss_tolerance(self) -> usize {
        self.total_chunks() - self.data_chunks()
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Copies(n) => write!(f, "copies:{n}"),
            Self::Ec { k, m } => write!(f, "ec:{k}+{m}"),
        }
    }
}

/// What a user asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ProfileChoice {
    /// Chosen per segment from the table in design/data.md.
    #[default]
    Auto,
    /// Exactly this one, without fallback.
    Fixed(Profile),
}

impl fmt::Display for ProfileChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Fixed(profile) => profile.fmt(f),
        }
    }
}

/// Text that names no profile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a profile: write auto, copies:N or ec:K+M with at most {max} chunks in all",
    max = CHUNKS_PER_SEGMENT_MAX
)]
pub struct ProfileParseError(pub String);

impl FromStr for Profile {
    type Err = ProfileParseError;

    fn from_str(text: &str) -> Result<Self, ProfileParseError> {
        parse(text).ok_or_else(|| ProfileParseError(text.to_owned()))
    }
}

impl FromStr for ProfileChoice {
    type Err = ProfileParseError;

    fn from_str(text: &str) -> Result<Self, ProfileParseError> {
        if text == "auto" { Ok(Self::Auto) } else { text.parse().map(Self::Fixed) }
    }
}

fn parse(text: &str) -> Option<Profile> {
    let number = |digits: &str| {
        let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        plain.then(|| digits.parse::<u8>().ok()).flatten().filter(|n| *n >= 1)
    };
    let profile = if let Some(n) = text.strip_prefix("copies:") {
        Profile::Copies(number(n)?)
    } else {
        let (k, m) = text.strip_prefix("ec:")?.split_once('+')?;
        Profile::Ec { k: number(k)?, m: number(m)? }
    };
    (profile.total_chunks() <= CHUNKS_PER_SEGMENT_MAX).then_some(profile)
}

#[cfg(test)]
#[path = "profile_tests.rs"]
mod tests;
