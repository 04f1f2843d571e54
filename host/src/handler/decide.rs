//! Policies decide on baskets before the engine sees them.

use std::time::Duration;

use onhand_core::Command;
use onhand_desk::{Ask, Decision};
use tokio::time::Instant;

use super::Call;
use crate::context::now_ms;
use crate::problem::Problem;
use crate::wire::ask;
use crate::wire::command::Decoded;
use crate::wire::json as tree;

/// How long a basket waits for its decision at most: longer than plugins' deadlines add up to
/// unless the desk's threads stand still.
pub(crate) const DECISION_WAIT_MAX: Duration = Duration::from_secs(15);

/// Lets policies decide on one command, where it is a basket and anybody decides on those.
pub(super) async fn decided(
    call: Call<'_>,
    decoded: Decoded,
    body: &[u8],
) -> Result<Command, Problem> {
    let decided = one(call, decoded).await?;
    decided.map_err(|error| ask::refused(&error, tree::parse(body).ok().as_ref()))
}

async fn one(call: Call<'_>, decoded: Decoded) -> Result<Decision, Problem> {
    let mut ask = match open(call, decoded) {
        Opened::Done(decided) => return Ok(decided),
        Opened::Ask(ask) => ask,
    };
    let (desk, now) = (&call.ctx.desk, now_ms());
    // A hop to another thread and back takes more than most policies do.
    if desk.decide_here(now, std::slice::from_mut(&mut ask)) {
        return Ok(ask.take());
    }
    match desk.submit(now, ask) {
        Ok(ticket) => in_time(Instant::now() + DECISION_WAIT_MAX, ticket).await,
        Err(error) => Ok(Err(error)),
    }
}

/// Lets policies decide on many commands together, until a point in time at most; the answers stand
/// in their order.
pub(super) async fn all(
    call: Call<'_>,
    asked: Vec<Decoded>,
    until: Instant,
) -> Result<Vec<Decision>, Problem> {
    let mut decided: Vec<Option<Decision>> = Vec::with_capacity(asked.len());
    let mut asks = Vec::with_capacity(asked.len());
    for decoded in asked {
        decided.push(match open(call, decoded) {
            Opened::Done(decided) => Some(decided),
            Opened::Ask(ask) => {
                asks.push(ask);
                None
            }
        });
    }
    let mut open = together(call, asks, until).await?.into_iter();
    // As many are open as were asked about.
    let next = |done: Option<Decision>| done.or_else(|| open.next());
    Ok(decided.into_iter().filter_map(next).collect())
}

async fn together(
    call: Call<'_>,
    mut asks: Vec<Ask>,
    until: Instant,
) -> Result<Vec<Decision>, Problem> {
    let (desk, now, count) = (&call.ctx.desk, now_ms(), asks.len());
    if desk.decide_here(now, &mut asks) {
        return Ok(asks.into_iter().map(Ask::take).collect());
    }
    match desk.submit_all(now, asks) {
        Ok(ticket) => in_time(until.min(Instant::now() + DECISION_WAIT_MAX), ticket).await,
        Err(error) => Ok(vec![Err(error); count]),
    }
}

/// Waits for what the desk's threads make of a basket.
pub(super) async fn in_time<T>(
    until: Instant,
    answer: impl Future<Output = T>,
) -> Result<T, Problem> {
    tokio::time::timeout_at(until, answer).await.map_err(|_| {
        let seconds = DECISION_WAIT_MAX.as_secs();
        Problem::new(
            "overloaded",
            format!(
                "policies have not decided in time, {seconds} s at most; nothing was submitted \
                 and no order was made: ask again with the same key"
            ),
        )
    })
}

/// A command on which nobody has to decide, or a basket to be decided on.
enum Opened {
    Done(Decision),
    Ask(Ask),
}

fn open(call: Call<'_>, decoded: Decoded) -> Opened {
    let Decoded { command, said } = decoded;
    let basket = matches!(command, Command::Buy(_) | Command::Reserve(_));
    if !basket || call.ctx.desk.is_silent() && said.is_nothing() {
        return Opened::Done(Ok(command));
    }
    match said.ask(command) {
        Ok(ask) => Opened::Ask(ask),
        Err(error) => Opened::Done(Err(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::{Instant, in_time};

    /// Nobody waits for ever, and who has waited in vain is told what became of the order.
    #[test]
    fn a_decision_that_does_not_come_is_answered() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        runtime.expect("a runtime").block_on(async {
            let never = in_time(Instant::now(), std::future::pending::<()>()).await;
            let problem = never.expect_err("it never comes");
            assert_eq!((problem.code(), problem.status()), ("overloaded", 503));
            assert!(problem.detail.contains("nothing was submitted"), "{}", problem.detail);
            assert!(problem.detail.contains("the same key"), "{}", problem.detail);
            assert!(problem.retry_after_ms().is_some());
            assert_eq!(in_time(Instant::now(), std::future::ready(7)).await, Ok(7));
        });
    }
}
