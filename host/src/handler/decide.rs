//! Policies decide on baskets before the engine sees them.

use onhand_core::Command;
use onhand_desk::AskError;

use super::Call;
use crate::context::now_ms;
use crate::problem::Problem;
use crate::wire::ask;
use crate::wire::command::Decoded;
use crate::wire::json as tree;

/// Lets policies decide on one command, where it is a basket and anybody decides on those.
pub(super) async fn decided(
    call: Call<'_>,
    decoded: Decoded,
    body: &[u8],
) -> Result<Command, Problem> {
    // Not worth a list: most requests are one command on which nobody decides.
    let decided = match ticket(call, decoded) {
        Pending::Ready(decided) => decided,
        Pending::Waits(ticket) => ticket.await,
    };
    decided.map_err(|error| ask::refused(&error, tree::parse(body).ok().as_ref()))
}

/// Lets policies decide on many commands together; the answers stand in their order.
pub(super) async fn all(call: Call<'_>, asked: Vec<Decoded>) -> Vec<Result<Command, AskError>> {
    let pending: Vec<Pending> = asked.into_iter().map(|decoded| ticket(call, decoded)).collect();
    let mut decided = Vec::with_capacity(pending.len());
    for pending in pending {
        decided.push(match pending {
            Pending::Ready(decided) => decided,
            Pending::Waits(ticket) => ticket.await,
        });
    }
    decided
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
