//! Reading SKUs and stock: from published snapshots, never from a shard.

use http::StatusCode;
use onhand_core::SkuId;

use super::write::head;
use super::{Call, Reply, json, tagged};
use crate::problem::Problem;
use crate::wire::command::sku_id;
use crate::wire::encode::{self, Writer};

/// Most SKUs of one page, and most codes of one stock query.
const PAGE_MAX: usize = 1_000;
/// SKUs of a page where the query names no limit.
const PAGE_DEFAULT: u64 = 100;

fn path_sku(code: &str) -> Result<SkuId, Problem> {
    sku_id(code).map_err(|detail| Problem::new("sku_unknown", detail))
}

fn unknown(code: &str) -> Problem {
    Problem::new("sku_unknown", format!("no SKU \"{code}\" is defined"))
}

/// Answers with the stock of one SKU.
pub(super) async fn stock_one(call: Call<'_>, code: &str) -> Result<Reply, Problem> {
    call.query(&[])?;
    let sku = path_sku(code)?;
    let seen = call.need_seq().await?;
    let view = call.ctx.engine.stock(sku).ok_or_else(|| unknown(code))?;
    let tag = format!("\"{}\"", view.seq);
    Ok(tagged(call, &tag, seen.max(view.seq), |out| encode::stock(out, code, &view)))
}

/// Answers with the stock of several SKUs.
pub(super) async fn stock_many(call: Call<'_>) -> Result<Reply, Problem> {
    let query = call.query(&["sku"])?;
    let codes: Vec<&str> = match query.get("sku") {
        Some(list) => list.split(',').collect(),
        None => return Err(Problem::invalid("query sku is required, such as ?sku=a,b")),
    };
    if codes.len() > PAGE_MAX {
        let count = codes.len();
        return Err(Problem::invalid(format!("query sku has {count} codes, over {PAGE_MAX}")));
    }
    let seen = call.need_seq().await?;
    let mut views = Vec::with_capacity(codes.len());
    for code in codes {
        let view = call.ctx.engine.stock(path_sku(code)?).ok_or_else(|| unknown(code))?;
        views.push((code, view));
    }
    let seq = views.iter().map(|(_, view)| view.seq).fold(seen, u64::max);
    let mut out = Writer::new();
    out.open();
    out.list("data", &views, |out, (code, view)| encode::stock(out, code, view));
    out.close();
    let mut reply = json(StatusCode::OK, out);
    head(&mut reply, seq, false);
    Ok(reply)
}

/// Answers with one SKU.
pub(super) async fn sku_one(call: Call<'_>, code: &str) -> Result<Reply, Problem> {
    call.query(&[])?;
    let sku = path_sku(code)?;
    let seen = call.need_seq().await?;
    let view = call.ctx.engine.sku(sku).ok_or_else(|| unknown(code))?;
    let tag = format!("\"v{}\"", view.version);
    Ok(tagged(call, &tag, seen, |out| encode::sku(out, &call.ctx.engine, &view)))
}

/// Answers with a page of SKUs, in the order of their definition.
pub(super) fn sku_many(call: Call<'_>) -> Result<Reply, Problem> {
    let query = call.query(&["after", "limit"])?;
    let limit = query.integer("limit", PAGE_DEFAULT, 1, PAGE_MAX as u64)? as usize;
    let after = query.integer("after", 0, 0, u32::MAX.into()).map_err(|_| {
        Problem::new("bad_cursor", "query after is not the next of an earlier page")
    })?;
    let engine = &call.ctx.engine;
    let seen = engine.durable_seq();
    // One more than asked tells whether there is more.
    let mut page = engine.skus(after as u32, limit + 1);
    let has_more = page.len() > limit;
    page.truncate(limit);
    let mut out = Writer::new();
    out.open();
    out.list("data", &page, |out, view| encode::sku(out, engine, view));
    out.flag("has_more", has_more);
    match page.last() {
        Some(last) if has_more => out.number("next", u64::from(last.index) + 1),
        _ => out.null("next"),
    }
    out.close();
    let mut reply = json(StatusCode::OK, out);
    head(&mut reply, seen, false);
    Ok(reply)
}
