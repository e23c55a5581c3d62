//! Vector code for Reed–Solomon on 32-bit ARM: the kernels of `neon.c` as a set that `rusty_erasure` takes. Rust has no stable
//! intrinsics for them.
//!
//! Unsafe for one thing alone: calling the C function, whose pointers come from slices of lengths that are asserted here, after
//! the CPU was found to have NEON.
#![allow(
    unsafe_code,
    reason = "a C kernel for instructions found at run time; compared with the portable one"
)]

use std::sync::atomic::Ordering;

use grid_types::CHUNKS_PER_SEGMENT_MAX;
use rusty_erasure::kernel::Kernels;
use rusty_erasure::tables::{TABLE_BYTES, init_tables, table_mul};

use crate::arm::has_neon;

/// Bytes that the C function handles at once; it takes whole steps alone.
const STEP_BYTES: usize = 16;
/// Outputs that it handles at once: their tables and sums fit the registers.
const ROWS_MAX: usize = 2;

unsafe extern "C" {
    fn shoal_gf_sums_neon(
        tables: *const u8,
        stride: usize,
        count: usize,
        sources: *const *const u8,
        outs: *const *mut u8,
        rows: usize,
        len: usize,
        add: i32,
    );
}

/// The set, where this CPU has NEON.
pub(super) fn kernels() -> Option<Kernels> {
    let portable = Kernels::scalar();
    has_neon().then_some(Kernels {
        init: init_tables,
        table_bytes: TABLE_BYTES,
        encode,
        mad,
        update,
        name: "neon",
        census: portable.census,
    })
}

/// `tables[row * stride..]` holds those of one row, one a source. Only with NEON.
fn sums(tables: &[u8], stride: usize, sources: &[&[u8]], outs: &mut [&mut [u8]], add: bool) {
    let len = outs.first().map_or(0, |out| out.len());
    assert!(sources.len() <= CHUNKS_PER_SEGMENT_MAX, "more sources than a segment has chunks");
    assert!(sources.iter().all(|source| source.len() == len), "sources of other lengths");
    assert!(outs.iter().all(|out| out.len() == len), "outputs of other lengths");
    Kernels::scalar().census.fetch_add((sources.len() * len) as u64, Ordering::Relaxed);
    let mut pointers = [std::ptr::null(); CHUNKS_PER_SEGMENT_MAX];
    for (pointer, source) in pointers.iter_mut().zip(sources) {
        *pointer = source.as_ptr();
    }
    let whole = len - len % STEP_BYTES;
    for (group, outs) in outs.chunks_mut(ROWS_MAX).enumerate() {
        let tables = &tables[group * ROWS_MAX * stride..];
        let needed = (outs.len() - 1) * stride + sources.len() * TABLE_BYTES;
        assert!(tables.len() >= needed, "too few tables");
        let mut rows = [std::ptr::null_mut(); ROWS_MAX];
        for (row, out) in rows.iter_mut().zip(outs.iter_mut()) {
            *row = out.as_mut_ptr();
        }
        // SAFETY: `kernels` hands this out only where the CPU has NEON. The function reads `sources.len()` pointers and as many
        // tables for each of `outs.len()` rows, which the assertions above found to be there, and `whole` bytes, at most
        // their length, behind every pointer; the borrows of both live until it returns, those of the outputs alone.
        unsafe {
            shoal_gf_sums_neon(
                tables.as_ptr(),
                stride,
                sources.len(),
                pointers.as_ptr(),
                rows.as_ptr(),
                outs.len(),
                whole,
                i32::from(add),
            );
        }
        for (row, out) in outs.iter_mut().enumerate() {
            tail(&tables[row * stride..], sources, out, whole, add);
        }
    }
}

/// What is left behind the last whole step.
fn tail(tables: &[u8], sources: &[&[u8]], out: &mut [u8], whole: usize, add: bool) {
    for (at, byte) in out.iter_mut().enumerate().skip(whole) {
        let products = sources.iter().zip(tables.as_chunks::<TABLE_BYTES>().0);
        let sum = products.fold(0, |sum, (source, table)| sum ^ table_mul(table, source[at]));
        *byte = if add { *byte ^ sum } else { sum };
    }
}

fn encode(tables: &[u8], data: &[&[u8]], out: &mut [&mut [u8]]) {
    sums(tables, data.len() * TABLE_BYTES, data, out, false);
}

fn mad(table: &[u8], source: &[u8], dest: &mut [u8]) {
    sums(table, TABLE_BYTES, &[source], &mut [dest], true);
}

fn update(tables: &[u8], k: usize, index: usize, source: &[u8], outs: &mut [&mut [u8]]) {
    sums(&tables[index * TABLE_BYTES..], k * TABLE_BYTES, &[source], outs, true);
}
