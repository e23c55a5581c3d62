use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use data_encoding::HEXLOWER;
use ring::digest::{SHA256, digest};

use crate::image::{Image, ImageError};

fn plain() -> Vec<u8> {
    let mut bytes: Vec<u8> =
        (0..3_000_000u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    bytes[510..512].copy_from_slice(&[0x55, 0xaa]);
    bytes
}

fn put(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, bytes).expect("written");
    path
}

fn sum(bytes: &[u8]) -> String {
    HEXLOWER.encode(digest(&SHA256, bytes).as_ref())
}

#[test]
fn a_packed_image_gives_the_bytes_of_the_plain_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = put(folder.path(), "a.img", &plain());
    let packed = folder.path().join("a.img.zst");
    // As images are packed: the largest window that readers take without being asked, and so what stands in both slots once.
    let mut pack = Command::new("zstd");
    pack.args(["-q", "--long=27"]).stdin(File::open(&path).expect("opened"));
    let done = pack.stdout(File::create(&packed).expect("made")).status();
    assert!(done.expect("zstd: install the package zstd").success());
    let mut content = Vec::new();
    Image::open(&packed)
        .expect("opened")
        .content()
        .expect("content")
        .read_to_end(&mut content)
        .expect("read");
    assert!(content == plain());
    let (bytes, digest) = Image::open(&packed).expect("opened").measure(|_| {}).expect("measured");
    assert_eq!((bytes, HEXLOWER.encode(digest.as_ref())), (3_000_000, sum(&plain())));
    // Cut off on its way.
    let whole = std::fs::read(&packed).expect("read");
    let half = put(folder.path(), "half.img.zst", &whole[..whole.len() / 2]);
    assert!(matches!(Image::open(&half).expect("opened").measure(|_| {}), Err(ImageError::Io { .. })));
}

#[test]
fn the_checksum_is_the_published_one_or_the_given_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = put(folder.path(), "a.img", &plain());
    let image = Image::open(&path).expect("opened");
    let quiet = &mut |_, _| {};
    assert!(matches!(image.verify(None, quiet), Err(ImageError::NoChecksum(_))));
    image.verify(Some(&sum(&plain()).to_uppercase()), quiet).expect("right");
    assert!(matches!(image.verify(Some(&sum(b"x")), quiet), Err(ImageError::Checksum { .. })));
    assert!(matches!(image.verify(Some("abc"), quiet), Err(ImageError::NotSha256(_))));
    put(folder.path(), "list.sha256", format!("{}  b.img\n{} *a.img\n", sum(b"x"), sum(&plain())).as_bytes());
    image.verify(None, quiet).expect("right");
    put(folder.path(), "a.img", &[plain(), vec![0]].concat());
    let error = image.verify(None, quiet).expect_err("one byte more");
    assert!(error.to_string().contains("download it again"), "{error}");
}

#[test]
fn what_is_no_image_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, bytes) in [("text", &b"hello"[..]), ("zeros", &[0; 4_096][..])] {
        let path = put(folder.path(), name, bytes);
        assert!(matches!(Image::open(&path), Err(ImageError::Unknown(_))), "{name}");
    }
    assert!(matches!(Image::open(&folder.path().join("absent")), Err(ImageError::Io { .. })));
}
