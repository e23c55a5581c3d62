//! GetObjectAttributes.

use grid_types::PART_COUNT_MAX;
use http::HeaderMap;
use object_engine::{ObjectInfo, PartInfo};

use super::copy::write_checksum;
use super::headers::{invalid_argument, text, type_name};
use super::{Answered, PAGE_MAX, object_get, refused, set, xml_answer};
use crate::error::http_date;
use crate::request::S3Request;
use crate::xml::XmlWriter;
use crate::{S3Error, S3ErrorCode, S3Front};

/// What a request asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub etag: bool,
    pub checksum: bool,
    pub parts: bool,
    pub storage_class: bool,
    pub size: bool,
}

pub(crate) fn parse_wanted(headers: &HeaderMap) -> Result<Wanted, S3Error> {
    let mut wanted = Wanted::default();
    let list = text(headers, "x-amz-object-attributes").unwrap_or_default();
    let mut any = false;
    for name in list.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        any = true;
        match name {
            "ETag" => wanted.etag = true,
            "Checksum" => wanted.checksum = true,
            "ObjectParts" => wanted.parts = true,
            "StorageClass" => wanted.storage_class = true,
            "ObjectSize" => wanted.size = true,
            other => {
                let message = "Invalid attribute name specified.";
                return Err(invalid_argument(message, "x-amz-object-attributes", other));
            }
        }
    }
    if !any {
        let message = "The x-amz-object-attributes header specifying the attributes to be retrieved is either missing or empty";
        return Err(S3Error::new(S3ErrorCode::INVALID_REQUEST, message));
    }
    Ok(wanted)
}

fn number_header(headers: &HeaderMap, name: &'static str) -> Result<Option<u64>, S3Error> {
    let Some(header) = text(headers, name) else { return Ok(None) };
    match header.trim().parse::<u64>() {
        Ok(number) if number <= i32::MAX.unsigned_abs().into() => Ok(Some(number)),
        _ => Err(invalid_argument("Provided value not an integer or within integer range", name, &header)),
    }
}

/// One page of an object's parts.
pub(crate) struct Parts {
    pub marker: u16,
    pub max_parts: usize,
    pub parts: Vec<PartInfo>,
    pub more: bool,
}

pub(crate) async fn get_attributes(front: &S3Front, request: S3Request) -> Answered {
    let wanted = parse_wanted(&request.headers)?;
    let max_parts = number_header(&request.headers, "x-amz-max-parts")?
        .map_or(PAGE_MAX, |asked| usize::try_from(asked).unwrap_or(PAGE_MAX).min(PAGE_MAX));
    let marker = number_header(&request.headers, "x-amz-part-number-marker")?.unwrap_or(0);
    let marker = u16::try_from(marker).unwrap_or(PART_COUNT_MAX).min(PART_COUNT_MAX);
    let info = object_get::require(front, &request).await?;
    let parts = if wanted.parts && info.part_count > 0 {
        let (bucket, key) = (request.bucket(), request.key());
        let (parts, more) = front
            .engine
            .object_parts(bucket, key, info.version, marker, max_parts.max(1))
            .await
            .map_err(|error| refused(error, bucket, Some(key)))?;
        let (parts, more) = if max_parts == 0 { (Vec::new(), false) } else { (parts, more) };
        Some(Parts { marker, max_parts, parts, more })
    } else {
        None
    };
    let mut answer = xml_answer(attributes_document(wanted, &info, parts.as_ref()));
    set(answer.headers_mut(), "last-modified", http_date(info.modified));
    Ok(answer)
}

pub(crate) fn attributes_document(wanted: Wanted, info: &ObjectInfo, parts: Option<&Parts>) -> String {
    let mut xml = XmlWriter::new("GetObjectAttributesResponse");
    // Without quotes, unlike everywhere else in S3.
    xml.optional("ETag", wanted.etag.then_some(&info.etag));
    if wanted.checksum
        && let Some(checksum) = &info.checksum
    {
        xml.open("Checksum");
        write_checksum(&mut xml, Some(checksum));
        xml.element("ChecksumType", type_name(checksum.r#type)).close();
    }
    if let Some(page) = parts {
        xml.open("ObjectParts").element("IsTruncated", page.more).element("MaxParts", page.max_parts);
        xml.element("NextPartNumberMarker", page.parts.last().map_or(0, |part| part.number));
        xml.element("PartNumberMarker", page.marker);
        for part in &page.parts {
            xml.open("Part");
            write_checksum(&mut xml, part.checksum.as_ref());
            xml.element("PartNumber", part.number).element("Size", part.size).close();
        }
        xml.element("PartsCount", info.part_count).close();
    }
    xml.optional("StorageClass", wanted.storage_class.then_some(&info.storage_class));
    xml.optional("ObjectSize", wanted.size.then_some(info.size));
    xml.finish()
}

#[cfg(test)]
#[path = "attributes_tests.rs"]
mod attributes_tests;
