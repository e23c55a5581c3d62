//! What clients send.

use http::{HeaderMap, HeaderName, HeaderValue};
use s3_api::auth::{SignedRequest, canonical_query, canonical_request, parse_authorization, parse_presigned};
use s3_api::body::{ChunkDecoder, ChunkLimits, decode_aws_chunked};
use s3_api::ops::headers as parse;
use s3_api::request::Query;
use s3_api::xml::{XmlError, XmlReader, XmlWriter};

/// Decoding must not depend on how the bytes arrive, and must never give out more than came in.
pub fn aws_chunked(input: &[u8]) {
    let Some((&[step, length], body)) = input.split_first_chunk() else { return };
    let limits = || ChunkLimits {
        decoded_length: u64::from(length),
        signed_chunk_bytes_max: 1 << 20,
        trailer_bytes_max: 1 << 10,
    };
    let decoder = || ChunkDecoder::new(None, step % 2 == 0, limits());
    let whole = decode_aws_chunked(decoder(), [body]);
    let pieces = decode_aws_chunked(decoder(), body.chunks(usize::from(step / 2).max(1)));
    match (whole, pieces) {
        (Ok(whole), Ok(pieces)) => {
            assert_eq!(whole, pieces, "the same bytes in other pieces decode differently");
            assert!(whole.data.len() < body.len(), "more came out than went in");
        }
        (Err(_), Err(_)) => {}
        (whole, pieces) => panic!("in one piece {whole:?}, in pieces {pieces:?}"),
    }
}

/// Reading ends, within limits, and what a writer escapes a reader gives back.
pub fn xml(input: &[u8]) {
    if let Ok(mut reader) = XmlReader::new(input)
        && reader.root("Delete").is_ok()
    {
        let _refused_or_read = walk(&mut reader, 0);
    }
    if let Ok(text) = std::str::from_utf8(input)
        && text.chars().all(|c| c >= ' ')
        && text.len() < 4_096
    {
        let document = XmlWriter::with_text("Key", text);
        let mut reader = XmlReader::new(document.as_bytes()).expect("own documents are UTF-8");
        reader.root("Key").expect("the root just written");
        assert_eq!(reader.text().expect("the text just written"), text);
    }
}

fn walk(reader: &mut XmlReader<'_>, depth: usize) -> Result<(), XmlError> {
    assert!(depth <= 64, "the reader has no limit on depth");
    while let Some(name) = reader.child()? {
        if name.len() % 3 == 0 {
            reader.skip()?;
        } else {
            walk(reader, depth + 1)?;
        }
    }
    Ok(())
}

/// Lines: path, query, then `name: value` headers. A canonical query is its own canonical form.
pub fn canonical(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let mut lines = text.split('\n');
    let (path, query) = (lines.next().unwrap_or("/"), lines.next().unwrap_or(""));
    let headers = header_lines(lines);
    let names: Vec<String> = headers.keys().map(|name| name.as_str().to_owned()).collect();
    let request = SignedRequest { method: "PUT", path, query, headers: &headers, host: "localhost" };
    if let Ok(made) = canonical_request(&request, &names, "UNSIGNED-PAYLOAD") {
        assert!(made.starts_with(b"PUT\n") && made.ends_with(b"\nUNSIGNED-PAYLOAD"));
    }
    if let Ok(once) = canonical_query(query) {
        let text = String::from_utf8(once).expect("a canonical query is ASCII");
        let again = canonical_query(&text).expect("a canonical query decodes");
        assert_eq!(again, text.as_bytes(), "a canonical query changes when it is canonicalised");
    }
}

/// `Authorization` and the parameters of a presigned URL.
pub fn authorization(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Ok(parsed) = parse_authorization(text) {
        assert!(!parsed.signed_headers.is_empty(), "nothing was signed");
    }
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    let query = Query(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect());
    if let Ok(parsed) = parse_presigned(&query) {
        assert!((1..=604_800).contains(&parsed.expires.as_secs()), "{:?}", parsed.expires);
    }
}

/// Range, condition, checksum and metadata headers.
pub fn headers(input: &[u8]) {
    let headers = header_lines(String::from_utf8_lossy(input).split('\n'));
    let _range = parse::range(&headers);
    let _conditions = parse::read_conditions(&headers);
    let _condition = parse::write_condition(&headers);
    let _checksum = parse::object_checksum(&headers);
    if let Ok(attributes) = parse::attributes(&headers, 2_048) {
        let bytes: usize =
            attributes.user_metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
        assert!(bytes <= 2_048, "{bytes} bytes of user metadata were let through");
        let mut answer = HeaderMap::new();
        parse::put_attributes(&mut answer, &attributes);
    }
    if let Ok(Some((first, last))) = parse::copy_source_range(&headers) {
        assert!(first <= last, "a range that ends before it begins");
    }
}

fn header_lines<'a>(lines: impl Iterator<Item = &'a str>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines.take(100) {
        if let Some((name, value)) = line.split_once(':')
            && let Ok(name) = HeaderName::from_bytes(name.as_bytes())
            && let Ok(value) = HeaderValue::from_bytes(value.trim().as_bytes())
        {
            headers.append(name, value);
        }
    }
    headers
}
