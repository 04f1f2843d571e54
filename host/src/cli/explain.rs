//! `onhand explain`: a problem code offline, or the decisions about an order.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use onhand_core::{Engine, OrderId};

use super::client;
use super::{DONE, FAILED, Failure, USAGE, existing, say};
use crate::problem::{PAGES, page};
use crate::wire::encode::{self, Writer};
use crate::wire::field::{closest, shorten};

const EXAMPLES: &str = "\
Examples:
  onhand explain sold_out
  onhand explain                                        all codes
  onhand explain ord_1M3... --data shop                 from a data directory that nothing serves
  onhand explain ord_1M3... --url http://127.0.0.1:8080 from a running host (ONHAND_API_KEY)";

/// Arguments of `onhand explain`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Problem code, or order id; none lists the codes
    #[arg(value_name = "CODE|ORDER")]
    subject: Option<String>,
    /// Data directory with the order
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Running host with the order
    #[arg(long, value_name = "URL", env = "ONHAND_URL", hide_env_values = true)]
    url: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Explains a code or an order.
pub(super) fn run(arguments: &Arguments) -> Result<u8, Failure> {
    let Some(subject) = arguments.subject.as_deref() else {
        say(&list(arguments.json));
        return Ok(DONE);
    };
    if subject.starts_with("ord_") {
        let order: OrderId = subject
            .parse()
            .map_err(|e| Failure::new(USAGE, format!("\"{}\": {e}", shorten(subject))))?;
        return explain_order(arguments, order);
    }
    let Some(page) = page(subject) else {
        let known: Vec<&str> = PAGES.iter().map(|page| page.code).collect();
        let hint = match closest(subject, &known) {
            Some(near) => format!("did you mean {near}?"),
            None => "`onhand explain` lists all codes; an order starts with ord_".to_owned(),
        };
        let short = shorten(subject);
        return Err(Failure::new(USAGE, format!("no problem code \"{short}\"")).help(hint));
    };
    if arguments.json {
        let mut out = Writer::new();
        out.open();
        out.text("code", page.code);
        out.number("status", u64::from(page.status));
        out.text("title", page.title);
        out.text("meaning", page.meaning);
        out.text("remedy", page.remedy);
        out.close();
        say(&(String::from_utf8_lossy(&out.into_bytes()).into_owned() + "\n"));
    } else {
        say(&page.text());
    }
    Ok(DONE)
}

fn list(json: bool) -> String {
    if json {
        let mut out = Writer::new();
        out.open();
        out.list("codes", PAGES, |out, page| out.bare_text(page.code));
        out.close();
        return String::from_utf8_lossy(&out.into_bytes()).into_owned() + "\n";
    }
    let width = PAGES.iter().map(|page| page.code.len()).max().unwrap_or(0);
    let line = |page: &crate::problem::Page| {
        format!("{}  {:width$}  {}\n", page.status, page.code, page.title)
    };
    PAGES.iter().map(line).collect()
}

fn explain_order(arguments: &Arguments, order: OrderId) -> Result<u8, Failure> {
    let body = match (&arguments.data, &arguments.url) {
        (Some(dir), _) => from_data(&existing(dir)?, order)?,
        (None, Some(url)) => from_host(url, order)?,
        (None, None) => {
            return Err(Failure::new(USAGE, "an order needs a place to look in")
                .help("add --data DIR, or --url http://HOST:PORT for a running host"));
        }
    };
    if arguments.json {
        say(&(body + "\n"));
        return Ok(DONE);
    }
    let value: serde_json::Value = serde_json::from_str(&body)
        .map_err(|e| Failure::new(FAILED, format!("the explanation is not JSON: {e}")))?;
    say(&text(&value));
    Ok(DONE)
}

fn from_data(dir: &std::path::Path, order: OrderId) -> Result<String, Failure> {
    let (engine, _report) = Engine::builder(dir).open()?;
    let explanation = engine
        .explain(order)?
        .ok_or_else(|| Failure::new(FAILED, format!("no order {order} in {}", dir.display())))?;
    let mut out = Writer::new();
    encode::explanation(&mut out, &engine, &explanation);
    engine.close()?;
    Ok(String::from_utf8_lossy(&out.into_bytes()).into_owned())
}

fn from_host(url: &str, order: OrderId) -> Result<String, Failure> {
    let key = std::env::var("ONHAND_API_KEY").ok();
    let (status, body) = client::get(url, &format!("/v1/orders/{order}/explain"), key.as_deref())?;
    if status == 200 {
        return Ok(body);
    }
    let problem: serde_json::Value = serde_json::from_str(&body).unwrap_or_default();
    let code = problem["code"].as_str().unwrap_or("no code");
    let detail = problem["detail"].as_str().unwrap_or("");
    Err(Failure::new(FAILED, format!("{url} answers {status} {code}: {}", shorten(detail))))
}

/// Writes decisions as lines: position, time, event, reason, and the units that moved.
fn text(value: &serde_json::Value) -> String {
    let word = |value: &serde_json::Value| match value {
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let mut text = format!("{}\n", word(&value["order"]));
    if value["complete"] == false {
        text.push_str("  (earlier decisions are no longer in the journal)\n");
    }
    for decision in value["decisions"].as_array().into_iter().flatten() {
        let event = &decision["event"];
        let _ = write!(
            text,
            "\n  seq {}  {}  {}\n      {}\n",
            decision["seq"],
            word(&decision["time"]),
            word(&event["type"]),
            word(&decision["reason"])
        );
        for movement in event["movements"].as_array().into_iter().flatten() {
            let _ = writeln!(
                text,
                "      {} × {} at location {}: {} → {}",
                movement["quantity"],
                word(&movement["sku"]),
                movement["location"],
                word(&movement["from"]),
                word(&movement["to"])
            );
        }
    }
    text
}
