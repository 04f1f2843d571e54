//! Completions and claims by themselves.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex as Ledger;

use shuttle::thread;

use super::explore;
use crate::domain::stock::Level;
use crate::error::ErrorKind;
use crate::reply::{Ack, Receipt, Reply};
use crate::shard::completion::{BatchTicket, Completion, Ready};
use crate::shard::published::Published;
use crate::shard::stripes::Stripes;

fn reply(seq: u64) -> Reply {
    Reply { outcome: Ok(Receipt::Tick), replayed: false, seq, ack: Ack::Group }
}

fn part(done: &Arc<Completion>, at: u32) -> Ready {
    let (replies, positions) = (vec![reply(at.into())], Some(vec![at]));
    Ready::Replies { replies, ack: Ack::Group, done: Arc::clone(done), positions }
}

/// A batch over two shards has both replies in their places, whoever waits and however.
#[test]
fn both_parts_of_a_batch_arrive() {
    for awaited in [false, true] {
        explore(300, move || {
            let done = Completion::new(2, 2);
            let shards: Vec<_> = (0..2)
                .map(|at| {
                    let ready = part(&done, at);
                    thread::spawn(move || ready.complete())
                })
                .collect();
            let ticket = BatchTicket(done);
            let replies = if awaited { shuttle::future::block_on(ticket) } else { ticket.wait() };
            let seqs: Vec<u64> = replies.expect("answered").iter().map(|r| r.seq).collect();
            assert_eq!(seqs, [0, 1]);
            shards.into_iter().for_each(|shard| shard.join().expect("completes"));
        });
    }
}

/// A part that fails while the other is answered fails the batch, and whoever waits is told.
#[test]
fn a_part_that_fails_is_told() {
    for awaited in [false, true] {
        explore(300, move || {
            let done = Completion::new(2, 2);
            let (ready, failing) = (part(&done, 0), part(&done, 1));
            let shard = thread::spawn(move || ready.complete());
            let stopped = thread::spawn(move || failing.fail(ErrorKind::Stopped, "disk is gone"));
            let ticket = BatchTicket(done);
            let told = if awaited { shuttle::future::block_on(ticket) } else { ticket.wait() };
            assert_eq!(told.expect_err("one part failed").kind(), ErrorKind::Stopped);
            shard.join().expect("completes");
            stopped.join().expect("fails");
        });
    }
}

/// While a request is on its way, every other one with its key goes to the same shard; when all
/// have ended without effect, the key is free again.
#[test]
fn requests_with_one_key_meet_in_one_shard() {
    explore(500, || {
        let stripes = Arc::new(Stripes::new());
        let pending: Arc<Ledger<BTreeMap<u16, u32>>> = Arc::default();
        let clients: Vec<_> = (0..3)
            .map(|wanted| {
                let (stripes, pending) = (Arc::clone(&stripes), Arc::clone(&pending));
                thread::spawn(move || {
                    for _ in 0..2 {
                        let shard = stripes.claim(7, wanted);
                        {
                            let mut pending = pending.lock().expect("no panic before");
                            *pending.entry(shard).or_default() += 1;
                            let shards = pending.values().filter(|count| **count > 0).count();
                            assert_eq!(shards, 1, "one key is in two shards: {pending:?}");
                        }
                        thread::yield_now();
                        let mut pending = pending.lock().expect("no panic before");
                        *pending.get_mut(&shard).expect("it was entered") -= 1;
                        drop(pending);
                        stripes.ended(7, false);
                    }
                })
            })
            .collect();
        clients.into_iter().for_each(|client| client.join().expect("claims"));
        assert_eq!(stripes.find(7), None);
    });
}

/// A key that was carried out stays with its shard until it leaves for the archive, whatever
/// repetitions of it are on their way then.
#[test]
fn a_known_key_stays_until_it_is_forgotten() {
    explore(500, || {
        let stripes = Arc::new(Stripes::new());
        let first = stripes.claim(7, 1);
        let again = Arc::clone(&stripes);
        let client = thread::spawn(move || {
            let shard = again.claim(7, 0);
            again.ended(7, true);
            shard
        });
        stripes.ended(7, true);
        assert_eq!(stripes.find(7), Some(first));
        assert_eq!(client.join().expect("claims"), first);
        stripes.forget(7);
        assert_eq!(stripes.find(7), None);
    });
}

/// A reader sees the counts of one position, never some of before a change and some of after.
#[test]
fn published_counts_belong_together() {
    explore(200, || {
        let published = Arc::new(Published::new(1));
        let level = |left| Level { available: left, committed: 9 - left, ..Level::default() };
        published.set_level(0, 3, &level(9), 1);
        let writes = Arc::clone(&published);
        let writer = thread::spawn(move || {
            for sold in 1..4 {
                writes.set_level(0, 3, &level(9 - sold), 1 + sold);
            }
        });
        for _ in 0..3 {
            let words = published.level(0, 3).expect("it was set");
            let (available, committed, seq) = (words[0], words[3], words[7]);
            assert_eq!((available + committed, seq), (9, 10 - available), "{words:?}");
        }
        writer.join().expect("writes");
    });
}
