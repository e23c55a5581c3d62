use super::{accept_location, location_document, parse_configuration, private_acl};

#[test]
fn the_location_constraint_is_found() {
    let document = b"<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
                     <LocationConstraint>eu-west-1</LocationConstraint></CreateBucketConfiguration>";
    assert_eq!(parse_configuration(document).unwrap().as_deref(), Some("eu-west-1"));
    assert_eq!(parse_configuration(b"<CreateBucketConfiguration/>").unwrap(), None);
    let refusals: [(&[u8], &str); 4] = [
        (b"<CreateBucketConfiguration>", "MalformedXML"),
        (b"<Other/>", "MalformedXML"),
        (b"<CreateBucketConfiguration><Zone/></CreateBucketConfiguration>", "MalformedXML"),
        (b"<CreateBucketConfiguration><Tags/></CreateBucketConfiguration>", "NotImplemented"),
    ];
    for (document, code) in refusals {
        assert_eq!(parse_configuration(document).unwrap_err().code.0, code);
    }
    assert!(accept_location("EU").is_ok());
    assert_eq!(accept_location("a b").unwrap_err().code.0, "InvalidLocationConstraint");
}

#[test]
fn us_east_1_has_no_name() {
    assert!(location_document("us-east-1").ends_with("/doc/2006-03-01/\"></LocationConstraint>"));
    assert!(location_document("eu-west-1").ends_with("\">eu-west-1</LocationConstraint>"));
}

#[test]
fn the_acl_is_the_owners() {
    let acl = private_acl("admin");
    assert_eq!(acl.matches("<DisplayName>admin</DisplayName>").count(), 2);
    assert!(acl.contains(
        "<Grantee xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"CanonicalUser\"><ID>"
    ));
    assert!(acl.contains("</Grantee><Permission>FULL_CONTROL</Permission></Grant></AccessControlList>"));
}
