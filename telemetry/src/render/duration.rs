//! How long was that, in a few characters?

use std::time::Duration;

/// Three significant digits and the unit that fits: `950ns`, `12.3µs`, `1.25ms`, `2.50s`, `3m 05s`, `2h 07m`.
#[must_use]
pub fn human(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    match nanos {
        0 => "0".to_owned(),
        1..=999 => format!("{nanos}ns"),
        1_000..=999_499 => digits(nanos as f64 / 1e3, "µs"),
        999_500..=999_499_999 => digits(nanos as f64 / 1e6, "ms"),
        999_500_000..=59_949_999_999 => digits(nanos as f64 / 1e9, "s"),
        _ => minutes((nanos + 500_000_000) / 1_000_000_000),
    }
}

fn digits(number: f64, unit: &str) -> String {
    let decimals = match number {
        below_ten if below_ten < 9.995 => 2,
        below_hundred if below_hundred < 99.95 => 1,
        _ => 0,
    };
    format!("{number:.decimals$}{unit}")
}

fn minutes(seconds: u128) -> String {
    let (minutes, seconds) = (seconds / 60, seconds % 60);
    match minutes {
        0..60 => format!("{minutes}m {seconds:02}s"),
        _ => format!("{}h {:02}m", minutes / 60, minutes % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unit_fits_and_digits_are_few() {
        let cases = [
            (0, "0"),
            (950, "950ns"),
            (1_000, "1.00µs"),
            (12_345, "12.3µs"),
            (123_456, "123µs"),
            (999_499, "999µs"),
            (999_500, "1.00ms"),
            (9_996_000, "10.0ms"),
            (1_250_000_000, "1.25s"),
            (59_960_000_000, "1m 00s"),
            (185_000_000_000, "3m 05s"),
            (7_620_000_000_000, "2h 07m"),
        ];
        for (nanos, text) in cases {
            assert_eq!(human(Duration::from_nanos(nanos)), text);
        }
    }
}
