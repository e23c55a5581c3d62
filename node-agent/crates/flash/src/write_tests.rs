use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};

use disk_image::card::IMAGE_BYTES;
use disk_image::seed::Seed;
use ring::digest::{SHA256, digest};

use crate::write::{FlashError, Medium, Order, Phase, flash};

const MIB: u64 = 1 << 20;

/// A disk in memory that may lie.
struct Card {
    memory: Cursor<Vec<u8>>,
    claimed: u64,
    position: u64,
    flaw: Flaw,
    settled: u32,
}

#[derive(Clone, Copy, PartialEq)]
enum Flaw {
    None,
    /// Addresses beyond the memory come back to its start.
    Wraps,
    /// What is written beyond the memory is dropped, and zeros come back.
    Drops,
    /// A bit of this byte is stuck once the marks are gone.
    Stuck(u64),
}

impl Card {
    fn new(real: u64, claimed: u64, flaw: Flaw) -> Self {
        Self { memory: Cursor::new(vec![0; real as usize]), claimed, position: 0, flaw, settled: 0 }
    }

    fn real(&self) -> u64 {
        self.memory.get_ref().len() as u64
    }

    /// The place in memory and how far it reaches; nothing where there is none.
    fn place(&self, wanted: usize) -> (Option<u64>, usize) {
        let left = self.claimed.saturating_sub(self.position).min(wanted as u64);
        match self.flaw {
            Flaw::Wraps => {
                let at = self.position % self.real();
                (Some(at), left.min(self.real() - at) as usize)
            }
            _ if self.position < self.real() => {
                (Some(self.position), left.min(self.real() - self.position) as usize)
            }
            _ => (None, left as usize),
        }
    }
}

impl Read for Card {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (at, length) = self.place(buffer.len());
        match at {
            Some(at) => buffer[..length].copy_from_slice(&self.memory.get_ref()[at as usize..][..length]),
            None => buffer[..length].fill(0),
        }
        if let Flaw::Stuck(byte) = self.flaw
            && self.settled > 1
            && (self.position..self.position + length as u64).contains(&byte)
        {
            buffer[(byte - self.position) as usize] |= 1;
        }
        self.position += length as u64;
        Ok(length)
    }
}

impl Write for Card {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let (at, length) = self.place(buffer.len());
        if let Some(at) = at {
            self.memory.get_mut()[at as usize..][..length].copy_from_slice(&buffer[..length]);
        }
        self.position += length as u64;
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Card {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let SeekFrom::Start(at) = to else { panic!("only absolute seeks are wanted here") };
        self.position = at;
        Ok(at)
    }
}

impl Medium for Card {
    fn settle(&mut self) -> io::Result<()> {
        self.settled += 1;
        Ok(())
    }
}

fn image(bytes: u64) -> Vec<u8> {
    (0..bytes).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8 & 0xfe).collect()
}

fn order<'a>(image: &[u8], disk_bytes: u64, seed: Option<&'a Seed>) -> Order<'a> {
    let image_sha256 = digest(&SHA256, image);
    Order { image_bytes: image.len() as u64, image_sha256, disk_bytes, seed, nonce: [7; 16] }
}

fn run(card: &mut Card, image: &[u8]) -> Result<(), FlashError> {
    let order = order(image, card.claimed, None);
    flash(&order, &mut &image[..], card, &mut |_, done, all| assert!(done <= all))
}

#[test]
fn an_honest_card_holds_the_image_and_zeros_behind_it() {
    let image = image(5 * MIB + 512);
    let mut card = Card::new(40 * MIB, 40 * MIB, Flaw::None);
    card.memory.get_mut()[39 * MIB as usize..].fill(0xaa); // the second copy of a GPT
    let mut phases = Vec::new();
    let told = order(&image, 40 * MIB, None);
    flash(&told, &mut &image[..], &mut card, &mut |phase, done, all| {
        if done == all {
            phases.push(phase);
        }
    })
    .expect("flashed");
    assert_eq!(phases, [Phase::Capacity, Phase::Write, Phase::Verify]);
    let memory = card.memory.into_inner();
    assert!(memory[..image.len()] == image[..]);
    assert!(memory[image.len()..].iter().all(|&byte| byte == 0), "marks or a GPT are left");
}

#[test]
fn a_card_that_claims_more_than_it_has_is_found_whatever_it_does() {
    let image = image(2 * MIB);
    for (flaw, sizes) in
        [(Flaw::Wraps, [8 * MIB, 16 * MIB, 32 * MIB]), (Flaw::Drops, [8 * MIB, 24 * MIB, 64 * MIB - 4_096])]
    {
        for real in sizes {
            let mut card = Card::new(real, 64 * MIB, flaw);
            match run(&mut card, &image) {
                Err(FlashError::Fake { claimed, lost }) => {
                    assert_eq!(claimed, 64 * MIB);
                    assert!(flaw == Flaw::Wraps || lost >= real, "{lost} of {real}");
                }
                other => panic!("{real}: {other:?}"),
            }
        }
    }
}

#[test]
fn what_comes_back_wrong_is_named() {
    let image = image(3 * MIB);
    let mut card = Card::new(20 * MIB, 20 * MIB, Flaw::Stuck(MIB + 17));
    match run(&mut card, &image) {
        Err(FlashError::Differs { at, end }) => assert_eq!((at, end), (MIB, 2 * MIB)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn too_small_a_disk_and_an_image_that_changes_are_refused() {
    let whole = image(3 * MIB);
    let mut card = Card::new(2 * MIB, 2 * MIB, Flaw::None);
    assert!(matches!(run(&mut card, &whole), Err(FlashError::TooSmall { .. })));
    assert!(card.memory.get_ref().iter().all(|&byte| byte == 0), "nothing is written");
    let mut card = Card::new(8 * MIB, 8 * MIB, Flaw::None);
    for changed in
        [&whole[..whole.len() - 1], &image(3 * MIB + 1)[..], &[&whole[..10], &[9], &whole[11..]].concat()]
    {
        let order = order(&whole, 8 * MIB, None);
        let done = flash(&order, &mut &changed[..], &mut card, &mut |_, _, _| {});
        assert!(matches!(done, Err(FlashError::Changed)), "{done:?}");
    }
}

#[test]
fn a_seed_goes_onto_images_that_have_a_place_for_it() {
    let seed = Seed { config: Some("[board]\nfound = true\n".to_owned()), ticket: None };
    let small = image(MIB);
    let mut card = Card::new(8 * MIB, 8 * MIB, Flaw::None);
    let done = flash(&order(&small, 8 * MIB, Some(&seed)), &mut &small[..], &mut card, &mut |_, _, _| {});
    assert!(matches!(done, Err(FlashError::NoSeed)), "{done:?}");
    let whole = vec![0; IMAGE_BYTES as usize];
    let mut card = Card::new(IMAGE_BYTES + MIB, IMAGE_BYTES + MIB, Flaw::None);
    let told = order(&whole, IMAGE_BYTES + MIB, Some(&seed));
    flash(&told, &mut &whole[..], &mut card, &mut |_, _, _| {}).expect("flashed");
    assert_eq!(Seed::read(&mut card).expect("read"), Some(seed));
}
