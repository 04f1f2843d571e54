//! Quotes and recommendations: what policies say before anybody buys.

use http::StatusCode;
use http::header::{CACHE_CONTROL, HeaderValue};
use hyper::body::Incoming;
use onhand_core::{CustomerId, Key, PolicyRefusal, SkuId};
use onhand_desk::limits::{BASKET_MAX, PICKS_MAX};
use onhand_desk::{Quote, QuoteError};
use tokio::time::Instant;

use super::decide::DECISION_WAIT_MAX;
use super::write::read_body;
use super::{Call, Reply, decide, json};
use crate::context::now_ms;
use crate::problem::Problem;
use crate::wire::command::{self, Decoded, sku_id};
use crate::wire::encode::{self, Writer};
use crate::wire::{ask, json as tree};

/// Recommendations where the query names no limit.
const LIMIT_DEFAULT: u64 = 10;

/// Prices a basket and promises the prices for a while; moves nothing.
pub(super) async fn quote(call: Call<'_>, body: Incoming) -> Result<Reply, Problem> {
    call.need_auth()?;
    call.query(&[])?;
    let body = read_body(call, body, call.ctx.config.body_bytes_max).await?;
    let Decoded { command, said } =
        command::quote(Key::new(call.ctx.fresh_bits()), &tree::parse(&body)?)?;
    let asked = said.ask(command).map_err(|error| ask::refused(&error, None))?;
    let now = now_ms();
    let desk = &call.ctx.desk;
    let quote = match desk.quote_here(now, asked) {
        Ok(quote) => quote,
        // A plugin may take longer than other connections of this thread should wait.
        Err(asked) => match desk.submit_quote(now, *asked) {
            Ok(ticket) => decide::in_time(Instant::now() + DECISION_WAIT_MAX, ticket).await?,
            Err(error) => Err(QuoteError::Ask(error)),
        },
    };
    let quote = quote.map_err(|error| refused(&error, &body))?;
    let mut out = Writer::new();
    write(&mut out, call, &quote, now);
    Ok(json(StatusCode::OK, out))
}

fn write(out: &mut Writer, call: Call<'_>, quote: &Quote, now_ms: u64) {
    let engine = &call.ctx.engine;
    out.open();
    out.text("quote_token", &quote.token);
    out.list("lines", &quote.lines, |out, line| {
        out.open();
        out.text("sku", &encode::code(engine, line.sku));
        out.number("quantity", u64::from(line.quantity.units()));
        out.signed("unit", line.unit);
        out.signed("discount", line.discount);
        out.signed("amount", line.unit * i64::from(line.quantity.units()) - line.discount);
        out.close();
    });
    out.list("coupons", &quote.coupons, |out, sku| {
        out.bare_text(&encode::code(engine, *sku));
    });
    out.money("list_total", quote.list_total);
    out.money("total", quote.total);
    match &quote.decision {
        Some(decision) => {
            out.open_in("policy");
            out.number("no", u64::from(decision.policy.0));
            out.text("by", encode::decided_by(decision.by));
            out.number("fuel", u64::from(decision.fuel));
            out.close();
        }
        None => out.null("policy"),
    }
    out.time("expires_at", quote.expires_at);
    out.number("expires_in_ms", quote.expires_at.millis().saturating_sub(now_ms));
    out.close();
}

fn refused(error: &QuoteError, body: &[u8]) -> Problem {
    let code = match error {
        QuoteError::Ask(error) => {
            return ask::refused(error, tree::parse(body).ok().as_ref());
        }
        QuoteError::Refused(PolicyRefusal::Price(_)) => "price_refused",
        QuoteError::Refused(PolicyRefusal::Fraud(_)) => "fraud_denied",
        QuoteError::Refused(PolicyRefusal::Failed(_)) => "plugin_failed",
        QuoteError::Refused(PolicyRefusal::Quote) => "quote_expired",
    };
    Problem::new(code, error.to_string())
}

/// Answers with what goes with a basket; never fails for want of a policy.
pub(super) async fn recommend(call: Call<'_>) -> Result<Reply, Problem> {
    call.need_auth()?;
    let query = call.query(&["customer", "sku", "limit"])?;
    let limit = query.integer("limit", LIMIT_DEFAULT, 1, PICKS_MAX as u64)? as usize;
    let customer = match query.get("customer") {
        Some(text) => command::customer_id(text).map_err(Problem::invalid)?,
        None => CustomerId::NONE,
    };
    let codes = query.get("sku").map(|list| list.split(',').collect::<Vec<_>>());
    let basket: Vec<SkuId> = codes
        .unwrap_or_default()
        .into_iter()
        .map(|code| sku_id(code).map_err(Problem::invalid))
        .collect::<Result<_, _>>()?;
    if basket.len() > BASKET_MAX {
        let count = basket.len();
        return Err(Problem::invalid(format!("query sku has {count} codes, over {BASKET_MAX}")));
    }
    let now = now_ms();
    let found = call.ctx.recommend(now, customer, basket, limit).await;
    let mut out = Writer::new();
    out.open();
    out.list("data", found.list.iter().enumerate(), |out, (at, pick)| {
        out.open();
        out.text("sku", &encode::code(&call.ctx.engine, pick.sku));
        out.text("from", if at < found.picked { "policy" } else { "built_in" });
        out.close();
    });
    match found.policy {
        Some(no) => out.number("policy", u64::from(no.0)),
        None => out.null("policy"),
    }
    out.close();
    let mut reply = json(StatusCode::OK, out);
    // What is available changes from one moment to the next.
    reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(reply)
}
