//! What goes wrong, and when it is well again.

use jiff::SignedDuration;

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
            clock::set_wrong(SignedDuration::ZERO);
        }
        if self.kind.faults {
            if strikes() {
                clock::set_wrong(SignedDuration::from_secs(fastrand::i64(-300..300)));
                self.clock_until = now + a_while();
            }
            if strikes() {
                clock::sleep_machine(a_while().unsigned_abs());
                self.well_since = clock::truth();
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
        let reaches = |replica: usize| self.replicas[replica].is_some() && now >= self.link_until[replica];
        if now < self.revoiceit_until || !(reaches(0) || reaches(1)) {
            self.well_since = now;
        }
        if now.duration_since(self.well_since) >= LONG {
            self.long_well_at = now;
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
