//! Dates and signatures against answers that were computed elsewhere.

use grid_types::Timestamp;
use http::Method;

use super::s3::amz_date;
use super::{S3Call, S3Client, Target};

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
    let call = S3Call {
        method: Method::PUT,
        path: "/demo/self-test",
        query: &[],
        payload: "UNSIGNED-PAYLOAD".to_owned(),
    };
    let header = client.authorization(&call, "127.0.0.1:9000", "20130524T000000Z");
    assert_eq!(header, REFERENCE);
}

const REFERENCE: &str = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20130524/us-east-1/s3/aws4_request, \
     SignedHeaders=host;x-amz-content-sha256;x-amz-date, \
     Signature=8da5a1284bcd03f8be0b04fba8cb0ce73255542c1b2747503f9865a3b2d6d145";

/// The two examples with these three signed headers in AWS, "Signature Calculations for the Authorization Header".
#[test]
fn queries_are_signed_as_in_the_examples_of_aws() {
    let host = "examplebucket.s3.amazonaws.com";
    let client = S3Client {
        target: Target::Tcp { host: host.to_owned(), port: 80 },
        access_key: "AKIAIOSFODNN7EXAMPLE".to_owned(),
        secret_key: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned(),
        region: "us-east-1".to_owned(),
    };
    let of_nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let examples: [(&[(&str, &str)], &str); 2] = [
        (&[("lifecycle", "")], "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
        (
            &[("prefix", "J"), ("max-keys", "2")],
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
    ];
    for (query, signature) in examples {
        let call = S3Call { method: Method::GET, path: "/", query, payload: of_nothing.to_owned() };
        let header = client.authorization(&call, host, "20130524T000000Z");
        assert!(header.ends_with(signature), "{query:?}: {header}");
    }
}
