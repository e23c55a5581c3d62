use super::{XmlReader, XmlWriter, url_encode};

#[test]
fn a_document_is_closed_and_escaped() {
    let mut xml = XmlWriter::new("Root");
    xml.open("In")
        .listed("Key", "a<b>&\"c\"\r\u{1}\n")
        .element("Word", "\u{1}\u{ffff}")
        .optional("None", None::<&str>)
        .element("Size", 7);
    assert_eq!(
        xml.finish(),
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Root xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><In>\
         <Key>a&lt;b&gt;&amp;&quot;c&quot;&#xd;&#x1;\n</Key><Word>\u{fffd}\u{fffd}</Word><Size>7</Size></In></Root>"
    );
}

#[test]
fn url_encoding_keeps_what_s3_keeps() {
    let cases = [
        ("photos/2006/a.jpg", "photos/2006/a.jpg"),
        ("test_file(3).png", "test_file%283%29.png"),
        ("a b+c~d*e", "a%20b%2Bc%7Ed*e"),
        ("ä\u{1}", "%C3%A4%01"),
    ];
    for (text, expect) in cases {
        assert_eq!(url_encode(text), expect);
    }
}

proptest::proptest! {
    #[test]
    fn what_is_written_reads_back(text in "\\PC{0,40}") {
        let mut xml = XmlWriter::new("Root");
        xml.element("t", &text);
        let document = xml.finish();
        let mut reader = XmlReader::new(document.as_bytes()).unwrap();
        reader.root("Root").unwrap();
        reader.child().unwrap();
        proptest::prop_assert_eq!(reader.text().unwrap(), text);
    }
}
