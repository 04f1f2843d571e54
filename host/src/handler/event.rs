//! The event feed by long poll.

use std::time::Duration;

use http::StatusCode;
use onhand_core::ErrorKind;

use super::write::head;
use super::{Call, Reply, json};
use crate::problem::Problem;
use crate::request::WAIT_MAX;
use crate::wire::encode::{self, Writer};

/// Most events of one page.
const EVENTS_MAX: u64 = 1_000;

/// Answers with the events after a position, waiting for the first where there is none yet.
pub(super) async fn read(call: Call<'_>) -> Result<Reply, Problem> {
    call.need_auth()?;
    let query = call.query(&["after", "limit", "wait"])?;
    let after = query.integer("after", 0, 0, (1 << 53) - 1)?;
    let limit = query.integer("limit", EVENTS_MAX, 1, EVENTS_MAX)? as usize;
    let wait = query.integer("wait", 0, 0, WAIT_MAX.as_secs())?;
    call.ctx.reached(after + 1, Duration::from_secs(wait)).await?;
    let page = call.ctx.blocking(move |engine| engine.events(after, limit)).await?;
    let page = page.map_err(|e| match e.kind() {
        ErrorKind::Mismatch => Problem::new("seq_too_old", e.to_string()),
        _ => Problem::failed(&e),
    })?;
    if page.first_available > after + 1 {
        let first = page.first_available;
        let detail = format!("events start at {first}, and {after} was the last one seen");
        return Err(Problem::new("seq_too_old", detail));
    }
    let mut out = Writer::new();
    out.open();
    out.list("data", &page.events, |out, event| encode::event(out, &call.ctx.engine, event));
    out.number("next", page.next);
    out.close();
    let mut reply = json(StatusCode::OK, out);
    head(&mut reply, page.next, false);
    Ok(reply)
}
