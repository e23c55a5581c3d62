//! Just enough of an S3 client for the self-test and for backups: path style, Signature Version 4 in the header.
//! Source: AWS, "Signature Calculations for the Authorization Header".

use bytes::Bytes;
use data_encoding::HEXLOWER;
use grid_types::Timestamp;
use http::{Method, Request, Response, header};
use http_body_util::Full;
use ring::digest::{SHA256, digest};
use ring::hmac;

use super::{AnswerStream, ClientError, Target, segment};

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const UNSIGNED: &str = "UNSIGNED-PAYLOAD";

/// What is signed of a request, beside host and date.
pub struct S3Call<'a> {
    /// The method.
    pub method: Method,
    /// The path, encoded.
    pub path: &'a str,
    /// Names and values, not encoded.
    pub query: &'a [(&'a str, &'a str)],
    /// SHA-256 of the body, hex, or that there is none in the signature.
    pub payload: String,
}

impl S3Call<'_> {
    /// Encoded, and in the order that the signature wants.
    fn canonical_query(&self) -> String {
        let mut pairs: Vec<String> =
            self.query.iter().map(|(name, value)| format!("{}={}", segment(name), segment(value))).collect();
        pairs.sort_unstable();
        pairs.join("&")
    }
}

/// A client with one access key.
#[derive(Clone)]
pub struct S3Client {
    /// Where.
    pub target: Target,
    /// Public id.
    pub access_key: String,
    /// Secret.
    pub secret_key: String,
    /// Region in the signature.
    pub region: String,
}

impl S3Client {
    /// Sends one request. `path` holds unreserved letters and `/` alone, so that it needs no encoding.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        now: Timestamp,
    ) -> Result<Response<Bytes>, ClientError> {
        let call = S3Call { method, path, query: &[], payload: UNSIGNED.to_owned() };
        self.target.send(self.request(&call, body, now)?).await
    }

    /// Sends one request with a signed body; `path` is encoded, `query` is not.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Bytes,
        now: Timestamp,
    ) -> Result<Response<Bytes>, ClientError> {
        let payload = HEXLOWER.encode(digest(&SHA256, &body).as_ref());
        let call = S3Call { method, path, query, payload };
        self.target.send(self.request(&call, body, now)?).await
    }

    /// Reads an object as it comes.
    pub async fn read(&self, path: &str, now: Timestamp) -> Result<Response<AnswerStream>, ClientError> {
        let payload = HEXLOWER.encode(digest(&SHA256, &[]).as_ref());
        let call = S3Call { method: Method::GET, path, query: &[], payload };
        self.target.open(self.request(&call, Bytes::new(), now)?).await
    }

    fn request(
        &self,
        call: &S3Call<'_>,
        body: Bytes,
        now: Timestamp,
    ) -> Result<Request<Full<Bytes>>, ClientError> {
        let date = amz_date(now);
        let host = self.target.authority();
        let query = call.canonical_query();
        let uri = if query.is_empty() { call.path.to_owned() } else { format!("{}?{query}", call.path) };
        Request::builder()
            .method(call.method.clone())
            .uri(uri)
            .header(header::HOST, &host)
            .header("x-amz-date", &date)
            .header("x-amz-content-sha256", &call.payload)
            .header(header::AUTHORIZATION, self.authorization(call, &host, &date))
            .body(Full::new(body))
            .map_err(|error| ClientError::Address(error.to_string()))
    }

    pub(super) fn authorization(&self, call: &S3Call<'_>, host: &str, date: &str) -> String {
        let signed = "host;x-amz-content-sha256;x-amz-date";
        let S3Call { method, path, payload, .. } = call;
        let query = call.canonical_query();
        let canonical = format!(
            "{method}\n{path}\n{query}\nhost:{host}\nx-amz-content-sha256:{payload}\nx-amz-date:{date}\n\n{signed}\n{payload}"
        );
        let day = &date[..8];
        let scope = format!("{day}/{}/s3/aws4_request", self.region);
        let hash = HEXLOWER.encode(digest(&SHA256, canonical.as_bytes()).as_ref());
        let to_sign = format!("{ALGORITHM}\n{date}\n{scope}\n{hash}");
        let mut key = format!("AWS4{}", self.secret_key).into_bytes();
        for part in [day, &self.region, "s3", "aws4_request"] {
            key = mac(&key, part);
        }
        let signature = HEXLOWER.encode(&mac(&key, &to_sign));
        format!(
            "{ALGORITHM} Credential={}/{scope}, SignedHeaders={signed}, Signature={signature}",
            self.access_key
        )
    }
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
}

/// `YYYYMMDDTHHMMSSZ`. Days to a date after Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
pub fn amz_date(now: Timestamp) -> String {
    let seconds = now.as_secs();
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}{month:02}{day:02}T{:02}{:02}{:02}Z", of_day / 3_600, of_day / 60 % 60, of_day % 60)
}
