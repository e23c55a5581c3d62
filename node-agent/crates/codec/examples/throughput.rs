//! Throughput of each kernel, reference against fast, on one core: `cargo run -p codec --example throughput --profile ci`.
//! Prints a JSON line a measurement: kernel, shape, GB (10^9 bytes) of data a second.

use std::hint::black_box;
use std::time::Duration;

use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{ChaCha20Poly1305, Tag};
use codec::{ErasureCode, FrameHasher, Md5, SealContext, Sealer, SegmentKey, md5_update_many};
use grid_types::{ChunkKey, Cipher, Compression, SegmentId};
use highway::{HighwayHash, Key, PortableHash};
use rustix::time::{ClockId, clock_gettime};

const PACKET: usize = 65_536;
const BLOCK: usize = 2 * (PACKET + 16);
/// The best of so many slices counts: what the kernel can do, whatever else the machine has to do.
const SLICES: usize = 8;
/// Long enough to be steady, short enough that all of it takes half a minute.
const SLICE: Duration = Duration::from_millis(50);

/// CPU time of this thread, so that what else runs on the machine counts little.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Runs `work`, which handles `bytes` of data, for a while.
fn measure(kernel: &str, shape: &str, bytes: usize, mut work: impl FnMut()) {
    work();
    let mut best = 0.0f64;
    for _ in 0..SLICES {
        let begun = cpu();
        let mut rounds = 0u64;
        while cpu() - begun < SLICE {
            for _ in 0..4 {
                work();
            }
            rounds += 4;
        }
        best = best.max(rounds as f64 * bytes as f64 / (cpu() - begun).as_secs_f64() / 1e9);
    }
    println!(r#"{{"kernel":"{kernel}","shape":"{shape}","gb_per_s":{best:.2}}}"#);
}

fn sealing() {
    let seal_id = SegmentId::from_bytes([7; 16]);
    let mut packet = vec![0x5A; PACKET + 16];
    for (name, cipher) in
        [("aes-256-gcm", Cipher::Aes256Gcm), ("chacha20-poly1305", Cipher::ChaCha20Poly1305)]
    {
        let context = SealContext { cipher, compression: Compression::None, seal_id };
        let sealer = Sealer::new(&SegmentKey::new([1; 32]), context);
        measure(&format!("seal {name} ring"), "65536", PACKET, || {
            sealer.seal(0, false, black_box(&mut packet));
        });
        // Opening destroys the packet; the copy that brings it back is part of a read's work too.
        sealer.seal(0, false, &mut packet);
        let sealed = packet.clone();
        measure(&format!("copy and open {name} ring"), "65536", PACKET, || {
            packet.copy_from_slice(&sealed);
            black_box(sealer.open(0, false, &mut packet).is_ok());
        });
    }
    let reference = ChaCha20Poly1305::new(&[1; 32].into());
    measure("seal chacha20-poly1305 reference", "65536", PACKET, || {
        let tag: Result<Tag, _> =
            reference.encrypt_inout_detached(&[0; 12].into(), b"", black_box(&mut packet[..PACKET]).into());
        black_box(tag.is_ok());
    });
}

fn hashing() {
    let hasher = FrameHasher::new(ChunkKey { segment: SegmentId::from_bytes([7; 16]), index: 1 });
    let block = vec![0xA5; BLOCK];
    measure("frame hash", "131104", BLOCK, || {
        black_box(hasher.hash(1, black_box(&block)));
    });
    measure("frame hash portable reference", "131104", BLOCK, || {
        black_box(PortableHash::new(Key([1, 2, 3, 4])).hash256(black_box(&block)));
    });
}

/// MD5 of several texts at once, the digest pool's batches, against the md-5 crate.
fn digests() {
    const BATCH: usize = 128 << 10;
    for count in [1, 2, 4, 8] {
        let texts = vec![vec![0x3C; BATCH]; count];
        let mut states = vec![Md5::default(); count];
        measure("md5", &format!("{count} texts"), count * BATCH, || {
            let mut lanes: Vec<_> = states.iter_mut().zip(texts.chunks(1)).collect();
            md5_update_many(black_box(&mut lanes));
        });
    }
    let text = vec![0x3C; BATCH];
    let mut reference = md5::Md5::default();
    measure("md5 reference", "1 texts", BATCH, || md5::Digest::update(&mut reference, black_box(&text)));
}

fn coding() {
    for (k, m) in [(2, 1), (2, 2), (4, 2), (8, 3)] {
        let data: Vec<Vec<u8>> = (0..k).map(|i| vec![i as u8 + 1; BLOCK]).collect();
        let slices: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
        let mut parity = vec![vec![0; BLOCK]; m];
        let codes = ["scalar", "ssse3", "avx2", "gfni", "neon"]
            .into_iter()
            .filter_map(|name| ErasureCode::named(k, m, name))
            .chain([ErasureCode::portable(k, m), ErasureCode::reference(k, m)])
            .filter_map(Result::ok);
        for code in codes {
            let (name, shape) = (code.kernel_name(), format!("{k}+{m}"));
            let mut out: Vec<&mut [u8]> = parity.iter_mut().map(Vec::as_mut_slice).collect();
            measure(&format!("encode {name}"), &shape, k * BLOCK, || {
                black_box(code.encode(black_box(&slices), &mut out).is_ok());
            });
            let mut shards: Vec<Option<&[u8]>> =
                data.iter().chain(&parity).map(|shard| Some(shard.as_slice())).collect();
            shards[0] = None;
            measure(&format!("rebuild one {name}"), &shape, k * BLOCK, || {
                black_box(code.rebuild(black_box(&shards), &[0]).is_ok());
            });
        }
    }
}

fn main() {
    sealing();
    hashing();
    digests();
    coding();
}
