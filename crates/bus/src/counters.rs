//! What has happened on the bus since it was made, for metrics.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// How often each thing has happened since the bus was made.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Counts { $($(#[$doc])* pub $name: u64,)* }

        #[derive(Default)]
        pub(crate) struct Counters { $(pub $name: Counter,)* }

        impl Counters {
            pub fn read(&self) -> Counts {
                Counts { $($name: self.$name.0.load(Ordering::Relaxed),)* }
            }
        }

        impl Counts {
            /// Each with its name, in a fixed order.
            pub fn named(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name),)*].into_iter()
            }
        }
    };
}

counters! {
    /// Messages given to the broker, or asked to be.
    published,
    /// Of these, confirmed.
    confirmed,
    /// Of these, refused: not delivered, unless to another of the queues they go to.
    refused,
    /// Of these, in doubt: published, and no answer came.
    in_doubt,
    /// Doorbells given to a receiver.
    delivered,
    /// Of these, given a second time or more.
    redelivered,
    /// Doorbells acknowledged.
    done,
    /// Messages on a queue of doorbells that are none; acknowledged and passed over.
    unreadable,
    /// Connections made again after one was lost.
    reconnects,
}

#[derive(Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub fn up(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}
