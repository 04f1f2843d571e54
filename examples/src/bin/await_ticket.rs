//! A ticket is a plain future: any runtime can await it, and thirty lines are a runtime.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use onhand_core::{Buy, Command, CustomerId, Engine, Key, Line};
use onhand_examples::{Outcome, define, goods, stock, units};

/// Wakes the thread that waits in [`block_on`].
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs a future on this thread until it is ready.
fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

async fn sell(engine: &Engine, line: Line) -> Result<usize, onhand_core::Error> {
    // All three are on their way before the first is awaited: they share a group commit.
    let mut tickets = Vec::new();
    for name in ["ada", "bob", "cy"] {
        let buy = Buy::one(Key::from_text(name), CustomerId::from_text(name), line);
        tickets.push(engine.submit(Command::Buy(buy))?);
    }
    let mut sold = 0;
    for ticket in tickets {
        sold += usize::from(ticket.await?.outcome.is_ok());
    }
    Ok(sold)
}

fn main() -> Outcome {
    let (engine, _) = Engine::in_memory().open()?;
    let mug = define(&engine, goods("MUG", 1299)?)?;
    stock(&engine, mug, 2)?;
    println!("sold {} of 3", block_on(sell(&engine, Line::new(mug, units(1))))?);
    engine.close()?;
    Ok(())
}
