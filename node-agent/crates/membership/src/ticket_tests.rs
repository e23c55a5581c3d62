//! What survives copy and paste, and what is said of what does not.

use proptest::prelude::*;
use sys::SeededRandom;

use super::*;

fn order(peers: usize) -> TicketOrder {
    TicketOrder {
        ca_pin: [3; 32],
        grid: GridId::from_bytes([4; 16]),
        uses: 2,
        valid: Duration::from_secs(60),
        drive_policy: DrivePolicy::BlankToo,
        peers: (0..peers).map(|at| format!("[2001:db8::{at}]:7311").parse().unwrap()).collect(),
    }
}

fn ticket(seed: u64, peers: usize) -> (Ticket, TicketRecord) {
    Ticket::create(order(peers), Timestamp::from_secs(1_000), &SeededRandom::new(seed)).unwrap()
}

#[test]
fn text_survives_broken_lines_and_capitals() {
    let (ticket, record) = ticket(1, 8);
    let text = ticket.to_text();
    assert!(text.starts_with("shoal-ticket-1-") && text.len() < 600, "{}", text.len());
    assert_eq!(text.parse::<Ticket>(), Ok(ticket.clone()));
    let mangled: String = text
        .to_uppercase()
        .as_bytes()
        .chunks(40)
        .fold(" ".to_owned(), |lines, line| lines + "  " + std::str::from_utf8(line).unwrap() + "\r\n");
    assert_eq!(mangled.parse::<Ticket>(), Ok(ticket.clone()));
    assert_eq!(ticket.expires, Timestamp::from_secs(1_060));
    assert_eq!((record.uses_left, record.id), (2, ticket.id));
}

#[test]
fn what_went_wrong_is_said() {
    let text = ticket(1, 0).0.to_text();
    let check = |text: &str, want: TicketError| assert_eq!(text.parse::<Ticket>(), Err(want), "{text}");
    check("hello", TicketError::NotATicket);
    check("shoal-ticket-1", TicketError::NotATicket);
    check("shoal-ticket-x-aaaa", TicketError::NotATicket);
    check("shoal-ticket-2-aaaa", TicketError::Version("2".to_owned()));
    let code = text.len() - "shoal-ticket-1-".len();
    check(&text[..text.len() - 1], TicketError::Truncated { have: code - 1, want: code });
    check(&text[..60], TicketError::Truncated { have: 45, want: code });
    check(&format!("{}a", *text), TicketError::TooLong);
    check(&format!("{}{}", *text, *text), TicketError::Character { at: text.len() + 6, character: '-' });
    check(
        &text.replacen("shoal-ticket-1-", "shoal-ticket-1-0", 1),
        TicketError::Character { at: 16, character: '0' },
    );
    let mut swapped = text.as_bytes().to_vec();
    let at = (30..60).find(|at| swapped[*at] != swapped[at + 1]).unwrap();
    swapped.swap(at, at + 1);
    check(std::str::from_utf8(&swapped).unwrap(), TicketError::Checksum);
    check(&"a".repeat(TICKET_TEXT_MAX + 1), TicketError::TooLong);
}

#[test]
fn only_the_secret_proves() {
    let (ticket, record) = ticket(1, 0);
    let proof = ticket.prove(b"message");
    assert!(record.verifies(b"message", &proof));
    assert!(!record.verifies(b"massage", &proof));
    assert!(!record.verifies(b"message", &proof[..31]));
    let other = Ticket::create(order(0), Timestamp(0), &SeededRandom::new(2)).unwrap().0;
    assert!(!record.verifies(b"message", &other.prove(b"message")));
    let secret = data_encoding::HEXLOWER.encode(&ticket.secret);
    let stored = data_encoding::HEXLOWER.encode(&record.encode());
    assert!(!stored.contains(&secret), "the record does not hold the secret");
}

#[test]
fn records_are_read_back() {
    let (_, record) = ticket(1, 0);
    let record = record.used_by(NodeId::from_bytes([1; 16]));
    assert_eq!(TicketRecord::decode(&record.encode()), Ok(record.clone()));
    assert_eq!(record.uses_left, 1);
    assert!(record.open(Timestamp::from_secs(1_059)) && !record.open(Timestamp::from_secs(1_060)));
    assert!(!record.clone().used_by(NodeId::from_bytes([2; 16])).open(Timestamp::from_secs(1_000)));
    let mut newer = record.encode();
    newer[0] = 9;
    assert_eq!(TicketRecord::decode(&newer), Err(TicketRecordError::Version(9)));
    assert_eq!(TicketRecord::decode(&record.encode()[..20]), Err(TicketRecordError::Content));
    assert_eq!(TicketRecord::decode(&[]), Err(TicketRecordError::Content));
}

#[test]
fn orders_have_limits() {
    for uses in [0, TICKET_USES_MAX + 1] {
        let wrong = Ticket::create(TicketOrder { uses, ..order(0) }, Timestamp(0), &SeededRandom::new(1));
        assert_eq!(wrong.unwrap_err(), TicketError::Uses(uses));
    }
    assert_eq!(ticket(1, 20).0.peers.len(), TICKET_PEERS_MAX);
}

#[test]
fn policies_are_words() {
    for policy in [DrivePolicy::ImageData, DrivePolicy::BlankToo, DrivePolicy::Ask] {
        assert_eq!(policy.to_string().parse(), Ok(policy));
    }
    assert!("all".parse::<DrivePolicy>().is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_text_is_a_ticket_or_an_error(text in "(shoal-ticket-1-)?[a-z2-7]{0,300}|.{0,80}") {
        if let Ok(ticket) = text.parse::<Ticket>() {
            let again = ticket.to_text();
            prop_assert_eq!(again.as_str(), text.as_str());
        }
    }

    #[test]
    fn one_wrong_character_is_noticed(seed in 0_u64..1_000, at: proptest::sample::Index, other in 0_usize..32) {
        let text = ticket(seed, 1).0.to_text();
        let alphabet = b"abcdefghijklmnopqrstuvwxyz234567";
        let mut bytes = text.as_bytes().to_vec();
        let at = 15 + at.index(bytes.len() - 15);
        prop_assume!(bytes[at] != alphabet[other]);
        bytes[at] = alphabet[other];
        prop_assert!(std::str::from_utf8(&bytes).unwrap().parse::<Ticket>().is_err());
    }

    #[test]
    fn any_bytes_are_a_record_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(record) = TicketRecord::decode(&bytes) {
            prop_assert_eq!(TicketRecord::decode(&record.encode()), Ok(record));
        }
    }
}
