use crate::manifest::{Manifest, ManifestError, PublicKey, SigningKey, SlotFile, verify};

fn manifest() -> Manifest {
    Manifest {
        format: 1,
        board: "qemu-virt-arm64".to_owned(),
        version: "0.1.0".to_owned(),
        development: true,
        files: vec![SlotFile::of("kernel", b"kernel"), SlotFile::of("dtb/a.dtb", b"tree")],
    }
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32]).expect("a key")
}

#[test]
fn the_list_reads_back_and_its_hashes_fit() {
    let text = manifest().to_text();
    let read = Manifest::parse(&text).expect("a manifest");
    assert_eq!(read, manifest());
    assert!(read.files[0].fits(b"kernel"));
    assert!(!read.files[0].fits(b"kernel "));
    assert!(!read.files[0].fits(b"kerneL"));
    // FIPS 180-2, appendix B.1.
    assert_eq!(
        SlotFile::of("x", b"abc").sha256,
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    );
    let later = text.replace("format = 1", "format = 2\nmore = true");
    assert!(matches!(Manifest::parse(&later), Err(ManifestError::Version(2))));
}

#[test]
fn only_a_trusted_key_over_exactly_this_text_counts() {
    let text = manifest().to_text();
    let signed = key(1).sign(&text, "board qemu-virt-arm64");
    let trusted = [key(2).public(), key(1).public()];
    verify(&text, &signed, &trusted).expect("signed");
    assert!(matches!(verify(&text, &signed, &trusted[..1]), Err(ManifestError::UnknownKey(_))));
    let changed = text.replace("kernel", "Kernel");
    assert!(matches!(verify(&changed, &signed, &trusted), Err(ManifestError::Forged)));
    let comment = signed.replace("board qemu", "board Qemu");
    assert!(matches!(verify(&text, &comment, &trusted), Err(ManifestError::Forged)));
    for cut in 0..signed.len() - 1 {
        assert!(verify(&text, &signed[..cut], &trusted).is_err(), "cut at {cut}");
    }
}

#[test]
fn a_public_key_has_a_text_form() {
    let public = key(3).public();
    assert_eq!(PublicKey::parse(&public.to_text()).expect("a key"), public);
    assert!(PublicKey::parse("nonsense").is_err());
    assert!(PublicKey::parse("RWQ=").is_err());
}
