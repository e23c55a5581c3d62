//! Dates and signatures against answers that were computed elsewhere.

use grid_types::Timestamp;
use http::Method;

use super::s3::amz_date;
use super::{S3Client, Target};

#[test]
fn dates_are_what_a_calendar_says() {
    for (seconds, wanted) in [
        (0, "19700101T000000Z"),
        (951_782_400, "20000229T000000Z"),
        (1_369_353_600, "20130524T000000Z"),
        (1_735_689_599, "20241231T235959Z"),
        (4_107_542_400, "21000301T000000Z"),
    ] {
        assert_eq!(amz_date(Timestamp::from_secs(seconds)), wanted);
    }
}

/// Computed with Python's hmac and hashlib over the canonical request written by hand.
#[test]
fn the_signature_is_the_one_that_a_reference_gives() {
    let client = S3Client {
        target: Target::Tcp { host: "127.0.0.1".to_owned(), port: 9000 },
        access_key: "AKIDEXAMPLE".to_owned(),
        secret_key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned(),
        region: "us-east-1".to_owned(),
    };
    let header = client.authorization(&Method::PUT, "/demo/self-test", "127.0.0.1:9000", "20130524T000000Z");
    assert_eq!(header, REFERENCE);
}

const REFERENCE: &str = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20130524/us-east-1/s3/aws4_request, \
     SignedHeaders=host;x-amz-content-sha256;x-amz-date, \
     Signature=8da5a1284bcd03f8be0b04fba8cb0ce73255542c1b2747503f9865a3b2d6d145";
