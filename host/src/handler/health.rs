//! Health, metrics, problem pages and discovery.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue};
use onhand_core::{Engine, EngineStatus, limits};

use super::batch::ITEMS_MAX;
use super::{Call, Reply, json, text};
use crate::problem::{Problem, page};
use crate::router::{NO_ROUTE, TEMPLATES};
use crate::telemetry;
use crate::wire::encode::Writer;

/// Answers that the process runs.
pub(super) fn livez(call: Call<'_>) -> Result<Reply, Problem> {
    call.query(&[])?;
    Ok(text(StatusCode::OK, "alive\n"))
}

/// Answers whether writes are taken now.
pub(super) fn readyz(call: Call<'_>) -> Result<Reply, Problem> {
    call.query(&[])?;
    let red = |why: &'static str| Ok(text(StatusCode::SERVICE_UNAVAILABLE, why));
    if call.ctx.draining.load(Ordering::Relaxed) {
        return red("not ready: draining\n");
    }
    match call.ctx.engine.status() {
        EngineStatus::Running => Ok(text(StatusCode::OK, "ready\n")),
        EngineStatus::ReadOnly => red("not ready: read only, the disk is nearly full\n"),
        EngineStatus::Stopped(_) => red("not ready: the engine has stopped\n"),
        EngineStatus::Closing => red("not ready: closing\n"),
        _ => red("not ready\n"),
    }
}

/// Answers with all metrics.
pub(super) async fn metrics(call: Call<'_>) -> Result<Reply, Problem> {
    call.query(&[])?;
    let ctx = Arc::clone(call.ctx);
    // All shards and policies are asked, each under its lock: that takes longer than a thread that
    // serves others may stand still.
    let read = move |engine: &Engine| {
        telemetry::engine(&ctx.telemetry, engine);
        telemetry::desk(&ctx.telemetry, &ctx.desk);
    };
    call.ctx.blocking(read).await?;
    let mut reply = text(StatusCode::OK, call.ctx.telemetry.render());
    let format = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    reply.headers_mut().insert(CONTENT_TYPE, format);
    Ok(reply)
}

/// Answers with the page of a problem code.
pub(super) fn error_page(call: Call<'_>, code: &str) -> Result<Reply, Problem> {
    call.query(&[])?;
    let page = page(code).ok_or_else(|| {
        let short = crate::wire::field::shorten(code);
        Problem::new("not_found", format!("no problem code \"{short}\""))
    })?;
    Ok(text(StatusCode::OK, page.text()))
}

/// Answers with the routes.
pub(super) fn links(call: Call<'_>) -> Result<Reply, Problem> {
    call.query(&[])?;
    let mut out = Writer::new();
    out.open();
    out.text("name", "onhand");
    out.text("version", env!("CARGO_PKG_VERSION"));
    let mut routes = TEMPLATES[..NO_ROUTE].to_vec();
    routes.dedup();
    out.list("routes", routes, Writer::bare_text);
    out.close();
    Ok(json(StatusCode::OK, out))
}

/// Answers with version and limits.
pub(super) fn well_known(call: Call<'_>) -> Result<Reply, Problem> {
    call.query(&[])?;
    let config = &call.ctx.config;
    let mut out = Writer::new();
    out.open();
    out.text("name", "onhand");
    out.text("version", env!("CARGO_PKG_VERSION"));
    out.open_in("limits");
    for (name, value) in [
        ("body_bytes_max", config.body_bytes_max),
        ("batch_body_bytes_max", config.batch_body_bytes_max),
        ("batch_items_max", ITEMS_MAX),
        ("lines_max", limits::LINES_MAX),
        ("import_lines_max", limits::IMPORT_LINES_MAX),
        ("kit_components_max", limits::KIT_COMPONENTS_MAX),
    ] {
        out.number(name, value as u64);
    }
    out.number("ttl_ms_max", limits::TTL_MS_MAX);
    out.number("hard_cap_ms_max", limits::HARD_CAP_MS_MAX);
    out.close();
    out.close();
    Ok(json(StatusCode::OK, out))
}
