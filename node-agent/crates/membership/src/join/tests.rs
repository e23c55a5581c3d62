//! Who gets in, who does not, and what each of them learns.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use grid_types::{ErrorCode, GridId, NodeId, Timestamp};
use parking_lot::Mutex;
use proptest::prelude::*;
use rpc::{Caller, Method, RpcError, Services, collect, once};
use sys::{SeededRandom, SimClock, TimeTrust};
use zeroize::Zeroizing;

use super::wire::{self, ApplicantData, Prove};
use super::*;
use crate::enrolment::Enrolment;
use crate::grid_ca::{GridCa, node_id};
use crate::member_list::{MemberList, NewMember, SignedList};
use crate::ticket::{DrivePolicy, Ticket, TicketId, TicketOrder, TicketRecord};
use crate::{ChangeError, Member};

const NOW: Timestamp = Timestamp::from_secs(1_000_000);
const ROOT_KEY: &[u8] = b"the root key";

/// The root shard of these tests.
struct TestRegistry {
    ca: GridCa,
    state: Mutex<(SignedList, Option<(TicketRecord, u64)>)>,
    enrolled: Mutex<Option<(Enrolment, u64)>>,
    /// Admissions that another node overtakes.
    conflicts: AtomicU32,
}

impl TestRegistry {
    fn change(&self, change: impl FnOnce(&MemberList) -> Result<MemberList, ChangeError>) {
        let mut state = self.state.lock();
        state.0 = SignedList::sign(change(&state.0).unwrap(), &self.ca).unwrap();
    }

    fn list_now(&self) -> SignedList {
        self.state.lock().0.clone()
    }

    fn uses_left(&self) -> u32 {
        self.state.lock().1.as_ref().unwrap().0.uses_left
    }
}

impl Registry for TestRegistry {
    fn ticket(&self, id: TicketId) -> BoxFuture<'_, Result<Option<(TicketRecord, u64)>, RegistryError>> {
        let found = self.state.lock().1.clone().filter(|(record, _)| record.id == id);
        // Gives way, so that two who race read the same generation.
        async move {
            tokio::task::yield_now().await;
            Ok(found)
        }
        .boxed()
    }

    fn admit(
        &self,
        generation: u64,
        record: TicketRecord,
        member: NewMember,
    ) -> BoxFuture<'_, Result<Member, AdmitError>> {
        async move {
            tokio::task::yield_now().await;
            let mut state = self.state.lock();
            let lost =
                self.conflicts.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
            if lost.is_ok() || state.1.as_ref().is_none_or(|(_, current)| *current != generation) {
                return Err(AdmitError::Conflict);
            }
            let node = member.node();
            let next = state.0.with(member)?;
            state.0 = SignedList::sign(next, &self.ca).map_err(|error| RegistryError(error.to_string()))?;
            state.1 = Some((record, generation + 1));
            Ok(state.0.member(node).unwrap().clone())
        }
        .boxed()
    }

    fn enrolment(&self, node: NodeId) -> BoxFuture<'_, Result<Option<(Enrolment, u64)>, RegistryError>> {
        let found = self.enrolled.lock().clone().filter(|(record, _)| record.node() == node);
        async move { Ok(found) }.boxed()
    }

    fn admit_enrolled(
        &self,
        generation: u64,
        record: Enrolment,
        member: NewMember,
    ) -> BoxFuture<'_, Result<Member, AdmitError>> {
        let lost =
            self.conflicts.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        let mut enrolled = self.enrolled.lock();
        let same = enrolled.as_ref().is_some_and(|(_, current)| *current == generation);
        if lost.is_ok() || !same {
            return async { Err(AdmitError::Conflict) }.boxed();
        }
        *enrolled = Some((record, generation + 1));
        drop(enrolled);
        self.admit_by_order(member)
    }

    fn admit_by_order(&self, member: NewMember) -> BoxFuture<'_, Result<Member, AdmitError>> {
        let node = member.node();
        let mut state = self.state.lock();
        let admitted = match state.0.with(member) {
            Ok(next) => {
                state.0 = SignedList::sign(next, &self.ca).unwrap();
                Ok(state.0.member(node).unwrap().clone())
            }
            Err(ChangeError::Member(_)) => Ok(state.0.member(node).unwrap().clone()),
            Err(error) => Err(error.into()),
        };
        drop(state);
        async move { admitted }.boxed()
    }

    fn describe(&self, member: NewMember) -> BoxFuture<'_, Result<Member, AdmitError>> {
        let node = member.node();
        let mut state = self.state.lock();
        let described = state.0.describing(member).map(|next| {
            if let Some(next) = next {
                state.0 = SignedList::sign(next, &self.ca).unwrap();
            }
            state.0.member(node).unwrap().clone()
        });
        drop(state);
        async move { Ok(described?) }.boxed()
    }

    fn list(&self) -> BoxFuture<'_, Result<SignedList, RegistryError>> {
        let list = self.list_now();
        async move { Ok(list) }.boxed()
    }

    fn secrets(&self) -> BoxFuture<'_, Result<JoinSecrets, RegistryError>> {
        let secrets = JoinSecrets { root_key: Zeroizing::new(ROOT_KEY.to_vec()), settings: vec![7] };
        async move { Ok(secrets) }.boxed()
    }
}

struct Grid {
    registry: Arc<TestRegistry>,
    services: Services,
    clock: SimClock,
    ticket: Ticket,
    service: Arc<JoinService>,
}

const SERVER_KEY: [u8; 32] = [1; 32];

fn grid(seed: u64, uses: u32) -> Grid {
    let random = SeededRandom::new(seed);
    let ca = GridCa::generate(&random).unwrap();
    let founder = NewMember { public_key: SERVER_KEY.to_vec(), ..new(1) };
    let list = MemberList::found(GridId::from_bytes([9; 16]), ca.public_key(), founder).unwrap();
    let order = TicketOrder {
        ca_pin: ca.pin(),
        grid: list.grid,
        uses,
        valid: Duration::from_secs(3_600),
        drive_policy: DrivePolicy::ImageData,
        peers: Vec::new(),
    };
    let (ticket, record) = Ticket::create(order, NOW, &random).unwrap();
    let list = SignedList::sign(list, &ca).unwrap();
    let state = Mutex::new((list, Some((record, 1))));
    let registry =
        Arc::new(TestRegistry { ca, state, enrolled: Mutex::default(), conflicts: AtomicU32::new(0) });
    let clock = SimClock::new(NOW);
    let services = Services::default();
    let random = Arc::new(SeededRandom::new(seed + 100));
    let service =
        JoinService::new(registry.clone(), Arc::new(clock.clone()), random, SERVER_KEY).open(&services);
    Grid { registry, services, clock, ticket, service }
}

fn but(ticket: &Ticket, change: impl FnOnce(&mut Ticket)) -> Ticket {
    let mut ticket = ticket.clone();
    change(&mut ticket);
    ticket
}

fn new(byte: u8) -> NewMember {
    NewMember {
        public_key: vec![byte; 32],
        name: "board".to_owned(),
        addresses: Vec::new(),
        has_aes: false,
        has_drives: true,
        added: NOW,
    }
}

fn applicant(byte: u8) -> Applicant {
    Applicant {
        public_key: vec![byte; 32],
        name: format!("board-{byte}"),
        addresses: vec!["192.0.2.7:7311".parse().unwrap()],
        has_aes: false,
        has_drives: true,
        release: "0.1.0".to_owned(),
    }
}

/// A TLS connection from the node with this key.
struct TestDoor {
    services: Services,
    key: u8,
    server_key: [u8; 32],
    exporter: [u8; 32],
    proofs: Mutex<Vec<Bytes>>,
    /// The next answer to a proof is lost on the way.
    lose_answer: AtomicBool,
}

fn door(grid: &Grid, key: u8) -> TestDoor {
    TestDoor {
        services: grid.services.clone(),
        key,
        server_key: SERVER_KEY,
        exporter: [key; 32],
        proofs: Mutex::default(),
        lose_answer: AtomicBool::new(false),
    }
}

impl Door for TestDoor {
    fn peer(&self) -> NodeId {
        node_id(&self.server_key)
    }

    fn peer_public_key(&self) -> &[u8] {
        &self.server_key
    }

    fn exporter(&self) -> [u8; 32] {
        self.exporter
    }

    fn call(&self, method: Method, message: Bytes, _: Duration) -> BoxFuture<'_, Result<Bytes, RpcError>> {
        let caller = Caller {
            node: node_id(&[self.key; 32]),
            public_key: vec![self.key; 32],
            member: false,
            address: SocketAddr::from(([192, 0, 2, self.key], 40_000)),
            exporter: self.exporter,
        };
        async move {
            if method == wire::PROVE {
                self.proofs.lock().push(message.clone());
            }
            let answer = self.services.answer(caller, method.path, once(message)).await?;
            let answer = collect(answer, 1 << 21).await?;
            if method == wire::PROVE && self.lose_answer.swap(false, Ordering::Relaxed) {
                return Err(RpcError::unknown("the connection broke"));
            }
            Ok(answer)
        }
        .boxed()
    }
}

#[tokio::test]
async fn the_right_ticket_opens() {
    let grid = grid(1, 2);
    let admission = join(&door(&grid, 7), &grid.ticket, &applicant(7)).await.unwrap();
    assert_eq!((admission.number, admission.grid), (2, grid.ticket.grid));
    assert_eq!(admission.root_key.as_slice(), ROOT_KEY);
    assert_eq!(admission.settings, [7]);
    assert_eq!(admission.drive_policy, DrivePolicy::ImageData);
    let member = admission.list.member(node_id(&[7; 32])).unwrap();
    assert_eq!((member.name.as_str(), member.has_aes, member.added), ("board-7", false, NOW));
    assert_eq!(admission.list, grid.registry.list_now());
    assert_eq!(grid.registry.uses_left(), 1);
}

#[tokio::test]
async fn a_rogue_node_learns_only_that_it_is_refused() {
    let (ours, theirs) = (grid(1, 1), grid(2, 1));
    // The right grid and id, another secret: what somebody has who saw a ticket's id.
    let stolen = but(&theirs.ticket, |it| (it.ca_pin, it.id) = (ours.ticket.ca_pin, ours.ticket.id));
    let unknown = but(&ours.ticket, |it| it.id = TicketId([0; 16]));
    for ticket in [stolen, unknown] {
        let refused = join(&door(&ours, 7), &ticket, &applicant(7)).await;
        assert!(matches!(refused, Err(JoinError::Refused(_))));
    }
    assert_eq!((ours.registry.uses_left(), ours.registry.list_now().epoch), (1, 1));
}

#[tokio::test]
async fn a_false_grid_is_left_before_anything_is_proved() {
    let (ours, theirs) = (grid(1, 1), grid(2, 1));
    let false_door = door(&theirs, 7);
    let refused = join(&false_door, &ours.ticket, &applicant(7)).await;
    assert!(matches!(refused, Err(JoinError::FalseGrid { source: crate::ListError::Pin, .. })));
    assert!(false_door.proofs.lock().is_empty());

    // Somebody between: shows our list, has a key of its own.
    let between = TestDoor { server_key: [5; 32], ..door(&ours, 7) };
    assert!(matches!(join(&between, &ours.ticket, &applicant(7)).await, Err(JoinError::NotAMember(_))));
    assert!(between.proofs.lock().is_empty());

    // Another grid of the same CA.
    let other = but(&ours.ticket, |it| it.grid = GridId::from_bytes([8; 16]));
    let wrong = door(&ours, 7);
    assert!(matches!(join(&wrong, &other, &applicant(7)).await, Err(JoinError::FalseGrid { .. })));
    assert!(wrong.proofs.lock().is_empty());
}

#[tokio::test]
async fn a_replayed_proof_is_refused_on_another_connection_and_for_another_key() {
    let grid = grid(1, 5);
    let first = door(&grid, 7);
    join(&first, &grid.ticket, &applicant(7)).await.unwrap();
    let proof = first.proofs.lock()[0].clone();
    let again = TestDoor { exporter: [99; 32], ..door(&grid, 7) };
    let thief = TestDoor { exporter: first.exporter, ..door(&grid, 8) };
    for door in [again, thief] {
        let refused = door.call(wire::PROVE, proof.clone(), Duration::ZERO).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::AccessDenied);
    }
    assert_eq!(grid.registry.uses_left(), 4);
}

#[tokio::test]
async fn what_was_proved_cannot_be_changed() {
    let grid = grid(1, 5);
    let first = door(&grid, 7);
    first.lose_answer.store(true, Ordering::Relaxed);
    grid.registry.conflicts.store(1_000, Ordering::Relaxed);
    assert!(join(&first, &grid.ticket, &applicant(7)).await.is_err());
    let mut prove: Prove = wire::decode(&first.proofs.lock()[0]).unwrap();
    let mut data = ApplicantData::decode(&prove.applicant).unwrap();
    data.name = "other".to_owned();
    prove.applicant = postcard::to_allocvec(&data).unwrap();
    let changed = wire::encode(&prove).unwrap();
    let refused = first.call(wire::PROVE, changed.into(), Duration::ZERO).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::AccessDenied);
}

#[tokio::test]
async fn expired_and_used_up_tickets_look_like_unknown_ones() {
    let grid = grid(1, 1);
    let mut details = Vec::new();
    let unknown = but(&grid.ticket, |it| it.id = TicketId([0; 16]));
    join(&door(&grid, 7), &grid.ticket, &applicant(7)).await.unwrap();
    for (key, ticket, hours) in [(8, &grid.ticket, 0), (9, &grid.ticket, 2), (10, &unknown, 0)] {
        grid.clock.advance(Duration::from_secs(3_600 * hours));
        let door = door(&grid, key);
        assert!(matches!(join(&door, ticket, &applicant(key)).await, Err(JoinError::Refused(_))));
        let proof = door.proofs.lock()[0].clone();
        details.push(door.call(wire::PROVE, proof, Duration::ZERO).await.unwrap_err());
    }
    assert!(details.iter().all(|error| *error == details[0]), "{details:?}");
    assert_eq!(grid.registry.list_now().epoch, 2);
}

#[tokio::test]
async fn no_ticket_is_taken_by_a_time_that_nobody_vouches_for() {
    let grid = grid(1, 1);
    grid.clock.set_trust(TimeTrust::Unproven);
    let door = door(&grid, 7);
    assert!(join(&door, &grid.ticket, &applicant(7)).await.is_err());
    let proof = door.proofs.lock()[0].clone();
    let told = door.call(wire::PROVE, proof.clone(), Duration::ZERO).await.unwrap_err();
    assert!(told.code == ErrorCode::Unavailable && told.detail.contains("not proven"), "{told:?}");
    assert_eq!(grid.registry.list_now().epoch, 1);
    grid.clock.set_trust(TimeTrust::Grid);
    door.call(wire::PROVE, proof, Duration::ZERO).await.unwrap();
    assert_eq!(grid.registry.list_now().epoch, 2);
}

#[tokio::test]
async fn of_two_who_race_for_the_last_use_one_wins() {
    let grid = grid(1, 1);
    let (seven, eight) = (door(&grid, 7), door(&grid, 8));
    let (me, you) = (applicant(7), applicant(8));
    let (one, two) = tokio::join!(join(&seven, &grid.ticket, &me), join(&eight, &grid.ticket, &you));
    assert_eq!([one.is_ok(), two.is_ok()].iter().filter(|won| **won).count(), 1);
    let lost = if one.is_ok() { two } else { one };
    assert!(matches!(lost, Err(JoinError::Refused(_))));
    assert_eq!(grid.registry.list_now().members.len(), 2);
}

#[tokio::test]
async fn who_is_overtaken_tries_again_and_not_for_ever() {
    let grid = grid(1, 2);
    grid.registry.conflicts.store(3, Ordering::Relaxed);
    assert_eq!(join(&door(&grid, 7), &grid.ticket, &applicant(7)).await.unwrap().number, 2);
    grid.registry.conflicts.store(1_000, Ordering::Relaxed);
    let gave_up = join(&door(&grid, 8), &grid.ticket, &applicant(8)).await;
    assert!(matches!(gave_up, Err(JoinError::Call { source, .. }) if source.code == ErrorCode::SlowDown));
}

#[tokio::test]
async fn a_lost_answer_costs_no_second_use() {
    let grid = grid(1, 1);
    let first = door(&grid, 7);
    first.lose_answer.store(true, Ordering::Relaxed);
    assert!(matches!(join(&first, &grid.ticket, &applicant(7)).await, Err(JoinError::Call { .. })));
    assert_eq!(grid.registry.uses_left(), 0);
    grid.clock.advance(Duration::from_secs(7_200));
    let again = TestDoor { exporter: [50; 32], ..door(&grid, 7) };
    let admission = join(&again, &grid.ticket, &applicant(7)).await.unwrap();
    assert_eq!((admission.number, admission.list.epoch), (2, 2));
}

#[tokio::test]
async fn a_removed_node_does_not_come_back_with_its_old_key() {
    let grid = grid(1, 3);
    join(&door(&grid, 7), &grid.ticket, &applicant(7)).await.unwrap();
    let node = node_id(&[7; 32]);
    grid.registry.change(|list| list.without(node, NOW));
    let back = join(&door(&grid, 7), &grid.ticket, &applicant(7)).await;
    assert!(matches!(&back, Err(JoinError::Rejected(why)) if why.contains("removed")));
    assert!(grid.registry.list_now().member(node).is_none());
    assert_eq!(grid.registry.uses_left(), 2);
    // A removed member is no door either.
    grid.registry.change(|list| list.without(node_id(&SERVER_KEY), NOW));
    let gone = join(&door(&grid, 8), &grid.ticket, &applicant(8)).await;
    assert!(matches!(gone, Err(JoinError::NotAMember(_))));
}

#[tokio::test]
async fn failures_are_throttled_by_source() {
    let grid = grid(1, 5);
    let wrong = but(&grid.ticket, |it| it.id = TicketId([0; 16]));
    for _ in 0..FAILURES_MAX {
        assert!(matches!(join(&door(&grid, 7), &wrong, &applicant(7)).await, Err(JoinError::Refused(_))));
    }
    let shut = join(&door(&grid, 7), &grid.ticket, &applicant(7)).await;
    assert!(matches!(shut, Err(JoinError::Call { source, .. }) if source.code == ErrorCode::SlowDown));
    assert!(join(&door(&grid, 8), &grid.ticket, &applicant(8)).await.is_ok(), "others are not shut out");
    grid.clock.advance(FAILURE_WINDOW);
    assert!(join(&door(&grid, 7), &grid.ticket, &applicant(7)).await.is_ok());
}

#[tokio::test]
async fn a_lying_answer_is_not_believed() {
    struct Liar(TestDoor, Grid);
    impl Door for Liar {
        fn peer(&self) -> NodeId {
            self.0.peer()
        }
        fn peer_public_key(&self) -> &[u8] {
            self.0.peer_public_key()
        }
        fn exporter(&self) -> [u8; 32] {
            self.0.exporter()
        }
        fn call(
            &self,
            method: Method,
            message: Bytes,
            wait: Duration,
        ) -> BoxFuture<'_, Result<Bytes, RpcError>> {
            async move {
                if method != wire::PROVE {
                    return self.0.call(method, message, wait).await;
                }
                let lie = wire::Admitted {
                    number: 2,
                    list: self.1.registry.list_now().bytes().to_vec(),
                    root_key: Vec::new(),
                    settings: Vec::new(),
                    drive_policy: DrivePolicy::Ask,
                };
                Ok(wire::encode(&lie)?.into())
            }
            .boxed()
        }
    }
    let (first, second) = (grid(1, 1), grid(1, 1));
    let ticket = first.ticket.clone();
    let liar = Liar(door(&first, 7), second);
    assert!(matches!(join(&liar, &ticket, &applicant(7)).await, Err(JoinError::Answer { .. })));
}

fn enrolment(byte: u8) -> Enrolment {
    Enrolment {
        public_key: [byte; 32],
        name: "expected".to_owned(),
        drive_policy: DrivePolicy::BlankToo,
        created: NOW,
        expires: Some(NOW.plus(Duration::from_secs(60))),
        joined: None,
    }
}

#[tokio::test]
async fn an_enrolled_key_takes_up_its_place_without_a_ticket() {
    let grid = grid(1, 1);
    let pin = grid.registry.ca.pin();
    let unknown = enrol(&door(&grid, 7), &pin, &applicant(7)).await;
    assert!(matches!(unknown, Err(JoinError::NotEnrolled(_))), "nobody enrolled it");
    *grid.registry.enrolled.lock() = Some((enrolment(7), 1));
    let elsewhere = enrol(&door(&grid, 7), &[0; 32], &applicant(7)).await;
    assert!(matches!(elsewhere, Err(JoinError::FalseGrid { .. })));
    let other = enrol(&door(&grid, 8), &pin, &applicant(8)).await;
    assert!(matches!(other, Err(JoinError::NotEnrolled(_))), "a key is its owner's");
    // Overtaken once by another change; asked again after a lost answer.
    grid.registry.conflicts.store(1, Ordering::Relaxed);
    for _ in 0..2 {
        let admission = enrol(&door(&grid, 7), &pin, &applicant(7)).await.unwrap();
        assert_eq!((admission.number, admission.list.epoch), (2, 2), "admitted once");
        assert_eq!(admission.root_key.as_slice(), ROOT_KEY);
        assert_eq!(admission.drive_policy, DrivePolicy::BlankToo);
        let member = admission.list.member(node_id(&[7; 32])).unwrap();
        assert_eq!((member.name.as_str(), member.has_drives), ("expected", true));
    }
    assert_eq!(grid.registry.uses_left(), 1);
    grid.registry.change(|list| list.without(node_id(&[7; 32]), NOW));
    let removed = enrol(&door(&grid, 7), &pin, &applicant(7)).await;
    assert!(matches!(removed, Err(JoinError::Rejected(_))));
}

#[tokio::test]
async fn expired_and_withdrawn_enrolments_let_nobody_in() {
    let grid = grid(1, 1);
    let pin = grid.registry.ca.pin();
    *grid.registry.enrolled.lock() = Some((enrolment(7), 1));
    grid.clock.advance(Duration::from_secs(61));
    let refused = enrol(&door(&grid, 7), &pin, &applicant(7)).await;
    assert!(matches!(&refused, Err(JoinError::NotEnrolled(why)) if why.contains("expired")));
    *grid.registry.enrolled.lock() = None;
    let refused = enrol(&door(&grid, 7), &pin, &applicant(7)).await;
    assert!(matches!(&refused, Err(JoinError::NotEnrolled(why)) if why.contains("withdrawn")));
    assert_eq!(grid.registry.list_now().epoch, 1);
}

#[tokio::test]
async fn a_person_who_compares_codes_lets_a_node_in() {
    let grid = grid(1, 1);
    let (seven, random) = (door(&grid, 7), SeededRandom::new(5));
    let pairing = pair(&seven, &applicant(7), &random).await.unwrap();
    let shown = grid.service.pending_pairing().unwrap();
    assert_eq!((shown.node, shown.code), (node_id(&[7; 32]), Some(pairing.code())));
    assert_eq!(pairing.code().to_string().len(), 4);
    assert!(pairing.admitted().await.unwrap().is_none(), "nobody confirmed");
    let eight = door(&grid, 8);
    let busy = pair(&eight, &applicant(8), &random).await;
    assert!(matches!(busy, Err(JoinError::Call { source, .. }) if source.code == ErrorCode::SlowDown));
    assert!(!grid.service.confirm_pairing(node_id(&[8; 32]), pairing.code()));
    assert!(grid.service.confirm_pairing(shown.node, pairing.code()));
    // Another connection of another node does not take the place.
    let theft = door(&grid, 8).call(wire::PAIRED, wire::encode(&()).unwrap().into(), Duration::ZERO).await;
    assert_eq!(theft.unwrap_err().code, ErrorCode::AccessDenied);
    seven.lose_answer.store(true, Ordering::Relaxed);
    for _ in 0..2 {
        let admission = pairing.admitted().await.unwrap().unwrap();
        assert_eq!((admission.number, admission.root_key.as_slice()), (2, ROOT_KEY));
    }
}

#[tokio::test]
async fn pairings_end_and_are_few() {
    let (grid, random) = (grid(1, 1), SeededRandom::new(5));
    let mut codes = Vec::new();
    for _ in 0..PAIRINGS_MAX {
        let seven = door(&grid, 7);
        let pairing = pair(&seven, &applicant(7), &random).await.unwrap();
        codes.push(pairing.code().to_string());
        grid.service.refuse_pairing();
        assert!(matches!(pairing.admitted().await, Err(JoinError::Refused(_))));
    }
    codes.dedup();
    assert_eq!(codes.len(), PAIRINGS_MAX as usize);
    assert!(pair(&door(&grid, 7), &applicant(7), &random).await.is_err(), "too many");
    grid.clock.advance(Duration::from_secs(3_600));
    let seven = door(&grid, 7);
    let late = pair(&seven, &applicant(7), &random).await.unwrap();
    grid.clock.advance(PAIRING_LIFETIME);
    assert!(!grid.service.confirm_pairing(node_id(&[7; 32]), late.code()));
    assert!(matches!(late.admitted().await, Err(JoinError::Refused(_))));
    assert!(grid.service.pending_pairing().is_none());
}

#[tokio::test]
async fn who_sits_between_shows_another_code() {
    let (grid, random) = (grid(1, 1), SeededRandom::new(5));
    // The same nonces, but the node in between spoke to the member with its own key.
    let seven = door(&grid, 7);
    let code = pair(&seven, &applicant(7), &SeededRandom::new(5)).await.unwrap().code();
    grid.service.refuse_pairing();
    let between = door(&grid, 8);
    pair(&between, &applicant(8), &random).await.unwrap();
    assert_ne!(grid.service.pending_pairing().unwrap().code, Some(code));
    grid.service.refuse_pairing();
    // Who never reveals does not hold the place for long.
    let begin = |commitment: [u8; 32]| {
        let data = ApplicantData {
            name: "board".to_owned(),
            addresses: Vec::new(),
            has_aes: false,
            has_drives: true,
            release: String::new(),
        };
        wire::encode(&(commitment, data)).unwrap()
    };
    between.call(wire::PAIR, begin([0; 32]).into(), Duration::ZERO).await.unwrap();
    assert!(grid.service.pending_pairing().unwrap().code.is_none());
    grid.clock.advance(Duration::from_secs(15));
    assert!(grid.service.pending_pairing().is_none());
    // A nonce that was not committed to ends the pairing.
    grid.service.refuse_pairing();
    pair(&between, &applicant(8), &random).await.unwrap();
    let again = wire::encode(&[0_u8; 32]).unwrap();
    let refused = between.call(wire::REVEAL, again.into(), Duration::ZERO).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::AccessDenied);
    assert!(grid.service.pending_pairing().is_none());
}

#[tokio::test]
async fn applicants_that_no_list_takes_are_told() {
    let grid = grid(1, 1);
    let long = Applicant { name: "n".repeat(64), ..applicant(7) };
    let refused = join(&door(&grid, 7), &grid.ticket, &long).await;
    assert!(matches!(refused, Err(JoinError::Rejected(why)) if why.contains("name")));
    assert_eq!(grid.registry.uses_left(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn hostile_bytes_are_refused(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), good: bool) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let grid = grid(1, 1);
        if let (true, Some(first)) = (good, bytes.first_mut()) {
            *first = 1;
        }
        runtime.block_on(async {
            let door = door(&grid, 7);
            for method in [wire::HELLO, wire::PROVE, wire::ENROL, wire::PAIR, wire::REVEAL, wire::PAIRED, Method::control("/join/other")] {
                let _ = door.call(method, bytes.clone().into(), Duration::ZERO).await;
            }
        });
        prop_assert_eq!(grid.registry.uses_left(), 1);
        let _ = wire::decode::<wire::Admitted>(&bytes);
    }
}
