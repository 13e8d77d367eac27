//! What is stored of each feed beside its fingerprints: whom it claims or names, then the order of its last payload.

use muster_domain::{
    documents::Feed,
    ids::{FeedNo, MemberNo, OrganisationId},
};
use muster_store::Tx;

use crate::{Engine, Result, bits::Bits, effects::Effects, known::add_delta};

/// The page that says whom a feed claims or names. Those behind it are the order of its last accepted full payload, if
/// that is known.
pub(crate) const NAMED: u32 = 0;

/// Member numbers in one stored page of an order.
const ORDER_PAGE: usize = 65_536;
/// Pages of an order that are written at a time.
const PAGES_AT_ONCE: usize = 16;

/// Members in the order in which a payload named them: there may be millions.
pub(crate) type Order = Box<dyn Iterator<Item = MemberNo> + Send>;

/// The next page of an order; an empty one behind its end.
fn next_page(order: &mut Order) -> Vec<u8> {
    order.by_ref().take(ORDER_PAGE).flat_map(MemberNo::to_le_bytes).collect()
}

/// The member numbers of one such page.
pub(crate) fn order_of(page: &[u8]) -> impl DoubleEndedIterator<Item = MemberNo> {
    page.as_chunks::<4>().0.iter().map(|no| u32::from_le_bytes(*no))
}

impl Engine {
    /// Members whom the feed claims or names.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn named(&self, org: OrganisationId, feed: FeedNo) -> Result<Bits> {
        Ok(Bits::from_bytes(&self.store.feed_page(org, feed, NAMED).await?.unwrap_or_default()))
    }

    /// How many at the end of the order of the feed's last payload are not in this set.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub(crate) async fn missing_at_end(&self, org: OrganisationId, feed: FeedNo, present: &Bits) -> Result<usize> {
        let mut missing = 0;
        for page in (NAMED + 1..self.store.feed_pages(org, feed).await?).rev() {
            let page = self.store.feed_page(org, feed, page).await?.unwrap_or_default();
            let here = order_of(&page).rev().take_while(|no| !present.contains(*no)).count();
            missing += here;
            if here * 4 < page.len() {
                break;
            }
        }
        Ok(missing)
    }

    /// Puts whom a feed claims or names, and in which order, in place of what is stored.
    ///
    /// # Errors
    /// If the store refuses.
    pub(crate) async fn put_order(&self, tx: &mut Tx, feed: FeedNo, named: &Bits, mut order: Order) -> Result<()> {
        tx.put_feed_pages(feed, vec![named.to_bytes()]).await?;
        let mut next = NAMED + 1;
        loop {
            let bodies = (0..PAGES_AT_ONCE).map(|_| next_page(&mut order)).take_while(|body| !body.is_empty());
            let bodies: Vec<Vec<u8>> = bodies.collect();
            if bodies.is_empty() {
                return Ok(());
            }
            let first = next;
            next += bodies.len() as u32;
            tx.add_feed_pages(feed, first, bodies).await?;
        }
    }

    /// Brings up to date what is stored of the feeds that the effects touch: claims, whom they name, and caches.
    /// `speaking` is the feed whose payload this was, with the order in which it named people, if that counts from now on.
    ///
    /// # Errors
    /// If the store refuses.
    pub(crate) async fn settle_feeds(
        &self,
        tx: &mut Tx,
        feeds: &mut [Feed],
        effects: &Effects,
        mut speaking: Option<(FeedNo, Option<Order>)>,
    ) -> Result<()> {
        for feed in feeds.iter_mut() {
            let delta = effects.claims.get(&feed.no).copied().unwrap_or(0);
            feed.claims = feed.claims.saturating_add_signed(delta);
            let own = speaking.as_mut().filter(|(no, _)| *no == feed.no);
            let is_own = own.is_some();
            let order = own.and_then(|(_, order)| order.take());
            let naming = effects.named.get(&feed.no);
            if naming.is_some() || order.is_some() {
                let mut named = Bits::from_bytes(&tx.feed_page(feed.no, NAMED).await?.unwrap_or_default());
                if let Some(naming) = naming {
                    naming.on.iter().for_each(|no| named.set(no, true));
                    naming.off.iter().for_each(|no| named.set(no, false));
                }
                match order {
                    Some(order) => self.put_order(tx, feed.no, &named, order).await?,
                    None => tx.put_feed_page(feed.no, NAMED, named.to_bytes()).await?,
                }
            }
            if !is_own && !effects.touched.is_empty() {
                add_delta(tx, feed.no, &effects.touched, &[]).await?;
            }
        }
        Ok(())
    }
}
