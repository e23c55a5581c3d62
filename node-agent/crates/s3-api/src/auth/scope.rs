//! The credential scope: who signs, for which day, region and service.

use std::fmt;

/// `KEY/20130524/us-east-1/s3/aws4_request`, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialScope {
    /// Access key id.
    pub key_id: String,
    /// `yyyymmdd`.
    pub date: String,
    /// Any region is accepted.
    pub region: String,
}

/// Why a credential is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    /// Not five parts, or an empty one, or a date that is none.
    #[error("the Credential is mal-formed; expecting \"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request\".")]
    Malformed,
    /// Another service.
    #[error("incorrect service \"{0}\". This endpoint belongs to \"s3\".")]
    Service(String),
    /// Another last part.
    #[error("incorrect terminal \"{0}\". This endpoint uses \"aws4_request\".")]
    Terminal(String),
}

const SERVICE: &str = "s3";
const TERMINAL: &str = "aws4_request";

impl CredentialScope {
    /// From the credential as sent.
    pub fn parse(credential: &str) -> Result<Self, ScopeError> {
        let mut parts = credential.split('/');
        let mut part = || parts.next().filter(|part| !part.is_empty()).ok_or(ScopeError::Malformed);
        let (key_id, date, region, service, terminal) = (part()?, part()?, part()?, part()?, part()?);
        if parts.next().is_some() || date.len() != 8 || !date.bytes().all(|b| b.is_ascii_digit()) {
            return Err(ScopeError::Malformed);
        }
        if service != SERVICE {
            return Err(ScopeError::Service(service.to_owned()));
        }
        if terminal != TERMINAL {
            return Err(ScopeError::Terminal(terminal.to_owned()));
        }
        Ok(Self { key_id: key_id.to_owned(), date: date.to_owned(), region: region.to_owned() })
    }
}

/// The scope without the key id, as it stands in strings to sign.
impl fmt::Display for CredentialScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{SERVICE}/{TERMINAL}", self.date, self.region)
    }
}
