//! How long to wait before trying again: longer each time, and never all at once.

use std::time::Duration;

/// The first wait.
const FIRST: Duration = Duration::from_millis(100);

pub(crate) struct Backoff {
    next: Duration,
    longest: Duration,
}

impl Backoff {
    pub fn new(longest: Duration) -> Backoff {
        Backoff { next: FIRST.min(longest), longest }
    }

    /// After something has worked.
    pub fn reset(&mut self) {
        self.next = FIRST.min(self.longest);
    }

    /// The next wait: between half of it and all of it, so that many processes do not come back in step.
    pub fn wait(&mut self) -> Duration {
        let wait = self.next.mul_f64(rand::random_range(0.5..1.0));
        self.next = (self.next * 2).min(self.longest);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_the_longest_and_begin_anew() {
        let longest = Duration::from_secs(2);
        let mut backoff = Backoff::new(longest);
        let waits: Vec<_> = (0..10).map(|_| backoff.wait()).collect();
        assert!(waits[0] <= FIRST && waits[0] >= FIRST / 2);
        assert!(waits[9] <= longest && waits[9] >= longest / 2);
        backoff.reset();
        assert!(backoff.wait() <= FIRST);
    }
}
