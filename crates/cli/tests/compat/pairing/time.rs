//! Times as the protocol writes them, computed here so that nothing is taken from the relay.

use std::time::Duration;

use belay_testkit::unix_ms;

const DAY: i64 = 86_400;

/// `2026-02-25T10:00:00.123Z`. Days are counted from 0000-03-01: a leap day is a year's last.
pub(crate) fn rfc3339(ms: u64) -> String {
    let seconds = i64::try_from(ms / 1_000).expect("a time of this age");
    let (days, second) = (seconds / DAY + 719_468, seconds % DAY);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    format!(
        "{:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
        year + era * 400 + carry,
        second / 3_600,
        second / 60 % 60,
        second % 60,
        ms % 1_000
    )
}

/// Unix seconds of a text that must be a time in whole seconds with `Z`.
pub(crate) fn whole_seconds(text: &str) -> i64 {
    let form: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert_eq!(form, "0000-00-00T00:00:00Z", "{text}");
    let number = |from: usize, to: usize| text[from..to].parse::<i64>().expect("digits");
    let (year, month, day) = (number(0, 4), number(5, 7), number(8, 10));
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    (days - 719_468) * DAY + number(11, 13) * 3_600 + number(14, 16) * 60 + number(17, 19)
}

/// Waits until the clock has passed a time.
pub(crate) async fn passed(ms: u64) {
    while unix_ms() <= ms {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
