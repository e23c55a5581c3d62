use super::*;

#[test]
fn passes_on_this_machine() {
    assert_eq!(run(), Ok(()));
}

#[test]
fn each_check_by_itself() {
    assert!(chacha20_poly1305(), "chacha");
    assert!(aes_256_gcm(), "aes");
    assert!(packets(), "packets");
    assert!(highway_hash(), "highway");
    assert!(frame_hash(), "frame");
    assert!(reed_solomon(), "reed-solomon");
}

/// The golden vectors once more, by the reference crates and the portable code instead of the kernels.
#[test]
fn golden_vectors_are_those_of_the_references() {
    use chacha20poly1305::aead::{AeadInOut, KeyInit};
    use highway::{HighwayHash, PortableHash};

    use crate::frame::highway_key;

    let key = std::array::from_fn(|i| i as u8);
    let data: Vec<u8> = (0..64).collect();
    assert_eq!(to_bytes(PortableHash::new(highway_key(&key)).hash256(&data)), HIGHWAY_64);

    let mut packet = pattern::<1000>().to_vec();
    let mut aad = vec![1, 2, 0];
    aad.extend_from_slice(GOLDEN_ID.as_bytes());
    let tag = chacha20poly1305::ChaCha20Poly1305::new(&[0x40; 32].into())
        .encrypt_inout_detached(
            &[0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 3].into(),
            &aad,
            packet.as_mut_slice().into(),
        )
        .unwrap();
    packet.extend_from_slice(&tag);
    let hash = FrameHasher::new(ChunkKey { segment: GOLDEN_ID, index: 0 }).hash(0, &packet);
    assert_eq!(hash, PACKET_CHACHA);
}
