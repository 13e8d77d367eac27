//! Work shared out among the cores, a block at a time, and taken back in the order in which it was given.

use std::{
    io,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
};

/// Blocks that a thread has before it. With two it need never wait for the next one.
const AHEAD: usize = 2;

/// A thread that works on blocks; they come back in the order in which they were given.
struct Worker<B> {
    give: SyncSender<B>,
    take: Receiver<B>,
}

/// Has every block that `next` fills worked on, on all cores, and gives them to `take` in order. Blocks are used again: a
/// block that `next` gets is what `take` left of one before. `next` says whether there was anything left to fill it with.
///
/// # Errors
/// The first that `next` or `take` gives.
pub fn in_order<C, B: Default + Send, E: From<io::Error>>(
    context: &mut C,
    mut next: impl FnMut(&mut C, &mut B) -> Result<bool, E>,
    work: impl Fn(&mut B) + Sync,
    mut take: impl FnMut(&mut C, &mut B) -> Result<(), E>,
) -> Result<(), E> {
    let died = || io::Error::other("a thread that worked on a part of it ended before its time");
    thread::scope(|s| {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let workers: Vec<Worker<B>> = (0..threads)
            .map(|_| {
                let (give, given) = sync_channel::<B>(AHEAD);
                let (back, take) = sync_channel(AHEAD);
                let work = &work;
                s.spawn(move || {
                    for mut block in given {
                        work(&mut block);
                        if back.send(block).is_err() {
                            return;
                        }
                    }
                });
                Worker { give, take }
            })
            .collect();
        let of = |block: usize| &workers[block % workers.len()];
        let (mut given, mut taken) = (0, 0);
        let mut block = B::default();
        while next(context, &mut block)? {
            of(given).give.send(block).map_err(|_| died())?;
            given += 1;
            // As long as somebody would have nothing to do, there is nothing to wait for.
            block = B::default();
            if given - taken == workers.len() * AHEAD {
                block = of(taken).take.recv().map_err(|_| died())?;
                taken += 1;
                take(context, &mut block)?;
            }
        }
        for last in taken..given {
            take(context, &mut of(last).take.recv().map_err(|_| died())?)?;
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_first_comes_back_first() {
        for blocks in [0u64, 1, 2, 3, 4, 5, 100] {
            let (mut next, mut came) = (0, Vec::new());
            let fill = |came: &mut Vec<u64>, block: &mut u64| {
                assert!(came.len() as u64 <= next);
                *block = next;
                next += 1;
                Ok::<_, io::Error>(*block < blocks)
            };
            let work = |block: &mut u64| {
                // Some take longer than those behind them.
                let turns = if block.is_multiple_of(3) { 20_000 } else { 10 };
                *block = (0..turns).fold(*block, |n, _| std::hint::black_box(n)) * 2;
            };
            let take = |came: &mut Vec<u64>, block: &mut u64| {
                came.push(*block);
                Ok(())
            };
            in_order(&mut came, fill, work, take).unwrap();
            assert_eq!(came, (0..blocks).map(|n| n * 2).collect::<Vec<_>>());
        }
    }

    #[test]
    fn an_error_ends_it() {
        let fill = |n: &mut u32, _: &mut u32| {
            *n += 1;
            if *n == 9 { Err(io::Error::other("no more")) } else { Ok(true) }
        };
        assert!(in_order(&mut 0, fill, |_| (), |_, _| Ok(())).is_err());
        let fill = |_: &mut u32, _: &mut u32| Ok(true);
        assert!(in_order(&mut 0, fill, |_| (), |_, _| Err(io::Error::other("full"))).is_err());
    }
}
