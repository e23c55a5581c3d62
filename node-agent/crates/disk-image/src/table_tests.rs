use std::io::Cursor;

use proptest::prelude::*;

use crate::card;
use crate::table::{Kind, Partition, Table, TableError};

fn disk(table: &Table) -> Cursor<Vec<u8>> {
    let mut disk = Cursor::new(vec![0; 4096]);
    table.write(&mut disk).expect("written");
    disk
}

#[test]
fn a_card_reads_back_and_takes_one_data_partition() {
    let mut table = Table::new(0x0123_4567);
    for (index, partition) in card::partitions().into_iter().enumerate() {
        table.add(index, partition).expect("free");
    }
    let mut read = Table::read(&mut disk(&table)).expect("a table");
    assert_eq!(read, table);
    let data = card::data_partition(32 << 30).expect("a large card");
    assert_eq!((data.at, data.at + data.bytes), (card::IMAGE_BYTES, 32 << 30));
    read.add(card::DATA_INDEX, data).expect("free");
    assert_eq!(Table::read(&mut disk(&read)).expect("a table").partitions[card::DATA_INDEX], Some(data));
    assert!(matches!(read.add(card::DATA_INDEX, data), Err(TableError::Taken(4))));
    assert_eq!(card::data_partition(card::IMAGE_BYTES + card::DATA_BYTES_MIN - 1), None);
}

#[test]
fn boot_code_before_the_table_stays() {
    let mut disk = Cursor::new(vec![0x5a; 4096]);
    Table::new(7).write(&mut disk).expect("written");
    assert!(disk.get_ref()[..440].iter().all(|&byte| byte == 0x5a));
    assert!(disk.get_ref()[512..].iter().all(|&byte| byte == 0x5a));
}

#[test]
fn what_is_no_table_of_ours_is_refused() {
    assert!(matches!(Table::read(&mut Cursor::new(vec![0; 512])), Err(TableError::None)));
    assert!(matches!(Table::read(&mut Cursor::new(vec![0; 100])), Err(TableError::Io(_))));
    let mut gpt = disk(&Table::new(1)).into_inner();
    gpt[446 + 4] = 0xee;
    assert!(matches!(Table::read(&mut Cursor::new(gpt)), Err(TableError::Gpt)));
}

proptest! {
    /// Whatever was added never overlaps, whatever was asked for.
    #[test]
    fn partitions_never_overlap(wishes in prop::collection::vec((0usize..4, 0u64..4000, 0u64..4000), 1..12)) {
        let mut table = Table::new(1);
        for (index, at, length) in wishes {
            let wish = Partition { kind: Kind::Data, at: at * 512, bytes: length * 512, bootable: false };
            let _ = table.add(index, wish);
        }
        let read = Table::read(&mut disk(&table)).expect("a table");
        let there: Vec<_> = read.partitions.iter().flatten().map(|part| (part.at, part.at + part.bytes)).collect();
        for (number, left) in there.iter().enumerate() {
            prop_assert!(left.0 >= 512 && left.1 > left.0);
            prop_assert!(there[number + 1..].iter().all(|right| left.1 <= right.0 || right.1 <= left.0));
        }
    }

    /// Any sector is read or refused, never a crash.
    #[test]
    fn any_sector_is_survived(sector in prop::collection::vec(any::<u8>(), 512)) {
        let mut bytes = [0u8; 512];
        bytes.copy_from_slice(&sector);
        bytes[510..].copy_from_slice(&[0x55, 0xaa]);
        let _ = Table::parse(&bytes);
    }
}
