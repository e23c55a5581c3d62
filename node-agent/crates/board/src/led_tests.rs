use std::path::Path;

use crate::led::{Led, Sign};

/// A folder that looks like an LED of the kernel.
fn led(class: &Path, name: &str) {
    let folder = class.join(name);
    std::fs::create_dir(&folder).expect("a folder");
    for (file, content) in
        [("trigger", "[heartbeat] none timer"), ("brightness", "1\n"), ("max_brightness", "255\n")]
    {
        std::fs::write(folder.join(file), content).expect("written");
    }
}

#[test]
fn each_state_has_its_rhythm() {
    let class = tempfile::tempdir().expect("a folder");
    led(class.path(), "ACT");
    led(class.path(), "PWR");
    let shown = Led::find(class.path(), &["missing".to_owned(), "ACT".to_owned(), "PWR".to_owned()]);
    let read = |name: &str| std::fs::read_to_string(class.path().join("ACT").join(name)).expect("read");
    shown.show(Sign::Starting);
    assert_eq!(
        (read("trigger"), read("delay_on"), read("delay_off")),
        ("timer".into(), "500".into(), "500".into())
    );
    shown.show(Sign::Waiting);
    assert_eq!((read("delay_on"), read("delay_off")), ("100".into(), "1900".into()));
    shown.show(Sign::Ready);
    assert_eq!((read("trigger"), read("brightness")), ("none".into(), "255".into()));
    shown.show(Sign::Off);
    assert_eq!((read("trigger"), read("brightness")), ("none".into(), "0".into()));
    let other = std::fs::read_to_string(class.path().join("PWR/brightness")).expect("read");
    assert_eq!(other, "1\n", "the other LED is left alone");
}

#[test]
fn a_board_without_one_shows_nothing() {
    let class = tempfile::tempdir().expect("a folder");
    Led::find(class.path(), &["ACT".to_owned()]).show(Sign::Ready);
    assert_eq!(std::fs::read_dir(class.path()).expect("read").count(), 0);
}
