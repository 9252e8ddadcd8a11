//! Times and ages as people write them: `2026-11-21T12:43:13.250Z`, `7d`.
//!
//! A time is RFC 3339 in UTC, with milliseconds, in the Gregorian calendar; leap seconds do not exist, as in Unix time.
//! What lies beyond the year 9999 has no such spelling and stays a number of milliseconds.

/// Milliseconds of a day.
const DAY_MS: u64 = 86_400_000;
/// Days of 400 years, after which the calendar repeats.
const ERA_DAYS: u64 = 146_097;
/// Days from 1 March of the year 0 to 1 January 1970. Years that begin in March have their leap day at the end.
const EPOCH_DAYS: u64 = 719_468;
/// The first millisecond of the year 10,000.
const FIVE_DIGIT_YEARS_MS: u64 = 253_402_300_800_000;

/// The time, for people. `ms` counts from the Unix epoch.
pub fn shown(ms: u64) -> String {
    if ms >= FIVE_DIGIT_YEARS_MS {
        return format!("{ms} ms");
    }
    let (year, month, day) = date_of(ms / DAY_MS);
    let of_day = ms % DAY_MS;
    let (hour, minute, second) = (of_day / 3_600_000, of_day / 60_000 % 60, of_day / 1_000 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", of_day % 1_000)
}

/// The time that `text` names: RFC 3339 in UTC, with or without milliseconds; a date alone is its first moment; a bare
/// number counts milliseconds from the Unix epoch. Nothing before 1970.
pub fn parse(text: &str) -> Option<u64> {
    if let Ok(ms) = text.parse() {
        return Some(ms);
    }
    let (date, time) = match text.split_once('T') {
        Some((date, time)) => (date, time.strip_suffix('Z')?),
        None => (text, "00:00:00"),
    };
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let (time, millis) = match time.split_once('.') {
        Some((time, millis)) => (time, numbers(millis, '.', [3])?),
        None => (time, [0]),
    };
    let [hour, minute, second] = numbers(time, ':', [2, 2, 2])?;
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let days = days_of(year, month, day)?;
    Some(days * DAY_MS + (hour * 60 + minute) * 60_000 + second * 1_000 + millis[0])
}

/// The milliseconds of an age such as `90s`, `15m`, `12h`, `7d` or `250ms`. A bare number names no unit and is no age.
pub fn age_ms(text: &str) -> Option<u64> {
    let digits = text.find(|char: char| !char.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let unit_ms: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => DAY_MS,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit_ms)
}

/// Year, month and day of the day that lies `days` after 1 January 1970.
///
/// Counted in years that begin on 1 March, within an era of 400 years: there the lengths of months follow one line,
/// (153 m + 2) / 5, as in Howard Hinnant's "chrono-Compatible Low-Level Date Algorithms".
fn date_of(days: u64) -> (u64, u64, u64) {
    let days = days + EPOCH_DAYS;
    let (era, of_era) = (days / ERA_DAYS, days % ERA_DAYS);
    // Leap days that have passed: one in 1,460 days, none in 36,524, and the one that ends the era.
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / (ERA_DAYS - 1)) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

/// The reverse of [`date_of`]; `None` for a day that the calendar does not have, or one before 1970.
fn days_of(year: u64, month: u64, day: u64) -> Option<u64> {
    let from_march = (month + 9) % 12;
    let year_from_march = year.checked_sub(u64::from(month <= 2))?;
    let (era, of_era) = (year_from_march / 400, year_from_march % 400);
    let of_year = (153 * from_march + 2) / 5 + day.checked_sub(1)?;
    let days = era * ERA_DAYS + of_era * 365 + of_era / 4 - of_era / 100 + of_year;
    let days = days.checked_sub(EPOCH_DAYS)?;
    // The 31st of a short month would have become the 1st of the next.
    (date_of(days) == (year, month, day)).then_some(days)
}

/// Numbers of exactly these many digits between separators.
fn numbers<const N: usize>(text: &str, separator: char, digits: [usize; N]) -> Option<[u64; N]> {
    let mut parts = text.split(separator);
    let mut found = [0; N];
    for (place, digits) in found.iter_mut().zip(digits) {
        let part = parts.next()?;
        if part.len() != digits || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        *place = part.parse().ok()?;
    }
    parts.next().is_none().then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The calendar as it is learnt at school.
    fn days_in(year: u64, month: u64) -> u64 {
        match month {
            4 | 6 | 9 | 11 => 30,
            2 if year.is_multiple_of(if year.is_multiple_of(100) { 400 } else { 4 }) => 29,
            2 => 28,
            _ => 31,
        }
    }

    #[test]
    fn every_day_from_1970_to_9999_has_its_date_and_its_date_leads_back() {
        let mut days = 0;
        for year in 1970..=9999 {
            for month in 1..=12 {
                for day in 1..=days_in(year, month) {
                    assert_eq!(date_of(days), (year, month, day));
                    assert_eq!(days_of(year, month, day), Some(days));
                    days += 1;
                }
                assert_eq!(days_of(year, month, days_in(year, month) + 1), None);
            }
        }
        assert_eq!(days * DAY_MS, FIVE_DIGIT_YEARS_MS);
    }

    #[test]
    fn times_are_shown_to_the_millisecond_and_read_back() {
        assert_eq!(shown(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(shown(951_827_696_789), "2000-02-29T12:34:56.789Z");
        assert_eq!(shown(FIVE_DIGIT_YEARS_MS - 1), "9999-12-31T23:59:59.999Z");
        assert_eq!(shown(FIVE_DIGIT_YEARS_MS), "253402300800000 ms");
        assert_eq!(shown(u64::MAX), "18446744073709551615 ms");
        for ms in [0, 1, 951_827_696_789, FIVE_DIGIT_YEARS_MS - 1] {
            assert_eq!(parse(&shown(ms)), Some(ms));
        }
        assert_eq!(parse("2000-02-29"), Some(951_782_400_000));
        assert_eq!(parse("2000-02-29T12:34:56Z"), Some(951_827_696_000));
        assert_eq!(parse("951827696789"), Some(951_827_696_789));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "today",
            "1969-12-31",
            "1999-02-29",
            "2000-02-30",
            "2000-13-01",
            "2000-00-01",
            "2000-01-00",
            "2000-1-01",
            "2000-01-01T00:00:00",
            "2000-01-01T24:00:00Z",
            "2000-01-01T00:60:00Z",
            "2000-01-01T00:00:60Z",
            "-5",
            "2000-01-01T00:00:00.1Z",
            "2000-01-01T00:00Z",
            "2000-01-01-01",
            "+2000-01-01",
            "0000-01-01",
            "2000-99-99",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn an_age_names_its_unit() {
        for (text, ms) in [("0s", 0), ("250ms", 250), ("90s", 90_000), ("15m", 900_000), ("12h", 43_200_000)] {
            assert_eq!(age_ms(text), Some(ms), "{text}");
        }
        assert_eq!(age_ms("7d"), Some(604_800_000));
        for text in ["", "7", "d", "-7d", "7 d", "7w", "1.5h", "99999999999999999999d", "999999999999999999d"] {
            assert_eq!(age_ms(text), None, "{text}");
        }
    }
}
