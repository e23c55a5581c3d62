//! Answers of servers that are right, wrong, rude or strangers; and a server on loopback.

use std::net::SocketAddr;
use std::time::Duration;

use grid_types::Timestamp;
use proptest::collection::vec;
use proptest::prelude::*;
use sys::{Clock, RealClock, RealRandom};
use tokio::net::UdpSocket;

use super::sntp::{NtpError, ROOT_DISTANCE_MAX, addresses_of, ask, judge, question};

const NONCE: u64 = 0x0123_4567_89ab_cdef;
/// 2026-11-27 00:00:00 UTC.
const NOW_SECONDS: u64 = 1_795_737_600;
const SECOND: Duration = Duration::from_secs(1);

/// A time as a server writes it.
pub(super) fn stamp(time: Timestamp) -> u64 {
    let seconds = (time.as_secs() + 2_208_988_800) & 0xffff_ffff;
    (seconds << 32) + ((time.0 % 1_000_000) << 32) / 1_000_000
}

/// A right answer: stratum 2, 10 ms of root delay, 5 ms of root dispersion.
pub(super) fn answer(nonce: u64, taken: Timestamp, answered: Timestamp) -> [u8; 48] {
    let mut packet = [0; 48];
    packet[0] = 4 << 3 | 4;
    packet[1] = 2;
    packet[4..8].copy_from_slice(&655_u32.to_be_bytes());
    packet[8..12].copy_from_slice(&328_u32.to_be_bytes());
    packet[24..32].copy_from_slice(&nonce.to_be_bytes());
    packet[32..40].copy_from_slice(&stamp(taken).to_be_bytes());
    packet[40..].copy_from_slice(&stamp(answered).to_be_bytes());
    packet
}

fn right() -> [u8; 48] {
    answer(NONCE, Timestamp::from_secs(NOW_SECONDS), Timestamp(NOW_SECONDS * 1_000_000 + 2_000))
}

#[test]
fn a_right_answer_gives_the_time_and_how_far_it_may_be_off() {
    let asked = question(NONCE);
    assert_eq!((asked[0], &asked[1..40], &asked[40..]), (0x23, &[0; 39][..], &NONCE.to_be_bytes()[..]));
    let sample = judge(&right(), NONCE, SECOND, SECOND + Duration::from_millis(42)).unwrap();
    assert_eq!(sample.anchor.boot, SECOND + Duration::from_millis(42));
    // 42 ms away, 2 of them held: 20 ms back. Stamps of NTP round by parts of a microsecond.
    let off = sample.anchor.time.0.abs_diff(NOW_SECONDS * 1_000_000 + 2_000 + 20_000);
    assert!(off <= 2, "{off} µs off");
    assert_eq!(sample.uncertainty.as_millis(), 5 + 5 + 20);
}

#[test]
fn what_is_no_answer_to_the_question_is_refused() {
    let check = |change: &dyn Fn(&mut [u8; 48]), expected: &str| {
        let mut packet = right();
        change(&mut packet);
        let error = judge(&packet, NONCE, SECOND, SECOND + Duration::from_millis(42)).unwrap_err();
        assert!(error.to_string().contains(expected), "{error} and not {expected}");
    };
    check(&|packet| packet[24] ^= 1, "none to this question");
    check(&|packet| packet[0] = 4 << 3 | 3, "none to this question");
    check(&|packet| packet[0] = 4 << 3 | 5, "none to this question");
    check(&|packet| packet[0] = 1 << 3 | 4, "none to this question");
    check(&|packet| packet[0] |= 0xc0, "does not know the time");
    check(&|packet| packet[1] = 16, "does not know the time");
    check(&|packet| packet[4] = 4, "does not know the time");
    check(&|packet| packet[9] = 2, "does not know the time");
    check(&|packet| packet[40..].fill(0), "does not know the time");
    check(&|packet| packet[35] += 1, "none to this question");
    // Held for longer than it was away.
    check(&|packet| packet[43] += 1, "none to this question");
    let kiss = |packet: &mut [u8; 48]| {
        packet[1] = 0;
        packet[12..16].copy_from_slice(b"RATE");
    };
    check(&kiss, "left alone (RATE)");
    for cut in 0..48 {
        assert!(judge(&right()[..cut], NONCE, SECOND, SECOND).is_err(), "{cut} bytes");
    }
    assert!(judge(&[right().as_slice(), &[7; 20]].concat(), NONCE, SECOND, SECOND * 2).is_ok(), "extensions");
}

proptest! {
    #[test]
    fn whatever_comes_is_judged(
        mut packet in vec(any::<u8>(), 0..100),
        like_an_answer: bool,
        sent in 0..10_000_000_u64,
        away in 0..5_000_000_u64,
    ) {
        if like_an_answer && packet.len() >= 48 {
            packet[..12].copy_from_slice(&right()[..12]);
            packet[24..32].copy_from_slice(&NONCE.to_be_bytes());
        }
        let (sent, away) = (Duration::from_micros(sent), Duration::from_micros(away));
        if let Ok(sample) = judge(&packet, NONCE, sent, sent + away) {
            prop_assert_eq!(&packet[24..32], &NONCE.to_be_bytes());
            prop_assert!(sample.uncertainty <= away + ROOT_DISTANCE_MAX, "{:?}", sample);
            prop_assert_eq!(sample.anchor.boot, sent + away);
        }
    }
}

#[test]
fn the_era_that_begins_in_2036_is_told_apart() {
    for seconds in [NOW_SECONDS, 2_085_978_495, 2_085_978_497, 2_300_000_000] {
        let time = Timestamp::from_secs(seconds);
        let sample = judge(&answer(NONCE, time, time), NONCE, SECOND, SECOND).unwrap();
        assert_eq!(sample.anchor.time, time);
    }
}

/// Answers every question with what `make` makes of its nonce, after `noise`.
pub(super) async fn server(
    noise: Option<[u8; 48]>,
    make: impl Fn(u64) -> Option<[u8; 48]> + Send + 'static,
) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut question = [0; 128];
        while let Ok((_, from)) = socket.recv_from(&mut question).await {
            let nonce = u64::from_be_bytes(question[40..48].try_into().unwrap());
            for packet in noise.into_iter().chain(make(nonce)) {
                let _ = socket.send_to(&packet, from).await;
            }
        }
    });
    address
}

#[tokio::test]
async fn a_server_on_loopback_is_believed_and_a_guesser_before_it_is_not() {
    let time = Timestamp::from_secs(NOW_SECONDS);
    let address = server(Some(right()), move |nonce| Some(answer(nonce, time, time))).await;
    let sample = ask(address, &RealClock, &RealRandom).await.unwrap();
    assert!(sample.anchor.boot <= RealClock.since_boot());
    assert!(sample.anchor.time.since(time) < SECOND, "{:?}", sample.anchor.time);
    let rude = server(None, |nonce| {
        let mut packet = answer(nonce, Timestamp(0), Timestamp(0));
        packet[1] = 0;
        Some(packet)
    })
    .await;
    assert!(matches!(ask(rude, &RealClock, &RealRandom).await, Err(NtpError::Kissed(_))));
}

#[tokio::test]
async fn servers_are_named_with_and_without_a_port() {
    let check = async |server: &str, expected: &str| {
        assert_eq!(addresses_of(server).await.unwrap(), [expected.parse().unwrap()], "{server}");
    };
    check("127.0.0.1", "127.0.0.1:123").await;
    check("127.0.0.1:9123", "127.0.0.1:9123").await;
    check("[::1]", "[::1]:123").await;
    check("[::1]:9123", "[::1]:9123").await;
    assert!(addresses_of("").await.is_err());
}
