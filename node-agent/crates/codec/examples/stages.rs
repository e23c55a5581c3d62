//! One stage of a PUT or GET, a number of times: `stages NAME ROUNDS`. Whoever counts a process's instructions (`hil-tests/run
//! instructions`) divides what more rounds cost by their bytes. Prints the bytes of one round.

use std::hint::black_box;
use std::process::ExitCode;

use codec::{ErasureCode, FrameHasher, Md5, SealContext, Sealer, SegmentKey};
use grid_types::{ChunkKey, Cipher, Compression, SegmentId};

const PACKET: usize = 65_536;
const ROUND: usize = 16 * PACKET;
const ID: SegmentId = SegmentId::from_bytes([7; 16]);

fn sealer() -> Sealer {
    let context =
        SealContext { cipher: Cipher::ChaCha20Poly1305, compression: Compression::None, seal_id: ID };
    Sealer::new(&SegmentKey::new([1; 32]), context)
}

/// Runs a stage; false where there is none of this name.
fn run(stage: &str, rounds: u32) -> bool {
    let text = vec![0x5A; ROUND];
    match stage {
        "md5" => {
            let mut digest = Md5::default();
            (0..rounds).for_each(|_| digest.update(black_box(&text)));
            black_box(digest.finish());
        }
        // Of the body, where a client signed it or asks for a checksum, as most do by default.
        "sha256" => {
            let mut digest = ring::digest::Context::new(&ring::digest::SHA256);
            (0..rounds).for_each(|_| digest.update(black_box(&text)));
            black_box(digest.finish());
        }
        "crc32" => {
            let mut crc = crc32fast::Hasher::new();
            (0..rounds).for_each(|_| crc.update(black_box(&text)));
            black_box(crc.finalize());
        }
        "seal" => {
            let (sealer, mut packet) = (sealer(), vec![0x5A; PACKET + 16]);
            for number in 0..rounds * 16 {
                sealer.seal(number.into(), false, black_box(&mut packet));
            }
        }
        "open" => {
            let (sealer, mut sealed) = (sealer(), vec![0x5A; PACKET + 16]);
            sealer.seal(0, false, &mut sealed);
            let mut packet = sealed.clone();
            for _ in 0..rounds * 16 {
                packet.copy_from_slice(&sealed);
                black_box(sealer.open(0, false, black_box(&mut packet)).is_ok());
            }
        }
        "frame hash" => {
            let hasher = FrameHasher::new(ChunkKey { segment: ID, index: 0 });
            for number in 0..rounds {
                black_box(hasher.hash(number.into(), black_box(&text)));
            }
        }
        "encode 2+1" => {
            let Ok(code) = ErasureCode::new(2, 1) else { return false };
            let (first, second) = text.split_at(ROUND / 2);
            let mut parity = vec![0; ROUND / 2];
            for _ in 0..rounds {
                black_box(code.encode(black_box(&[first, second]), &mut [&mut parity]).is_ok());
            }
        }
        _ => return false,
    }
    true
}

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let (stage, rounds) = (words.next().unwrap_or_default(), words.next().and_then(|word| word.parse().ok()));
    if !rounds.is_some_and(|rounds| run(&stage, rounds)) {
        eprintln!("stages md5|sha256|crc32|seal|open|\"frame hash\"|\"encode 2+1\" ROUNDS");
        return ExitCode::FAILURE;
    }
    println!("{ROUND}");
    ExitCode::SUCCESS
}
