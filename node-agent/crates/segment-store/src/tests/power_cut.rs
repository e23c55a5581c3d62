//! Acknowledged means durable: what `finish` returned is there after a power cut, and after the loss of a drive as well.

use bytes::Bytes;
use grid_types::Segment;

use super::rig::*;

const PROFILES: [&str; 4] = ["copies:1", "copies:2", "ec:2+1", "ec:2+2"];

/// Writes until the power goes; what was acknowledged before.
async fn write_until_dark(rig: &Rig, seed: u64) -> Vec<(Segment, Vec<u8>)> {
    let mut acknowledged = Vec::new();
    for round in 0u64.. {
        let profile = PROFILES[((seed + round) % 4) as usize];
        // Packs and files, single stripes and many.
        let size = [900, 70_000, 400_000, 2_500_000][((seed / 4 + round) % 4) as usize] + round as usize;
        let plain = pattern(size);
        let spec = rig.spec(fixed(profile), size as u64);
        let Ok(mut writer) = rig.store.begin(spec).await else { break };
        if writer.write(Bytes::from(plain.clone())).await.is_err() {
            break;
        }
        match writer.finish(None).await {
            // What returns although the power is off already was synced before it went.
            Ok(segment) => acknowledged.push((segment, plain)),
            Err(_) => break,
        }
        assert!(round < 200, "the power never went");
    }
    assert!(rig.power.is_off());
    acknowledged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_segments_survive_power_cuts() {
    let mut total = 0;
    for seed in 0..40 {
        let before = Rig::seeded(seed * 100, 4, patient(), BUDGET);
        before.power.cut_after(20 + seed * 9);
        let acknowledged = write_until_dark(&before, seed).await;
        total += acknowledged.len();
        let after = before.power_cut();
        for (segment, plain) in &acknowledged {
            assert!(after.get_all(segment).await.unwrap() == *plain, "seed {seed}, {}", segment.profile);
            if segment.profile.loss_tolerance() == 0 {
                continue;
            }
            for drive in segment.drives.iter().flatten() {
                let handle = after.drive(*drive);
                after.chunks.remove(*drive);
                let got = after.get_all(segment).await.unwrap();
                assert!(got == *plain, "seed {seed}, {} without {drive}", segment.profile);
                after.chunks.add(handle);
            }
        }
        assert!(after.store.take_damaged().is_empty(), "seed {seed}");
        // And the next boot writes.
        let plain = pattern(300_000);
        let segment = after.put("ec:2+2", &plain).await;
        assert!(!segment.incomplete() && after.get_all(&segment).await.unwrap() == plain, "seed {seed}");
    }
    assert!(total > 100, "only {total} writes were acknowledged before the power went");
}
