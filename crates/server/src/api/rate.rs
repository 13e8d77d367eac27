//! How often a key may ask, and how many requests at once: a bucket for each key and class of requests, in this process.

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use governor::{
    Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    middleware::StateInformationMiddleware,
    state::{InMemoryState, NotKeyed},
};

use crate::problem::{Problem, RATE_LIMITED};

struct Bucket {
    limiter: RateLimiter<NotKeyed, InMemoryState, DefaultClock, StateInformationMiddleware>,
    /// How many requests are under way.
    open: AtomicU32,
}

/// A request that counts as under way until this is dropped.
pub struct UnderWay(Arc<Bucket>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}

/// <https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/>
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Beyond so many buckets those that are full again are let go of.
const MANY: usize = 10_000;

/// What is counted apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Reads and small writes.
    Requests,
    /// Uploads.
    Uploads,
    /// Eligibility checks.
    Eligibility,
}

impl Class {
    fn word(self) -> &'static str {
        match self {
            Class::Requests => "requests",
            Class::Uploads => "uploads",
            Class::Eligibility => "eligibility",
        }
    }
}

/// How things stand after a request was counted.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    class: Class,
    per_minute: u32,
    left: u32,
    /// Seconds until one more is free, if none is left; else until all are.
    seconds: u64,
}

impl Standing {
    /// Says it in the headers of an answer.
    pub fn put(self, headers: &mut HeaderMap) {
        let name = self.class.word();
        let mut put = |header: HeaderName, text: String| {
            if let Ok(value) = HeaderValue::try_from(text) {
                headers.insert(header, value);
            }
        };
        put(POLICY, format!("\"{name}\";q={};w=60", self.per_minute));
        put(RATE_LIMIT, format!("\"{name}\";r={};t={}", self.left, self.seconds));
    }

    /// The answer to a request that is one too many.
    pub fn problem(self) -> Problem {
        let detail = format!("This key may send {} {} a minute.", self.per_minute, self.class.word());
        Problem::new(&RATE_LIMITED, detail).header(header::RETRY_AFTER, self.seconds.to_string())
    }
}

/// A bucket, and the rate that it is made for, by key and class.
type Kept = HashMap<(String, Class), (u32, Arc<Bucket>)>;

/// The buckets of this process.
#[derive(Default)]
pub struct Buckets(Mutex<Kept>);

impl Buckets {
    /// Counts a request. At once there are no more than may come within a minute: whoever sends slowly holds no more than that.
    ///
    /// # Errors
    /// If it is one too many.
    pub fn take(&self, key: &str, class: Class, per_minute: u32) -> Result<(Standing, UnderWay), Standing> {
        let bucket = self.bucket(key, class, per_minute);
        let standing = |left, seconds| Standing { class, per_minute, left, seconds };
        let each = 60.0 / f64::from(per_minute.max(1));
        let open = bucket.open.fetch_add(1, Relaxed);
        let under_way = UnderWay(bucket.clone());
        if open >= per_minute.max(1) {
            return Err(standing(0, 1));
        }
        match bucket.limiter.check() {
            Ok(state) => {
                let left = state.remaining_burst_capacity();
                let used = per_minute.saturating_sub(left);
                Ok((standing(left, (f64::from(used) * each).ceil() as u64), under_way))
            }
            Err(not_until) => {
                let wait = not_until.wait_time_from(DefaultClock::default().now());
                Err(standing(0, wait.as_secs_f64().ceil().max(1.0) as u64))
            }
        }
    }

    fn bucket(&self, key: &str, class: Class, per_minute: u32) -> Arc<Bucket> {
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() > MANY {
            // Whoever has not asked for a minute begins with a full bucket anyway.
            buckets.retain(|_, (per_minute, bucket)| {
                let many = NonZeroU32::new(*per_minute).unwrap_or(NonZeroU32::MIN);
                Arc::strong_count(bucket) > 1 || !matches!(bucket.limiter.check_n(many), Ok(Ok(_)))
            });
        }
        let (of, bucket) =
            buckets.entry((key.to_owned(), class)).or_insert_with(|| (per_minute, Arc::new(new_bucket(per_minute))));
        if *of != per_minute {
            (*of, *bucket) = (per_minute, Arc::new(new_bucket(per_minute)));
        }
        bucket.clone()
    }
}

fn new_bucket(per_minute: u32) -> Bucket {
    let many = NonZeroU32::new(per_minute).unwrap_or(NonZeroU32::MIN);
    let quota = Quota::with_period(Duration::from_secs(60) / many.get())
        .unwrap_or_else(|| Quota::per_second(NonZeroU32::MAX))
        .allow_burst(many);
    let limiter = RateLimiter::direct(quota).with_middleware::<StateInformationMiddleware>();
    Bucket { limiter, open: AtomicU32::new(0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_too_many_is_told_when_to_come_again() {
        let buckets = Buckets::default();
        for left in (0..3).rev() {
            assert_eq!(buckets.take("a", Class::Requests, 3).ok().unwrap().0.left, left);
        }
        let over = buckets.take("a", Class::Requests, 3).err().unwrap();
        assert!((1..=20).contains(&over.seconds), "{over:?}");
        assert!(buckets.take("a", Class::Uploads, 3).is_ok() && buckets.take("b", Class::Requests, 3).is_ok());
        assert!(buckets.take("a", Class::Requests, 4).is_ok(), "another rate begins anew");
    }

    #[test]
    fn no_more_at_once_than_within_a_minute() {
        let buckets = Buckets::default();
        // At this rate one more is let in every millisecond, and so they are all soon under way.
        let most = 60_000;
        let mut under_way = Vec::new();
        while under_way.len() < most {
            under_way.extend(buckets.take("a", Class::Uploads, most as u32).ok());
        }
        let again = || {
            std::thread::sleep(Duration::from_millis(20));
            buckets.take("a", Class::Uploads, most as u32)
        };
        assert!(again().is_err(), "all are under way");
        under_way.pop();
        assert!(again().is_ok(), "one has ended");
    }
}
