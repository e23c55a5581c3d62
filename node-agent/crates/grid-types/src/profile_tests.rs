//! Profiles as users write them.

use proptest::prelude::*;

use super::{Profile, ProfileChoice};
use crate::CHUNKS_PER_SEGMENT_MAX;

fn check(text: &str, expect: Option<Profile>) {
    let parsed: Result<Profile, _> = text.parse();
    assert_eq!(parsed.as_ref().ok(), expect.as_ref(), "{text}");
    match parsed {
        Ok(profile) => assert_eq!(profile.to_string(), text),
        Err(error) => assert!(error.to_string().contains(&format!("`{text}`")), "{error}"),
    }
}

#[test]
fn good_ones_parse_and_print_alike() {
    check("copies:1", Some(Profile::Copies(1)));
    check("copies:32", Some(Profile::Copies(32)));
    check("ec:2+1", Some(Profile::Ec { k: 2, m: 1 }));
    check("ec:8+3", Some(Profile::Ec { k: 8, m: 3 }));
    check("ec:1+31", Some(Profile::Ec { k: 1, m: 31 }));
}

#[test]
fn bad_ones_are_refused() {
    let bad = [
        "",
        "auto",
        "copies",
        "copies:",
        "copies:0",
        "copies:33",
        "copies:256",
        "copies:+1",
        "copies:-1",
        "copies: 2",
        "copies:2 ",
        "Copies:2",
        "copies:2+1",
        "ec:",
        "ec:2",
        "ec:2+",
        "ec:+1",
        "ec:0+1",
        "ec:2+0",
        "ec:2-1",
        "ec:2+1+1",
        "ec:30+3",
        "ec:255+255",
        "ec:2+99999999999999999999",
        "ec:２+1",
        "raid5",
    ];
    for text in bad {
        check(text, None);
    }
}

#[test]
fn auto_is_a_choice_and_the_default() {
    assert_eq!("auto".parse(), Ok(ProfileChoice::Auto));
    assert_eq!(ProfileChoice::default(), ProfileChoice::Auto);
    assert_eq!("ec:4+2".parse(), Ok(ProfileChoice::Fixed(Profile::Ec { k: 4, m: 2 })));
    assert_eq!(ProfileChoice::Auto.to_string(), "auto");
    assert_eq!(ProfileChoice::Fixed(Profile::Copies(2)).to_string(), "copies:2");
    assert!("Auto".parse::<ProfileChoice>().is_err());
}

#[test]
fn counts_add_up() {
    let profile = Profile::Ec { k: 6, m: 3 };
    assert_eq!((profile.data_chunks(), profile.total_chunks(), profile.loss_tolerance()), (6, 9, 3));
    let profile = Profile::Copies(3);
    assert_eq!((profile.data_chunks(), profile.total_chunks(), profile.loss_tolerance()), (1, 3, 2));
}

proptest! {
    #[test]
    fn any_text_parses_or_not_without_panic(text in "(copies|ec|auto)?:?[0-9+]{0,6}.{0,3}") {
        if let Ok(profile) = text.parse::<Profile>() {
            prop_assert!((1..=CHUNKS_PER_SEGMENT_MAX).contains(&profile.total_chunks()));
            prop_assert_eq!(profile.to_string().parse::<Profile>().unwrap(), profile);
        }
    }
}
