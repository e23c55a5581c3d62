use crate::modules::{name_of, ordered, parse_builtin, parse_needs};

const DEP: &str = "\
kernel/fs/ext4/ext4.ko.xz: kernel/fs/jbd2/jbd2.ko.xz kernel/fs/mbcache.ko.xz kernel/lib/crc16.ko.xz
kernel/fs/jbd2/jbd2.ko.xz: kernel/lib/crc16.ko.xz
kernel/fs/mbcache.ko.xz:
kernel/lib/crc16.ko.xz:
kernel/drivers/char/hw_random/virtio-rng.ko.xz:
";

fn names(list: &[&str]) -> Vec<String> {
    list.iter().map(|&name| name.to_owned()).collect()
}

#[test]
fn what_is_needed_comes_before_what_needs_it_and_once() {
    let needs = parse_needs(DEP);
    let builtin = parse_builtin("kernel/drivers/virtio/virtio_pci.ko\n");
    let order =
        ordered(&needs, &builtin, &names(&["virtio_pci", "ext4", "jbd2", "virtio-rng"])).expect("all known");
    let order: Vec<&str> = order.iter().map(|module| module.name.as_str()).collect();
    assert_eq!(order, ["crc16", "mbcache", "jbd2", "ext4", "virtio_rng"]);
}

#[test]
fn an_unknown_module_is_an_error() {
    let error = ordered(&parse_needs(DEP), &parse_builtin(""), &names(&["ext5"])).expect_err("unknown");
    assert!(error.to_string().contains("ext5"));
    let order =
        ordered(&parse_needs(DEP), &parse_builtin(""), &names(&["ext5?", "crc16?"])).expect("dispensable");
    assert_eq!(order.iter().map(|module| module.name.as_str()).collect::<Vec<_>>(), ["crc16"]);
    assert_eq!(name_of("kernel/a/usb-storage.ko.zst"), "usb_storage");
}
