//! Founding refuses what it must not touch, and writes nothing then.

use std::path::PathBuf;
use std::sync::Arc;

use sys::{RealClock, RealRandom};

use super::{Founding, found};

async fn refusal(order: Founding) -> String {
    let result = found(&order, Arc::new(RealClock), Arc::new(RealRandom)).await;
    result.err().expect("this founding is refused").to_string()
}

fn order(drives: &[PathBuf]) -> Founding {
    Founding { drives: drives.to_vec(), key_file: None, allow_not_empty: false, same_file_system_ok: true }
}

#[tokio::test]
async fn refuses_what_it_must_not_touch_and_writes_nothing() {
    let root = tempfile::tempdir().unwrap();
    let (good, full, missing) =
        (root.path().join("good"), root.path().join("full"), root.path().join("missing"));
    std::fs::create_dir(&good).unwrap();
    std::fs::create_dir(&full).unwrap();
    std::fs::write(full.join("holiday.jpg"), b"dear").unwrap();

    let refused = refusal(order(&[good.clone(), full.clone()])).await;
    assert!(refused.contains("holiday.jpg") && refused.contains("--allow-not-empty"), "{refused}");
    let refused = refusal(order(&[good.clone(), missing.clone()])).await;
    assert!(refused.contains("make the folder first"), "{refused}");
    let refused = refusal(order(&[good.clone(), root.path().join("good/../good")])).await;
    assert!(refused.contains("named twice"), "{refused}");
    let refused = refusal(order(&[])).await;
    assert!(refused.contains("at least one"), "{refused}");
    let second = root.path().join("second");
    std::fs::create_dir(&second).unwrap();
    let refused =
        refusal(Founding { same_file_system_ok: false, ..order(&[good.clone(), second.clone()]) }).await;
    assert!(refused.contains("--same-file-system-ok"), "{refused}");
    let key_file = Some(full.join("holiday.jpg"));
    let refused = refusal(Founding { key_file, ..order(std::slice::from_ref(&good)) }).await;
    assert!(refused.contains("never overwritten"), "{refused}");

    assert_eq!(std::fs::read_dir(&good).unwrap().count(), 0, "a refused founding wrote something");
    assert_eq!(std::fs::read_dir(&full).unwrap().count(), 1);
    assert!(!missing.exists());
}
