//! The four read conditions, in the order of RFC 9110 section 13.2.2.

use grid_types::Timestamp;

/// Conditions of a GET, HEAD or copy source.
#[derive(Debug, Clone, Default)]
pub struct ReadConditions {
    /// `If-Match`: ETags without quotes; `*` as one element.
    pub if_match: Option<Vec<String>>,
    /// `If-None-Match`: likewise.
    pub if_none_match: Option<Vec<String>>,
    /// `If-Modified-Since`, whole seconds.
    pub if_modified_since: Option<Timestamp>,
    /// `If-Unmodified-Since`, whole seconds.
    pub if_unmodified_since: Option<Timestamp>,
}

/// What the conditions say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadVerdict {
    /// Answer.
    Proceed,
    /// 304.
    NotModified,
    /// 412.
    PreconditionFailed,
}

impl ReadConditions {
    /// Holds the conditions against an object's ETag and modification time. An ETag condition outweighs the time
    /// condition of the same direction: HTTP dates are too coarse to overrule it.
    pub fn check(&self, etag: &str, modified: Timestamp) -> ReadVerdict {
        let names = |etags: &[String]| etags.iter().any(|named| named == "*" || named == etag);
        let seconds = modified.as_secs();
        let matched = match (&self.if_match, self.if_unmodified_since) {
            (Some(etags), _) => names(etags),
            (None, Some(since)) => seconds <= since.as_secs(),
            (None, None) => true,
        };
        if !matched {
            return ReadVerdict::PreconditionFailed;
        }
        let changed = match (&self.if_none_match, self.if_modified_since) {
            (Some(etags), _) => !names(etags),
            (None, Some(since)) => seconds > since.as_secs(),
            (None, None) => true,
        };
        if changed { ReadVerdict::Proceed } else { ReadVerdict::NotModified }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ETAG: &str = "900150983cd24fb0d6963f7d28e17f72";
    const OTHER: &str = "d41d8cd98f00b204e9800998ecf8427e";

    /// Letters: m/M If-Match right/wrong, n/N If-None-Match names another/this, u/U If-Unmodified-Since after/before the
    /// change, s/S If-Modified-Since before/at the change; `*` alone stands behind m or N as the list.
    fn check(letters: &str, expect: ReadVerdict) {
        let modified = Timestamp(1_000_500_000);
        let mut conditions = ReadConditions::default();
        let list = |etag: &str| Some(vec!["ffff".to_owned(), etag.to_owned()]);
        for letter in letters.chars() {
            match letter {
                'm' => conditions.if_match = list(ETAG),
                'M' => conditions.if_match = list(OTHER),
                'n' => conditions.if_none_match = list(OTHER),
                'N' => conditions.if_none_match = list(ETAG),
                'a' => conditions.if_match = Some(vec!["*".into()]),
                'A' => conditions.if_none_match = Some(vec!["*".into()]),
                'u' => conditions.if_unmodified_since = Some(Timestamp::from_secs(1_000)),
                'U' => conditions.if_unmodified_since = Some(Timestamp::from_secs(999)),
                's' => conditions.if_modified_since = Some(Timestamp::from_secs(999)),
                'S' => conditions.if_modified_since = Some(Timestamp::from_secs(1_000)),
                other => panic!("no letter {other}"),
            }
        }
        assert_eq!(conditions.check(ETAG, modified), expect, "{letters}");
    }

    #[test]
    fn each_alone() {
        check("", ReadVerdict::Proceed);
        check("m", ReadVerdict::Proceed);
        check("M", ReadVerdict::PreconditionFailed);
        check("a", ReadVerdict::Proceed);
        check("n", ReadVerdict::Proceed);
        check("N", ReadVerdict::NotModified);
        check("A", ReadVerdict::NotModified);
        check("u", ReadVerdict::Proceed);
        check("U", ReadVerdict::PreconditionFailed);
        check("s", ReadVerdict::Proceed);
        check("S", ReadVerdict::NotModified);
    }

    #[test]
    fn together_as_s3_documents() {
        check("mU", ReadVerdict::Proceed);
        check("Mu", ReadVerdict::PreconditionFailed);
        check("Ns", ReadVerdict::NotModified);
        check("nS", ReadVerdict::Proceed);
        check("mN", ReadVerdict::NotModified);
        check("MN", ReadVerdict::PreconditionFailed);
        check("UN", ReadVerdict::PreconditionFailed);
        check("uS", ReadVerdict::NotModified);
    }
}
