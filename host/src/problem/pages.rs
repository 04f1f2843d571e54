//! The stable problem codes with a page each.

use std::fmt::Write as _;

/// Whether the same request may succeed later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Not without a change.
    Never,
    /// Later, when stock, limits or the operator have changed something.
    Later,
    /// After so many milliseconds.
    After(u32),
}

/// What a problem code means and what to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// Stable code, in snake case.
    pub code: &'static str,
    /// HTTP status code.
    pub status: u16,
    /// Title of the problem body.
    pub title: &'static str,
    /// Whether the same request may succeed later.
    pub retry: Retry,
    /// When it happens, in one or two sentences.
    pub meaning: &'static str,
    /// The way out, in one or two sentences.
    pub remedy: &'static str,
}

impl Page {
    /// Returns the page as text for a terminal or a browser.
    pub fn text(&self) -> String {
        let mut text = format!("{} — {} (HTTP {})\n\n", self.code, self.title, self.status);
        wrap(&mut text, self.meaning);
        text.push_str("\nWhat to do: ");
        let mut remedy = String::new();
        wrap(&mut remedy, self.remedy);
        text.push_str(&remedy);
        let again = match self.retry {
            Retry::Never => "not without a change to the request".to_owned(),
            Retry::Later => "yes, later; with the same Idempotency-Key".to_owned(),
            Retry::After(ms) => format!("yes, after {ms} ms; with the same Idempotency-Key"),
        };
        let _ = writeln!(text, "\nSend it again? {again}.");
        text
    }
}

/// Breaks a paragraph into lines of at most 88 characters.
fn wrap(out: &mut String, paragraph: &str) {
    const LINE_CHARS_MAX: usize = 88;
    let mut used = 0;
    for word in paragraph.split_whitespace() {
        let chars = word.chars().count();
        if used > 0 && used + 1 + chars > LINE_CHARS_MAX {
            out.push('\n');
            used = 0;
        } else if used > 0 {
            out.push(' ');
            used += 1;
        }
        out.push_str(word);
        used += chars;
    }
    out.push('\n');
}

/// Returns the page of a code.
pub fn page(code: &str) -> Option<&'static Page> {
    PAGES.binary_search_by(|page| page.code.cmp(code)).ok().map(|at| &PAGES[at])
}

/// Returns the page that stands in for a code without one.
pub(super) fn fallback() -> &'static Page {
    const INTERNAL: &Page = &entry(
        "internal",
        500,
        Later,
        "The host could not answer",
        "The host could not read its data, or met an error in its own code.",
        "The operator finds why in the log; a retry with the same key is safe.",
    );
    INTERNAL
}

const fn entry(
    code: &'static str,
    status: u16,
    retry: Retry,
    title: &'static str,
    meaning: &'static str,
    remedy: &'static str,
) -> Page {
    Page { code, status, title, retry, meaning, remedy }
}

use Retry::{After, Later, Never};

/// Every problem code, sorted.
pub const PAGES: &[Page] = &[
    entry(
        "amount_invalid",
        400,
        Never,
        "Amount outside its range",
        "A price is negative, a discount is larger than its line, or the total is beyond 2^53 - 1 minor units.",
        "Send prices in whole minor units (1299 for 12.99 EUR), and discounts of at most unit price times quantity.",
    ),
    entry(
        "bad_cursor",
        400,
        Never,
        "Not a cursor",
        "The query's after is not the next of an earlier page.",
        "Start again without after.",
    ),
    entry(
        "busy",
        503,
        After(50),
        "Too busy for this basket",
        "The basket needs several shards and could not have all of them within its time. Nothing was taken.",
        "Send the same request again with the same key. If it happens often, place what is bought together in one group, or use fewer shards.",
    ),
    entry(
        "capacity_reached",
        503,
        Later,
        "A table is full",
        "The engine has as many SKUs, cells, live orders or changes of one order as it can hold, or a count would break more promises than one record can hold.",
        "Nothing was done. The operator can archive settled orders or start an engine with more shards; a count goes in steps, each to a lower number.",
    ),
    entry(
        "contended",
        503,
        After(5),
        "Units are held by baskets in flight",
        "Enough units exist, but other baskets hold some of them for some microseconds. This is not sold out.",
        "Send the same request again at once, with the same key.",
    ),
    entry(
        "currency_mismatch",
        400,
        Never,
        "Several currencies in one basket",
        "The lines, or the lines and the expected total, are in different currencies.",
        "Split the basket by currency, or correct the currency of expected_total.",
    ),
    entry(
        "customer_required",
        400,
        Never,
        "A customer must be named",
        "A SKU of the basket has a limit per customer, and the basket names no customer.",
        "Send customer with the basket.",
    ),
    entry(
        "decision_invalid",
        500,
        Never,
        "A recorded decision contradicts itself",
        "A policy decided something that can not be: more than 1,000 points, no verdict, or more added lines than there are.",
        "Nothing was done. This is an error of the host or embedder that asked the policy, not of the request.",
    ),
    entry(
        "definition_invalid",
        400,
        Never,
        "The definition contradicts itself",
        "The code, group number, price or components of the SKU are not possible: a kit needs components, other kinds have none, and a kit can't contain kits.",
        "Correct the definition; the detail names what contradicts what.",
    ),
    entry(
        "fraud_denied",
        403,
        Never,
        "Denied by the fraud policy",
        "The fraud policy denies this order. Nothing was taken.",
        "Contact the seller. The same request is denied again as long as the policy decides so.",
    ),
    entry(
        "headers_too_large",
        431,
        Never,
        "Headers too large",
        "The request has more headers, or longer ones, than the host reads.",
        "Send fewer or shorter headers; cookies are not used here.",
    ),
    entry(
        "idempotency_in_flight",
        409,
        After(100),
        "The first request is still running",
        "A request with this key was accepted, and its outcome was not known when the time for the reply ran out.",
        "Send the same request again with the same key; it returns the outcome of the first.",
    ),
    entry(
        "idempotency_key_missing",
        400,
        Never,
        "Idempotency-Key is missing",
        "Each request that moves stock or money carries a key, so that a retry can't do it twice.",
        "Send Idempotency-Key: 1 to 255 visible ASCII characters, new for each intent, the same for each retry. A UUID does well.",
    ),
    entry(
        "idempotency_key_reused",
        422,
        Never,
        "The key was used for something else",
        "The key belongs to an earlier request with other contents. Nothing was done.",
        "Use a new key for a new intent; repeat the first body exactly if this was meant as a retry.",
    ),
    entry(
        "internal",
        500,
        Later,
        "The host could not answer",
        "The host could not read its data, or met an error in its own code.",
        "The operator finds why in the log; a retry with the same key is safe.",
    ),
    entry(
        "invalid_request",
        400,
        Never,
        "The request can't be read",
        "The body, the query or a header is malformed, or a value has the wrong type or is outside its range.",
        "The detail and errors[] name the place, the value and the range. Nothing was done.",
    ),
    entry(
        "kit_mismatch",
        400,
        Never,
        "A kit where stock is needed, or the reverse",
        "Kits have no stock of their own: they can be sold, but not received, adjusted or moved.",
        "Name the components instead, or the kit where a basket is meant.",
    ),
    entry(
        "lagging",
        503,
        After(50),
        "The host has not seen this position yet",
        "Min-Seq names a journal position that the host did not reach in the time given.",
        "Send the read again, or wait longer with Prefer: wait=SECONDS (at most 30).",
    ),
    entry(
        "limit_reached",
        409,
        Later,
        "The customer's limit would be passed",
        "The customer has, over all its orders, too many units of this SKU to have as many more as asked. limit_left says how many it may still have.",
        "Ask for at most limit_left units. Cancelled and expired orders give their units back to the limit.",
    ),
    entry(
        "line_count",
        400,
        Never,
        "Too few or too many lines",
        "A basket has 1 to 512 lines, an import 1 to 1,000.",
        "Split the request.",
    ),
    entry(
        "location_invalid",
        400,
        Never,
        "The location is missing or not allowed",
        "The SKU is placed by location, so each line must name one; or a transfer names the same location twice; or stock was sent to no location.",
        "Name a location from 1 to 4294967295.",
    ),
    entry(
        "method_not_allowed",
        405,
        Never,
        "This path has other methods",
        "The path exists, but not with this method.",
        "Use a method of the Allow header.",
    ),
    entry(
        "not_found",
        404,
        Never,
        "No such thing",
        "No order, SKU, page or route has this name.",
        "Check the id. An order's id starts with ord_ and is returned by the request that made it.",
    ),
    entry(
        "over_committed",
        409,
        Never,
        "More units than are committed",
        "A cancel, ship or short names more units than the line has committed.",
        "Read the order and name at most its committed units.",
    ),
    entry(
        "overloaded",
        503,
        After(50),
        "The queue is full",
        "More commands wait than the engine's queue may hold. Nothing was done.",
        "Send the same request again with the same key, and slow down.",
    ),
    entry(
        "partial_only",
        409,
        Later,
        "Fewer units than the fill policy asks",
        "Some units can be had, but fewer than fill names.",
        "Lower fill.min, or send fill: partial to take what there is.",
    ),
    entry(
        "plugin_failed",
        503,
        Later,
        "A plugin failed",
        "A plugin that had to decide about this order failed, and it is configured to refuse then. Nothing was taken.",
        "Send the same request again later with the same key. The operator finds in the log why the plugin failed.",
    ),
    entry(
        "plugin_refused",
        422,
        Never,
        "The plugin can't be installed",
        "The bundle, its configuration or its component is not as it must be: malformed, over a limit, of another interface, or it fails the call that every plugin is tried with.",
        "The detail says what is wrong. onhand plugin check finds the same on the partner's machine and names the fix.",
    ),
    entry(
        "plugin_untrusted",
        403,
        Never,
        "Nobody who is trusted has signed the plugin",
        "The host takes only bundles that a signer of its trust file has signed, for such a plugin, in time.",
        "Sign it with onhand plugin sign by a key of the trust file, or let the operator add the key to plugins.trust.",
    ),
    entry(
        "policy_unknown",
        500,
        Never,
        "Policy is not known",
        "The decision about this order names a policy that the engine has not been told of, or one of another kind. Nothing was done.",
        "This is an error of the host or embedder that asked the policy, not of the request: the operator activates the policy again.",
    ),
    entry(
        "price_changed",
        409,
        Never,
        "The total is another one",
        "The total of the basket differs from expected_total, so the buyer has seen other prices. current_total is in minor units.",
        "Show the buyer the new total, then send it as expected_total with a new key.",
    ),
    entry(
        "price_refused",
        422,
        Never,
        "Refused by the pricing policy",
        "The pricing policy gives no price for this basket, with the code that its maker documents.",
        "Change the basket, its coupons or its customer as the code says, and send it with a new key.",
    ),
    entry(
        "quantity_invalid",
        400,
        Never,
        "The quantity is outside its range",
        "A quantity is zero or above 1,000,000,000, or the units of one SKU add up to more than can be counted.",
        "Send quantities from 1 to 1,000,000,000.",
    ),
    entry(
        "quote_expired",
        409,
        Never,
        "Quote is no longer valid",
        "The quote that the request names has expired.",
        "Ask for a new quote, show it to the buyer and send it with a new key.",
    ),
    entry(
        "quote_invalid",
        400,
        Never,
        "The quote does not belong to this basket",
        "quote_token is no token of this shop, or was given for another customer or other lines.",
        "Ask for a quote of this very basket, or leave the token out.",
    ),
    entry(
        "read_only",
        503,
        Later,
        "The host only reads",
        "The disk is nearly full, so the engine takes no more commands. Reads still work.",
        "The operator frees disk space; then the same request, with the same key, goes through.",
    ),
    entry(
        "request_timeout",
        408,
        After(100),
        "The request was too slow",
        "The body did not arrive in the time allowed.",
        "Send it again with the same key.",
    ),
    entry(
        "reservation_expired",
        410,
        Never,
        "The reservation is gone",
        "The deadline of the reservation has passed, or it was given up and its units are for sale again, or a count did not find them.",
        "Reserve again with a new key.",
    ),
    entry(
        "risk_open",
        409,
        Later,
        "Order is under review",
        "The fraud policy asks for a challenge or a review of this reservation, and it can not be placed before that is done.",
        "Wait for the outcome before the reservation expires, then place it again with the same key.",
    ),
    entry(
        "seq_too_old",
        410,
        Never,
        "These events are no longer kept",
        "The journal starts after the position that was asked for.",
        "Read the stock anew and go on from first_available.",
    ),
    entry(
        "shutting_down",
        503,
        After(1000),
        "The host is closing",
        "The host finishes what it has begun and takes nothing new. Nothing was done.",
        "Send the same request, with the same key, in a second; a restarted host answers it.",
    ),
    entry(
        "sku_code_taken",
        409,
        Never,
        "Two codes share one id",
        "The id of a SKU derives from its code, and another code has the same one. This is very rare.",
        "Choose another code.",
    ),
    entry(
        "sku_fixed",
        409,
        Never,
        "This can't be changed about a SKU",
        "Kind, placement, currency and components are fixed when a SKU is defined, and so is whether it has a limit; price and height of a limit can change.",
        "Define a new SKU under another code.",
    ),
    entry(
        "sku_unknown",
        404,
        Never,
        "The SKU is not defined",
        "No SKU has this code.",
        "Define it with PUT /v1/skus/{code}; the codes that exist are at GET /v1/skus.",
    ),
    entry(
        "sold_out",
        409,
        Later,
        "Sold out",
        "Fewer units can be promised than were asked, even if every basket in flight gave its units back. Nothing was taken.",
        "Ask for at most available units, or later: cancelled and expired orders bring units back.",
    ),
    entry(
        "stale_count",
        409,
        Never,
        "The count has changed",
        "The books have other units in this cell than the adjustment or count expected: available ones for an adjustment; available, reserved and committed ones together for a count.",
        "Nothing was done. Look at what happened in between, count again if need be, and send what the books have now as expected: found tells it.",
    ),
    entry(
        "stale_version",
        412,
        Never,
        "The order has changed",
        "The order has another version than expected_version names.",
        "Read the order, decide anew, and send its current version.",
    ),
    entry(
        "state_conflict",
        409,
        Never,
        "The order does not allow this now",
        "For example, a placed order can't be released, and a shipped line can't be cancelled.",
        "Read the order: its status and lines say what can be done.",
    ),
    entry(
        "stock_short",
        409,
        Later,
        "Too few units in this cell",
        "Fewer units are available, or set aside for this reason, in this location and lot than are to be moved.",
        "Move at most the units that there are.",
    ),
    entry(
        "stopped",
        503,
        Later,
        "The engine has stopped",
        "The engine met a failed write or a broken invariant and stopped rather than guess. What was acknowledged is safe.",
        "The operator reads the log and starts the host again; then the same request, with the same key, is answered.",
    ),
    entry(
        "tls_required",
        400,
        Never,
        "TLS is required",
        "Plain HTTP came to an address that speaks TLS. The connection is closed.",
        "Write https:// instead of http://.",
    ),
    entry(
        "too_large",
        413,
        Never,
        "The body is too large",
        "The body is longer than the route allows: 64 KiB, or 1 MiB for batches and imports.",
        "Split the request.",
    ),
    entry(
        "too_many_connections",
        429,
        After(1000),
        "Too many connections",
        "The host has as many open connections as it is set to hold.",
        "Reuse connections, and open a new one in a second.",
    ),
    entry(
        "transfer_unknown",
        404,
        Never,
        "No such transfer",
        "No transfer has this key, SKU and origin, or fewer units of it are in transit.",
        "Name the transfer by the idempotency key that sent it, and at most the units that are still under way.",
    ),
    entry(
        "ttl_invalid",
        400,
        Never,
        "The time to live is outside its range",
        "ttl_ms is from 1 ms to 30 days, hard_cap_ms from ttl_ms to 60 days.",
        "Correct the times; they are in milliseconds.",
    ),
    entry(
        "unauthenticated",
        401,
        Never,
        "A key is required",
        "The request carries no API key, or one that the host does not know.",
        "Send Authorization: Bearer KEY. The operator makes keys with onhand key new and gives their digests to the host.",
    ),
    entry(
        "unknown_field",
        400,
        Never,
        "A name that is not known",
        "The body or the query has a member that this route does not know. It is refused, not skipped, because it is most often a typing error.",
        "Correct the name; the detail suggests one.",
    ),
    entry(
        "unsupported_media",
        415,
        Never,
        "Not JSON",
        "The body's Content-Type is not application/json, or it is compressed.",
        "Send Content-Type: application/json, in UTF-8, without Content-Encoding.",
    ),
    entry(
        "uri_too_long",
        414,
        Never,
        "The path is too long",
        "The path and query together are longer than 8 KiB.",
        "Ask for fewer things at once.",
    ),
];
