use std::collections::BTreeMap;

use crate::uboot::{environment, script, state, wrap_program, wrap_script};

#[test]
fn the_header_says_what_follows() {
    let wrapped = wrap_script("echo hello\n");
    let number = |at: usize| u32::from_be_bytes(wrapped[at..at + 4].try_into().expect("four bytes"));
    assert_eq!(number(0), 0x2705_1956);
    assert_eq!(number(12) as usize, wrapped.len() - 64);
    assert_eq!(number(24), crc32fast::hash(&wrapped[64..]));
    let mut header = wrapped[..64].to_vec();
    header[4..8].fill(0);
    assert_eq!(number(4), crc32fast::hash(&header));
    assert_eq!(number(64), 11);
    assert_eq!(&wrapped[72..], b"echo hello\n");
    let wrapped = wrap_program(0x8000, b"code");
    let addresses = [0, 0, 0x80, 0, 0, 0, 0x80, 0];
    assert_eq!((&wrapped[16..24], &wrapped[64..]), (&addresses[..], &b"code"[..]));
}

#[test]
fn the_state_begins_with_its_crc() {
    let copy = state(&[("slot", "a"), ("trial", ""), ("tries", "0")]);
    assert_eq!(copy[..4], crc32fast::hash(&copy[4..]).to_le_bytes());
    assert!(copy[4..].starts_with(b"slot=a\0trial=\0tries=0\0\0"));
}

#[test]
fn an_environment_fills_its_file_behind_the_crc() {
    let variables = BTreeMap::from([("preboot".to_owned(), String::new()), ("a".to_owned(), "b".to_owned())]);
    let file = environment(&variables).expect("small");
    assert_eq!(file.len(), 0x4000);
    assert_eq!(file[..4], crc32fast::hash(&file[4..]).to_le_bytes());
    assert!(file[4..].starts_with(b"a=b\0preboot=\0\0"));
    let large = BTreeMap::from([("a".to_owned(), "b".repeat(0x4000))]);
    assert!(environment(&large).expect_err("too large").contains("environment"));
}

#[test]
fn a_script_needs_all_addresses_and_no_others() {
    let mut addresses: BTreeMap<String, String> = ["kernel", "initramfs", "packed", "scratch"]
        .map(|name| (name.to_owned(), "0x40000000".to_owned()))
        .into();
    let text = script(&addresses, true, None).expect("complete");
    assert!(text.contains("booti") && text.contains("shoal.slot="));
    // A 32-bit kernel does not reach all of the memory.
    assert!(!text.contains("bootm_size"));
    let text = script(&addresses, false, Some("a.dtb")).expect("complete");
    assert!(text.contains("bootz") && text.contains("setenv bootm_size"));
    addresses.insert("ramdisk".to_owned(), "1".to_owned());
    assert!(script(&addresses, true, None).expect_err("unknown").contains("ramdisk"));
    addresses.remove("ramdisk");
    addresses.remove("packed");
    assert!(script(&addresses, true, None).expect_err("missing").contains("packed"));
}
