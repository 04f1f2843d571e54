//! Many commands in one call, at three levels of acknowledgement.

use onhand_core::{Ack, Buy, Command, CustomerId, Engine, Key, Line};
use onhand_examples::{Outcome, define, goods, stock, units};

fn main() -> Outcome {
    let dir = tempfile::tempdir()?;
    let (engine, _) = Engine::builder(dir.path()).open()?;
    let mug = define(&engine, goods("MUG", 1299)?)?;
    stock(&engine, mug, 1_000)?;

    // `memory` answers before the disk has it, `group` when the group commit is on disk,
    // `strict` when it is on disk in a group of this batch alone.
    for ack in [Ack::Memory, Ack::Group, Ack::Strict] {
        let commands = (0..400_u64).map(|n| {
            let key = Key::from_text(&format!("{ack:?} {n}"));
            Command::Buy(Buy::one(key, CustomerId(n + 1), Line::new(mug, units(1))))
        });
        // Replies come in the order of the commands, whatever shard each went to.
        let replies = engine.submit_batch(commands.collect(), ack)?.wait()?;
        let sold = replies.iter().filter(|reply| reply.outcome.is_ok()).count();
        let last = replies.last().ok_or("no replies")?;
        println!("{ack:?}: {sold} of {} sold, acknowledged at {:?}", replies.len(), last.ack);
    }
    engine.close()?;
    Ok(())
}
