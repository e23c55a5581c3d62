//! Rebuilding chunks from the others.

use grid_types::{ErrorCode, Segment};

use super::rig::*;
use crate::SegmentError;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_chunk_of_every_profile_comes_back_byte_for_byte() {
    for (profile, size) in
        [("copies:2", 1), ("copies:3", 400_000), ("ec:2+1", 1), ("ec:2+2", 300_000), ("ec:4+2", 3_000_001)]
    {
        let rig = Rig::new(7);
        let plain = pattern(size);
        let segment = rig.put(profile, &plain).await;
        let layout =
            codec::SegmentLayout::new(segment.length, segment.profile.data_chunks(), segment.block_packets);
        for (chunk, drive) in segment.chunks() {
            let before = rig.drive(drive).read_frames(chunk, 0, layout.stripes()).await.unwrap();
            let info = rig.drive(drive).info(chunk).await.unwrap();
            rig.lose(&segment, chunk.index).await;
            // Onto a drive without a chunk of it, and in place.
            let spare = *rig.ids.iter().find(|id| !segment.drives.contains(&Some(**id))).unwrap();
            for target in [spare, drive] {
                rig.store.rebuild_chunk(&segment, chunk.index, target).await.unwrap();
                let after = rig.drive(target).read_frames(chunk, 0, layout.stripes()).await.unwrap();
                assert!(after == before, "{profile} {size}, chunk {}", chunk.index);
                let rebuilt = rig.drive(target).info(chunk).await.unwrap();
                assert_eq!(rebuilt.header, info.header);
                assert_eq!(rebuilt.footer, info.footer);
            }
            rig.drive(spare).remove(vec![chunk]).await.unwrap();
        }
        assert!(rig.get_all(&segment).await.unwrap() == plain);
        rig.until_budget_is_back().await;
    }
}

#[tokio::test]
async fn a_chunk_that_the_row_does_not_name_is_filled_in() {
    let rig = Rig::new(4);
    let plain = pattern(300_000);
    let whole = rig.put("ec:2+1", &plain).await;
    let spare = *rig.ids.iter().find(|id| !whole.drives.contains(&Some(**id))).unwrap();
    for index in 0..3u8 {
        let mut row: Segment = whole.clone();
        row.drives[usize::from(index)] = None;
        rig.store.rebuild_chunk(&row, index, spare).await.unwrap();
        row.drives[usize::from(index)] = Some(spare);
        row.drives[usize::from((index + 1) % 3)] = None;
        assert!(rig.get_all(&row).await.unwrap() == plain, "with the rebuilt chunk {index}");
    }
}

#[tokio::test]
async fn a_move_needs_no_other_chunk() {
    let rig = Rig::new(4);
    let plain = pattern(300_000);
    let segment = rig.put("ec:2+1", &plain).await;
    rig.lose(&segment, 1).await;
    rig.lose(&segment, 2).await;
    let spare = *rig.ids.iter().find(|id| !segment.drives.contains(&Some(**id))).unwrap();
    rig.store.rebuild_chunk(&segment, 0, spare).await.unwrap();
    assert!(matches!(
        rig.store.rebuild_chunk(&segment, 1, spare).await,
        Err(SegmentError::Lost { good: 1, needed: 2, .. })
    ));
    rig.until_stored(2).await;
}

#[tokio::test]
async fn what_cannot_be_rebuilt_leaves_nothing() {
    let rig = Rig::new(4);
    let segment = rig.put("ec:2+1", &pattern(1_000_000)).await;
    let spare = *rig.ids.iter().find(|id| !segment.drives.contains(&Some(**id))).unwrap();
    assert!(matches!(rig.store.rebuild_chunk(&segment, 3, spare).await, Err(SegmentError::Row { .. })));
    let nowhere = grid_types::DriveId::from_bytes([99; 16]);
    assert!(matches!(rig.store.rebuild_chunk(&segment, 0, nowhere).await, Err(SegmentError::Row { .. })));
    rig.disk(spare).inner.set_capacity(1);
    let error = rig.store.rebuild_chunk(&segment, 0, spare).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::StorageFull);
    rig.until_stored(3).await;
    rig.until_budget_is_back().await;
}
