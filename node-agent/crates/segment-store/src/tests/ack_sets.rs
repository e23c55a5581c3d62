//! For every ack set that an acknowledgement may rest on, and every failure domain that is lost after it, what is left
//! decodes to the bytes that were written.

use std::collections::BTreeSet;

use codec::ErasureCode;
use grid_types::{
    DriveId, DriveSnapshot, DriveState, FailureDomain, GridSnapshot, NodeId, Profile, ProfileChoice, Score,
};
use placement::{Domains, ack_set_reached, place, profile_for};
use sys::{Random, SeededRandom};

const SEEDS: u64 = 1_000;
/// Bytes of a block: how long it is changes nothing.
const BLOCK: usize = 24;

/// So many nodes of one to three drives each; now and then one is away.
fn grid(random: &SeededRandom) -> GridSnapshot {
    let mut drives = Vec::new();
    for node in 0..1 + random.below(9) as u8 {
        let away = random.below(8) == 0;
        for number in 0..1 + random.below(3) as u8 {
            drives.push(DriveSnapshot {
                id: DriveId::from_bytes([node * 4 + number; 16]),
                node: NodeId::from_bytes([node; 16]),
                file_system: FailureDomain(format!("{node}/{number}")),
                state: if away { DriveState::Suspect } else { DriveState::Active },
                read_score: Score::BEST,
                write_score: Score::BEST,
                total_bytes: 1 << 40,
                free_bytes: 1 << 39,
            });
        }
    }
    GridSnapshot { epoch: 1, drives, all_have_aes: true }
}

fn choice(random: &SeededRandom) -> ProfileChoice {
    match random.below(3) {
        0 => ProfileChoice::Auto,
        1 => ProfileChoice::Fixed(Profile::Copies(1 + random.below(4) as u8)),
        _ => ProfileChoice::Fixed(Profile::Ec { k: 1 + random.below(6) as u8, m: 1 + random.below(4) as u8 }),
    }
}

/// The blocks of a stripe, as the chunks hold them; the first `data_chunks` are what was written.
fn stripe(profile: Profile, random: &SeededRandom) -> Vec<Vec<u8>> {
    let mut blocks = vec![vec![0; BLOCK]; profile.total_chunks()];
    let k = profile.data_chunks();
    blocks[..k].iter_mut().for_each(|block| random.fill(block));
    match profile {
        Profile::Copies(_) => {
            let first = blocks[0].clone();
            blocks.fill(first);
        }
        Profile::Ec { k, m } => {
            let (data, parity) = blocks.split_at_mut(usize::from(k));
            let data: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
            let mut parity: Vec<&mut [u8]> = parity.iter_mut().map(Vec::as_mut_slice).collect();
            ErasureCode::new(usize::from(k), usize::from(m)).unwrap().encode(&data, &mut parity).unwrap();
        }
    }
    blocks
}

/// The data blocks from those of these chunks.
fn decode(profile: Profile, blocks: &[Vec<u8>], left: &BTreeSet<usize>) -> Option<Vec<Vec<u8>>> {
    let Profile::Ec { k, m } = profile else {
        return left.first().map(|chunk| vec![blocks[*chunk].clone()]);
    };
    let shards: Vec<Option<&[u8]>> =
        blocks.iter().enumerate().map(|(chunk, block)| left.contains(&chunk).then_some(&block[..])).collect();
    let wanted: Vec<usize> = (0..usize::from(k)).filter(|chunk| !left.contains(chunk)).collect();
    let code = ErasureCode::new(usize::from(k), usize::from(m)).unwrap();
    let mut rebuilt = code.rebuild(&shards, &wanted).ok()?.into_iter();
    (0..usize::from(k))
        .map(|chunk| if left.contains(&chunk) { Some(blocks[chunk].clone()) } else { rebuilt.next() })
        .collect()
}

#[test]
fn every_ack_set_decodes_without_every_domain() {
    let (mut sets, mut losses, mut computed) = (0, 0, 0);
    for seed in 0..SEEDS {
        let random = SeededRandom::new(seed);
        let grid = grid(&random);
        let domains = Domains::new(&grid);
        let placed = profile_for(choice(&random), false, &grid, false).and_then(|profile| {
            let drives = place(profile, &grid, &[], &mut |bound| random.below(bound))?.drives;
            Ok((profile, drives))
        });
        let Ok((profile, drives)) = placed else { continue };
        let blocks = stripe(profile, &random);
        let data = &blocks[..profile.data_chunks()];
        // Chunks are synced in any order, and the writer stops at the first moment that it may.
        let domain =
            |chunk: usize| drives[chunk].and_then(|id| grid.drive(id)).map(|drive| domains.of(drive));
        let mut order: Vec<usize> = (0..drives.len()).filter(|chunk| drives[*chunk].is_some()).collect();
        for last in (1..order.len()).rev() {
            order.swap(last, random.below(last as u64 + 1) as usize);
        }
        let mut synced = BTreeSet::new();
        let mut acked: Vec<FailureDomain> = Vec::new();
        for chunk in order {
            synced.insert(chunk);
            acked.extend(domain(chunk));
            if ack_set_reached(profile, &acked, domains.in_grid()) {
                break;
            }
        }
        assert!(ack_set_reached(profile, &acked, domains.in_grid()), "seed {seed}: {profile}");
        assert_eq!(decode(profile, &blocks, &synced).unwrap(), data, "seed {seed}: {profile}, nothing lost");
        sets += 1;
        // One copy promises no more than its drive, and where there is one domain, its loss is the loss of the grid.
        if profile.loss_tolerance() == 0 || domains.in_grid() <= 1 {
            continue;
        }
        for lost in acked.iter().collect::<BTreeSet<_>>() {
            let left: BTreeSet<usize> =
                synced.iter().copied().filter(|chunk| domain(*chunk).as_ref() != Some(lost)).collect();
            let decoded = decode(profile, &blocks, &left);
            assert_eq!(decoded.as_deref(), Some(data), "seed {seed}: {profile} without {lost:?}");
            losses += 1;
            computed += u64::from((0..data.len()).any(|chunk| !left.contains(&chunk)));
        }
    }
    assert!(sets > SEEDS / 2 && losses > SEEDS && computed > SEEDS / 2, "{sets} {losses} {computed}");
}
