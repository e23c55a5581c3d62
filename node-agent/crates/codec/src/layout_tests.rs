use grid_types::SEGMENT_BYTES_MAX;
use proptest::prelude::*;

use super::*;

fn layouts() -> impl Strategy<Value = SegmentLayout> {
    let near_edges = (1u64..40, -2i64..=2).prop_map(|(packets, off)| {
        (packets * PACKET_PLAIN_BYTES).saturating_add_signed(off).clamp(1, SEGMENT_BYTES_MAX)
    });
    let len = prop_oneof![near_edges, 1u64..400, 1u64..=SEGMENT_BYTES_MAX];
    (len, 1usize..=30, 1u8..=8).prop_map(|(len, k, p)| SegmentLayout::new(len, k, p))
}

proptest! {
    #[test]
    fn stripes_and_packets_tile_the_sealed_stream(layout in layouts()) {
        let mut end = 0;
        for stripe in 0..layout.stripes() {
            let range = layout.stripe_sealed_range(stripe);
            prop_assert_eq!(range.start, end);
            prop_assert!(range.end > range.start, "no stripe is empty");
            let packets = layout.packets_of_stripe(stripe);
            prop_assert_eq!(layout.packet_sealed_range(packets.start).start, range.start);
            prop_assert_eq!(layout.packet_sealed_range(packets.end - 1).end, range.end);
            end = range.end;
        }
        prop_assert_eq!(end, layout.sealed_len());
        prop_assert_eq!(layout.stripe_sealed_len(layout.stripes()), 0);
        let plain: u64 = (0..layout.packets()).map(|p| {
            let range = layout.packet_plain_range(p);
            range.end - range.start
        }).sum();
        prop_assert_eq!(plain, layout.plain_len);
    }

    #[test]
    fn blocks_sum_up_and_padding_is_less_than_k(layout in layouts()) {
        let blocks: u64 = (0..layout.stripes()).map(|s| layout.block_len(s)).sum();
        prop_assert_eq!(blocks, layout.chunk_payload_len());
        let padding = blocks * layout.k - layout.sealed_len();
        prop_assert!(padding < layout.k, "padding {} of k {}", padding, layout.k);
        for stripe in 0..layout.stripes() - 1 {
            prop_assert_eq!(layout.block_len(stripe), layout.full_block_len());
        }
    }

    #[test]
    fn a_plain_range_maps_to_pieces_that_cover_exactly_its_packets(
        layout in layouts(),
        a in any::<prop::sample::Index>(),
        len in 1u64..600_000,
    ) {
        let start = a.index(usize::try_from(layout.plain_len).unwrap()) as u64;
        let end = (start + len).min(layout.plain_len);
        let packets = layout.packets_of(start..end);
        prop_assert!(layout.packet_plain_range(packets.start).contains(&start));
        prop_assert!(layout.packet_plain_range(packets.end - 1).contains(&(end - 1)));
        let stripes = layout.stripes_of_packets(packets.clone());
        let wanted = layout.packet_sealed_range(packets.start).start..layout.packet_sealed_range(packets.end - 1).end;
        // Walking the pieces back through the blocks gives every sealed byte once and in order.
        let mut at = wanted.start;
        for stripe in stripes {
            let whole = layout.stripe_sealed_range(stripe);
            let here = whole.start.max(wanted.start)..whole.end.min(wanted.end);
            prop_assert!(here.start < here.end, "a stripe that is not needed is asked for");
            for (block, range) in layout.sealed_to_blocks(stripe, here) {
                prop_assert!((block as u64) < layout.k);
                prop_assert!(range.start < range.end && range.end <= layout.block_len(stripe));
                prop_assert_eq!(whole.start + block as u64 * layout.block_len(stripe) + range.start, at);
                at += range.end - range.start;
            }
        }
        prop_assert_eq!(at, wanted.end);
    }
}

#[test]
fn a_known_segment() {
    // 5 packets over 2 data chunks of 2-packet blocks: one full stripe and one of a single packet cut in halves.
    let layout = SegmentLayout::new(4 * 65_536 + 100, 2, 2);
    assert_eq!(layout.packets(), 5);
    assert_eq!(layout.stripes(), 2);
    assert_eq!(layout.sealed_len(), 4 * 65_552 + 116);
    assert_eq!((layout.block_len(0), layout.block_len(1)), (131_104, 58));
    assert_eq!(layout.chunk_payload_len(), 131_162);
    assert_eq!(layout.sealed_to_blocks(1, layout.packet_sealed_range(4)), vec![(0, 0..58), (1, 0..58)]);
    assert_eq!(layout.sealed_to_blocks(0, 65_552..196_656), vec![(0, 65_552..131_104), (1, 0..65_552)]);
}

#[test]
fn one_byte() {
    let layout = SegmentLayout::new(1, 8, 2);
    assert_eq!((layout.packets(), layout.stripes(), layout.sealed_len()), (1, 1, 17));
    assert_eq!(layout.block_len(0), 3);
    assert_eq!(layout.chunk_payload_len(), 3);
}
