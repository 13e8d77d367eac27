//! The bus within one process: the same promises as the broker's, and nothing outlives the process.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use muster_domain::ids::OrganisationId;
use tokio::sync::{Notify, broadcast, watch};
use tokio::time::Instant;

use crate::bells::{Answer, Bells, Delivery, Source};
use crate::counters::Counters;
use crate::doorbell::{Doorbell, Message, Role};
use crate::error::{BusError, Result};
use crate::health::Board;

/// How many messages a subscriber may be behind before it misses some.
const SUBSCRIBER_BEHIND: usize = 4096;

pub(crate) struct Inside {
    lanes: Vec<(Role, Arc<Lane>)>,
    told: broadcast::Sender<Message>,
    closing: watch::Sender<bool>,
    pub counters: Arc<Counters>,
    pub board: Board,
}

impl Inside {
    pub fn new(again_after: Duration) -> Inside {
        let counters = Arc::<Counters>::default();
        let lane = |role| (role, Arc::new(Lane::new(again_after, counters.clone())));
        Inside {
            lanes: Role::ALL.into_iter().map(lane).collect(),
            told: broadcast::Sender::new(SUBSCRIBER_BEHIND),
            closing: watch::Sender::new(false),
            counters: counters.clone(),
            board: Board::new(),
        }
    }

    pub fn ring(&self, role: Role, bell: Doorbell) -> Result<()> {
        self.publish(|| {
            let lane = self.lanes.iter().find(|(of, _)| *of == role);
            lane.iter().for_each(|(_, lane)| lane.put(bell, false));
        })
    }

    pub fn tell(&self, message: Message) -> Result<()> {
        // To whoever has subscribed, or to nobody.
        self.publish(|| drop(self.told.send(message)))
    }

    fn publish(&self, deliver: impl FnOnce()) -> Result<()> {
        self.counters.published.up();
        if *self.closing.borrow() {
            self.counters.refused.up();
            return Err(BusError::Refused("the bus is closed".into()));
        }
        deliver();
        self.counters.confirmed.up();
        Ok(())
    }

    pub fn bells(&self, role: Role) -> Bells {
        // A role without a lane cannot be: a lane is made for each. Were it so, its bells would be silent.
        let lane = self.lanes.iter().find(|(of, _)| *of == role).map(|(_, lane)| lane.clone()).unwrap_or_default();
        Bells { source: Source::Inside(lane), closing: self.closing.subscribe() }
    }

    pub fn subscribe(&self) -> broadcast::Receiver<Message> {
        self.told.subscribe()
    }

    pub fn close(&self) {
        self.closing.send_replace(true);
    }
}

/// One role's doorbells. While nobody has taken an organisation's bell, another one for it only raises its number.
#[derive(Default)]
pub(crate) struct Lane {
    state: Mutex<State>,
    changed: Notify,
    again_after: Duration,
    counters: Arc<Counters>,
}

#[derive(Default)]
struct State {
    order: VecDeque<OrganisationId>,
    waiting: HashMap<OrganisationId, (u64, bool)>,
    /// Bells that were given back, and from when on they may be taken again.
    later: VecDeque<(Instant, Doorbell)>,
}

impl Lane {
    fn new(again_after: Duration, counters: Arc<Counters>) -> Lane {
        Lane { again_after, counters, ..Lane::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, bell: Doorbell, again: bool) {
        self.lock().put(bell, again);
        self.changed.notify_one();
    }

    fn answer(&self, bell: Doorbell, answer: Answer) {
        match answer {
            Answer::Done => self.counters.done.up(),
            Answer::Again => {
                self.lock().later.push_back((Instant::now() + self.again_after, bell));
                self.changed.notify_one();
            }
        }
    }

    pub async fn take(self: &Arc<Lane>) -> Delivery {
        loop {
            let (taken, more, next) = self.lock().pop(Instant::now());
            if let Some((bell, redelivered)) = taken {
                // One waiter is woken at a time, so whoever takes wakes the next one for what is left.
                if more {
                    self.changed.notify_one();
                }
                self.counters.delivered.up();
                if redelivered {
                    self.counters.redelivered.up();
                }
                let lane = Arc::clone(self);
                return Delivery::new(bell, redelivered, move |answer| lane.answer(bell, answer));
            }
            match next {
                None => self.changed.notified().await,
                Some(when) => tokio::select! {
                    _ = self.changed.notified() => {}
                    _ = tokio::time::sleep_until(when) => {}
                },
            }
        }
    }
}

impl State {
    fn put(&mut self, bell: Doorbell, again: bool) {
        let order = &mut self.order;
        let waiting = self.waiting.entry(bell.organisation).or_insert_with(|| {
            order.push_back(bell.organisation);
            (0, false)
        });
        *waiting = (waiting.0.max(bell.up_to), waiting.1 || again);
    }

    /// The next bell, whether there is more, and when something that was given back may be taken.
    fn pop(&mut self, now: Instant) -> (Option<(Doorbell, bool)>, bool, Option<Instant>) {
        while let Some((_, bell)) = self.later.pop_front_if(|(when, _)| *when <= now) {
            self.put(bell, true);
        }
        let taken = self.order.pop_front().and_then(|organisation| {
            let (up_to, again) = self.waiting.remove(&organisation)?;
            Some((Doorbell { organisation, up_to }, again))
        });
        let next = self.later.front().map(|(when, _)| *when);
        (taken, !self.order.is_empty() || next.is_some(), next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bell(n: u128, up_to: u64) -> Doorbell {
        Doorbell { organisation: OrganisationId(uuid::Uuid::from_u128(n)), up_to }
    }

    #[tokio::test]
    async fn bells_that_nobody_has_taken_become_one_with_the_highest_number() {
        let bus = Inside::new(Duration::from_millis(10));
        for (n, up_to) in [(1, 5), (2, 1), (1, 9), (1, 7)] {
            bus.ring(Role::Worker, bell(n, up_to)).unwrap();
        }
        let mut bells = bus.bells(Role::Worker);
        let first = bells.next().await.unwrap();
        assert_eq!(first.bell(), bell(1, 9));
        bus.ring(Role::Worker, bell(1, 10)).unwrap();
        assert_eq!(bells.next().await.unwrap().bell(), bell(2, 1));
        assert_eq!(bells.next().await.unwrap().bell(), bell(1, 10), "a bell after the taking is a new one");
        drop(first);
    }

    #[tokio::test]
    async fn a_bell_that_was_dropped_comes_a_little_later_and_not_at_once() {
        let bus = Inside::new(Duration::from_millis(300));
        bus.ring(Role::Projector, bell(1, 1)).unwrap();
        let mut bells = bus.bells(Role::Projector);
        let began = Instant::now();
        drop(bells.next().await);
        let again = bells.next().await.unwrap();
        assert!(again.redelivered());
        assert!(began.elapsed() >= Duration::from_millis(300));
        again.done();
    }
}
