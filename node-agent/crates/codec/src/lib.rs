//! Pure codecs of the data path: packet sealing, frame hash, Reed–Solomon, and the arithmetic that maps a range of
//! plaintext to packets, blocks and chunks.
//!
//! Invariant: no I/O, no clock, no randomness, no async. The only SIMD and C kernels of the tree live here.

#[cfg(target_arch = "arm")]
mod arm;
pub mod erasure;
pub mod frame;
pub mod layout;
pub mod md5;
pub mod seal;
pub mod self_test;

pub use erasure::{ErasureCode, ErasureError};
pub use frame::{FRAME_HASH_BYTES, FrameHasher};
pub use layout::SegmentLayout;
pub use md5::{Md5, md5_lanes, md5_update_many};
pub use seal::{SEAL_FORMAT_VERSION, SealContext, SealError, Sealer, SegmentKey, choose_cipher, cpu_has_aes};
