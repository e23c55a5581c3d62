//! The agent that goes into packages: found, and looked at.

use std::path::{Path, PathBuf};

use crate::Failure;
use crate::board::Architecture;
use crate::build::check_agent;
use crate::initramfs::read;

/// ELF's program header that names the dynamic loader.
const PT_INTERP: u32 = 3;

/// The named agent, else what `just cross` built.
pub fn read_agent(named: Option<&Path>, architecture: Architecture) -> Result<Vec<u8>, Failure> {
    let built = || PathBuf::from(format!("target/cross/{}/board/shoal", architecture.rust_target()));
    let path = named.map_or_else(built, Path::to_owned);
    check_agent(&path, architecture)?;
    read(&path)
}

/// What boards run is static; a developer's own build is not, and needs the host's libraries.
pub fn is_dynamic(elf: &[u8]) -> bool {
    let half =
        |at: usize| elf.get(at..at + 2).map(|bytes| usize::from(u16::from_le_bytes([bytes[0], bytes[1]])));
    let word = |at: usize| {
        elf.get(at..at + 4).map(|bytes| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    };
    // Offset of the program headers, and where their size and number stand: ELF32 and ELF64 differ. No header lies beyond
    // 4 GiB.
    let (offset, sizes) = if elf.get(4) == Some(&2) { (word(32), 54) } else { (word(28), 42) };
    let (Some(offset), Some(size), Some(count)) = (offset, half(sizes), half(sizes + 2)) else {
        return false;
    };
    (0..count).any(|number| word(offset as usize + number * size) == Some(PT_INTERP))
}
