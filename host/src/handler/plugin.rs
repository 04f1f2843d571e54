//! The operator's routes of plugins: install, give a part, take it away, look.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue};
use hyper::body::{Bytes, Incoming};
use onhand_core::{PolicyKind, PolicyNo};
use onhand_desk::limits::{RECORDED, SHARE};
use onhand_desk::{Desk, DeskError, Guards, Listed};

use super::write::read_body;
use super::{Call, Reply, json};
use crate::context::Context;
use crate::problem::Problem;
use crate::router::PolicyVerb;
use crate::wire::encode::Writer;
use crate::wire::field::{self, Members, Place};
use crate::wire::json as tree;
use crate::wire::policy as encode;

/// Inputs of a recording where the query names no number.
const LAST_DEFAULT: u64 = 1_000;

/// Runs what may wait for the disk, the compiler or the engine, off the HTTP threads.
async fn with_desk<T: Send + 'static>(
    call: Call<'_>,
    work: impl FnOnce(&Desk) -> Result<T, DeskError> + Send + 'static,
) -> Result<T, Problem> {
    let ctx = Arc::clone(call.ctx);
    let done = call.ctx.blocking(move |_| work(&ctx.desk)).await?;
    done.map_err(|error| refused(&error))
}

/// Makes the problem of a step that was not taken.
fn refused(error: &DeskError) -> Problem {
    let text = error.to_string();
    match error {
        DeskError::Bound(_) => Problem::invalid(text),
        DeskError::Bundle(_) | DeskError::Config(_) | DeskError::Load(_) => {
            Problem::new("plugin_refused", text)
        }
        DeskError::Trust(_) => Problem::new("plugin_untrusted", text),
        DeskError::Unknown(_) => Problem::new("not_found", text),
        DeskError::Step { .. } | DeskError::NoPlugins => Problem::new("state_conflict", text),
        DeskError::Refused(refusal) => Problem::refused(*refusal, None, 0),
        DeskError::Engine(error) => Problem::failed(error),
        _ => {
            crate::log::limited("plugins", &[("error", &text)]);
            Problem::new("internal", "a plugin's files can't be used; the log says why")
        }
    }
}

/// Answers with every policy, its part and its steps.
pub(super) async fn list(call: Call<'_>) -> Result<Reply, Problem> {
    call.need_auth()?;
    call.query(&[])?;
    let (listed, health) = with_desk(call, |desk| Ok((desk.list(), desk.health()))).await?;
    let mut out = Writer::new();
    out.open();
    out.list("data", &listed, encode::listed);
    out.list("health", health, |out, note| out.bare_text(&encode::note(&note)));
    out.close();
    Ok(json(StatusCode::OK, out))
}

/// Installs a bundle; nobody is asked by it yet.
pub(super) async fn install(call: Call<'_>, body: Incoming) -> Result<Reply, Problem> {
    call.need_auth()?;
    call.query(&[])?;
    let body = read_body(call, body, call.ctx.config.upload_bytes_max).await?;
    let ctx = Arc::clone(call.ctx);
    // Megabytes of text are read where others do not wait for it.
    let work = move || {
        let (bundle, config) = upload(&body)?;
        drop(body);
        ctx.desk.install(&bundle, &config).map_err(|error| refused(&error))
    };
    let installed = call.ctx.blocking(move |_| work()).await??;
    let mut out = Writer::new();
    out.open();
    out.number("policy", u64::from(installed.no.0));
    encode::identity(&mut out, &installed.identity);
    match &installed.signer {
        Some(signer) => out.text("signer", signer),
        None => out.null("signer"),
    }
    out.close();
    Ok(json(StatusCode::CREATED, out))
}

/// Body of an installation.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Upload<'b> {
    /// The bundle in base64.
    #[serde(borrow)]
    bundle: &'b str,
    /// The plugin's configuration, by its manifest's schema.
    #[serde(borrow)]
    config: Option<&'b serde_json::value::RawValue>,
}

fn upload(body: &Bytes) -> Result<(Vec<u8>, String), Problem> {
    let upload: Upload<'_> = serde_json::from_slice(body).map_err(|error| {
        Problem::invalid(format!("body is no {{\"bundle\": BASE64, \"config\": {{}}}}: {error}"))
    })?;
    let bundle = STANDARD
        .decode(upload.bundle)
        .map_err(|error| Problem::invalid(format!("bundle is no base64: {error}")))?;
    Ok((bundle, upload.config.map_or(String::new(), |config| config.get().to_owned())))
}

/// Gives a policy a part, or takes it away.
pub(super) async fn step(
    call: Call<'_>,
    no: u16,
    verb: PolicyVerb,
    body: Incoming,
) -> Result<Reply, Problem> {
    call.need_auth()?;
    call.query(&[])?;
    let body = read_body(call, body, call.ctx.config.body_bytes_max).await?;
    let node = tree::parse(&body)?;
    let known: &'static [&str] = match verb {
        PolicyVerb::Shadow => &["share_bp"],
        PolicyVerb::Canary => &["share_bp", "guards"],
        _ => &[],
    };
    let members = Members::open(&node, &Place::Root, known)?;
    let share = match verb {
        PolicyVerb::Shadow | PolicyVerb::Canary => {
            let default = if verb == PolicyVerb::Shadow { SHARE.max } else { SHARE.default };
            members.integer_or_none("share_bp", SHARE.min, SHARE.max)?.unwrap_or(default)
        }
        _ => 0,
    };
    let guards = if verb == PolicyVerb::Canary { guards(&members)? } else { Guards::default() };
    let no = PolicyNo(no);
    with_desk(call, move |desk| take(desk, no, verb, share, guards)).await?;
    one(call, no).await
}

fn guards(members: &Members<'_, '_, '_>) -> Result<Guards, Problem> {
    const KNOWN: &[&str] =
        &["failure_bp", "refusal_bp", "price_bp", "p99_us", "window_ms", "sample_min"];
    let mut guards = Guards::default();
    let Some(node) = members.get("guards") else { return Ok(guards) };
    let at = members.at("guards");
    let given = Members::open(node, &at, KNOWN)?;
    let bounds = guards.all();
    let fields = [
        &mut guards.failure_bp,
        &mut guards.refusal_bp,
        &mut guards.price_bp,
        &mut guards.p99_us,
        &mut guards.window_ms,
        &mut guards.sample_min,
    ];
    for ((bound, _), field) in bounds.into_iter().zip(fields) {
        if let Some(value) = given.integer_or_none(bound.name, bound.min, bound.max)? {
            *field = value;
        }
    }
    Ok(guards)
}

fn take(
    desk: &Desk,
    no: PolicyNo,
    verb: PolicyVerb,
    share: u64,
    guards: Guards,
) -> Result<(), DeskError> {
    match verb {
        PolicyVerb::Activate => desk.activate(no),
        PolicyVerb::Shadow => desk.shadow(no, share),
        PolicyVerb::Canary => desk.canary(no, share, guards),
        PolicyVerb::Promote => desk.promote(no),
        PolicyVerb::Rollback => desk.rollback(no),
        PolicyVerb::Pin => desk.pin(no),
        PolicyVerb::Unpin => desk.unpin(no),
        PolicyVerb::Stop => desk.stop(no),
        PolicyVerb::Remove => desk.remove(no),
    }
}

async fn find(call: Call<'_>, no: PolicyNo) -> Result<Listed, Problem> {
    let all = with_desk(call, |desk| Ok(desk.list())).await?;
    all.into_iter()
        .find(|listed| listed.view.no == no)
        .ok_or_else(|| Problem::new("not_found", format!("no policy {}", no.0)))
}

async fn one(call: Call<'_>, no: PolicyNo) -> Result<Reply, Problem> {
    let listed = find(call, no).await?;
    let mut out = Writer::new();
    encode::listed(&mut out, &listed);
    Ok(json(StatusCode::OK, out))
}

/// Answers with one policy.
pub(super) async fn read(call: Call<'_>, no: u16) -> Result<Reply, Problem> {
    call.need_auth()?;
    call.query(&[])?;
    one(call, PolicyNo(no)).await
}

/// Answers with what a policy has done.
pub(super) async fn stats(call: Call<'_>, no: u16) -> Result<Reply, Problem> {
    call.need_auth()?;
    call.query(&[])?;
    let no = PolicyNo(no);
    find(call, no).await?;
    let all = with_desk(call, |desk| Ok(desk.stats())).await?;
    let stats = all.iter().find(|stats| stats.no == no).ok_or_else(|| {
        Problem::new("not_found", format!("policy {} was not asked since the start", no.0))
    })?;
    let mut out = Writer::new();
    encode::stats(&mut out, stats);
    Ok(json(StatusCode::OK, out))
}

/// Answers with what a shadow's answers were worth.
pub(super) async fn divergence(call: Call<'_>, no: u16) -> Result<Reply, Problem> {
    call.need_auth()?;
    call.query(&[])?;
    let no = PolicyNo(no);
    find(call, no).await?;
    let report = with_desk(call, move |desk| Ok(desk.divergence(no))).await?.ok_or_else(|| {
        Problem::new("not_found", format!("policy {} was no shadow since the start", no.0))
    })?;
    let mut out = Writer::new();
    encode::divergence(&mut out, &report);
    Ok(json(StatusCode::OK, out))
}

/// Answers with what a plugin has logged lately, the newest first.
pub(super) async fn logs(call: Call<'_>, no: u16) -> Result<Reply, Problem> {
    call.need_auth()?;
    call.query(&[])?;
    let no = PolicyNo(no);
    let listed = find(call, no).await?;
    let logs = with_desk(call, move |desk| Ok(desk.logs(no))).await?.unwrap_or_default();
    let mut out = Writer::new();
    encode::logs(&mut out, &logs, listed.last_failure.as_deref());
    Ok(json(StatusCode::OK, out))
}

/// The kinds by name.
const KINDS: &[(&str, PolicyKind)] = &[
    ("pricing", PolicyKind::Pricing),
    ("fraud", PolicyKind::Fraud),
    ("recommend", PolicyKind::Recommend),
];

/// Answers with the last inputs of a kind and what was answered, a fixture a line.
pub(super) async fn recorded(call: Call<'_>) -> Result<Reply, Problem> {
    call.need_auth()?;
    let query = call.query(&["kind", "last"])?;
    let last = query.integer("last", LAST_DEFAULT, 1, RECORDED.max)? as usize;
    let word = query.get("kind").unwrap_or("");
    let found = KINDS.iter().find(|(name, _)| *name == word);
    let Some((_, kind)) = found else {
        let short = field::shorten(word);
        let detail = format!("query kind is \"{short}\", none of pricing, fraud, recommend");
        return Err(Problem::invalid(detail));
    };
    let kind = *kind;
    let ctx: Arc<Context> = Arc::clone(call.ctx);
    let fixtures = call.ctx.blocking(move |_| ctx.desk.recorded(kind, last)).await?;
    let mut lines = Vec::new();
    for fixture in &fixtures {
        lines.extend_from_slice(fixture.line().as_bytes());
        lines.push(b'\n');
    }
    let mut reply = super::text(StatusCode::OK, lines);
    let ndjson = HeaderValue::from_static("application/x-ndjson");
    reply.headers_mut().insert(CONTENT_TYPE, ndjson);
    Ok(reply)
}
