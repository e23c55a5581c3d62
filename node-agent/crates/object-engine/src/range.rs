//! Which bytes a `Range` or `partNumber` stands for.

use std::ops::Range;

use crate::{EngineError, RangeSpec};

impl RangeSpec {
    /// The bytes it stands for in an object of `size` bytes; `None` where it makes no sense and is ignored, as RFC 9110
    /// says of `last < first`; InvalidRange where no byte of the object is meant.
    pub fn resolve(self, size: u64) -> Result<Option<Range<u64>>, EngineError> {
        let range = match self {
            Self::FromTo(first, last) if last < first => return Ok(None),
            Self::FromTo(first, last) => first..last.saturating_add(1).min(size),
            Self::From(first) => first..size,
            Self::Suffix(length) => size.saturating_sub(length)..size,
        };
        if range.start >= range.end { Err(EngineError::InvalidRange { size }) } else { Ok(Some(range)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(spec: RangeSpec, size: u64, expect: Option<Range<u64>>) {
        assert_eq!(spec.resolve(size).unwrap(), expect, "{spec:?} of {size}");
    }

    fn refused(spec: RangeSpec, size: u64) {
        let error = spec.resolve(size).unwrap_err();
        assert!(
            matches!(error, EngineError::InvalidRange { size: told } if told == size),
            "{spec:?} of {size}"
        );
    }

    #[test]
    fn ranges_as_http_means_them() {
        check(RangeSpec::FromTo(0, 0), 10, Some(0..1));
        check(RangeSpec::FromTo(3, 5), 10, Some(3..6));
        check(RangeSpec::FromTo(3, 100), 10, Some(3..10));
        check(RangeSpec::FromTo(9, u64::MAX), 10, Some(9..10));
        check(RangeSpec::FromTo(5, 4), 10, None);
        check(RangeSpec::From(0), 10, Some(0..10));
        check(RangeSpec::From(9), 10, Some(9..10));
        check(RangeSpec::Suffix(1), 10, Some(9..10));
        check(RangeSpec::Suffix(100), 10, Some(0..10));
        check(RangeSpec::Suffix(u64::MAX), 10, Some(0..10));
    }

    #[test]
    fn ranges_without_a_byte() {
        refused(RangeSpec::FromTo(10, 12), 10);
        refused(RangeSpec::From(10), 10);
        refused(RangeSpec::Suffix(0), 10);
        refused(RangeSpec::FromTo(0, 0), 0);
        refused(RangeSpec::From(0), 0);
        refused(RangeSpec::Suffix(5), 0);
    }
}
