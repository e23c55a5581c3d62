//! Systematic Reed–Solomon over GF(2^8) with the matrix of `reed-solomon-erasure` (Vandermonde, made systematic).

/// Why a code could not be made or applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ErasureError {
    /// k or m is zero or k + m is above `CHUNKS_PER_SEGMENT_MAX`.
    #[error("no code ec:{k}+{m}: both at least 1, at most 32 chunks in all")]
    Shape {
        /// Data shards.
        k: usize,
        /// Parity shards.
        m: usize,
    },
    /// Shards of one stripe differ in length.
    #[error("shards of one stripe must have one length")]
    Length,
    /// Fewer than k shards are present.
    #[error("{present} of the {needed} shards needed are present")]
    TooFew {
        /// Shards given.
        present: usize,
        /// Shards needed.
        needed: usize,
    },
}

/// A code for k data and m parity shards. Cheap to clone; matrices are computed once.
#[derive(Clone)]
pub struct ErasureCode {}

impl ErasureCode {
    /// The code `ec:k+m`.
    pub fn new(_k: usize, _m: usize) -> Result<Self, ErasureError> {
        todo!()
    }

    /// Fills the `m` parity shards from the `k` data shards; all of one length (≥ 1).
    pub fn encode(&self, _data: &[&[u8]], _parity: &mut [&mut [u8]]) -> Result<(), ErasureError> {
        todo!()
    }

    /// Fills the missing shards named in `wanted` from any k present ones. `shards[i]` is `Some` where present;
    /// returns the wanted shards in the order asked.
    pub fn rebuild(
        &self,
        _shards: &[Option<&[u8]>],
        _wanted: &[usize],
    ) -> Result<Vec<Vec<u8>>, ErasureError> {
        todo!()
    }
}
