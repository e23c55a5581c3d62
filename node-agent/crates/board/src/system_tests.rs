use crate::system::{bytes_written, memory_in_use};

#[test]
fn memory_in_use_is_what_is_not_available() {
    let text = "MemTotal:         500000 kB\nMemFree:          100000 kB\nMemAvailable:     420000 kB\n";
    assert_eq!(memory_in_use(text), Some((80_000, 500_000)));
    assert_eq!(memory_in_use("MemTotal: 5 kB\nMemAvailable: 6 kB\n"), None);
    assert_eq!(memory_in_use(""), None);
}

#[test]
fn bytes_written_are_the_seventh_field() {
    let text =
        "     446        0    23520      120       31        4      264       15        0      116      135";
    assert_eq!(bytes_written(text), Some(264 * 512));
    assert_eq!(bytes_written("1 2 3"), None);
}
