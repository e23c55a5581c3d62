use std::collections::BTreeMap;
use std::process::Command;

use crate::agent::is_dynamic;
use crate::board::Architecture;
use crate::deb::package;

/// Enough of an ELF file: one program header of the kind.
fn elf(kind: u32) -> Vec<u8> {
    let mut content = vec![0; 64 + 56];
    content[..5].copy_from_slice(b"\x7fELF\x02");
    content[32] = 64;
    content[54] = 56;
    content[56] = 1;
    content[64..68].copy_from_slice(&kind.to_le_bytes());
    content
}

#[test]
fn static_and_dynamic_are_told_apart() {
    assert!(is_dynamic(&elf(3)));
    assert!(!is_dynamic(&elf(1)));
    assert!(!is_dynamic(b"\x7fELF"));
}

/// What `ar` says about a package, which is written as ar(5) says and read here without `ar`.
fn members(package: &[u8]) -> BTreeMap<String, Vec<u8>> {
    assert_eq!(&package[..8], b"!<arch>\n");
    let (mut at, mut members) = (8, BTreeMap::new());
    while at < package.len() {
        let header = std::str::from_utf8(&package[at..at + 60]).expect("a header is text");
        let length: usize = header[48..58].trim().parse().expect("a length");
        assert_eq!(&header[58..], "`\n");
        members.insert(header[..16].trim().to_owned(), package[at + 60..at + 60 + length].to_vec());
        at += 60 + length + length % 2;
    }
    members
}

#[test]
fn dpkg_reads_it_and_it_is_reproducible() {
    let made = package(Architecture::Arm64, "1.2.3", elf(1), 1_000_000_000).expect("a package");
    assert_eq!(made, package(Architecture::Arm64, "1.2.3", elf(1), 1_000_000_000).expect("a package"));
    let members = members(&made);
    assert_eq!(members["debian-binary"], b"2.0\n");
    assert_eq!(members.len(), 3);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("shoal.deb");
    std::fs::write(&path, &made).expect("written");
    let asked = |option: &str| {
        let output = Command::new("dpkg-deb").arg(option).arg(&path).output().expect("dpkg-deb runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let fields = asked("-f");
    for line in ["Package: shoal", "Version: 1.2.3", "Architecture: arm64", "Section: admin"] {
        assert!(fields.lines().any(|field| field == line), "{line} is not in\n{fields}");
    }
    assert!(!fields.contains("libc6"), "a static agent needs no library");
    let listed = asked("-c");
    assert!(listed.lines().all(|line| line.contains("root/root")), "{listed}");
    assert!(listed.contains("./usr/lib/systemd/system/shoal.service"), "{listed}");
}

#[test]
fn a_dynamic_agent_declares_its_libraries() {
    let made = package(Architecture::Amd64, "1.2.3", elf(3), 0).expect("a package");
    let control = crate::tarball::pack("xz", &["-dc"], &members(&made)["control.tar.xz"]).expect("xz");
    assert!(String::from_utf8_lossy(&control).contains("Depends: libc6, libgcc-s1, systemd"));
}
