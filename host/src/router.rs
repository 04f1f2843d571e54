//! From method and path to a route: one `match`, no table to build.

use std::borrow::Cow;

use http::Method;

use crate::problem::Problem;
use crate::request::percent_decode;

/// What a request is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Route<'p> {
    Buy,
    Batch,
    Reserve,
    Place,
    Order(Cow<'p, str>),
    OrderExplain(Cow<'p, str>),
    Cancel(Cow<'p, str>),
    Ship(Cow<'p, str>),
    Short(Cow<'p, str>),
    Extend(Cow<'p, str>),
    Release(Cow<'p, str>),
    StockOne(Cow<'p, str>),
    StockMany,
    Movement,
    Import,
    SkuDefine(Cow<'p, str>),
    SkuOne(Cow<'p, str>),
    SkuMany,
    Events,
    Quote,
    Recommend,
    Risk(Cow<'p, str>),
    Plugins,
    PluginInstall,
    PluginsRecorded,
    Plugin(u16),
    PluginStats(u16),
    PluginDivergence(u16),
    PluginLogs(u16),
    PluginStep(u16, PolicyVerb),
    Livez,
    Readyz,
    Metrics,
    ErrorPage(Cow<'p, str>),
    Links,
    WellKnown,
}

/// What an operator does with a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PolicyVerb {
    Activate,
    Shadow,
    Canary,
    Promote,
    Rollback,
    Pin,
    Unpin,
    Stop,
    Remove,
}

/// The verbs as paths name them.
const VERBS: &[(&str, PolicyVerb)] = &[
    ("activate", PolicyVerb::Activate),
    ("shadow", PolicyVerb::Shadow),
    ("canary", PolicyVerb::Canary),
    ("promote", PolicyVerb::Promote),
    ("rollback", PolicyVerb::Rollback),
    ("pin", PolicyVerb::Pin),
    ("unpin", PolicyVerb::Unpin),
    ("stop", PolicyVerb::Stop),
    ("remove", PolicyVerb::Remove),
];

/// The templates of all routes, as metrics and documents name them; [`Route::index`] points here.
pub(crate) const TEMPLATES: &[&str] = &[
    "/v1/orders:buy",
    "/v1/batch",
    "/v1/reservations",
    "/v1/orders",
    "/v1/orders/{order}",
    "/v1/orders/{order}/explain",
    "/v1/orders/{order}/cancel",
    "/v1/orders/{order}/ship",
    "/v1/orders/{order}/short",
    "/v1/reservations/{order}/extend",
    "/v1/reservations/{order}/release",
    "/v1/stock/{code}",
    "/v1/stock",
    "/v1/stock/movements",
    "/v1/stock/imports",
    "/v1/skus/{code}",
    "/v1/skus/{code}",
    "/v1/skus",
    "/v1/events",
    "/v1/quotes",
    "/v1/recommendations",
    "/v1/orders/{order}/risk",
    "/admin/plugins",
    "/admin/plugins",
    "/admin/plugins/recorded",
    "/admin/plugins/{policy}",
    "/admin/plugins/{policy}/stats",
    "/admin/plugins/{policy}/divergence",
    "/admin/plugins/{policy}/logs",
    "/admin/plugins/{policy}/{step}",
    "/livez",
    "/readyz",
    "/metrics",
    "/errors/{code}",
    "/",
    "/.well-known/onhand",
    "none",
];

/// The index of requests that match no route.
pub(crate) const NO_ROUTE: usize = TEMPLATES.len() - 1;

impl Route<'_> {
    /// Returns the index of the route's template.
    pub(crate) fn index(&self) -> usize {
        match self {
            Self::Buy => 0,
            Self::Batch => 1,
            Self::Reserve => 2,
            Self::Place => 3,
            Self::Order(_) => 4,
            Self::OrderExplain(_) => 5,
            Self::Cancel(_) => 6,
            Self::Ship(_) => 7,
            Self::Short(_) => 8,
            Self::Extend(_) => 9,
            Self::Release(_) => 10,
            Self::StockOne(_) => 11,
            Self::StockMany => 12,
            Self::Movement => 13,
            Self::Import => 14,
            Self::SkuDefine(_) => 15,
            Self::SkuOne(_) => 16,
            Self::SkuMany => 17,
            Self::Events => 18,
            Self::Quote => 19,
            Self::Recommend => 20,
            Self::Risk(_) => 21,
            Self::Plugins => 22,
            Self::PluginInstall => 23,
            Self::PluginsRecorded => 24,
            Self::Plugin(_) => 25,
            Self::PluginStats(_) => 26,
            Self::PluginDivergence(_) => 27,
            Self::PluginLogs(_) => 28,
            Self::PluginStep(..) => 29,
            Self::Livez => 30,
            Self::Readyz => 31,
            Self::Metrics => 32,
            Self::ErrorPage(_) => 33,
            Self::Links => 34,
            Self::WellKnown => 35,
        }
    }

    /// Returns the method as metrics name it.
    pub(crate) fn method(&self) -> &'static str {
        match self {
            Self::SkuDefine(_) => "PUT",
            Self::Buy
            | Self::Batch
            | Self::Reserve
            | Self::Place
            | Self::Cancel(_)
            | Self::Ship(_)
            | Self::Short(_)
            | Self::Extend(_)
            | Self::Release(_)
            | Self::Movement
            | Self::Import
            | Self::Quote
            | Self::Risk(_)
            | Self::PluginInstall
            | Self::PluginStep(..) => "POST",
            Self::Order(_)
            | Self::OrderExplain(_)
            | Self::StockOne(_)
            | Self::StockMany
            | Self::SkuOne(_)
            | Self::SkuMany
            | Self::Events
            | Self::Recommend
            | Self::Plugins
            | Self::PluginsRecorded
            | Self::Plugin(_)
            | Self::PluginStats(_)
            | Self::PluginDivergence(_)
            | Self::PluginLogs(_)
            | Self::Livez
            | Self::Readyz
            | Self::Metrics
            | Self::ErrorPage(_)
            | Self::Links
            | Self::WellKnown => "GET",
        }
    }
}

/// Finds the route of a request.
///
/// # Errors
///
/// `not_found` for an unknown path, `method_not_allowed` for a known one.
pub(crate) fn find<'p>(method: &Method, path: &'p str) -> Result<Route<'p>, Problem> {
    // The hot path first: one comparison.
    if path == "/v1/orders:buy" && method == Method::POST {
        return Ok(Route::Buy);
    }
    let mut parts = path.strip_prefix('/').unwrap_or(path).split('/');
    let mut part = || parts.next();
    let (first, second, third, fourth, fifth) = (part(), part(), part(), part(), part());
    if fifth.is_some() {
        return Err(no_route(path));
    }
    let get = *method == Method::GET || *method == Method::HEAD;
    let need = |allowed: bool, route: Route<'p>, allow: &'static str| {
        if allowed { Ok(route) } else { Err(wrong_method(allow)) }
    };
    match (first.unwrap_or(""), second, third, fourth) {
        ("", None, ..) => need(get, Route::Links, "GET, HEAD"),
        ("livez", None, ..) => need(get, Route::Livez, "GET, HEAD"),
        ("readyz", None, ..) => need(get, Route::Readyz, "GET, HEAD"),
        ("metrics", None, ..) => need(get, Route::Metrics, "GET, HEAD"),
        (".well-known", Some("onhand"), None, _) => need(get, Route::WellKnown, "GET, HEAD"),
        ("errors", Some(code), None, _) => need(get, Route::ErrorPage(decoded(code)?), "GET, HEAD"),
        ("v1", Some(second), third, fourth) => {
            versioned(method, second, third, fourth).unwrap_or_else(|| Err(no_route(path)))
        }
        ("admin", Some("plugins"), third, fourth) => {
            plugins(method, third, fourth).unwrap_or_else(|| Err(no_route(path)))
        }
        _ => Err(no_route(path)),
    }
}

/// Finds a route under `/admin/plugins`; `None` where the path is not known.
fn plugins<'p>(
    method: &Method,
    policy: Option<&'p str>,
    what: Option<&'p str>,
) -> Option<Result<Route<'p>, Problem>> {
    let get = *method == Method::GET || *method == Method::HEAD;
    let post = *method == Method::POST;
    let Some(policy) = policy else {
        return Some(match (get, post) {
            (true, _) => Ok(Route::Plugins),
            (_, true) => Ok(Route::PluginInstall),
            _ => Err(wrong_method("GET, HEAD, POST")),
        });
    };
    let need = |allowed: bool, route: Route<'p>, allow: &'static str| {
        Some(if allowed { Ok(route) } else { Err(wrong_method(allow)) })
    };
    if policy == "recorded" && what.is_none() {
        return need(get, Route::PluginsRecorded, "GET, HEAD");
    }
    let no: u16 = policy.parse().ok()?;
    match what {
        None => need(get, Route::Plugin(no), "GET, HEAD"),
        Some("stats") => need(get, Route::PluginStats(no), "GET, HEAD"),
        Some("logs") => need(get, Route::PluginLogs(no), "GET, HEAD"),
        Some("divergence") => need(get, Route::PluginDivergence(no), "GET, HEAD"),
        Some(word) => {
            let (_, verb) = VERBS.iter().find(|(name, _)| *name == word)?;
            need(post, Route::PluginStep(no, *verb), "POST")
        }
    }
}

/// Finds a route under `/v1`; `None` where the path is not known.
fn versioned<'p>(
    method: &Method,
    first: &'p str,
    second: Option<&'p str>,
    third: Option<&'p str>,
) -> Option<Result<Route<'p>, Problem>> {
    let get = *method == Method::GET || *method == Method::HEAD;
    let post = *method == Method::POST;
    let need = |allowed: bool, route: Route<'p>, allow: &'static str| {
        Some(if allowed { Ok(route) } else { Err(wrong_method(allow)) })
    };
    // A named part that can't be decoded is the route's problem, once the route is known.
    let named = |allowed: bool, part: &'p str, route: fn(Cow<'p, str>) -> Route<'p>, allow| {
        Some(if allowed { decoded(part).map(route) } else { Err(wrong_method(allow)) })
    };
    match (first, second, third) {
        ("orders:buy", None, _) => need(post, Route::Buy, "POST"),
        ("batch", None, _) => need(post, Route::Batch, "POST"),
        ("reservations", None, _) => need(post, Route::Reserve, "POST"),
        ("reservations", Some(id), Some("extend")) => named(post, id, Route::Extend, "POST"),
        ("reservations", Some(id), Some("release")) => named(post, id, Route::Release, "POST"),
        ("orders", None, _) => need(post, Route::Place, "POST"),
        ("orders", Some(id), None) => named(get, id, Route::Order, "GET, HEAD"),
        ("orders", Some(id), Some("explain")) => named(get, id, Route::OrderExplain, "GET, HEAD"),
        ("orders", Some(id), Some("cancel")) => named(post, id, Route::Cancel, "POST"),
        ("orders", Some(id), Some("ship")) => named(post, id, Route::Ship, "POST"),
        ("orders", Some(id), Some("short")) => named(post, id, Route::Short, "POST"),
        ("orders", Some(id), Some("risk")) => named(post, id, Route::Risk, "POST"),
        ("quotes", None, _) => need(post, Route::Quote, "POST"),
        ("recommendations", None, _) => need(get, Route::Recommend, "GET, HEAD"),
        ("stock", None, _) => need(get, Route::StockMany, "GET, HEAD"),
        ("stock", Some("movements"), None) if !get => need(post, Route::Movement, "POST"),
        ("stock", Some("imports"), None) if !get => need(post, Route::Import, "POST"),
        ("stock", Some(code), None) => named(get, code, Route::StockOne, "GET, HEAD"),
        ("skus", None, _) => need(get, Route::SkuMany, "GET, HEAD"),
        ("skus", Some(code), None) if *method == Method::PUT => {
            Some(decoded(code).map(Route::SkuDefine))
        }
        ("skus", Some(code), None) => named(get, code, Route::SkuOne, "GET, HEAD, PUT"),
        ("events", None, _) => need(get, Route::Events, "GET, HEAD"),
        _ => None,
    }
}

fn decoded(part: &str) -> Result<Cow<'_, str>, Problem> {
    percent_decode(part).ok_or_else(|| Problem::invalid("path has malformed percent-encoding"))
}

fn no_route(path: &str) -> Problem {
    let short = crate::wire::field::shorten(path);
    Problem::new("not_found", format!("no route {short}; GET / lists them"))
}

fn wrong_method(allow: &'static str) -> Problem {
    let mut problem = Problem::new("method_not_allowed", format!("this path takes {allow}"));
    problem.allow = Some(allow);
    problem
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(text: &str) -> Cow<'_, str> {
        Cow::Borrowed(text)
    }

    #[test]
    fn paths_find_their_routes() {
        for (method, path, route) in [
            (Method::POST, "/v1/orders:buy", Route::Buy),
            (Method::POST, "/v1/orders", Route::Place),
            (Method::GET, "/v1/orders/ord_1", Route::Order(named("ord_1"))),
            (Method::GET, "/v1/orders/ord_1/explain", Route::OrderExplain(named("ord_1"))),
            (Method::POST, "/v1/reservations/o/extend", Route::Extend(named("o"))),
            (Method::PUT, "/v1/skus/a%3Ab", Route::SkuDefine(named("a:b"))),
            (Method::GET, "/v1/stock/movements", Route::StockOne(named("movements"))),
            (Method::POST, "/v1/stock/movements", Route::Movement),
            (Method::HEAD, "/", Route::Links),
            (Method::GET, "/errors/sold_out", Route::ErrorPage(named("sold_out"))),
            (Method::POST, "/v1/orders/ord_1/risk", Route::Risk(named("ord_1"))),
            (Method::POST, "/admin/plugins", Route::PluginInstall),
            (Method::GET, "/admin/plugins/recorded", Route::PluginsRecorded),
            (Method::GET, "/admin/plugins/7", Route::Plugin(7)),
            (Method::GET, "/admin/plugins/7/logs", Route::PluginLogs(7)),
            (Method::POST, "/admin/plugins/7/canary", Route::PluginStep(7, PolicyVerb::Canary)),
        ] {
            assert_eq!(find(&method, path).as_ref(), Ok(&route), "{method} {path}");
        }
        for (method, path, code) in [
            (Method::GET, "/v1/orders:buy", "method_not_allowed"),
            (Method::DELETE, "/v1/skus/a", "method_not_allowed"),
            (Method::GET, "/v2/orders", "not_found"),
            (Method::GET, "/v1/orders/a/b", "not_found"),
            (Method::GET, "/v1/orders/a/explain/b/c", "not_found"),
            (Method::GET, "/v1/stock/%zz", "invalid_request"),
            (Method::GET, "*", "not_found"),
            (Method::GET, "/admin/plugins/..", "not_found"),
            (Method::GET, "/admin/plugins/65536", "not_found"),
            (Method::POST, "/admin/plugins/7/burn", "not_found"),
            (Method::POST, "/admin/plugins/7/stats", "method_not_allowed"),
            (Method::DELETE, "/admin/plugins", "method_not_allowed"),
        ] {
            let problem = find(&method, path).expect_err("no such route");
            assert_eq!(problem.code(), code, "{method} {path}");
        }
    }
}
