//! From a request to a reply: decode, submit, encode; no rule of the domain.

mod batch;
mod catalogue;
mod decide;
mod event;
mod health;
mod order;
mod plugin;
mod quote;
mod write;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use http::header::{
    ALLOW, AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, ETAG, HeaderValue,
    IF_NONE_MATCH, RETRY_AFTER, WWW_AUTHENTICATE,
};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};

use crate::context::Context;
use crate::problem::Problem;
use crate::request::{self, REQUEST_ID, SEQ, URI_BYTES_MAX};
use crate::router::{self, NO_ROUTE, Route};
use crate::wire::encode::Writer;

/// A reply of the host.
pub(crate) type Reply = Response<Full<Bytes>>;

/// Which listener a request came in by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Surface {
    /// The only listener: everything is here.
    Whole,
    /// The public listener beside one for the operator.
    Public,
    /// The operator's listener.
    Admin,
}

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

/// Answers one request.
pub(crate) async fn answer(
    ctx: Arc<Context>,
    surface: Surface,
    request: Request<Incoming>,
) -> Result<Reply, Infallible> {
    let started = Instant::now();
    let _in_flight = ctx.begin();
    let id = match request::request_id(request.headers()) {
        Some(id) => id.to_owned(),
        None => ctx.request_id(),
    };
    let (parts, body) = request.into_parts();
    let chunked = parts.headers.contains_key(http::header::TRANSFER_ENCODING);
    let (route, method, result) = if uri_bytes(&parts.uri) > URI_BYTES_MAX {
        let problem = Problem::new("uri_too_long", "path and query are longer than 8 KiB");
        (NO_ROUTE, "other", Err(problem))
    } else {
        match router::find(&parts.method, parts.uri.path()) {
            Ok(route) => {
                let (index, method) = (route.index(), route.method());
                let call = Call { ctx: &ctx, surface, parts: &parts };
                (index, method, call.run(route, body).await)
            }
            Err(problem) => (NO_ROUTE, method_label(&parts.method), Err(problem)),
        }
    };
    let mut reply = result.unwrap_or_else(|problem| problem_reply(&problem, &id));
    if chunked {
        // A body with both a length and chunks looks like one with chunks here. Closing after it
        // keeps a second request from being smuggled in behind it. Source: RFC 9112 §6.1.
        reply.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        reply.headers_mut().insert(REQUEST_ID.clone(), value);
    }
    ctx.telemetry.request(route, method, reply.status().as_u16(), started.elapsed());
    Ok(reply)
}

/// Returns how long a request's path and query are.
fn uri_bytes(uri: &http::Uri) -> usize {
    uri.path().len() + uri.query().map_or(0, str::len)
}

fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET | Method::HEAD => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        _ => "other",
    }
}

/// One request on its way to its handler.
#[derive(Clone, Copy)]
struct Call<'c> {
    ctx: &'c Arc<Context>,
    surface: Surface,
    parts: &'c http::request::Parts,
}

impl Call<'_> {
    async fn run(self, route: Route<'_>, body: Incoming) -> Result<Reply, Problem> {
        self.check_surface(&route)?;
        match route {
            Route::Buy
            | Route::Reserve
            | Route::Place
            | Route::Cancel(_)
            | Route::Ship(_)
            | Route::Short(_)
            | Route::Risk(_)
            | Route::Extend(_)
            | Route::Release(_)
            | Route::Movement
            | Route::Import
            | Route::SkuDefine(_) => write::write(self, route, body).await,
            Route::Batch => batch::batch(self, body).await,
            Route::Order(id) => order::read(self, &id).await,
            Route::OrderExplain(id) => order::explain(self, &id).await,
            Route::StockOne(code) => catalogue::stock_one(self, &code).await,
            Route::StockMany => catalogue::stock_many(self).await,
            Route::SkuOne(code) => catalogue::sku_one(self, &code).await,
            Route::SkuMany => catalogue::sku_many(self),
            Route::Events => event::read(self).await,
            Route::Quote => quote::quote(self, body).await,
            Route::Recommend => quote::recommend(self).await,
            Route::Plugins => plugin::list(self).await,
            Route::PluginInstall => plugin::install(self, body).await,
            Route::PluginsRecorded => plugin::recorded(self).await,
            Route::Plugin(no) => plugin::read(self, no).await,
            Route::PluginStats(no) => plugin::stats(self, no).await,
            Route::PluginDivergence(no) => plugin::divergence(self, no).await,
            Route::PluginLogs(no) => plugin::logs(self, no).await,
            Route::PluginStep(no, verb) => plugin::step(self, no, verb, body).await,
            Route::Livez => health::livez(self),
            Route::Readyz => health::readyz(self),
            Route::Metrics => health::metrics(self).await,
            Route::ErrorPage(code) => health::error_page(self, &code),
            Route::Links => health::links(self),
            Route::WellKnown => health::well_known(self),
        }
    }

    /// Keeps the operator's routes off the public listener, and the public ones off the other.
    fn check_surface(self, route: &Route<'_>) -> Result<(), Problem> {
        let operator = matches!(
            route,
            Route::Metrics
                | Route::Plugins
                | Route::PluginInstall
                | Route::PluginsRecorded
                | Route::Plugin(_)
                | Route::PluginStats(_)
                | Route::PluginDivergence(_)
                | Route::PluginLogs(_)
                | Route::PluginStep(..)
        );
        let both = matches!(route, Route::Livez | Route::Readyz);
        let here = match self.surface {
            Surface::Whole => true,
            Surface::Public => !operator,
            Surface::Admin => operator || both,
        };
        if here { Ok(()) } else { Err(Problem::new("not_found", "no such route on this listener")) }
    }

    fn headers(&self) -> &HeaderMap {
        &self.parts.headers
    }

    fn query(&self, known: &[&str]) -> Result<request::Query<'_>, Problem> {
        request::Query::read(self.parts.uri.query(), known)
    }

    /// Checks the API key: of writes, and of reads that tell about customers.
    fn need_auth(self) -> Result<(), Problem> {
        if self.ctx.config.open_writes {
            return Ok(());
        }
        let refuse = |detail: &str| Err(Problem::new("unauthenticated", detail));
        let Some(value) = self.headers().get(AUTHORIZATION) else {
            return refuse("send Authorization: Bearer KEY");
        };
        let bytes = value.as_bytes();
        let split = bytes.iter().position(|b| *b == b' ').unwrap_or(bytes.len());
        let (scheme, key) = bytes.split_at(split);
        let known = scheme.eq_ignore_ascii_case(b"bearer");
        if known && self.ctx.config.api_keys.accepts(key.trim_ascii()) {
            return Ok(());
        }
        refuse("the key of Authorization is not known here")
    }

    /// Waits for the position that the client wants to see at least; returns the one reached.
    async fn need_seq(self) -> Result<u64, Problem> {
        let Some(seq) = request::min_seq(self.headers())? else {
            return Ok(self.ctx.engine.durable_seq());
        };
        let wait = request::preferences(self.headers())?.wait;
        if self.ctx.reached(seq, wait).await? {
            return Ok(self.ctx.engine.durable_seq());
        }
        let seen = self.ctx.engine.durable_seq();
        Err(Problem::new("lagging", format!("the host has seen position {seen}, not yet {seq}")))
    }
}

/// Makes a JSON reply.
fn json(status: StatusCode, body: Writer) -> Reply {
    let mut reply = Response::new(Full::new(Bytes::from(body.into_bytes())));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, JSON);
    reply
}

/// Makes a text reply.
fn text(status: StatusCode, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Full::new(body.into()));
    *reply.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    reply.headers_mut().insert(CONTENT_TYPE, plain);
    reply
}

/// Makes a read's reply: with its tag, or 304 where the client has this tag already.
fn tagged(call: Call<'_>, tag: &str, seq: u64, write: impl FnOnce(&mut Writer)) -> Reply {
    let has = |value: &HeaderValue| {
        let text = value.to_str().unwrap_or("");
        text.split(',').map(str::trim).any(|t| t == "*" || t.trim_start_matches("W/") == tag)
    };
    let mut reply = if call.headers().get_all(IF_NONE_MATCH).iter().any(has) {
        let mut reply = Response::new(Full::default());
        *reply.status_mut() = StatusCode::NOT_MODIFIED;
        reply
    } else {
        let mut body = Writer::new();
        write(&mut body);
        json(StatusCode::OK, body)
    };
    if let Ok(value) = HeaderValue::from_str(tag) {
        reply.headers_mut().insert(ETAG, value);
    }
    reply.headers_mut().insert(SEQ.clone(), HeaderValue::from(seq));
    reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    reply
}

/// Makes the reply of a problem.
pub(crate) fn problem_reply(problem: &Problem, request_id: &str) -> Reply {
    let mut body = Writer::new();
    problem.write(&mut body, Some(request_id));
    let status =
        StatusCode::from_u16(problem.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut reply = json(status, body);
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, PROBLEM_JSON);
    if let Some(ms) = problem.retry_after_ms() {
        headers.insert(RETRY_AFTER, HeaderValue::from(ms.div_ceil(1_000)));
    }
    if let Some(allow) = problem.allow {
        headers.insert(ALLOW, HeaderValue::from_static(allow));
    }
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"onhand\""));
    }
    if problem.close {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    reply
}
