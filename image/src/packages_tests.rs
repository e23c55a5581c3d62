use crate::board::Architecture;
use crate::packages::{Lock, mirror_of};

const LOCK: &str = r#"
release = "trixie"
day = "20261127T000000Z"
[[package]]
name = "busybox-static"
architecture = "arm64"
version = "1"
source = "busybox"
path = "pool/b.deb"
sha256 = "00"
[[package]]
name = "u-boot-qemu"
architecture = "all"
version = "2"
source = "u-boot"
path = "pool/u.deb"
sha256 = "01"
"#;

#[test]
fn a_pin_is_found_by_name_and_architecture() {
    let lock: Lock = toml::from_str(LOCK).expect("a lock");
    let version = |name, architecture| lock.pins(name, architecture).expect("pinned")[0].version.clone();
    assert_eq!(version("busybox-static", Architecture::Arm64), "1");
    assert_eq!(version("u-boot-qemu", Architecture::Armhf), "2");
    let error =
        lock.pins("busybox-static", Architecture::Armhf).expect_err("another architecture").to_string();
    assert!(error.contains("image-lock"), "{error}");
}

#[test]
fn the_mirror_is_the_hosts_own() {
    let old =
        "# deb http://old.example/debian x\ndeb [signed-by=/k] http://one.example/debian/ trixie main\n"
            .to_owned();
    let new = "Types: deb\nURIs: https://two.example/debian\nSuites: trixie\n".to_owned();
    assert_eq!(mirror_of(&[old.clone(), new.clone()]).as_deref(), Some("http://one.example/debian"));
    assert_eq!(mirror_of(&[new]).as_deref(), Some("https://two.example/debian"));
    assert_eq!(mirror_of(&["deb http://x.example/ubuntu noble main".to_owned()]), None);
}
