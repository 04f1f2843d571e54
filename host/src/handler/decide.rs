//! Policies decide on baskets before the engine sees them.

use std::time::Duration;

use onhand_core::Command;
use onhand_desk::AskError;
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
    // Not worth a list: most requests are one command on which nobody decides.
    let decided = match ticket(call, decoded) {
        Pending::Ready(decided) => decided,
        Pending::Waits(ticket) => in_time(Instant::now() + DECISION_WAIT_MAX, ticket).await?,
    };
    decided.map_err(|error| ask::refused(&error, tree::parse(body).ok().as_ref()))
}

/// Lets policies decide on many commands together, until a point in time at most; the answers stand
/// in their order.
pub(super) async fn all(
    call: Call<'_>,
    asked: Vec<Decoded>,
    until: Instant,
) -> Result<Vec<Result<Command, AskError>>, Problem> {
    let pending: Vec<Pending> = asked.into_iter().map(|decoded| ticket(call, decoded)).collect();
    let until = until.min(Instant::now() + DECISION_WAIT_MAX);
    let mut decided = Vec::with_capacity(pending.len());
    for pending in pending {
        decided.push(match pending {
            Pending::Ready(decided) => decided,
            Pending::Waits(ticket) => in_time(until, ticket).await?,
        });
    }
    Ok(decided)
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
                "policies have not decided in time, {seconds} s at most; nothing was submitted and no order \
                 was made: ask again with the same key"
            ),
        )
    })
}

/// A decision that is made, or one that the desk's threads make.
enum Pending {
    Ready(Result<Command, AskError>),
    Waits(onhand_desk::DeskTicket),
}

fn ticket(call: Call<'_>, decoded: Decoded) -> Pending {
    let Decoded { command, said } = decoded;
    let desk = &call.ctx.desk;
    let basket = matches!(command, Command::Buy(_) | Command::Reserve(_));
    if !basket || desk.is_silent() && said.is_nothing() {
        return Pending::Ready(Ok(command));
    }
    let mut ask = match said.ask(command) {
        Ok(ask) => ask,
        Err(error) => return Pending::Ready(Err(error)),
    };
    let now = now_ms();
    if desk.decide_quick(now, &mut ask) {
        return Pending::Ready(ask.take());
    }
    match desk.submit(now, ask) {
        Ok(ticket) => Pending::Waits(ticket),
        Err(error) => Pending::Ready(Err(error)),
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
