//! What goes wrong, and when it is well again.

use jiff::{SignedDuration, Timestamp};

use crate::{
    clock,
    history::History,
    link::{self, Weather},
    looks::LONG,
    revoiceit,
};

impl History {
    pub(crate) fn weather(&mut self) {
        let now = clock::truth();
        let was_well = self.is_well();
        let storms = self.kind.storms;
        let strikes = || fastrand::u32(..24 * 60) < storms;
        let (at_least, below) = self.kind.last;
        let a_while = || SignedDuration::from_secs(fastrand::i64(at_least * 60..below * 60));
        if now >= self.revoiceit_until {
            self.revoiceit.lock().weather = revoiceit::Weather::Fair;
            if strikes() {
                let all = [revoiceit::Weather::Foul, revoiceit::Weather::Overloaded, revoiceit::Weather::Away];
                self.revoiceit.lock().weather = all[fastrand::usize(..all.len())];
                self.revoiceit_until = now + a_while();
            }
        }
        for replica in 0..2 {
            if now >= self.link_until[replica] {
                link::set_weather(replica, Weather::Fair);
                if self.kind.faults && strikes() {
                    let weather = if fastrand::bool() { Weather::Foul } else { Weather::Cut };
                    link::set_weather(replica, weather);
                    self.server.cut(replica);
                    self.link_until[replica] = now + a_while();
                }
            }
        }
        if now >= self.clock_until {
            self.set_clock(SignedDuration::ZERO);
        }
        if self.kind.faults {
            if strikes() {
                self.set_clock(SignedDuration::from_secs(fastrand::i64(-300..300)));
                self.clock_until = now + a_while();
            }
            if strikes() {
                clock::sleep_machine(a_while().unsigned_abs());
                self.is_well_from(clock::truth());
            }
            if strikes() {
                self.revoiceit.lock().end_a_line();
            }
            // Often one of them, now and then both.
            let (one, all) = (fastrand::usize(..2), fastrand::u8(..4) == 0);
            if strikes() {
                for (number, replica) in self.replicas.iter_mut().enumerate().filter(|(number, _)| all || *number == one) {
                    // SIGKILL, or SIGTERM with its last saves. What is down stays down for a while.
                    if let Some(replica) = replica.take()
                        && fastrand::bool()
                    {
                        replica.terminate();
                        tokio::spawn(replica.ended());
                    }
                    self.down_until[number] = now + a_while();
                }
            }
        }
        let now = clock::truth();
        if !was_well || !self.is_well() {
            self.is_well_from(now);
        }
        if now.duration_since(self.well_since) >= LONG {
            self.long_well_at = now;
        }
    }

    /// Revoiceit answers, and a process reaches both it and the API server.
    fn is_well(&self) -> bool {
        let reaches = |replica: usize| self.replicas[replica].is_some() && link::weather(replica) == Weather::Fair;
        self.revoiceit.lock().weather == revoiceit::Weather::Fair && (reaches(0) || reaches(1))
    }

    fn is_well_from(&mut self, time: Timestamp) {
        self.well_since = self.well_since.max(time);
    }

    /// What is to be tried again when the clock shows a time is tried later by as much as it is set back.
    fn set_clock(&mut self, wrong: SignedDuration) {
        let back = clock::wrong() - wrong;
        clock::set_wrong(wrong);
        if back > SignedDuration::ZERO {
            self.is_well_from(clock::truth() + back);
        }
    }

    pub(crate) fn heal(&mut self) {
        self.revoiceit.lock().weather = revoiceit::Weather::Fair;
        (0..2).for_each(|replica| link::set_weather(replica, Weather::Fair));
        self.down_until = [clock::truth(); 2];
        clock::set_wrong(SignedDuration::ZERO);
        for number in 0..self.wanted.len() {
            self.write_credentials(number);
            self.wanted[number].comes_back = !self.wanted[number].exists;
            if self.wanted[number].suspended {
                self.suspend(number, false);
            }
        }
    }
}
