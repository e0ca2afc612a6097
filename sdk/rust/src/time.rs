//! Points in time and calendar days, without a clock.
//!
//! The calendar is the proleptic Gregorian one in UTC. Days become dates by counting from
//! 1 March of year 0, so that the leap day is the last of its year: the method of "Date
//! Algorithms" by Howard Hinnant. A test holds it against a calendar library.

/// Microseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Microseconds in a second.
    pub const SECOND: i64 = 1_000_000;
    /// Microseconds in a day.
    pub const DAY: i64 = 86_400 * Timestamp::SECOND;

    /// The day it lies in.
    pub fn date(self) -> Date {
        // The microseconds of an i64 span 214 million days.
        Date(self.0.div_euclid(Timestamp::DAY) as i32)
    }

    /// Seconds since midnight, 0 to 86,399.
    pub fn second_of_day(self) -> u32 {
        (self.0.rem_euclid(Timestamp::DAY) / Timestamp::SECOND) as u32
    }

    /// 0 to 23.
    pub fn hour(self) -> u32 {
        self.second_of_day() / 3600
    }

    /// 0 to 59.
    pub fn minute(self) -> u32 {
        self.second_of_day() / 60 % 60
    }

    /// 0 to 59.
    pub fn second(self) -> u32 {
        self.second_of_day() % 60
    }
}

/// Days since 1970-01-01.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date(pub i32);

impl Date {
    /// The year, month (1 to 12) and day (1 to 31).
    pub fn ymd(self) -> (i32, u32, u32) {
        const DAYS_BEFORE_1970: i64 = 719_468; // from 0000-03-01
        const DAYS_IN_400_YEARS: i64 = 146_097;
        let days = i64::from(self.0) + DAYS_BEFORE_1970;
        let era = days.div_euclid(DAYS_IN_400_YEARS);
        let day_of_era = days.rem_euclid(DAYS_IN_400_YEARS);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        (year as i32, month as u32, day as u32)
    }

    /// The date of a year, month and day, unless the month or day is none. A day that its month
    /// lacks counts into the next.
    pub fn from_ymd(year: i32, month: u32, day: u32) -> Option<Self> {
        if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
            return None;
        }
        let year = i64::from(year) - i64::from(month <= 2);
        let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
        let month_from_march = i64::from((month + 9) % 12);
        let day_of_year = (153 * month_from_march + 2) / 5 + i64::from(day) - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        i32::try_from(era * 146_097 + day_of_era - 719_468).ok().map(Date)
    }

    /// The day of the week, 1 (Monday) to 7 (Sunday).
    pub fn weekday(self) -> u32 {
        // 1970-01-01 was a Thursday.
        ((i64::from(self.0) + 3).rem_euclid(7) + 1) as u32
    }

    /// The day of the year, 1 to 366.
    pub fn day_of_year(self) -> u32 {
        self.days_into_year_of(self.ymd().0)
    }

    /// The ISO 8601 week: its year, which may be a neighbour of the date's, and its number, 1 to
    /// 53.
    pub fn iso_week(self) -> (i32, u32) {
        // A week belongs to the year of its Thursday.
        let thursday = Date(self.0.saturating_add(4 - self.weekday() as i32));
        let year = thursday.ymd().0;
        (year, (thursday.days_into_year_of(year) - 1) / 7 + 1)
    }

    /// The quarter, 1 to 4.
    pub fn quarter(self) -> u32 {
        (self.ymd().1 - 1) / 3 + 1
    }

    fn days_into_year_of(self, year: i32) -> u32 {
        match Date::from_ymd(year, 1, 1) {
            Some(first) => (self.0 - first.0 + 1) as u32,
            None => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil;

    #[test]
    fn every_day_of_eight_centuries_is_as_in_a_calendar_library() {
        let epoch = civil::date(1970, 1, 1);
        let mut theirs = civil::date(1599, 12, 31);
        while theirs.year() < 2401 {
            let days = epoch.until(theirs).unwrap().get_days();
            let ours = Date(days);
            let ymd = (i32::from(theirs.year()), theirs.month() as u32, theirs.day() as u32);
            assert_eq!(ours.ymd(), ymd);
            assert_eq!(Date::from_ymd(ymd.0, ymd.1, ymd.2), Some(ours));
            assert_eq!(ours.weekday(), theirs.weekday().to_monday_one_offset() as u32);
            assert_eq!(ours.day_of_year(), theirs.day_of_year() as u32);
            let week = theirs.iso_week_date();
            assert_eq!(ours.iso_week(), (i32::from(week.year()), week.week() as u32), "{theirs}");
            theirs = theirs.tomorrow().unwrap();
        }
    }

    #[test]
    fn a_time_before_the_epoch_lies_in_the_day_before() {
        let last_microsecond = Timestamp(-1);
        assert_eq!(last_microsecond.date(), Date(-1));
        assert_eq!((last_microsecond.hour(), last_microsecond.second()), (23, 59));
    }

    #[test]
    fn the_ends_of_the_range_do_not_panic() {
        for date in [Date(i32::MIN), Date(i32::MAX), Timestamp(i64::MIN).date()] {
            let _ = (date.ymd(), date.weekday(), date.quarter());
        }
        let _ = Timestamp(i64::MAX).date().iso_week();
    }
}
