//! Times of this protocol: RFC 3339, written in whole seconds with `Z`, because the desktop's decoder
//! refuses fractions.

use time::{Duration, OffsetDateTime, format_description::well_known::Rfc3339};

/// `2026-02-25T10:00:00Z` of Unix milliseconds.
pub fn format_time(unix_ms: u64) -> String {
    let seconds = i64::try_from(unix_ms / 1_000).unwrap_or(i64::MAX);
    let at = OffsetDateTime::from_unix_timestamp(seconds);
    let at = at.unwrap_or(OffsetDateTime::UNIX_EPOCH);
    at.format(&Rfc3339).unwrap_or_default()
}

/// Unix milliseconds of an RFC 3339 time; `None` if it is not one, or before 1970.
pub fn parse_time(text: &str) -> Option<u64> {
    let at = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    let since: Duration = at - OffsetDateTime::UNIX_EPOCH;
    u64::try_from(since.whole_milliseconds()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_whole_seconds_and_are_read_in_every_form_of_the_rfc() {
        assert_eq!(format_time(1_772_013_600_999), "2026-02-25T10:00:00Z");
        for text in ["2026-02-25T10:00:00Z", "2026-02-25T11:00:00.000+01:00"] {
            assert_eq!(parse_time(text), Some(1_772_013_600_000), "{text}");
        }
        for text in ["", "yesterday", "2026-02-25", "1772013600", "1960-01-01T00:00:00Z"] {
            assert_eq!(parse_time(text), None, "{text}");
        }
    }
}
