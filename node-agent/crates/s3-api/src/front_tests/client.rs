//! A client that signs and writes raw bytes, so that each test can break exactly one thing.

use grid_types::Timestamp;
use http::{HeaderMap, HeaderName, HeaderValue};
use ring::digest::{SHA256, digest};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::TcpStream;

use crate::auth::{CredentialScope, SignedRequest, SigningKey, canonical_request, format_basic};

pub(super) const UNSIGNED: &str = "UNSIGNED-PAYLOAD";

pub(super) fn hex_sha256(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(digest(&SHA256, bytes).as_ref())
}

#[derive(Clone)]
pub(super) struct Client {
    pub(super) key_id: String,
    pub(super) secret: String,
    pub(super) host: String,
    pub(super) now: Timestamp,
}

impl Client {
    pub(super) fn scope(&self) -> CredentialScope {
        let date = &format_basic(self.now)[..8];
        CredentialScope::parse(&format!("{}/{date}/eu-anywhere-7/s3/aws4_request", self.key_id)).unwrap()
    }

    fn sign(&self, request: &SignedRequest<'_>, signed: &[String], payload: &str) -> String {
        let canonical = canonical_request(request, signed, payload).unwrap();
        let scope = self.scope();
        let text =
            format!("AWS4-HMAC-SHA256\n{}\n{scope}\n{}", format_basic(self.now), hex_sha256(&canonical));
        SigningKey::derive(&self.secret, &scope).sign(text.as_bytes())
    }

    /// A signed request up to its body.
    pub(super) fn head(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        payload: &str,
    ) -> Vec<u8> {
        let date = format_basic(self.now);
        let mut all =
            vec![("host", self.host.as_str()), ("x-amz-content-sha256", payload), ("x-amz-date", &date)];
        all.extend_from_slice(headers);
        let map: HeaderMap = all
            .iter()
            .map(|(name, value)| {
                (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap())
            })
            .collect();
        let mut signed: Vec<String> =
            all.iter().map(|(name, _)| (*name).to_owned()).filter(|name| name != "expect").collect();
        signed.sort();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let request = SignedRequest { method, path, query, headers: &map, host: &self.host };
        let signature = self.sign(&request, &signed, payload);
        let mut text = format!("{method} {target} HTTP/1.1\r\n");
        for (name, value) in all {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str(&format!(
            "authorization: AWS4-HMAC-SHA256 Credential={}/{}, SignedHeaders={}, Signature={signature}\r\n\r\n",
            self.key_id,
            self.scope(),
            signed.join(";"),
        ));
        text.into_bytes()
    }

    /// A signed request with its body.
    pub(super) fn request(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        payload: &str,
        body: &[u8],
    ) -> Vec<u8> {
        let length = body.len().to_string();
        let mut headers = headers.to_vec();
        headers.push(("content-length", &length));
        [&self.head(method, target, &headers, payload), body].concat()
    }

    /// A presigned target.
    pub(super) fn presign(&self, method: &str, target: &str, seconds: u64) -> String {
        let scope = self.scope();
        let join = if target.contains('?') { '&' } else { '?' };
        let unsigned = format!(
            "{target}{join}X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={}&X-Amz-Date={}&X-Amz-Expires={seconds}&X-Amz-SignedHeaders=host",
            format!("{}/{scope}", self.key_id).replace('/', "%2F"),
            format_basic(self.now),
        );
        let (path, query) = unsigned.split_once('?').unwrap();
        let headers = HeaderMap::new();
        let request = SignedRequest { method, path, query, headers: &headers, host: &self.host };
        let signature = self.sign(&request, &["host".to_owned()], UNSIGNED);
        format!("{unsigned}&X-Amz-Signature={signature}")
    }
}

#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// The text of an element of an XML body.
    pub(super) fn element(&self, name: &str) -> String {
        let text = String::from_utf8_lossy(&self.body).into_owned();
        let after = text.split_once(&format!("<{name}>")).map(|(_, after)| after.to_owned());
        after
            .and_then(|after| after.split_once(&format!("</{name}>")).map(|(text, _)| text.to_owned()))
            .unwrap_or_default()
    }
}

/// Reads one answer; the connection stays usable.
pub(super) async fn read_answer(stream: &mut TcpStream, method: &str) -> Answer {
    // One byte of buffer, so that nothing of the next answer is taken.
    let mut reader = BufReader::with_capacity(1, stream);
    let mut line = String::new();
    reader.read_line(&mut line).await.unwrap();
    let status = line
        .split(' ')
        .nth(1)
        .and_then(|word| word.parse().ok())
        .unwrap_or_else(|| panic!("answer {line:?}"));
    let mut answer = Answer { status, headers: Vec::new(), body: Vec::new() };
    loop {
        line.clear();
        reader.read_line(&mut line).await.unwrap();
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        answer.headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    if method == "HEAD" || status == 304 || status == 204 || status < 200 {
        return answer;
    }
    if answer.header("transfer-encoding") == "chunked" {
        loop {
            line.clear();
            reader.read_line(&mut line).await.unwrap();
            let size = usize::from_str_radix(line.trim_end(), 16).unwrap();
            let mut piece = vec![0; size + 2];
            reader.read_exact(&mut piece).await.unwrap();
            if size == 0 {
                return answer;
            }
            answer.body.extend_from_slice(&piece[..size]);
        }
    }
    answer.body = vec![0; answer.header("content-length").parse().unwrap()];
    reader.read_exact(&mut answer.body).await.unwrap();
    answer
}
