//! The time of day, where the person is.

use dmls::Time;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ZonedDateTime};

/// Shows times in a zone.
#[derive(Clone, Debug)]
pub struct Clock(TimeZone);

impl Clock {
    /// In the zone of the system; UTC if it does not say.
    pub fn local() -> Self {
        Self(TimeZone::try_system().unwrap_or(TimeZone::UTC))
    }

    /// In UTC.
    #[cfg(test)]
    pub fn utc() -> Self {
        Self(TimeZone::UTC)
    }

    /// Hour and minute.
    pub fn minute(&self, time: Time) -> String {
        self.write(time, "%H:%M", "--:--")
    }

    /// The day in words.
    pub fn day(&self, time: Time) -> String {
        self.write(time, "%A, %-d %B %Y", "some day")
    }

    /// Day, hour and minute.
    pub fn day_and_minute(&self, time: Time) -> String {
        self.write(time, "%Y-%m-%d %H:%M", "at no time")
    }

    /// The name of the zone.
    pub fn zone(&self, time: Time) -> String {
        self.write(time, "%Z", "UTC")
    }

    /// The clock of a peer may say anything, so there may be no such day.
    fn write(&self, time: Time, format: &str, else_: &str) -> String {
        self.zoned(time).map_or_else(|| else_.to_owned(), |zoned| zoned.strftime(format).to_string())
    }

    fn zoned(&self, time: Time) -> Option<ZonedDateTime> {
        let seconds = i64::try_from(time.0).ok()?;
        Some(Timestamp::from_second(seconds).ok()?.to_zoned_datetime(self.0.clone()))
    }
}
