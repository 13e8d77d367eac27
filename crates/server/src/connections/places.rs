//! Places for connections: where all are taken, the one gives way that has been longest without a request of somebody known.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

use tokio::sync::Notify;

/// One connection's place.
pub struct Place {
    /// How many requests are under way whose caller is known, with their answers: 1, or 0.
    known: AtomicUsize,
    /// Since when none is: by a clock that counts what happens.
    since: AtomicU64,
    /// That it has to make room.
    leave: Notify,
    all: Arc<All>,
}

impl Place {
    /// Keeps the place for as long as the answer to somebody known is under way.
    pub fn hold(self: &Arc<Place>) -> Holding {
        self.known.fetch_add(1, Relaxed);
        Holding(self.clone())
    }

    /// Returns when this connection has to make room.
    pub async fn gave_way(&self) {
        self.leave.notified().await;
    }
}

/// Keeps a place.
pub struct Holding(Arc<Place>);

impl Drop for Holding {
    fn drop(&mut self) {
        self.0.since.store(self.0.all.tick(), Relaxed);
        self.0.known.fetch_sub(1, Relaxed);
        self.0.all.freed.notify_one();
    }
}

/// All places.
pub struct Places(Arc<All>);

struct All {
    most: usize,
    taken: Mutex<HashMap<u64, Arc<Place>>>,
    clock: AtomicU64,
    /// That a place is free, or its holder can give way.
    freed: Notify,
}

/// A place that is taken, until this value is dropped.
pub struct Taken {
    no: u64,
    place: Arc<Place>,
}

impl Taken {
    /// The place.
    pub fn place(&self) -> Arc<Place> {
        self.place.clone()
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.place.all.taken().remove(&self.no);
        self.place.all.freed.notify_one();
    }
}

impl All {
    fn taken(&self) -> MutexGuard<'_, HashMap<u64, Arc<Place>>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Relaxed)
    }
}

impl Places {
    /// So many.
    pub fn new(most: usize) -> Places {
        Places(Arc::new(All { most, taken: Mutex::default(), clock: AtomicU64::new(0), freed: Notify::new() }))
    }

    /// Takes a place. Where all are taken somebody gives way; where nobody can, this waits until one is free.
    pub async fn take(&self) -> Taken {
        loop {
            if let Some(taken) = self.try_take() {
                return taken;
            }
            self.0.freed.notified().await;
        }
    }

    fn try_take(&self) -> Option<Taken> {
        let mut taken = self.0.taken();
        if taken.len() >= self.0.most {
            let unknown = taken.iter().filter(|(_, place)| place.known.load(Relaxed) == 0);
            let no = *unknown.min_by_key(|(_, place)| place.since.load(Relaxed))?.0;
            // Its own end finds nothing more to take away.
            taken.remove(&no)?.leave.notify_one();
        }
        let no = self.0.tick();
        let place = Place { known: AtomicUsize::new(0), since: no.into(), leave: Notify::new(), all: self.0.clone() };
        let place = Arc::new(place);
        taken.insert(no, place.clone());
        Some(Taken { no, place })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    /// Whether a place was told to make room.
    async fn has_to_go(taken: &Taken) -> bool {
        timeout(Duration::ZERO, taken.place.gave_way()).await.is_ok()
    }

    #[tokio::test]
    async fn whoever_waited_longest_without_a_known_request_gives_way() {
        let places = Places::new(3);
        let (first, second, third) = (places.take().await, places.take().await, places.take().await);
        // The first was answered a moment ago, the third is being answered.
        drop(first.place().hold());
        let answering = third.place().hold();
        let _fourth = places.take().await;
        assert_eq!((has_to_go(&first).await, has_to_go(&second).await, has_to_go(&third).await), (false, true, false));
        drop(second);
        let _fifth = places.take().await;
        assert_eq!((has_to_go(&first).await, has_to_go(&third).await), (true, false));
        drop(answering);
    }

    #[tokio::test]
    async fn where_all_are_being_answered_one_waits() {
        let places = Places::new(2);
        let (first, second) = (places.take().await, places.take().await);
        let answering = (first.place().hold(), second.place().hold());
        let mut waiting = std::pin::pin!(places.take());
        assert!(timeout(Duration::from_millis(50), &mut waiting).await.is_err());
        drop(answering);
        waiting.await;
        assert!(has_to_go(&first).await && !has_to_go(&second).await);
    }
}
