//! The simulated disk loses what it may lose and nothing else.

use std::collections::BTreeSet;
use std::io::ErrorKind;

use super::{Disk, FaultDisk, PowerSupply};

const SEEDS: u64 = 200;

/// What `outcome` gives over many seeds.
fn outcomes<T: Ord>(outcome: impl Fn(u64) -> T) -> BTreeSet<T> {
    (0..SEEDS).map(outcome).collect()
}

#[test]
fn synced_bytes_and_names_always_survive() {
    for seed in 0..SEEDS {
        let disk = FaultDisk::new(seed);
        disk.create_dir_all("d").unwrap();
        disk.sync_dir("", "test").unwrap();
        let file = disk.create_new("d/a").unwrap();
        file.write_all_at(0, &[5; 5_000]).unwrap();
        file.sync_data("test").unwrap();
        disk.sync_dir("d", "test").unwrap();
        // Unsynced changes elsewhere in the file do not reach back.
        file.write_all_at(5_120, &[6; 100]).unwrap();
        let next = disk.power_cut();
        assert_eq!(&next.read("d/a").unwrap()[..5_000], &[5; 5_000], "seed {seed}");
    }
}

#[test]
fn unsynced_sectors_survive_in_any_mixture() {
    let seen = outcomes(|seed| {
        let disk = FaultDisk::new(seed);
        let file = disk.create_new("a").unwrap();
        file.write_all_at(0, &[b'o'; 1_024]).unwrap();
        file.sync_data("test").unwrap();
        disk.sync_dir("", "test").unwrap();
        file.write_all_at(0, &[b'm'; 1_024]).unwrap();
        file.write_all_at(0, &[b'n'; 1_024]).unwrap();
        let bytes = disk.power_cut().read("a").unwrap();
        assert!(bytes[..512].iter().all(|b| *b == bytes[0]), "a sector does not tear");
        assert!(bytes[512..].iter().all(|b| *b == bytes[512]));
        (bytes[0], bytes[512])
    });
    for first in *b"omn" {
        for second in *b"omn" {
            assert!(seen.contains(&(first, second)), "{} {}", first as char, second as char);
        }
    }
}

#[test]
fn unsynced_lengths_survive_or_not() {
    let seen = outcomes(|seed| {
        let disk = FaultDisk::new(seed);
        let file = disk.create_new("a").unwrap();
        file.set_len(100).unwrap();
        file.sync_data("test").unwrap();
        disk.sync_dir("", "test").unwrap();
        file.set_len(5_000).unwrap();
        file.set_len(50).unwrap();
        disk.power_cut().open("a").unwrap().len().unwrap()
    });
    assert_eq!(seen, BTreeSet::from([50, 100, 5_000]));
}

#[test]
fn unsynced_names_survive_independently_and_a_rename_is_atomic() {
    let seen = outcomes(|seed| {
        let disk = FaultDisk::new(seed);
        disk.create_new("old").unwrap();
        disk.create_new("target").unwrap();
        disk.sync_dir("", "test").unwrap();
        disk.create_new("new").unwrap();
        disk.rename("old", "target").unwrap();
        let mut names: Vec<String> = disk.power_cut().list("").unwrap().into_iter().map(|e| e.name).collect();
        names.sort();
        names.join(" ")
    });
    let wanted = ["new old target", "new target", "old target", "target"];
    assert_eq!(seen, wanted.map(str::to_owned).into());
}

#[test]
fn a_removed_name_may_come_back_until_its_directory_is_synced() {
    let seen = |sync: bool| {
        outcomes(|seed| {
            let disk = FaultDisk::new(seed);
            disk.create_new("a").unwrap();
            disk.sync_dir("", "test").unwrap();
            disk.remove("a").unwrap();
            if sync {
                disk.sync_dir("", "test").unwrap();
            }
            disk.power_cut().open("a").is_ok()
        })
    };
    assert_eq!(seen(false), [false, true].into());
    assert_eq!(seen(true), [false].into());
}

#[test]
fn a_new_directory_is_a_name_in_its_parent() {
    let seen = outcomes(|seed| {
        let disk = FaultDisk::new(seed);
        disk.create_dir_all("d").unwrap();
        disk.create_new("d/a").unwrap().sync_data("test").unwrap();
        disk.sync_dir("d", "test").unwrap();
        disk.power_cut().open("d/a").is_ok()
    });
    assert_eq!(seen, [false, true].into());
}

#[test]
fn a_rename_between_directories_is_durable_in_both() {
    for seed in 0..SEEDS {
        let disk = FaultDisk::new(seed);
        disk.create_dir_all("x").unwrap();
        disk.create_dir_all("y").unwrap();
        disk.sync_dir("", "test").unwrap();
        disk.create_new("x/a").unwrap();
        disk.rename("x/a", "y/a").unwrap();
        disk.sync_dir("y", "test").unwrap();
        let next = disk.power_cut();
        assert!(next.open("y/a").is_ok(), "seed {seed}");
        assert!(next.open("x/a").is_err(), "seed {seed}");
    }
}

#[test]
fn handles_die_with_the_power() {
    let disk = FaultDisk::new(1);
    let file = disk.create_new("a").unwrap();
    let next = disk.power_cut();
    assert!(file.write_all_at(0, b"x").is_err());
    assert!(file.sync_data("test").is_err());
    assert!(disk.list("").is_err());
    assert!(next.list("").is_ok());
}

#[test]
fn one_supply_cuts_all_disks_after_so_many_operations() {
    let power = PowerSupply::new();
    let (a, b) = (FaultDisk::with_power(1, &power), FaultDisk::with_power(2, &power));
    power.cut_after(3);
    let file = a.create_new("a").unwrap();
    b.create_new("b").unwrap();
    assert!(!power.is_off());
    assert!(file.sync_data("test").is_err(), "the third operation is cut short");
    assert!(power.is_off());
    assert!(a.list("").is_err() && b.list("").is_err());
    let next = PowerSupply::new();
    assert!(a.power_cut_to(&next).list("").is_ok() && b.power_cut_to(&next).list("").is_ok());
}

#[test]
fn after_a_failed_sync_lost_bytes_look_clean() {
    let seen = outcomes(|seed| {
        let disk = FaultDisk::new(seed);
        let file = disk.create_new("a").unwrap();
        file.set_len(512).unwrap();
        file.sync_data("test").unwrap();
        disk.sync_dir("", "test").unwrap();
        file.write_all_at(0, b"x").unwrap();
        disk.fail_sync(1);
        assert!(file.sync_data("test").is_err());
        file.sync_data("test").expect("only one sync fails");
        assert_eq!(disk.read("a").unwrap()[0], b'x', "the cache still shows it");
        disk.power_cut().read("a").unwrap()[0]
    });
    assert_eq!(seen, [0, b'x'].into(), "the second sync did not write it");
}

#[test]
fn a_full_disk_keeps_what_fitted_and_takes_more_after_a_removal() {
    let disk = FaultDisk::new(1);
    disk.set_capacity(8_192);
    let a = disk.create_new("a").unwrap();
    assert_eq!(a.reserve(9_000).unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(a.write_all_at(0, &[1; 10_000]).unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(a.len().unwrap(), 8_192);
    assert_eq!(disk.space().unwrap().free, 0);
    a.write_all_at(0, &[2; 8_192]).expect("overwriting needs no room");
    disk.remove("a").unwrap();
    assert_eq!(disk.space().unwrap().free, 8_192);
    let b = disk.create_new("b").unwrap();
    b.reserve(8_192).unwrap();
    b.write_all_at(0, &[1; 8_192]).expect("reserved room is there");
    assert_eq!(
        disk.create_new("c").unwrap().write_all_at(0, b"x").unwrap_err().kind(),
        ErrorKind::StorageFull
    );
}

#[test]
fn bits_flip_files_become_unreadable_and_drives_are_pulled() {
    let disk = FaultDisk::new(1);
    disk.write_atomic("a", &[0; 600], "test").unwrap();
    disk.corrupt("a", 599, 0x10).unwrap();
    assert_eq!(disk.read("a").unwrap()[599], 0x10);
    assert_eq!(disk.power_cut().read("a").unwrap()[599], 0x10);

    let disk = FaultDisk::new(1);
    disk.write_atomic("a", b"x", "test").unwrap();
    disk.fail_reads("a");
    assert!(disk.read("a").is_err());
    disk.pull();
    assert!(disk.list("").is_err());
    assert!(disk.create_new("b").is_err());
}

#[test]
fn a_seed_repeats_its_faults() {
    let run = |seed| {
        let disk = FaultDisk::new(seed);
        let file = disk.create_new("a").unwrap();
        disk.sync_dir("", "test").unwrap();
        for round in 0..20u8 {
            file.write_all_at(u64::from(round) * 300, &[round; 700]).unwrap();
        }
        disk.power_cut().read("a").unwrap()
    };
    for seed in 0..20 {
        assert_eq!(run(seed), run(seed));
    }
    assert!(outcomes(run).len() > 20);
}

#[test]
fn a_killed_process_leaves_its_cache_to_the_next() {
    let seen = outcomes(|seed| {
        let disk = FaultDisk::new(seed);
        disk.create_new("a").unwrap();
        disk.sync_dir("", "test").unwrap();
        let file = disk.open("a").unwrap();
        file.write_all_at(0, b"x").unwrap();
        let killed = PowerSupply::new();
        let process = disk.restarted(&killed);
        let old = process.open("a").unwrap();
        killed.cut();
        assert!(old.write_all_at(0, b"y").is_err());
        let next = disk.restarted(&PowerSupply::new());
        assert_eq!(next.read("a").unwrap(), b"x");
        next.power_cut().read("a").unwrap().len()
    });
    assert_eq!(seen, [0, 1].into());
}

#[test]
fn a_stalled_disk_answers_reads_and_hangs_until_the_power_goes() {
    let power = PowerSupply::new();
    let disk = FaultDisk::with_power(1, &power);
    let file = disk.create_new("a").unwrap();
    file.write_all_at(0, b"x").unwrap();
    disk.stall();
    let writing = std::thread::spawn(move || file.write_all_at(0, b"y"));
    assert_eq!(disk.read("a").unwrap(), b"x");
    assert!(!writing.is_finished());
    power.cut();
    assert!(writing.join().unwrap().is_err());
    assert_eq!(disk.restarted(&PowerSupply::new()).read("a").unwrap(), b"x");
}
