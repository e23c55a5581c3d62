//! Multipart uploads: create, part, list parts, list uploads, complete, abort. Part copies are in `copy`.

use grid_types::{PART_COUNT_MAX, UploadId};
use http::header::HOST;
use http::{HeaderMap, StatusCode};
use object_engine::{
    ChecksumType, CompletePart, CreateUpload, ListUploads, PartInfo, PutPart, UploadInfo, UploadListing,
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::copy::write_checksum;
use super::headers::{
    algorithm_name, attributes, etag_of_header, invalid_argument, kind_of_element, object_checksum,
    parse_checksum, parse_checksum_type, text, type_name, upload_checksum, write_condition,
};
use super::keep_alive::{self, About, Finished};
use super::{
    Answered, SEALED, collect_xml, empty_answer, iso_time, number_parameter, object_get, object_put,
    owner_of, page_parameter, quoted, refused, set, storage_class, url_encoding, write_owner, xml_answer,
};
use crate::request::{Query, S3Request};
use crate::xml::{XmlError, XmlReader, XmlWriter, url_encode};
use crate::{S3Error, S3ErrorCode, S3Front};

/// Parts of one page of a sum over all parts.
const PARTS_STEP: usize = 1_000;

/// `uploadId`. One that cannot be ours is one that there is not.
pub(crate) fn upload_id(query: &Query) -> Result<UploadId, S3Error> {
    let text = query.get("uploadId").unwrap_or_default();
    text.parse().map_err(|_| S3Error::from(S3ErrorCode::NO_SUCH_UPLOAD).detail("UploadId", text))
}

/// `partNumber` of an upload.
pub(crate) fn part_number_required(query: &Query) -> Result<u16, S3Error> {
    match object_get::part_number(query)? {
        Some(number) => Ok(number),
        None => Err(invalid_argument(
            "Part number must be an integer between 1 and 10000, inclusive",
            "partNumber",
            "",
        )),
    }
}

pub(crate) async fn create_upload(front: &S3Front, request: S3Request) -> Answered {
    let checksum = upload_checksum(&request.headers)?;
    let (bucket, key) = (request.bucket(), request.key());
    let create = CreateUpload {
        bucket: bucket.clone(),
        key: key.clone(),
        attributes: attributes(&request.headers, front.config.user_metadata_bytes_max)?,
        storage_class: storage_class(front, &request.headers)?,
        checksum,
    };
    let upload =
        front.engine.create_upload(create).await.map_err(|error| refused(error, bucket, Some(key)))?;
    let mut xml = XmlWriter::new("InitiateMultipartUploadResult");
    xml.element("Bucket", bucket).element("Key", key).element("UploadId", upload);
    let mut answer = xml_answer(xml.finish());
    let headers = answer.headers_mut();
    headers.insert("x-amz-server-side-encryption", SEALED);
    if let Some((kind, r#type)) = checksum {
        set(headers, "x-amz-checksum-algorithm", algorithm_name(kind));
        set(headers, "x-amz-checksum-type", type_name(r#type));
    }
    Ok(answer)
}

pub(crate) async fn upload_part(front: &S3Front, request: S3Request) -> Answered {
    let number = part_number_required(&request.query)?;
    let upload = upload_id(&request.query)?;
    if request.body.length.is_none() {
        return Err(S3ErrorCode::MISSING_CONTENT_LENGTH.into());
    }
    let (bucket, key) = (request.bucket().clone(), request.key().clone());
    let put = PutPart {
        bucket: bucket.clone(),
        key: key.clone(),
        upload,
        number,
        length: request.body.length,
        expected: request.body.expected,
        checksum: request.body.checksum,
        body: request.body.stream.into_inner(),
    };
    let written = front.engine.put_part(put).await.map_err(|error| refused(error, &bucket, Some(&key)))?;
    let mut answer = empty_answer(StatusCode::OK);
    object_put::written_headers(answer.headers_mut(), &written.etag, written.checksum.as_ref());
    // A part's checksum has no type; the object's will have one.
    answer.headers_mut().remove("x-amz-checksum-type");
    Ok(answer)
}

pub(crate) async fn list_parts(front: &S3Front, request: S3Request) -> Answered {
    let query = &request.query;
    let upload = upload_id(query)?;
    let max_parts = page_parameter(query, "max-parts")?;
    let marker = number_parameter(query, "part-number-marker", i32::MAX.unsigned_abs().into())?.unwrap_or(0);
    // No part is numbered above S3's limit, so a greater marker is after the last one.
    let after = u16::try_from(marker).unwrap_or(PART_COUNT_MAX).min(PART_COUNT_MAX);
    let encode = url_encoding(query)?;
    let (bucket, key) = (request.bucket(), request.key());
    let (info, parts, more) = front
        .engine
        .list_parts(bucket, key, upload, after, max_parts.max(1))
        .await
        .map_err(|error| refused(error, bucket, Some(key)))?;
    let (parts, more) = if max_parts == 0 { (Vec::new(), false) } else { (parts, more) };
    let owner = owner_of(front, bucket).await?;
    let page = PartsPage { bucket: bucket.as_str(), marker: after, max_parts, more, encode, owner: &owner };
    Ok(xml_answer(parts_document(&page, &info, &parts)))
}

/// What a ListParts document says beside its parts.
pub(crate) struct PartsPage<'a> {
    pub bucket: &'a str,
    pub marker: u16,
    pub max_parts: usize,
    pub more: bool,
    pub encode: bool,
    pub owner: &'a str,
}

pub(crate) fn parts_document(page: &PartsPage<'_>, info: &UploadInfo, parts: &[PartInfo]) -> String {
    let key = info.key.as_str();
    let mut xml = XmlWriter::new("ListPartsResult");
    xml.element("Bucket", page.bucket);
    xml.element("Key", if page.encode { url_encode(key) } else { key.to_owned() });
    xml.element("UploadId", info.upload);
    write_owner(&mut xml, "Initiator", page.owner);
    write_owner(&mut xml, "Owner", page.owner);
    xml.element("StorageClass", &info.storage_class);
    xml.element("PartNumberMarker", page.marker);
    xml.element("NextPartNumberMarker", parts.last().map_or(0, |part| part.number));
    xml.element("MaxParts", page.max_parts);
    xml.optional("EncodingType", page.encode.then_some("url"));
    xml.element("IsTruncated", page.more);
    for part in parts {
        xml.open("Part").element("PartNumber", part.number).element("LastModified", iso_time(part.modified));
        xml.element("ETag", quoted(&part.etag)).element("Size", part.size);
        write_checksum(&mut xml, part.checksum.as_ref());
        xml.close();
    }
    if let Some((kind, r#type)) = info.checksum {
        xml.element("ChecksumAlgorithm", algorithm_name(kind)).element("ChecksumType", type_name(r#type));
    }
    xml.finish()
}

pub(crate) async fn list_uploads(front: &S3Front, request: S3Request) -> Answered {
    let query = &request.query;
    let non_empty = |name: &str| query.get(name).filter(|text| !text.is_empty()).map(str::to_owned);
    let page = UploadsPage {
        bucket: request.bucket().as_str().to_owned(),
        prefix: query.get("prefix").unwrap_or_default().to_owned(),
        delimiter: non_empty("delimiter"),
        key_marker: non_empty("key-marker"),
        upload_marker: non_empty("upload-id-marker"),
        max_uploads: page_parameter(query, "max-uploads")?,
        encode: url_encoding(query)?,
    };
    // Without a key marker the upload marker is ignored, as S3 says.
    let upload_after = match (&page.key_marker, &page.upload_marker) {
        (Some(_), Some(marker)) => Some(
            marker
                .parse()
                .map_err(|_| invalid_argument("Invalid uploadId marker", "upload-id-marker", marker))?,
        ),
        _ => None,
    };
    let owner = owner_of(front, request.bucket()).await?;
    let listing = if page.max_uploads == 0 {
        UploadListing::default()
    } else {
        let asked = ListUploads {
            prefix: page.prefix.clone(),
            delimiter: page.delimiter.clone(),
            key_after: page.key_marker.clone(),
            upload_after,
            limit: page.max_uploads,
        };
        let found = front.engine.list_uploads(request.bucket(), asked).await;
        found.map_err(|error| refused(error, request.bucket(), None))?
    };
    Ok(xml_answer(uploads_document(&page, &listing, &owner)))
}

/// What a ListMultipartUploads asked for.
pub(crate) struct UploadsPage {
    pub bucket: String,
    pub prefix: String,
    pub delimiter: Option<String>,
    pub key_marker: Option<String>,
    pub upload_marker: Option<String>,
    pub max_uploads: usize,
    pub encode: bool,
}

pub(crate) fn uploads_document(page: &UploadsPage, listing: &UploadListing, owner: &str) -> String {
    let show = |text: &str| if page.encode { url_encode(text) } else { text.to_owned() };
    let mut xml = XmlWriter::new("ListMultipartUploadsResult");
    xml.element("Bucket", &page.bucket);
    xml.element("KeyMarker", show(page.key_marker.as_deref().unwrap_or_default()));
    xml.element("UploadIdMarker", page.upload_marker.as_deref().unwrap_or_default());
    if let Some((key, upload)) = &listing.next {
        xml.listed("NextKeyMarker", show(key));
        xml.optional("NextUploadIdMarker", upload.as_ref());
    }
    xml.element("Prefix", show(&page.prefix));
    xml.optional("Delimiter", page.delimiter.as_deref().map(show));
    xml.optional("EncodingType", page.encode.then_some("url"));
    xml.element("MaxUploads", page.max_uploads).element("IsTruncated", listing.next.is_some());
    for upload in &listing.uploads {
        xml.open("Upload").listed("Key", show(upload.key.as_str())).element("UploadId", upload.upload);
        write_owner(&mut xml, "Initiator", owner);
        write_owner(&mut xml, "Owner", owner);
        xml.element("StorageClass", &upload.storage_class).element("Initiated", iso_time(upload.initiated));
        if let Some((kind, r#type)) = upload.checksum {
            xml.element("ChecksumAlgorithm", algorithm_name(kind)).element("ChecksumType", type_name(r#type));
        }
        xml.close();
    }
    for prefix in &listing.prefixes {
        xml.open("CommonPrefixes").listed("Prefix", show(prefix)).close();
    }
    xml.finish()
}

/// The parts that a Complete names, ascending.
pub(crate) fn parse_complete(document: &[u8]) -> Result<Vec<CompletePart>, S3Error> {
    let mut xml = XmlReader::new(document)?;
    let mut parts: Vec<CompletePart> = Vec::new();
    xml.root("CompleteMultipartUpload")?;
    while let Some(name) = xml.child()? {
        if name != "Part" || parts.len() >= usize::from(PART_COUNT_MAX) {
            return Err(S3ErrorCode::MALFORMED_XML.into());
        }
        let part = parse_part(&mut xml)?;
        if parts.last().is_some_and(|last| last.number >= part.number) {
            return Err(S3ErrorCode::INVALID_PART_ORDER.into());
        }
        parts.push(part);
    }
    xml.finish()?;
    if parts.is_empty() {
        return Err(S3ErrorCode::MALFORMED_XML.into());
    }
    Ok(parts)
}

fn parse_part(xml: &mut XmlReader<'_>) -> Result<CompletePart, S3Error> {
    let (mut number, mut etag, mut checksum) = (None, None, None);
    while let Some(name) = xml.child()? {
        let text = xml.text()?;
        match name.as_str() {
            "PartNumber" => number = Some(parse_number(&text)?),
            "ETag" => etag = Some(etag_of_header(&text)),
            other => match kind_of_element(other) {
                Some(kind) if checksum.is_none() => {
                    let parsed = parse_checksum(kind, &text)
                        .ok_or_else(|| S3Error::from(S3ErrorCode::INVALID_PART))?;
                    checksum = Some(parsed);
                }
                Some(_) => return Err(S3ErrorCode::MALFORMED_XML.into()),
                None => return Err(XmlError::Schema(format!("`{other}` is not expected")).into()),
            },
        }
    }
    match (number, etag) {
        (Some(number), Some(etag)) => Ok(CompletePart { number, etag, checksum }),
        _ => Err(S3ErrorCode::MALFORMED_XML.into()),
    }
}

fn parse_number(text: &str) -> Result<u16, S3Error> {
    let number: i64 = text.trim().parse().map_err(|_| S3Error::from(S3ErrorCode::MALFORMED_XML))?;
    match u16::try_from(number) {
        Ok(number) if (1..=PART_COUNT_MAX).contains(&number) => Ok(number),
        _ => Err(invalid_argument(
            "Part number must be an integer between 1 and 10000, inclusive",
            "partNumber",
            text.trim(),
        )),
    }
}

pub(crate) async fn complete_upload(front: &S3Front, request: S3Request) -> Answered {
    let upload = upload_id(&request.query)?;
    let mut checksum = object_checksum(&request.headers)?;
    let r#type =
        text(&request.headers, "x-amz-checksum-type").map(|name| parse_checksum_type(&name)).transpose()?;
    let object_size = object_size(&request.headers)?;
    let condition = write_condition(&request.headers)?;
    let location = location(&request);
    let about = About::of(front, &request);
    let (bucket, key) = (request.bucket().clone(), request.key().clone());
    let document = collect_xml(front, request.body).await?;
    let parts = parse_complete(&document)?;
    drop(document);
    if let Some(wanted) = r#type {
        require_type(front, &bucket, &key, upload, wanted).await?;
    }
    // A composite value may come without its `-N`; the number of parts is known.
    if let Some(checksum) = &mut checksum
        && r#type == Some(ChecksumType::Composite)
        && checksum.r#type == ChecksumType::FullObject
    {
        checksum.r#type = ChecksumType::Composite;
        checksum.parts = u16::try_from(parts.len()).unwrap_or(PART_COUNT_MAX);
    }
    let engine = front.engine.clone();
    let work = async move {
        if let Some(size) = object_size {
            require_size(&engine, &bucket, &key, upload, &parts, size).await?;
        }
        let written = engine
            .complete_upload(&bucket, &key, upload, parts, checksum, condition)
            .await
            .map_err(|error| refused(error, &bucket, Some(&key)))?;
        let mut headers = HeaderMap::new();
        headers.insert("x-amz-server-side-encryption", SEALED);
        let mut xml = XmlWriter::new("CompleteMultipartUploadResult");
        xml.element("Location", location).element("Bucket", &bucket).element("Key", &key);
        xml.element("ETag", quoted(&written.etag));
        write_checksum(&mut xml, written.checksum.as_ref());
        if let Some(checksum) = &written.checksum {
            xml.element("ChecksumType", type_name(checksum.r#type));
        }
        Ok(Finished { headers, document: xml.finish() })
    };
    keep_alive::answer(front.config.keep_alive_every, about, work).await
}

/// `x-amz-mp-object-size`.
fn object_size(headers: &HeaderMap) -> Result<Option<u64>, S3Error> {
    let Some(header) = text(headers, "x-amz-mp-object-size") else { return Ok(None) };
    match header.trim().parse() {
        Ok(size) => Ok(Some(size)),
        Err(_) => Err(invalid_argument(
            "The x-amz-mp-object-size header value must be a whole number",
            "x-amz-mp-object-size",
            &header,
        )),
    }
}

/// `x-amz-checksum-type` of a Complete must be the upload's.
async fn require_type(
    front: &S3Front,
    bucket: &grid_types::BucketName,
    key: &grid_types::ObjectKey,
    upload: UploadId,
    wanted: ChecksumType,
) -> Result<(), S3Error> {
    let chosen = front
        .engine
        .upload_checksum(bucket, key, upload)
        .await
        .map_err(|error| refused(error, bucket, Some(key)))?;
    match chosen {
        Some((_, r#type)) if r#type != wanted => Err(S3Error::new(
            S3ErrorCode::INVALID_REQUEST,
            format!(
                "The upload was created using the {} checksum mode. The complete request must use the same checksum mode.",
                type_name(r#type)
            ),
        )),
        _ => Ok(()),
    }
}

/// The parts named must make up the size that the client says.
async fn require_size(
    engine: &object_engine::ObjectEngine,
    bucket: &grid_types::BucketName,
    key: &grid_types::ObjectKey,
    upload: UploadId,
    named: &[CompletePart],
    size: u64,
) -> Result<(), S3Error> {
    let (mut after, mut sum) = (0, 0_u64);
    loop {
        let (_, parts, more) = engine
            .list_parts(bucket, key, upload, after, PARTS_STEP)
            .await
            .map_err(|error| refused(error, bucket, Some(key)))?;
        for part in &parts {
            if named.binary_search_by_key(&part.number, |named| named.number).is_ok() {
                sum = sum.saturating_add(part.size);
            }
        }
        match parts.last() {
            Some(last) if more => after = last.number,
            _ => break,
        }
    }
    if sum == size {
        return Ok(());
    }
    Err(S3Error::new(
        S3ErrorCode::INVALID_REQUEST,
        format!(
            "The provided 'x-amz-mp-object-size' header value {size} does not match what was computed: {sum}"
        ),
    ))
}

/// The object's address as this client knows it.
fn location(request: &S3Request) -> String {
    /// What a path segment need not encode.
    const PATH: &AsciiSet =
        &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');
    let scheme = if request.peer.tls { "https" } else { "http" };
    let key = utf8_percent_encode(request.key().as_str(), PATH);
    match request.headers.get(HOST).and_then(|host| host.to_str().ok()) {
        Some(host) => format!("{scheme}://{host}/{}/{key}", request.bucket()),
        None => format!("/{}/{key}", request.bucket()),
    }
}

pub(crate) async fn abort_upload(front: &S3Front, request: S3Request) -> Answered {
    let upload = upload_id(&request.query)?;
    let (bucket, key) = (request.bucket(), request.key());
    front
        .engine
        .abort_upload(bucket, key, upload)
        .await
        .map_err(|error| refused(error, bucket, Some(key)))?;
    Ok(empty_answer(StatusCode::NO_CONTENT))
}

#[cfg(test)]
#[path = "multipart_tests.rs"]
mod multipart_tests;
