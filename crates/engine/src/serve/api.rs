//! What is done for HTTP between requests: last uses and the log of reads are written every few seconds, and at the end.

use tokio::sync::watch;

use super::{Serving, pause};

pub(super) async fn run(serving: Serving, mut stop: watch::Receiver<bool>) {
    loop {
        let goes_on = pause(serving.pace.notes, &mut stop).await;
        if let Err(e) = serving.engine.flush_access().await {
            tracing::warn!(error = %e, "what was read with which key could not be written; it is tried again");
        }
        if !goes_on {
            return;
        }
    }
}
