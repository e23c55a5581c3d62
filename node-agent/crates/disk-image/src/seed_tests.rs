use std::io::Cursor;

use crate::card::{IMAGE_BYTES, SEED_AT};
use crate::seed::{SEED_TEXT_BYTES_MAX, Seed, SeedError};

fn card() -> Cursor<Vec<u8>> {
    Cursor::new(vec![0; IMAGE_BYTES as usize])
}

fn seed() -> Seed {
    Seed { config: Some("name = \"kitchen\"".to_owned()), ticket: Some("shoal-ticket".to_owned()) }
}

#[test]
fn a_seed_reads_back_and_is_gone_after_the_wipe() {
    let mut card = card();
    assert_eq!(Seed::read(&mut card).expect("read"), None);
    seed().write(&mut card).expect("written");
    assert_eq!(Seed::read(&mut card).expect("read"), Some(seed()));
    Seed::wipe(&mut card).expect("wiped");
    assert_eq!(Seed::read(&mut card).expect("read"), None);
    assert!(card.get_ref().iter().all(|&byte| byte == 0));
}

#[test]
fn rot_later_versions_and_long_texts_are_told_apart() {
    let mut whole = card();
    seed().write(&mut whole).expect("written");
    let at = SEED_AT as usize;
    for (offset, expected) in
        [(0, "damaged"), (8, "version"), (13, "damaged"), (17, "damaged"), (25, "damaged")]
    {
        let mut bytes = whole.clone();
        bytes.get_mut()[at + offset] ^= 0x40;
        let error = Seed::read(&mut bytes).expect_err("refused").to_string();
        assert!(error.contains(expected), "{offset}: {error}");
    }
    let long = Seed { config: Some("x".repeat(SEED_TEXT_BYTES_MAX)), ticket: None };
    assert!(matches!(long.write(&mut card()), Err(SeedError::TooLong)));
}

#[test]
fn an_error_never_quotes_the_ticket() {
    let mut card = card();
    let text = "ticket = \"secret-secret\"\nunknown = 1\n";
    let mut block = b"SHOALSED".to_vec();
    block.extend_from_slice(&1u32.to_le_bytes());
    block.extend_from_slice(&(text.len() as u32).to_le_bytes());
    block.extend_from_slice(&crc32fast::hash(text.as_bytes()).to_le_bytes());
    block.extend_from_slice(text.as_bytes());
    card.get_mut()[SEED_AT as usize..][..block.len()].copy_from_slice(&block);
    let error = Seed::read(&mut card).expect_err("an unknown key").to_string();
    assert!(error.contains("unknown") && !error.contains("secret-secret"), "{error}");
}
