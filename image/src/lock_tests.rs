use std::collections::BTreeMap;

use super::{Stanzas, parse_stanza, pin, release_of};

fn stanzas(packages: &[(&str, &str)]) -> Stanzas {
    let stanza = |(name, depends): &(&str, &str)| {
        let text = format!(
            "Package: {name}\nVersion: 1\nArchitecture: arm64\nDepends: {depends}\nFilename: pool/{name}.deb\nSHA256: 00"
        );
        ((*name).to_owned(), parse_stanza(&text))
    };
    packages.iter().map(stanza).collect::<BTreeMap<_, _>>()
}

fn pinned(package: &str, stanzas: &Stanzas) -> Vec<(String, Option<String>)> {
    let pins = pin(package, stanzas).expect("it is there");
    pins.into_iter().map(|pin| (pin.name, pin.real)).collect()
}

#[test]
fn a_kernel_is_the_newest_in_one_package_or_in_parts() {
    let whole = stanzas(&[
        ("linux-image-arm64", "linux-image-6.12.1-arm64 (= 1)"),
        ("linux-image-6.12.1-arm64", "kmod, linux-base (>= 4)"),
    ]);
    let image = "linux-image-arm64".to_owned();
    assert_eq!(pinned(&image, &whole), [(image.clone(), Some("linux-image-6.12.1-arm64".to_owned()))]);

    let parts = stanzas(&[
        ("linux-image-arm64", "linux-base-arm64 (= 1), linux-image-7.3-arm64 (= 1), linux-modules-arm64"),
        (
            "linux-image-7.3-arm64",
            "dracut | initramfs-tools, linux-base-7.3-arm64, linux-binary-7.3-arm64, linux-modules-7.3-arm64",
        ),
        ("linux-base-7.3-arm64", ""),
        ("linux-binary-7.3-arm64", ""),
        ("linux-modules-7.3-arm64", "kmod"),
    ]);
    let name = "linux-image-arm64/trixie-backports".to_owned();
    let real = |part: &str| (name.clone(), Some(format!("linux-{part}-7.3-arm64")));
    assert_eq!(pinned(&name, &parts), [real("base"), real("binary"), real("modules")]);
}

#[test]
fn a_package_of_another_release_is_pinned_under_the_name_that_names_it() {
    assert_eq!(release_of("u-boot-rpi/bookworm"), ("u-boot-rpi", Some("bookworm")));
    assert_eq!(release_of("u-boot-rpi"), ("u-boot-rpi", None));
    let there = stanzas(&[("u-boot-rpi", "")]);
    let name = "u-boot-rpi/bookworm".to_owned();
    assert_eq!(pinned(&name, &there), [(name.clone(), Some("u-boot-rpi".to_owned()))]);
    assert!(pin("u-boot-qemu", &there).is_err());
}
