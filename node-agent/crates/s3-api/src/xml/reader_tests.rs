use super::{XmlError, XmlReader};

/// Reads any document into `name(child child)` and `name=text` form.
fn outline(document: &[u8]) -> Result<String, XmlError> {
    fn element(reader: &mut XmlReader<'_>, out: &mut String) -> Result<bool, XmlError> {
        let Some(name) = reader.child()? else { return Ok(false) };
        out.push_str(&name);
        if name.starts_with(char::is_uppercase) {
            out.push('(');
            while element(reader, out)? {}
            out.push(')');
        } else {
            out.push('=');
            out.push_str(&reader.text()?);
            out.push(' ');
        }
        Ok(true)
    }
    let mut reader = XmlReader::new(document)?;
    let mut out = String::new();
    element(&mut reader, &mut out)?;
    reader.finish()?;
    Ok(out)
}

#[test]
fn documents_are_read_without_prefixes_attributes_and_comments() {
    let cases: [(&str, &str); 9] = [
        ("<A><b>1</b><b>2</b></A>", "A(b=1 b=2 )"),
        ("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<A xmlns=\"urn:x\">\n <b>1</b>\n</A>\n", "A(b=1 )"),
        ("\u{feff}<A><b/></A>", "A(b= )"),
        ("<n:A xmlns:n=\"urn:x\"><n:b n:c=\"d\">x</n:b></n:A>", "A(b=x )"),
        ("<A><!-- note --><b>x<!-- y -->z</b></A>", "A(b=xz )"),
        ("<A><b>&lt;&amp;&gt;&quot;&apos;&#65;&#x1F41F;</b></A>", "A(b=<&>\"'A🐟 )"),
        ("<A><b><![CDATA[<raw & wild>]]></b></A>", "A(b=<raw & wild> )"),
        ("<A><b> blanks stay </b></A>", "A(b= blanks stay  )"),
        ("<A><B><C/></B></A>", "A(B(C()))"),
    ];
    for (document, expect) in cases {
        assert_eq!(outline(document.as_bytes()).as_deref(), Ok(expect), "{document}");
    }
}

#[test]
fn hostile_documents_are_refused() {
    let laughs = "<!DOCTYPE lolz [<!ENTITY lol \"lol\"><!ENTITY lol2 \"&lol;&lol;\">]><A><b>&lol2;</b></A>";
    assert_eq!(outline(laughs.as_bytes()), Err(XmlError::DocType));
    let external = "<!DOCTYPE A SYSTEM \"file:///etc/passwd\"><A/>";
    assert_eq!(outline(external.as_bytes()), Err(XmlError::DocType));
    assert_eq!(outline(b"<A><b>&lol;</b></A>"), Err(XmlError::Entity("lol".to_owned())));
    assert_eq!(outline(b"<A><b>\xff</b></A>"), Err(XmlError::Encoding));
    assert_eq!(outline("<A>".repeat(1_000).as_bytes()), Err(XmlError::Limit("depth")));
    let wide = format!("<A>{}</A>", "<b/>".repeat(100_001));
    assert_eq!(outline(wide.as_bytes()), Err(XmlError::Limit("elements")));
    let long = format!("<A><b>{}</b></A>", "x".repeat(16 * 1_024 + 1));
    assert_eq!(outline(long.as_bytes()), Err(XmlError::Limit("text")));
}

#[test]
fn broken_documents_are_refused() {
    let cases = [
        "<A>",
        "<A><b>x",
        "<A></B>",
        "<A></A",
        "text",
        "<A>text</A>",
        "<A/><A/>",
        "<A/>x",
        "</A>",
        "<A><b><c/></b></A>",
        "<A>&lt;</A>",
        "<A><b>&#0;</b></A>",
        "<A><b>& </b></A>",
        "<A><b>&#x110000;</b></A>",
        "<",
        "<A b=\"<\"",
        "<A><![CDATA[",
    ];
    for document in cases {
        assert!(outline(document.as_bytes()).is_err(), "{document}");
    }
    assert!(XmlReader::new(b"").is_ok_and(|mut reader| reader.root("A").is_err()));
}

#[test]
fn skip_leaves_one_element_whole_and_counts_its_depth() {
    let mut reader = XmlReader::new(b"<A><X><Y>t</Y>&amp;<Z/></X><b>1</b></A>").unwrap();
    reader.root("A").unwrap();
    assert_eq!(reader.child().unwrap().as_deref(), Some("X"));
    reader.skip().unwrap();
    assert_eq!(reader.child().unwrap().as_deref(), Some("b"));
    assert_eq!(reader.text().unwrap(), "1");
    assert_eq!(reader.child().unwrap(), None);
    reader.finish().unwrap();

    let deep = format!("<A><X>{}", "<Y>".repeat(100));
    let mut reader = XmlReader::new(deep.as_bytes()).unwrap();
    reader.root("A").unwrap();
    reader.child().unwrap();
    assert_eq!(reader.skip(), Err(XmlError::Limit("depth")));
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_answered(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
        let _ = outline(&bytes);
    }

    #[test]
    fn any_markup_is_answered(text in "[<>/&;#x!\\[\\]A-Ca-c\" =?-]{0,80}") {
        let first = outline(text.as_bytes());
        proptest::prop_assert_eq!(first, outline(text.as_bytes()));
    }
}
