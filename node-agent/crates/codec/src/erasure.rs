//! Systematic Reed–Solomon over GF(2^8) with the matrix of `reed-solomon-erasure` (Vandermonde, made systematic).
//!
//! Two libraries give the same bytes, which tests compare: `rusty_erasure` where it has vector code for this CPU
//! (x86-64 from SSSE3 on, every aarch64) or takes ours (ARMv7 with NEON), else the reference to encode and `rusty_erasure`'s
//! portable code to rebuild.
//! Why: docs/decisions/0002-erasure-library.md.

#[cfg(target_arch = "arm")]
mod neon;

use std::sync::Arc;

use grid_types::CHUNKS_PER_SEGMENT_MAX;
use reed_solomon_erasure::galois_8::ReedSolomon;

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
    /// Shards of one stripe differ in length, are empty, or their number is not that of the code.
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
pub struct ErasureCode {
    inner: Arc<Inner>,
}

struct Inner {
    k: usize,
    m: usize,
    kernel: Kernel,
}

enum Kernel {
    Vector(rusty_erasure::Coder),
    Reference(Box<ReedSolomon>),
    /// Without vector code each is the faster one at what it does here.
    Portable {
        encode: Box<ReedSolomon>,
        rebuild: rusty_erasure::Coder,
    },
}

impl ErasureCode {
    /// The code `ec:k+m`, on the fastest kernel for this CPU.
    pub fn new(k: usize, m: usize) -> Result<Self, ErasureError> {
        let kernels = own_kernels().unwrap_or_else(rusty_erasure::best_kernels);
        if kernels.name == "scalar" { Self::portable(k, m) } else { Self::with_kernels(k, m, kernels) }
    }

    /// The code `ec:k+m` without vector code: what `new` gives on ARMv7 without NEON.
    pub fn portable(k: usize, m: usize) -> Result<Self, ErasureError> {
        let encode = Box::new(reference_code(k, m)?);
        let rebuild = coder(k, m, rusty_erasure::kernel::Kernels::scalar())?;
        Ok(Self { inner: Arc::new(Inner { k, m, kernel: Kernel::Portable { encode, rebuild } }) })
    }

    /// The code `ec:k+m` on the reference library alone: for comparisons.
    pub fn reference(k: usize, m: usize) -> Result<Self, ErasureError> {
        let kernel = Kernel::Reference(Box::new(reference_code(k, m)?));
        Ok(Self { inner: Arc::new(Inner { k, m, kernel }) })
    }

    /// The code `ec:k+m` on one named vector kernel (`ssse3`, `avx2`, `gfni`, `neon`, `scalar`); `None` where
    /// this CPU lacks it. For comparisons.
    pub fn named(k: usize, m: usize, kernel: &str) -> Option<Result<Self, ErasureError>> {
        let own = own_kernels().filter(|own| own.name == kernel);
        own.or_else(|| rusty_erasure::kernels_named(kernel)).map(|kernels| Self::with_kernels(k, m, kernels))
    }

    fn with_kernels(
        k: usize,
        m: usize,
        kernels: rusty_erasure::kernel::Kernels,
    ) -> Result<Self, ErasureError> {
        let kernel = Kernel::Vector(coder(k, m, kernels)?);
        Ok(Self { inner: Arc::new(Inner { k, m, kernel }) })
    }

    /// Data shards.
    pub fn k(&self) -> usize {
        self.inner.k
    }

    /// Parity shards.
    pub fn m(&self) -> usize {
        self.inner.m
    }

    /// The name of the kernel in use, for status and benches.
    pub fn kernel_name(&self) -> &'static str {
        match &self.inner.kernel {
            Kernel::Vector(coder) => coder.kernels().name,
            Kernel::Reference(_) => "reference",
            Kernel::Portable { .. } => "portable",
        }
    }

    /// Fills the `m` parity shards from the `k` data shards; all of one length (≥ 1).
    pub fn encode(&self, data: &[&[u8]], parity: &mut [&mut [u8]]) -> Result<(), ErasureError> {
        let len = data.first().map_or(0, |shard| shard.len());
        let fits = data.len() == self.inner.k
            && parity.len() == self.inner.m
            && len >= 1
            && data.iter().all(|shard| shard.len() == len)
            && parity.iter().all(|shard| shard.len() == len);
        if !fits {
            return Err(ErasureError::Length);
        }
        match &self.inner.kernel {
            Kernel::Vector(coder) => coder.encode(data, parity).map_err(|_| ErasureError::Length),
            Kernel::Reference(code) | Kernel::Portable { encode: code, .. } => {
                code.encode_sep(data, parity).map_err(|_| ErasureError::Length)
            }
        }
    }

    /// Fills the missing shards named in `wanted` from any k present ones. `shards[i]` is `Some` where present;
    /// returns the wanted shards in the order asked.
    pub fn rebuild(&self, shards: &[Option<&[u8]>], wanted: &[usize]) -> Result<Vec<Vec<u8>>, ErasureError> {
        let len = shards.iter().flatten().next().map_or(0, |shard| shard.len());
        let mut rebuilt = vec![vec![0; len]; wanted.len()];
        let mut out: Vec<&mut [u8]> = rebuilt.iter_mut().map(Vec::as_mut_slice).collect();
        self.rebuild_into(shards, wanted, &mut out)?;
        Ok(rebuilt)
    }

    /// As `rebuild`, into buffers of the shards' length, one for each wanted shard.
    pub fn rebuild_into(
        &self,
        shards: &[Option<&[u8]>],
        wanted: &[usize],
        out: &mut [&mut [u8]],
    ) -> Result<(), ErasureError> {
        let (k, total) = (self.inner.k, self.inner.k + self.inner.m);
        let present = shards.iter().flatten().count();
        if present < k {
            return Err(ErasureError::TooFew { present, needed: k });
        }
        let len = shards.iter().flatten().next().map_or(0, |shard| shard.len());
        let fits = shards.len() == total
            && wanted.len() == out.len()
            && wanted.iter().all(|index| *index < total)
            && len >= 1
            && shards.iter().flatten().all(|shard| shard.len() == len)
            && out.iter().all(|shard| shard.len() == len);
        if !fits {
            return Err(ErasureError::Length);
        }
        if wanted.is_empty() {
            return Ok(());
        }
        match &self.inner.kernel {
            Kernel::Vector(coder) | Kernel::Portable { rebuild: coder, .. } => {
                coder.recover(shards, wanted, out).map_err(|_| ErasureError::Length)
            }
            Kernel::Reference(code) => reference_rebuild(code, k, shards, wanted, out),
        }
    }
}

/// The reference rebuilds all that is missing in owned buffers; what was asked for is copied out. It keeps what is
/// present, so a wanted shard that is present is made missing first where k others remain.
fn reference_rebuild(
    code: &ReedSolomon,
    k: usize,
    shards: &[Option<&[u8]>],
    wanted: &[usize],
    out: &mut [&mut [u8]],
) -> Result<(), ErasureError> {
    let mut others =
        shards.iter().enumerate().filter(|(index, shard)| shard.is_some() && !wanted.contains(index));
    let enough_others = others.by_ref().take(k).count() == k;
    let mut all: Vec<Option<Vec<u8>>> = shards
        .iter()
        .enumerate()
        .map(|(index, shard)| {
            shard.filter(|_| !(enough_others && wanted.contains(&index))).map(<[u8]>::to_vec)
        })
        .collect();
    code.reconstruct(&mut all).map_err(|_| ErasureError::Length)?;
    for (index, out) in wanted.iter().zip(out) {
        out.copy_from_slice(all[*index].as_deref().ok_or(ErasureError::Length)?);
    }
    Ok(())
}

fn reference_code(k: usize, m: usize) -> Result<ReedSolomon, ErasureError> {
    check_shape(k, m)?;
    ReedSolomon::new(k, m).map_err(|_| ErasureError::Shape { k, m })
}

fn coder(
    k: usize,
    m: usize,
    kernels: rusty_erasure::kernel::Kernels,
) -> Result<rusty_erasure::Coder, ErasureError> {
    check_shape(k, m)?;
    rusty_erasure::compat::reed_solomon_erasure_matrix(k, m)
        .and_then(|matrix| rusty_erasure::Coder::with_kernels(matrix, kernels))
        .map_err(|_| ErasureError::Shape { k, m })
}

/// Vector code that `rusty_erasure` lacks, where this CPU can run it.
fn own_kernels() -> Option<rusty_erasure::kernel::Kernels> {
    #[cfg(target_arch = "arm")]
    {
        neon::kernels()
    }
    #[cfg(not(target_arch = "arm"))]
    {
        None
    }
}

fn check_shape(k: usize, m: usize) -> Result<(), ErasureError> {
    if k >= 1 && m >= 1 && k + m <= CHUNKS_PER_SEGMENT_MAX {
        Ok(())
    } else {
        Err(ErasureError::Shape { k, m })
    }
}

#[cfg(test)]
#[path = "erasure_tests.rs"]
mod tests;
