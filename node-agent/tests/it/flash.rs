//! `shoal flash` on files that stand for disks.

use std::path::{Path, PathBuf};

use crate::shoal::{run, text};

const MIB: usize = 1 << 20;

struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    /// An image of 2 MiB with its checksum.
    fn new() -> Self {
        let bench = Self { folder: tempfile::tempdir().expect("a folder") };
        let mut image: Vec<u8> = (0..2 * MIB).map(|at| (at / 512) as u8 | 1).collect();
        image[510..512].copy_from_slice(&[0x55, 0xaa]);
        std::fs::write(bench.path("board.img"), &image).expect("written");
        let digest = ring::digest::digest(&ring::digest::SHA256, &image);
        let line = format!("{}  board.img\n", data_encoding::HEXLOWER.encode(digest.as_ref()));
        std::fs::write(bench.path("board.sha256"), line).expect("written");
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn disk(&self, name: &str, content: &[u8]) -> PathBuf {
        std::fs::write(self.path(name), content).expect("written");
        self.path(name)
    }

    /// `shoal flash DISK --image board.img OPTIONS`: what it said, and whether it was content.
    fn flash(&self, disk: &Path, options: &[&str]) -> (bool, String) {
        let image = self.path("board.img");
        let base = ["flash", disk.to_str().expect("text"), "--image", image.to_str().expect("text")];
        let output = run(base.into_iter().chain(options.iter().copied()));
        (output.status.success(), text(&output.stdout) + &text(&output.stderr))
    }
}

#[test]
fn an_empty_disk_gets_the_image_and_nothing_else() {
    let bench = Bench::new();
    let disk = bench.disk("card", &vec![0; 20 * MIB]);
    let (done, told) = bench.flash(&disk, &[]);
    assert!(done, "{told}");
    let (written, image) =
        (std::fs::read(&disk).expect("read"), std::fs::read(bench.path("board.img")).expect("read"));
    assert!(written[..image.len()] == image[..]);
    assert!(written[image.len()..].iter().all(|&byte| byte == 0));
}

#[test]
fn what_is_not_empty_is_erased_only_by_its_serial() {
    let bench = Bench::new();
    let old = vec![7; 4 * MIB];
    let disk = bench.disk("photos", &old);
    for options in [&[][..], &["--serial", "another"]] {
        let (done, told) = bench.flash(&disk, options);
        assert!(!done);
        assert!(told.contains("photos"), "{told}");
        assert!(std::fs::read(&disk).expect("read") == old, "a byte was written");
    }
    assert!(bench.flash(&disk, &[]).1.contains("to erase it, say --serial photos"));
    let (done, told) = bench.flash(&disk, &["--serial", "photos"]);
    assert!(done, "{told}");
}

#[test]
fn nothing_is_written_for_a_damaged_image_or_a_wrong_seed() {
    let bench = Bench::new();
    let disk = bench.disk("card", &vec![0; 4 * MIB]);
    let wrong = bench.disk("wrong", b"[board\n");
    let ticket = bench.disk("ticket", b"shoal-ticket-1-nonsense");
    for (options, wanted) in [
        (["--sha256", &"0".repeat(64)], "is damaged"),
        (["--config", wrong.to_str().expect("text")], "the configuration"),
        (["--ticket-file", ticket.to_str().expect("text")], "ticket"),
    ] {
        let (done, told) = bench.flash(&disk, &options);
        assert!(!done && told.contains(wanted), "{told}");
    }
    std::fs::remove_file(bench.path("board.sha256")).expect("removed");
    assert!(bench.flash(&disk, &[]).1.contains("there is no checksum"));
    assert!(std::fs::read(&disk).expect("read").iter().all(|&byte| byte == 0), "a byte was written");
}

#[test]
fn the_list_names_no_disk_twice() {
    let output = run(["flash", "--json"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let listed: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let mut paths: Vec<_> =
        listed["disks"].as_array().expect("a list").iter().map(|disk| disk["path"].clone()).collect();
    let all = paths.len();
    paths.dedup();
    assert_eq!(paths.len(), all);
}
