//! Permits are granted in order, given back once, and never more than there are.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use proptest::prelude::*;

use super::{BudgetError, MemoryBudget, MemoryPermit};

/// Counts how often it was woken.
#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

type Granted = Result<MemoryPermit, BudgetError>;

/// One caller of `acquire`, polled by hand.
struct Caller {
    future: Pin<Box<dyn Future<Output = Granted>>>,
    bell: Arc<Bell>,
}

impl Caller {
    fn asks(budget: &MemoryBudget, bytes: u64) -> Self {
        Self { future: Box::pin(budget.acquire(bytes)), bell: Arc::default() }
    }

    fn poll(&mut self) -> Poll<Granted> {
        let waker = Waker::from(self.bell.clone());
        self.future.as_mut().poll(&mut Context::from_waker(&waker))
    }

    fn granted(&mut self) -> MemoryPermit {
        match self.poll() {
            Poll::Ready(Ok(permit)) => permit,
            Poll::Ready(Err(error)) => panic!("refused: {error}"),
            Poll::Pending => panic!("still waits"),
        }
    }

    fn waits(&mut self) -> bool {
        self.poll().is_pending()
    }

    fn woken(&self) -> usize {
        self.bell.0.load(Ordering::SeqCst)
    }
}

fn budget(total: u64) -> MemoryBudget {
    MemoryBudget::new("test", total, 3)
}

#[test]
fn permits_take_and_give_back() {
    let budget = budget(10);
    let a = budget.try_acquire(4).unwrap();
    let b = budget.try_acquire(6).unwrap();
    assert_eq!((a.bytes(), b.bytes(), budget.available(), budget.total()), (4, 6, 0, 10));
    assert_eq!(budget.try_acquire(1).err(), Some(BudgetError::Exhausted { limit: "test" }));
    drop(a);
    assert_eq!(budget.available(), 4);
    assert!(budget.try_acquire(0).is_ok(), "nothing is always there");
    drop(b);
    assert_eq!(budget.available(), 10);
}

#[test]
fn what_can_never_fit_is_refused_at_once() {
    let budget = budget(10);
    let never = BudgetError::NeverFits { limit: "test", asked: 11, total: 10 };
    assert_eq!(budget.try_acquire(11).err(), Some(never.clone()));
    assert!(matches!(Caller::asks(&budget, 11).poll(), Poll::Ready(Err(error)) if error == never));
    assert_eq!(budget.available(), 10);
}

#[test]
fn a_waiter_is_woken_when_its_bytes_are_back() {
    let budget = budget(10);
    let held = budget.try_acquire(8).unwrap();
    let small = budget.try_acquire(2).unwrap();
    let mut caller = Caller::asks(&budget, 5);
    assert!(caller.waits());
    drop(small);
    assert_eq!(caller.woken(), 0, "2 bytes are not 5");
    drop(held);
    assert_eq!(caller.woken(), 1);
    assert_eq!(caller.granted().bytes(), 5);
    assert_eq!(budget.available(), 10);
}

#[test]
fn a_small_late_comer_does_not_overtake_a_large_early_one() {
    let budget = budget(10);
    let held = budget.try_acquire(6).unwrap();
    let (mut large, mut small) = (Caller::asks(&budget, 8), Caller::asks(&budget, 1));
    assert!(large.waits());
    assert!(small.waits(), "4 bytes are free, but it is not its turn");
    assert!(budget.try_acquire(1).is_err(), "nor anybody's without a place in the line");
    drop(held);
    assert!(small.waits());
    let large = large.granted();
    assert_eq!(small.woken(), 1, "the next one is woken as soon as it leads the line");
    assert_eq!(small.granted().bytes() + large.bytes(), 9);
}

#[test]
fn a_dropped_waiter_leaves_the_line_and_lets_the_next_one_in() {
    let budget = budget(10);
    let _held = budget.try_acquire(6).unwrap();
    let (mut large, mut small) = (Caller::asks(&budget, 8), Caller::asks(&budget, 1));
    assert!(large.waits() && small.waits());
    drop(large);
    assert_eq!(small.woken(), 1);
    assert_eq!(small.granted().bytes(), 1);
    assert_eq!(budget.available(), 4);
}

#[test]
fn a_waiter_dropped_in_the_middle_of_the_line_changes_nothing_else() {
    let budget = budget(10);
    let held = budget.try_acquire(10).unwrap();
    let mut callers: Vec<Caller> = [3, 4, 3].map(|bytes| Caller::asks(&budget, bytes)).into();
    assert!(callers.iter_mut().all(Caller::waits));
    drop(callers.remove(1));
    drop(held);
    assert_eq!(callers[0].granted().bytes() + callers[1].granted().bytes(), 6);
    assert_eq!(budget.available(), 10);
}

#[test]
fn a_full_line_turns_away_and_has_room_again() {
    let budget = budget(10);
    let held = budget.try_acquire(10).unwrap();
    let mut callers: Vec<Caller> = (0..3).map(|_| Caller::asks(&budget, 1)).collect();
    assert!(callers.iter_mut().all(Caller::waits));
    let refused = Caller::asks(&budget, 1).poll();
    assert!(matches!(refused, Poll::Ready(Err(BudgetError::Exhausted { limit: "test" }))));
    drop(callers.pop());
    assert!(Caller::asks(&budget, 1).waits());
    drop(held);
    callers.iter_mut().for_each(|caller| drop(caller.granted()));
    assert_eq!(budget.available(), 10);
}

#[test]
fn the_last_waker_counts() {
    let budget = budget(1);
    let held = budget.try_acquire(1).unwrap();
    let mut caller = Caller::asks(&budget, 1);
    assert!(caller.waits());
    let first = std::mem::take(&mut caller.bell);
    assert!(caller.waits(), "polled again by another task");
    drop(held);
    assert_eq!((first.0.load(Ordering::SeqCst), caller.woken()), (0, 1));
}

#[test]
fn a_granted_permit_that_nobody_fetches_goes_back() {
    let budget = budget(4);
    let held = budget.try_acquire(4).unwrap();
    let mut caller = Caller::asks(&budget, 4);
    assert!(caller.waits());
    drop(held);
    assert_eq!(caller.woken(), 1);
    drop(caller);
    assert_eq!(budget.try_acquire(4).unwrap().bytes(), 4);
}

proptest! {
    #[test]
    fn any_play_grants_in_order_and_ends_with_all_bytes(
        moves in proptest::collection::vec((0u8..4, 0u64..12, 0usize..8), 1..200)
    ) {
        let budget = MemoryBudget::new("test", 10, 5);
        let mut waiting: Vec<Caller> = Vec::new();
        let mut held: Vec<MemoryPermit> = Vec::new();
        for (kind, bytes, pick) in moves {
            match kind {
                0 => held.extend(budget.try_acquire(bytes)),
                1 => {
                    let mut caller = Caller::asks(&budget, bytes);
                    match caller.poll() {
                        Poll::Ready(result) => {
                            prop_assert!(result.is_err() || waiting.is_empty(), "nobody overtakes");
                            held.extend(result);
                        }
                        Poll::Pending => waiting.push(caller),
                    }
                }
                2 if !held.is_empty() => drop(held.swap_remove(pick % held.len())),
                3 if !waiting.is_empty() => drop(waiting.remove(pick % waiting.len())),
                _ => {}
            }
            // Whoever may go, goes; the line moves from its head alone.
            while let Some(first) = waiting.first_mut()
                && let Poll::Ready(result) = first.poll()
            {
                held.push(result.expect("a place in the line is kept"));
                waiting.remove(0);
            }
            prop_assert!(waiting.iter_mut().all(Caller::waits));
            let taken: u64 = held.iter().map(MemoryPermit::bytes).sum();
            prop_assert_eq!(budget.available() + taken, 10);
        }
        drop(waiting);
        drop(held);
        prop_assert_eq!(budget.available(), 10);
    }
}
