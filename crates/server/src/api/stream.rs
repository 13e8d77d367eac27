//! Answers that go on for long: whoever may not have them any more gets no more of them.

use std::{
    io,
    time::{Duration, Instant},
};

use axum::body::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use muster_domain::access::{Action, Resource};

use super::{caller::Caller, gate::Again};

/// How often is looked whether whoever reads may still do so.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The pieces of an answer, for as long as whoever asked has the right to it and is limited as they were. Where that ends, as
/// where reading fails, the connection breaks off, so that nobody takes the beginning for the whole.
pub fn while_let_in(
    pieces: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    caller: Caller,
    again: Again,
    right: (Resource, Action),
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let state = (Box::pin(pieces), caller, again, Instant::now());
    stream::try_unfold(state, move |(mut pieces, caller, again, mut looked)| async move {
        let Some(piece) = pieces.next().await.transpose()? else { return Ok(None) };
        if looked.elapsed() > LOOK_AGAIN {
            if !still_may(&caller, &again, right).await {
                return Err(io::Error::other("whoever reads may not do so any more"));
            }
            looked = Instant::now();
        }
        Ok(Some((piece, (pieces, caller, again, looked))))
    })
}

/// Whether whoever asked still has the right, and is limited as they were.
pub async fn still_may(caller: &Caller, again: &Again, right: (Resource, Action)) -> bool {
    again.caller().await.is_some_and(|now| may_go_on(caller, &now, right))
}

fn may_go_on(then: &Caller, now: &Caller, (resource, action): (Resource, Action)) -> bool {
    let (old, new) = (&then.grant.key, &now.grant.key);
    now.grant.may(resource, action) && old.fields == new.fields && old.rows == new.rows && old.feed == new.feed
}
