//! A part of a file or device, as if it were the whole.

use std::io::{self, Read, Seek, SeekFrom, Write};

/// `bytes` bytes of `inner` from `at` on. Reads end there; writes beyond fail.
pub struct Window<T> {
    inner: T,
    at: u64,
    bytes: u64,
    position: u64,
}

impl<T> Window<T> {
    /// Nothing is read or sought yet.
    pub fn new(inner: T, at: u64, bytes: u64) -> Self {
        Self { inner, at, bytes, position: 0 }
    }

    fn room(&self, wanted: usize) -> usize {
        let left = self.bytes.saturating_sub(self.position);
        usize::try_from(left).unwrap_or(usize::MAX).min(wanted)
    }
}

impl<T: Read + Seek> Read for Window<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = self.room(buffer.len());
        if room == 0 {
            return Ok(0);
        }
        self.inner.seek(SeekFrom::Start(self.at + self.position))?;
        let read = self.inner.read(&mut buffer[..room])?;
        self.position += read as u64;
        Ok(read)
    }
}

impl<T: Write + Seek> Write for Window<T> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let room = self.room(buffer.len());
        if room == 0 && !buffer.is_empty() {
            return Err(io::Error::new(io::ErrorKind::StorageFull, "the end of the partition"));
        }
        self.inner.seek(SeekFrom::Start(self.at + self.position))?;
        let written = self.inner.write(&buffer[..room])?;
        self.position += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<T> Seek for Window<T> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(by) => self.bytes.checked_add_signed(by),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
        };
        self.position =
            position.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a seek before the start"))?;
        Ok(self.position)
    }
}
