//! Reading orders and the decisions about them.

use http::StatusCode;

use super::write::{head, path_order};
use super::{Call, Reply, json, tagged};
use crate::problem::Problem;
use crate::wire::encode::{self, Writer};

/// Answers with an order, live or archived.
pub(super) async fn read(call: Call<'_>, id: &str) -> Result<Reply, Problem> {
    call.need_auth()?;
    call.query(&[])?;
    let order = path_order(id)?;
    let seen = call.need_seq().await?;
    let view = call.ctx.blocking(move |engine| engine.order(order)).await?;
    let view = view.map_err(|e| Problem::failed(&e))?.ok_or_else(|| unknown(id))?;
    let tag = format!("\"v{}\"", view.version);
    let seq = seen.max(view.seq);
    Ok(tagged(call, &tag, seq, |out| encode::order(out, &call.ctx.engine, &view)))
}

/// Answers with every decision about an order that the journal holds.
pub(super) async fn explain(call: Call<'_>, id: &str) -> Result<Reply, Problem> {
    call.need_auth()?;
    call.query(&[])?;
    let order = path_order(id)?;
    let seen = call.need_seq().await?;
    let explanation = call.ctx.blocking(move |engine| engine.explain(order)).await?;
    let explanation = explanation.map_err(|e| Problem::failed(&e))?.ok_or_else(|| unknown(id))?;
    let mut out = Writer::new();
    encode::explanation(&mut out, &call.ctx.engine, &explanation);
    let mut reply = json(StatusCode::OK, out);
    head(&mut reply, seen, false);
    Ok(reply)
}

fn unknown(id: &str) -> Problem {
    Problem::new("not_found", format!("no order {id}"))
}
