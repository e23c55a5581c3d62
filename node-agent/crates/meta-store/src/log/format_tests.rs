//! Batches come back as they were written, and nothing else is taken for one.

use grid_types::ShardId;
use proptest::prelude::*;

use super::format::{
    BatchBuffer, FileSeal, FileStart, Kind, Record, find_later_batch, parse_batch, parse_record,
};

const LOG: [u8; 16] = [9; 16];

fn kind(number: u8) -> Kind {
    [Kind::Entry, Kind::Vote, Kind::Truncate, Kind::Purge, Kind::RemoveGroup, Kind::RemoveFile, Kind::Moved]
        [usize::from(number) % 7]
}

/// What a test puts into one record.
type Wanted = (u8, u64, u64, Vec<u8>);

fn batch(seal: FileSeal, number: u64, records: &[Wanted]) -> Vec<u8> {
    let mut buffer = BatchBuffer::default();
    for (number, group, index, payload) in records {
        let record = Record { kind: kind(*number), group: ShardId(*group), index: *index, payload };
        assert_eq!(buffer.len_with(payload.len()), buffer.push(seal, &record) + 32 + payload.len() as u64);
    }
    buffer.finish(seal, number)
}

fn wanted() -> impl Strategy<Value = Vec<Wanted>> {
    let payload = proptest::collection::vec(any::<u8>(), 0..200);
    proptest::collection::vec((any::<u8>(), any::<u64>(), any::<u64>(), payload), 1..8)
}

proptest! {
    #[test]
    fn batches_come_back(records in wanted(), number: u64, before in 0usize..50) {
        let seal = FileSeal::new(&LOG, 3);
        let mut file = vec![0; before];
        file.extend(batch(seal, number, &records));
        let end = file.len();
        file.resize(end + 100, 0);
        let view = parse_batch(seal, &file, before).unwrap();
        prop_assert_eq!((view.batch, before + view.len), (number, end));
        prop_assert_eq!(view.records.len(), records.len());
        for ((at, found), (wanted, group, index, payload)) in view.records.iter().zip(&records) {
            let record = Record { kind: kind(*wanted), group: ShardId(*group), index: *index, payload };
            prop_assert_eq!(found, &record);
            prop_assert_eq!(parse_record(seal, &file[usize::try_from(*at).unwrap()..]).unwrap(), record);
        }
        // Another file, or another log, does not know it.
        prop_assert!(parse_batch(FileSeal::new(&LOG, 4), &file, before).is_none());
        prop_assert!(parse_batch(FileSeal::new(&[8; 16], 3), &file, before).is_none());
        prop_assert!(parse_batch(seal, &file[..end - 1], before).is_none());
    }

    #[test]
    fn a_flipped_bit_or_a_lost_sector_is_found(records in wanted(), at: prop::sample::Index, bit in 0u8..8) {
        let seal = FileSeal::new(&LOG, 3);
        let whole = batch(seal, 7, &records);
        let at = at.index(whole.len());
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << bit;
        prop_assert!(parse_batch(seal, &flipped, 0).is_none());
        let mut torn = whole.clone();
        let sector = at / 512 * 512;
        let end = (sector + 512).min(torn.len());
        torn[sector..end].fill(0);
        prop_assert!(torn == whole || parse_batch(seal, &torn, 0).is_none());
    }

    #[test]
    fn any_bytes_are_nothing(bytes in proptest::collection::vec(any::<u8>(), 0..600), at in 0usize..700) {
        let seal = FileSeal::new(&LOG, 3);
        prop_assert!(parse_batch(seal, &bytes, at).is_none());
        prop_assert!(parse_record(seal, &bytes).is_none());
        prop_assert_eq!(find_later_batch(seal, &bytes, 0, 0), None);
        // Whatever it is, it does not crash.
        drop(FileStart::decode(&bytes));
    }

    #[test]
    fn a_later_batch_is_found_wherever_it_lies(records in wanted(), before in 0usize..300) {
        let seal = FileSeal::new(&LOG, 3);
        let mut file = vec![b'S'; before];
        file.extend(batch(seal, 12, &records));
        prop_assert_eq!(find_later_batch(seal, &file, 0, 11), Some(12));
        prop_assert_eq!(find_later_batch(seal, &file, 0, 12), None);
    }
}
