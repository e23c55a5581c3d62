//! The committed corpora and small, repeatable mutations of them, on stable Rust, in CI.

use std::path::Path;

use fuzz_targets::TARGETS;

/// Mutations of each input.
const MUTATIONS: u64 = 300;
/// Seeds each target must have.
const SEEDS_MIN: usize = 2;

/// xorshift64*.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % bound.max(1)
    }
}

fn mutate(input: &[u8], seed: u64) -> Vec<u8> {
    let mut bytes = input.to_vec();
    let mut chance = Chance(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    for _ in 0..=chance.below(3) {
        let at = chance.below(bytes.len());
        match chance.below(5) {
            _ if bytes.is_empty() => bytes.push(chance.below(256) as u8),
            0 => bytes[at] ^= 1 << chance.below(8),
            1 => bytes[at] = [0, 0xFF, b'\r', b'\n', b'%', b'<', b'&', b'-', b'9'][chance.below(9)],
            2 => bytes.truncate(at),
            3 => bytes.insert(at, chance.below(256) as u8),
            _ => {
                let piece = bytes[at..(at + chance.below(32)).min(bytes.len())].to_vec();
                let to = chance.below(bytes.len());
                bytes.splice(to..to, piece);
            }
        }
    }
    bytes
}

#[test]
fn corpora_and_their_mutations() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for target in TARGETS {
        let folder = corpus.join(target.name);
        let mut seeds: Vec<_> = std::fs::read_dir(&folder)
            .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
            .map(|entry| entry.expect("a readable folder").path())
            .collect();
        seeds.sort();
        assert!(seeds.len() >= SEEDS_MIN, "{} has {} seeds", target.name, seeds.len());
        for path in seeds {
            let input = std::fs::read(&path).expect("a readable seed");
            (target.run)(&input);
            for seed in 0..MUTATIONS {
                (target.run)(&mutate(&input, seed));
            }
        }
    }
}

#[test]
fn no_corpus_without_a_target() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for entry in std::fs::read_dir(corpus).expect("the corpus folder") {
        let name = entry.expect("a readable folder").file_name();
        assert!(TARGETS.iter().any(|target| name == target.name), "{name:?} belongs to no target");
    }
}
