//! Walks the records of a pack, from one to the next; over rot by searching for the next sound one.

use std::sync::Arc;

use sys::DiskFile;

use crate::format::{PRELUDE_BYTES, Prelude, RECORD_MAGIC};

/// Read at once.
const WINDOW_BYTES: u64 = 64 << 10;

/// One record found.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scanned {
    pub offset: u64,
    pub prelude: Prelude,
    /// Bytes before it that are no record.
    pub skipped: u64,
}

pub(crate) struct PackScanner {
    file: Arc<dyn DiskFile>,
    at: u64,
    len: u64,
    window: Vec<u8>,
    window_at: u64,
}

impl PackScanner {
    /// Records from `at` (the start of one) up to `len`.
    pub fn new(file: Arc<dyn DiskFile>, at: u64, len: u64) -> Self {
        Self { file, at, len, window: Vec::new(), window_at: 0 }
    }

    /// Where the next record is looked for.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// The next sound record; `None` when there is none up to the end.
    pub fn next(&mut self) -> Option<Scanned> {
        let begin = self.at;
        let mut offset = begin;
        loop {
            let end = self.len;
            let bytes = self.bytes(offset, PRELUDE_BYTES)?;
            if let Some(prelude) = Prelude::decode(bytes, offset)
                && offset + prelude.record_len() <= end
            {
                self.at = offset + prelude.record_len();
                return Some(Scanned { offset, prelude, skipped: offset - begin });
            }
            offset = self.find_magic(offset + 1)?;
        }
    }

    /// `len` bytes at `offset`; `None` beyond the end. Unreadable places look like zeros: rot like any other.
    fn bytes(&mut self, offset: u64, len: u64) -> Option<&[u8]> {
        if offset + len > self.len {
            return None;
        }
        let window_end = self.window_at + self.window.len() as u64;
        if offset < self.window_at || offset + len > window_end {
            let want = WINDOW_BYTES.min(self.len - offset);
            self.window.clear();
            self.window.resize(usize::try_from(want).ok()?, 0);
            self.window_at = offset;
            if let Err(error) = self.file.read_exact_at(offset, &mut self.window) {
                tracing::warn!(offset, %error, "part of a pack cannot be read");
                self.window.fill(0);
            }
        }
        let from = usize::try_from(offset - self.window_at).ok()?;
        let to = from + usize::try_from(len).ok()?;
        Some(&self.window[from..to])
    }

    fn find_magic(&mut self, mut offset: u64) -> Option<u64> {
        let magic = RECORD_MAGIC.len();
        loop {
            let want = WINDOW_BYTES.min(self.len.checked_sub(offset)?);
            let bytes = self.bytes(offset, want)?;
            if bytes.len() < magic {
                return None;
            }
            if let Some(at) = bytes.windows(magic).position(|window| window == RECORD_MAGIC) {
                return Some(offset + at as u64);
            }
            offset += (bytes.len() - magic + 1) as u64;
        }
    }
}
