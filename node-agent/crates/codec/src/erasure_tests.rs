use proptest::prelude::*;

use super::*;

const KERNELS: [&str; 6] = ["auto", "scalar", "ssse3", "avx2", "gfni", "neon"];

/// Every kernel that this CPU has, the reference not among them.
fn vector_codes(k: usize, m: usize) -> Vec<ErasureCode> {
    KERNELS.iter().filter_map(|name| ErasureCode::named(k, m, name)).map(Result::unwrap).collect()
}

fn stripe(k: usize, len: usize, seed: u64) -> Vec<Vec<u8>> {
    let mut state = seed | 1;
    let mut next = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..k).map(|_| (0..len).map(|_| next()).collect()).collect()
}

fn encode(code: &ErasureCode, data: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut parity = vec![vec![0xCC; data[0].len()]; code.m()];
    let slices: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
    let mut out: Vec<&mut [u8]> = parity.iter_mut().map(Vec::as_mut_slice).collect();
    code.encode(&slices, &mut out).unwrap();
    parity
}

fn shapes() -> impl Strategy<Value = (usize, usize)> {
    (1usize..=24, 1usize..=8)
}

proptest! {
    #[test]
    fn every_kernel_gives_the_bytes_of_the_reference(
        (k, m) in shapes(),
        len in prop_oneof![1usize..=300, 1usize..=20_000],
        seed in any::<u64>(),
        lost in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let data = stripe(k, len, seed);
        let reference = ErasureCode::reference(k, m).unwrap();
        let parity = encode(&reference, &data);
        let all: Vec<&[u8]> = data.iter().chain(&parity).map(Vec::as_slice).collect();
        let mut shards: Vec<Option<&[u8]>> = all.iter().copied().map(Some).collect();
        for index in lost.iter().take(m) {
            shards[index.index(k + m)] = None;
        }
        let missing: Vec<usize> = (0..k + m).filter(|index| shards[*index].is_none()).collect();
        let expect: Vec<Vec<u8>> = missing.iter().map(|index| all[*index].to_vec()).collect();
        prop_assert!(reference.rebuild(&shards, &missing).unwrap() == expect);
        for code in vector_codes(k, m).into_iter().chain([ErasureCode::new(k, m), ErasureCode::portable(k, m)].map(Result::unwrap)) {
            prop_assert!(encode(&code, &data) == parity, "{} encodes otherwise", code.kernel_name());
            let rebuilt = code.rebuild(&shards, &missing).unwrap();
            prop_assert!(rebuilt == expect, "{} rebuilds otherwise", code.kernel_name());
        }
    }
}

#[test]
fn every_loss_pattern_of_4_2_comes_back() {
    for len in [1, 2, 31, 65, 1001] {
        let data = stripe(4, len, 99);
        for code in [ErasureCode::new(4, 2).unwrap(), ErasureCode::reference(4, 2).unwrap()] {
            let parity = encode(&code, &data);
            let all: Vec<&[u8]> = data.iter().chain(&parity).map(Vec::as_slice).collect();
            for lost in 0u32..1 << 6 {
                let shards: Vec<Option<&[u8]>> =
                    (0..6).map(|i| (lost & (1 << i) == 0).then_some(all[i])).collect();
                let wanted: Vec<usize> = (0..6).filter(|i| lost & (1 << i) != 0).collect();
                let got = code.rebuild(&shards, &wanted);
                if lost.count_ones() <= 2 {
                    let expect: Vec<Vec<u8>> = wanted.iter().map(|i| all[*i].to_vec()).collect();
                    assert_eq!(got.unwrap(), expect, "lost {lost:06b}");
                } else {
                    let present = 6 - lost.count_ones() as usize;
                    assert_eq!(got.unwrap_err(), ErasureError::TooFew { present, needed: 4 });
                }
            }
        }
    }
}

#[test]
fn wanted_shards_that_are_present_come_in_the_order_asked() {
    for code in [ErasureCode::new(3, 2).unwrap(), ErasureCode::reference(3, 2).unwrap()] {
        let data = stripe(3, 50, 5);
        let parity = encode(&code, &data);
        let shards: Vec<Option<&[u8]>> =
            data.iter().chain(&parity).map(|shard| Some(shard.as_slice())).collect();
        assert_eq!(code.rebuild(&shards, &[4, 1]).unwrap(), vec![parity[1].clone(), data[1].clone()]);
    }
}

#[test]
fn wrong_shapes_and_lengths_are_errors() {
    for (k, m) in [(0, 1), (1, 0), (0, 0), (31, 2), (200, 200)] {
        assert_eq!(ErasureCode::new(k, m).err(), Some(ErasureError::Shape { k, m }));
        assert_eq!(ErasureCode::reference(k, m).err(), Some(ErasureError::Shape { k, m }));
    }
    for code in [ErasureCode::new(2, 1).unwrap(), ErasureCode::reference(2, 1).unwrap()] {
        let (short, long) = ([1u8; 4], [2u8; 5]);
        assert_eq!(code.encode(&[&short, &long], &mut [&mut [0; 4]]), Err(ErasureError::Length));
        assert_eq!(code.encode(&[&short, &short], &mut [&mut [0; 5]]), Err(ErasureError::Length));
        assert_eq!(code.encode(&[&short], &mut [&mut [0; 4]]), Err(ErasureError::Length));
        assert_eq!(code.encode(&[&[], &[]], &mut [&mut []]), Err(ErasureError::Length));
        assert_eq!(code.rebuild(&[Some(&short), Some(&long), None], &[2]), Err(ErasureError::Length));
        assert_eq!(code.rebuild(&[Some(&short), Some(&short)], &[1]), Err(ErasureError::Length));
        assert_eq!(code.rebuild(&[Some(&short), Some(&short), None], &[3]), Err(ErasureError::Length));
        assert_eq!(
            code.rebuild(&[Some(&short), None, None], &[1]),
            Err(ErasureError::TooFew { present: 1, needed: 2 })
        );
    }
}
