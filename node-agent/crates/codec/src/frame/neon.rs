//! HighwayHash on 32-bit ARM: whole packets by the kernel of `neon.c` where the CPU has NEON; key and end by the crate, to
//! which the state is handed over in the form of its checkpoints.
//!
//! Unsafe for one thing alone: calling the C function with a state and packets that are borrowed for its time, after the CPU
//! was found to have NEON.
#![allow(
    unsafe_code,
    reason = "a C kernel for instructions found at run time; compared with the portable one"
)]

use highway::{HighwayHash, HighwayHasher, Key};

use crate::arm::has_neon;

const PACKET_BYTES: usize = 32;
/// v0, v1, mul0, mul1, each of four words.
const STATE_WORDS: usize = 16;
const STATE_BYTES: usize = 8 * STATE_WORDS;
/// State, a packet that is not full, how full it is.
const CHECKPOINT_BYTES: usize = STATE_BYTES + PACKET_BYTES + 4;

unsafe extern "C" {
    fn shoal_highway_update_neon(state: *mut u64, packets: *const u8, count: usize);
}

/// As `HighwayHasher`, and equal to it.
#[derive(Clone)]
pub(crate) enum Hasher {
    Neon(Packets),
    Portable(HighwayHasher),
}

/// A state, and the bytes that do not fill a packet yet. Made only where the CPU has NEON.
#[derive(Clone)]
pub(crate) struct Packets {
    state: [u64; STATE_WORDS],
    begun: [u8; PACKET_BYTES],
    begun_bytes: usize,
}

impl Hasher {
    pub(crate) fn new(key: Key) -> Self {
        let portable = HighwayHasher::new(key);
        if !has_neon() {
            return Self::Portable(portable);
        }
        let mut state = [0; STATE_WORDS];
        for (word, bytes) in state.iter_mut().zip(portable.checkpoint().as_chunks::<8>().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        Self::Neon(Packets { state, begun: [0; PACKET_BYTES], begun_bytes: 0 })
    }

    pub(crate) fn append(&mut self, bytes: &[u8]) {
        match self {
            Self::Neon(packets) => packets.append(bytes),
            Self::Portable(hasher) => hasher.append(bytes),
        }
    }

    pub(crate) fn finalize256(self) -> [u64; 4] {
        match self {
            Self::Neon(packets) => packets.into_portable().finalize256(),
            Self::Portable(hasher) => hasher.finalize256(),
        }
    }
}

impl Packets {
    fn append(&mut self, mut bytes: &[u8]) {
        if self.begun_bytes > 0 {
            let (more, rest) = bytes.split_at(bytes.len().min(PACKET_BYTES - self.begun_bytes));
            self.begun[self.begun_bytes..][..more.len()].copy_from_slice(more);
            self.begun_bytes += more.len();
            if self.begun_bytes < PACKET_BYTES {
                return;
            }
            let full = self.begun;
            self.update(&[full]);
            bytes = rest;
        }
        let (packets, rest) = bytes.as_chunks();
        self.update(packets);
        self.begun[..rest.len()].copy_from_slice(rest);
        self.begun_bytes = rest.len();
    }

    fn update(&mut self, packets: &[[u8; PACKET_BYTES]]) {
        // SAFETY: `Hasher::new` makes this only where the CPU has NEON. The function reads and writes `STATE_WORDS` words of the
        // state and reads `packets.len()` packets; both borrows live until it returns.
        unsafe {
            shoal_highway_update_neon(self.state.as_mut_ptr(), packets.as_ptr().cast(), packets.len());
        }
    }

    fn into_portable(self) -> HighwayHasher {
        let mut checkpoint = [0; CHECKPOINT_BYTES];
        for (bytes, word) in checkpoint.as_chunks_mut::<8>().0.iter_mut().zip(self.state) {
            *bytes = word.to_le_bytes();
        }
        checkpoint[STATE_BYTES..][..self.begun_bytes].copy_from_slice(&self.begun[..self.begun_bytes]);
        let begun = u32::try_from(self.begun_bytes).expect("less than a packet");
        checkpoint[STATE_BYTES + PACKET_BYTES..].copy_from_slice(&begun.to_le_bytes());
        HighwayHasher::from_checkpoint(checkpoint)
    }
}
