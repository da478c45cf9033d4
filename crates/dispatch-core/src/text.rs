//! How sizes and durations are told to people.

use std::time::Duration;

/// A size in bytes, such as `512 B`, `14.8 MiB`.
#[must_use]
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    #[expect(clippy::cast_precision_loss, reason = "one digit after the point is shown")]
    let mut value = count as f64 / 1024.0;
    let mut unit = 0;
    // 1023.95 would be shown as 1024.0 of the smaller unit.
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// A duration in its two largest units, such as `850 ms`, `4.2 s`, `15 min`, `2 h 5 min`.
#[must_use]
pub fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0 => format!("{} ms", time.as_millis()),
        1..60 if time.subsec_millis() < 50 => format!("{seconds} s"),
        1..60 => format!("{seconds}.{} s", time.subsec_millis() / 100),
        60..3600 => two(seconds, 60, "min", 1, "s"),
        3600..86400 => two(seconds, 3600, "h", 60, "min"),
        _ => two(seconds, 86400, "d", 3600, "h"),
    }
}

fn two(seconds: u64, large: u64, large_unit: &str, small: u64, small_unit: &str) -> String {
    match seconds % large / small {
        0 => format!("{} {large_unit}", seconds / large),
        rest => format!("{} {large_unit} {rest} {small_unit}", seconds / large),
    }
}

/// `1 report`, `2 reports`.
#[must_use]
pub fn count(number: u64, thing: &str) -> String {
    if number == 1 { format!("1 {thing}") } else { format!("{number} {thing}s") }
}

/// A text of at most so many characters; what is left out at its end shows as `…`.
#[must_use]
pub fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_well() {
        let shown: Vec<_> = [0, 1023, 1024, 15_000_000, 1024 * 1024 - 1, 6 << 30].map(bytes).into();
        assert_eq!(shown, ["0 B", "1023 B", "1.0 KiB", "14.3 MiB", "1.0 MiB", "6.0 GiB"]);
    }

    #[test]
    fn durations_read_well() {
        let shown: Vec<_> = [0, 850, 4200, 60_000, 125_000, 7_500_000, 90_000_000]
            .map(|millis| duration(Duration::from_millis(millis)))
            .into();
        assert_eq!(shown, ["0 ms", "850 ms", "4.2 s", "1 min", "2 min 5 s", "2 h 5 min", "1 d 1 h"]);
    }

    #[test]
    fn what_is_too_long_is_cut_between_letters_and_shows_it() {
        assert_eq!(shortened("grüße", 5), "grüße");
        assert_eq!(shortened("grüße", 4), "grü…");
        assert_eq!(shortened("x", 0), "…");
    }
}
