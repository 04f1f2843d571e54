//! From a refusal or an operational error to a status code and an RFC 9457 body.
//!
//! Every code has one [`Page`]; the table drives the bodies, `GET /errors/{code}` and
//! `onhand explain CODE`, so that the three can't disagree.

mod pages;

use onhand_core::{Error, ErrorKind, Refusal, Reject};

pub use pages::{PAGES, Page, Retry, page};

use crate::wire::encode::Writer;

/// One complaint about one place in the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FieldError {
    /// JSON pointer to the value.
    pub(crate) pointer: String,
    /// Code of the complaint.
    pub(crate) code: &'static str,
    /// What is wrong, with value and range.
    pub(crate) detail: String,
}

/// Facts of a refusal that a client can act on.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Facts {
    refusal: Refusal,
    /// Code of the SKU that the refused line named.
    sku: Option<String>,
    seq: u64,
}

/// A problem on its way to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    page: &'static Page,
    pub(crate) detail: String,
    errors: Option<Box<FieldError>>,
    facts: Option<Box<Facts>>,
    /// Value of an `Allow` header.
    pub(crate) allow: Option<&'static str>,
    /// Whether the connection can't be used any more, because a body was not read to its end.
    pub(crate) close: bool,
}

impl Problem {
    /// Makes a problem of a code of the table.
    pub(crate) fn new(code: &str, detail: impl Into<String>) -> Self {
        // A code without a page is a bug of ours; the test of the table finds it.
        let page = page(code).unwrap_or(pages::fallback());
        debug_assert_eq!(page.code, code, "problem code without a page");
        let detail = detail.into();
        Self { page, detail, errors: None, facts: None, allow: None, close: false }
    }

    /// Makes an `invalid_request` about the request as a whole.
    pub(crate) fn invalid(detail: impl Into<String>) -> Self {
        Self::new("invalid_request", detail)
    }

    /// Makes an `invalid_request` about one place in the body.
    pub(crate) fn field(error: FieldError) -> Self {
        Self::about(Self::new("invalid_request", ""), error)
    }

    /// Makes an `unknown_field`.
    pub(crate) fn unknown_field(error: FieldError) -> Self {
        Self::about(Self::new("unknown_field", ""), error)
    }

    fn about(mut self, error: FieldError) -> Self {
        let at = if error.pointer.is_empty() { "body" } else { &error.pointer };
        self.detail = format!("{at}: {}", error.detail);
        self.errors = Some(Box::new(error));
        self
    }

    /// Makes the problem of a refusal; `sku` is the code that the refused line named.
    pub(crate) fn refused(refusal: Refusal, sku: Option<String>, seq: u64) -> Self {
        let mut this = Self::new(refusal.reject.code(), explain(&refusal, sku.as_deref()));
        this.facts = Some(Box::new(Facts { refusal, sku, seq }));
        this
    }

    /// Makes the problem of an operational error.
    ///
    /// The client gets a text without paths; the operator's log gets the error itself.
    pub(crate) fn failed(error: &Error) -> Self {
        match error.kind() {
            ErrorKind::Overloaded => {
                Self::new("overloaded", "the engine's queue is full; nothing was done")
            }
            ErrorKind::ReadOnly => {
                Self::new("read_only", "the disk is nearly full; the host answers reads only")
            }
            ErrorKind::Closed => {
                Self::new("shutting_down", "the host is closing; nothing was done")
            }
            ErrorKind::Config => Self::invalid(error.to_string()),
            ErrorKind::Stopped => {
                crate::log::limited("engine_stopped", &[("error", &error.to_string())]);
                Self::new("stopped", "the engine has stopped; its operator finds why in the log")
            }
            _ => {
                crate::log::limited("engine_error", &[("error", &error.to_string())]);
                Self::new("internal", "the data can't be read; its operator finds why in the log")
            }
        }
    }

    /// Returns the code.
    #[cfg(test)]
    pub(crate) fn code(&self) -> &'static str {
        self.page.code
    }

    /// Returns the status code.
    pub(crate) fn status(&self) -> u16 {
        self.page.status
    }

    /// Returns after how many milliseconds a retry is sensible, if at all.
    pub(crate) fn retry_after_ms(&self) -> Option<u32> {
        match self.page.retry {
            Retry::After(ms) => Some(ms),
            Retry::Never | Retry::Later => None,
        }
    }

    /// Writes the body. `request_id` is absent for an item of a batch.
    pub(crate) fn write(&self, out: &mut Writer, request_id: Option<&str>) {
        out.open();
        out.text("type", &format!("/errors/{}", self.page.code));
        out.text("title", self.page.title);
        out.number("status", u64::from(self.page.status));
        out.text("code", self.page.code);
        out.text("detail", &self.detail);
        if let Some(error) = &self.errors {
            out.list("errors", [error], |out, error| {
                out.open();
                out.text("pointer", &error.pointer);
                out.text("code", error.code);
                out.text("detail", &error.detail);
                out.close();
            });
        }
        if let Some(facts) = &self.facts {
            write_facts(out, facts);
        }
        out.flag("retryable", !matches!(self.page.retry, Retry::Never));
        if let Some(ms) = self.retry_after_ms() {
            out.number("retry_after_ms", u64::from(ms));
        }
        if let Some(id) = request_id {
            out.text("request_id", id);
        }
        out.close();
    }
}

/// Writes the facts under their common names, and under the name that the reason gives them.
fn write_facts(out: &mut Writer, facts: &Facts) {
    let Refusal { reject, line, asked, found } = facts.refusal;
    if let Some(sku) = &facts.sku {
        out.text("sku", sku);
    }
    out.number("line", u64::from(line));
    out.number("asked", asked);
    out.number("found", found);
    match reject {
        Reject::SoldOut | Reject::PartialOnly | Reject::Contended => {
            out.number("available", found);
        }
        Reject::LimitReached => out.number("limit_left", found),
        Reject::StaleVersion => out.number("current_version", found),
        Reject::PriceChanged => out.number("current_total", found),
        _ => (),
    }
    out.number("seq", facts.seq);
}

/// Says in one sentence what was asked and what there is.
fn explain(refusal: &Refusal, sku: Option<&str>) -> String {
    let Refusal { reject, line, asked, found } = *refusal;
    let of = sku.map_or_else(|| format!("line {line}"), |sku| format!("{sku} (line {line})"));
    match reject {
        Reject::SoldOut => format!("{found} units of {of} can be promised; {asked} asked"),
        Reject::PartialOnly => {
            format!("{found} units can be had; the fill policy asks for {asked}")
        }
        Reject::LimitReached => {
            format!("{found} more units of {of} are allowed to this customer; {asked} asked")
        }
        Reject::StaleVersion => format!("the order has version {found}, {asked} was expected"),
        Reject::StaleCount => format!("the books have {found} units, {asked} were expected"),
        Reject::StockShort => format!("{found} units are in this cell, {asked} are to be moved"),
        Reject::OverCommitted => {
            format!("line {line} has {found} committed units, {asked} were named")
        }
        Reject::PriceChanged => {
            format!("the total is {found} minor units, {asked} were expected")
        }
        Reject::SkuUnknown | Reject::KitMismatch | Reject::CustomerRequired => {
            format!("{of}: {reject}")
        }
        _ => reject.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reject_has_a_page_that_agrees_on_retries() {
        for reject in Reject::ALL {
            let page = page(reject.code()).expect("each reject has a page");
            let retryable = !matches!(page.retry, Retry::Never);
            assert_eq!(retryable, reject.is_transient(), "{}", page.code);
        }
    }

    #[test]
    fn pages_are_sorted_unique_and_complete() {
        assert!(PAGES.is_sorted_by(|a, b| a.code < b.code), "pages are sorted by code");
        for page in PAGES {
            assert!((400..600).contains(&page.status), "{}", page.code);
            for part in [page.title, page.meaning, page.remedy] {
                assert!(!part.is_empty(), "{} lacks a part", page.code);
            }
            assert!(page.meaning.ends_with('.') && page.remedy.ends_with('.'), "{}", page.code);
            let known = |b: u8| b.is_ascii_lowercase() || b == b'_';
            assert!(page.code.bytes().all(known), "{}", page.code);
        }
    }
}
