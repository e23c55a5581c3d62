//! Packs and indexes garbled at random: a drive opens, never panics, never serves a wrong byte, and keeps the rest.

use super::*;
use sys::RealDisk;

const SEEDS: u64 = 300;
const FIRST_PACK: &str = "packs/0000000000000001.pack";

async fn filled(disk: &FaultDisk) -> Vec<Sample> {
    let drive =
        open_with(Arc::new(disk.clone()), DriveConfig { pack_bytes_max: 1 << 20, ..config() }).unwrap();
    let samples: Vec<_> = (0..12).map(|seed| Sample::copies(seed, 100 + seed * 90)).collect();
    for sample in &samples {
        sample.write(&drive).await.unwrap();
    }
    drive.remove(vec![samples[5].key()]).await.unwrap();
    drive.close();
    samples
}

#[tokio::test]
async fn garbled_packs_never_give_wrong_bytes() {
    let original = labelled(1);
    let samples = filled(&original).await;
    let whole = original.read(FIRST_PACK).unwrap();
    let mut survived = 0;
    for seed in 0..SEEDS {
        let random = SeededRandom::new(seed);
        let place = |len: usize| random.below(len as u64) as usize;
        let mut bytes = whole.clone();
        for _ in 0..1 + random.below(3) {
            let (at, len) = (place(bytes.len()), 1 + place(600));
            let end = bytes.len().min(at + len);
            match random.below(6) {
                0 => random.fill(&mut bytes[at..end]),
                1 => bytes[at..end].fill(0),
                2 => drop(bytes.drain(at..end)),
                3 => {
                    let piece = bytes[at..end].to_vec();
                    let to = place(bytes.len());
                    drop(bytes.splice(to..to, piece));
                }
                4 => bytes.truncate(at.max(64)),
                _ => bytes[at] ^= 1 << random.below(8),
            }
        }
        let disk = labelled(seed + 1_000);
        disk.create_dir_all("packs").unwrap();
        disk.write_atomic(FIRST_PACK, &bytes, "test").unwrap();
        let drive = match open_with(Arc::new(disk.clone()), config()) {
            Ok(drive) => drive,
            // A header of another drive or version cannot come about by chance, a lost label can not at all.
            Err(error) => panic!("seed {seed}: {error}"),
        };
        for sample in &samples {
            // `check` compares every byte with what was written.
            match sample.check(&drive).await {
                Ok(there) => survived += usize::from(there),
                Err(ChunkError::Corrupt { .. }) => {}
                Err(error) => panic!("seed {seed}: {error}"),
            }
        }
        let fresh = Sample::copies(900 + seed, 300);
        fresh.write(&drive).await.unwrap();
        while drive.compact_once().await.unwrap() {}
        assert!(fresh.check(&drive).await.unwrap());
        drive.close();
        assert!(
            fresh.check(&open(&disk)).await.unwrap(),
            "seed {seed}: written after the damage, lost at a restart"
        );
    }
    let all = samples.len() * SEEDS as usize;
    assert!(survived * 2 > all, "only {survived} of {all} chunks survived small damage");
}

#[tokio::test]
async fn a_pack_cut_short_keeps_what_lies_before() {
    let original = labelled(2);
    let samples = filled(&original).await;
    let whole = original.read(FIRST_PACK).unwrap();
    let drive = open(&original);
    let ends: Vec<_> = samples
        .iter()
        .map(|sample| drive.core().index.lookup(sample.key()).unwrap().map(|place| place.offset + place.len))
        .collect();
    for len in (64..whole.len()).step_by(211) {
        let disk = labelled(3);
        disk.create_dir_all("packs").unwrap();
        disk.write_atomic(FIRST_PACK, &whole[..len], "test").unwrap();
        let drive = open(&disk);
        for (sample, end) in samples.iter().zip(&ends) {
            // A chunk counts once its mark is there.
            if let Some(end) = end {
                let there = *end + crate::format::PRELUDE_BYTES <= len as u64;
                assert_eq!(sample.check(&drive).await.unwrap(), there, "{len} bytes, {sample:?}");
            }
        }
    }
}

#[tokio::test]
async fn rows_of_an_index_that_make_no_sense_are_like_missing_chunks() {
    let folder = tempfile::tempdir().unwrap();
    let disk = || Arc::new(RealDisk::open(folder.path()).unwrap());
    drive_label::create(&*disk(), &test_label(), false).unwrap();
    let drive = open_with(disk(), config()).unwrap();
    let samples: Vec<_> = (0..8).map(|seed| Sample::copies(seed, 500)).collect();
    for sample in &samples {
        sample.write(&drive).await.unwrap();
    }
    drive.close();
    let connection = rusqlite::Connection::open(folder.path().join("chunk-index.sqlite")).unwrap();
    let spoil = [
        "header_len = 1 << 60",
        "plain_len = 0",
        "k = 0",
        "block_packets = 300",
        "offset = -5",
        "footer_len = 1 << 40",
        "len = 7",
    ];
    for (sample, change) in samples.iter().zip(spoil) {
        let sql = format!("UPDATE chunk SET {change} WHERE segment = ?1");
        assert_eq!(connection.execute(&sql, [sample.key().segment.as_bytes()]).unwrap(), 1);
    }
    drop(connection);
    let drive = open_with(disk(), config()).unwrap();
    for sample in &samples[..spoil.len()] {
        assert!(!sample.check(&drive).await.unwrap(), "{sample:?}");
        sample.write(&drive).await.unwrap();
        assert!(sample.check(&drive).await.unwrap(), "repaired in place: {sample:?}");
    }
    assert!(samples[7].check(&drive).await.unwrap());
}
