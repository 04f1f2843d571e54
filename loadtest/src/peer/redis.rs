//! The shop in Redis: its server, its protocol as far as the shop needs it, and its tables.
//!
//! Source: Redis serialization protocol, version 2 (RESP2).

use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use super::socket::Socket;
use super::{Answered, ShopEvent};
use crate::error::LoadError;
use crate::feed::StockLevel;
use crate::op::{Catalogue, Loss, Op, OpKind};

/// The whole shop; it is loaded once and called by its digest.
pub(super) const SCRIPT: &str = include_str!("shop.lua");
/// Deepest nesting of an answer.
const DEPTH_MAX: u32 = 4;
/// Most members of one answer.
const MEMBERS_MAX: usize = 1 << 20;
/// Events of one page.
const PAGE_EVENTS: u64 = 1_000;

/// Returns the command of a server that serves `socket` and keeps its data in `dir`.
pub(super) fn server(program: &Path, dir: &Path, socket: &Path) -> Command {
    let mut command = Command::new(program);
    let fixed = ["--port", "0", "--save", "", "--daemonize", "no", "--appendonly", "yes"];
    // The log is synced to disk before any answer of a turn of the event loop goes out.
    let durable = ["--appendfsync", "always", "--no-appendfsync-on-rewrite", "no"];
    let quiet = ["--auto-aof-rewrite-percentage", "0"];
    command.args(fixed).args(durable).args(quiet);
    command.arg("--dir").arg(dir).arg("--unixsocket").arg(socket);
    command
}

/// A value of the protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    Int(i64),
    Text(String),
    Nothing,
    Many(Vec<Self>),
    Error(String),
}

impl Value {
    fn int(&self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(*number),
            Self::Text(text) => text.parse().ok(),
            Self::Nothing | Self::Many(_) | Self::Error(_) => None,
        }
    }

    fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    fn many(&self) -> &[Self] {
        if let Self::Many(many) = self { many } else { &[] }
    }
}

/// Reads one value from the front of the bytes with its length; `None` if it is not all there.
fn parse(bytes: &[u8], depth: u32) -> Result<Option<(Value, usize)>, Loss> {
    let Some(end) = bytes.windows(2).position(|pair| pair == b"\r\n") else { return Ok(None) };
    let (kind, line) = bytes[..end].split_first().ok_or(Loss::Malformed)?;
    let line = std::str::from_utf8(line).map_err(|_| Loss::Malformed)?;
    let number = || line.parse::<i64>().map_err(|_| Loss::Malformed);
    let mut at = end + 2;
    let value = match kind {
        b'+' => Value::Text(line.to_owned()),
        b'-' => Value::Error(line.to_owned()),
        b':' => Value::Int(number()?),
        b'$' => match usize::try_from(number()?) {
            Err(_) => Value::Nothing,
            Ok(length) => {
                let Some(text) = bytes.get(at..at + length + 2) else { return Ok(None) };
                let text = std::str::from_utf8(&text[..length]).map_err(|_| Loss::Malformed)?;
                at += length + 2;
                Value::Text(text.to_owned())
            }
        },
        b'*' => match usize::try_from(number()?) {
            Err(_) => Value::Nothing,
            Ok(count) if count > MEMBERS_MAX || depth == 0 => return Err(Loss::Malformed),
            Ok(count) => {
                let mut many = Vec::new();
                for _ in 0..count {
                    let Some((one, length)) = parse(&bytes[at..], depth - 1)? else {
                        return Ok(None);
                    };
                    many.push(one);
                    at += length;
                }
                Value::Many(many)
            }
        },
        _ => return Err(Loss::Malformed),
    };
    Ok(Some((value, at)))
}

/// A connection to the shop.
#[derive(Debug)]
pub(super) struct Redis {
    pub(super) socket: Socket,
    /// Digest of the script, once it is loaded.
    digest: String,
    output: Vec<u8>,
}

impl Redis {
    pub(super) fn new(socket: Socket) -> Self {
        Self { socket, digest: String::new(), output: Vec::new() }
    }

    fn push(&mut self, words: &[&str]) {
        // Writing to a vector can't fail.
        let _ = write!(self.output, "*{}\r\n", words.len());
        for word in words {
            let _ = write!(self.output, "${}\r\n{word}\r\n", word.len());
        }
    }

    fn push_script(&mut self, words: &[&str]) {
        let digest = std::mem::take(&mut self.digest);
        let mut all = vec!["EVALSHA", digest.as_str(), "0"];
        all.extend(words);
        self.push(&all);
        self.digest = digest;
    }

    async fn receive(&mut self) -> Result<Value, Loss> {
        loop {
            if let Some((value, length)) = parse(self.socket.rest(), DEPTH_MAX)? {
                self.socket.consume(length);
                return Ok(value);
            }
            self.socket.fill().await?;
        }
    }

    async fn flush(&mut self) -> Result<(), Loss> {
        let sent = self.socket.send(&self.output).await;
        self.output.clear();
        sent
    }

    async fn ready(&mut self) -> Result<(), Loss> {
        self.output.clear();
        self.socket.connect().await?;
        if self.digest.is_empty() {
            self.push(&["SCRIPT", "LOAD", SCRIPT]);
            self.flush().await?;
            let loaded = self.receive().await?;
            loaded.text().ok_or(Loss::Malformed)?.clone_into(&mut self.digest);
        }
        Ok(())
    }

    async fn call(&mut self, words: &[&str]) -> Result<Value, Loss> {
        self.ready().await?;
        self.push(words);
        self.flush().await?;
        self.receive().await
    }

    async fn script(&mut self, words: &[&str]) -> Result<Value, Loss> {
        self.ready().await?;
        self.push_script(words);
        self.flush().await?;
        self.receive().await
    }

    /// Sends requests together and reads their answers.
    pub(super) async fn exchange(
        &mut self,
        ops: &[&Op],
        catalogue: &Catalogue,
        out: &mut Vec<Answered>,
    ) -> Result<(), Loss> {
        self.ready().await?;
        for op in ops {
            let order = op.order.to_string();
            match op.kind {
                OpKind::Browse => {
                    let sku = op.lines.first().map_or(0, |line| line.sku);
                    let name = format!("sku:{}", catalogue.sku(sku).code);
                    self.push(&["HGET", &name, "available"]);
                }
                OpKind::Poll => self.push(&["HGET", &format!("order:{order}"), "state"]),
                kind => {
                    let ttl = op.ttl_ms.to_string();
                    let mut words = vec![kind.name(), &op.key, &op.customer, &ttl, &order];
                    let units: Vec<String> =
                        op.lines.iter().map(|line| line.quantity.to_string()).collect();
                    for (line, units) in op.lines.iter().zip(&units) {
                        words.extend([catalogue.sku(line.sku).code.as_str(), units]);
                    }
                    self.push_script(&words);
                }
            }
        }
        self.flush().await?;
        for op in ops {
            let value = self.receive().await?;
            out.push(if op.kind.is_read() {
                let found = value != Value::Nothing;
                Answered { code: if found { 0 } else { 3 }, ..Answered::default() }
            } else {
                let numbers: Option<Vec<i64>> = value.many().iter().map(Value::int).collect();
                Answered::of(&numbers.unwrap_or_default()).ok_or(Loss::Malformed)?
            });
        }
        Ok(())
    }

    /// Ends reservations that are due; returns how many.
    pub(super) async fn expire(&mut self) -> Result<i64, Loss> {
        self.script(&["expire", "", "", "0", ""]).await?.int().ok_or(Loss::Malformed)
    }

    pub(super) async fn knows(&mut self, code: &str) -> Result<bool, Loss> {
        Ok(self.call(&["EXISTS", &format!("sku:{code}")]).await? == Value::Int(1))
    }

    pub(super) async fn define(&mut self, code: &str, price: i64, most: u32) -> Result<i64, Loss> {
        let (price, most) = (price.to_string(), most.to_string());
        let name = format!("sku:{code}");
        let fields = ["available", "0", "reserved", "0", "committed", "0"];
        let mut words = vec!["HSET", &name, "price", &price, "limit", &most];
        words.extend(fields);
        self.call(&words).await?;
        self.call(&["LLEN", "events"]).await?.int().map(|seq| seq + 1).ok_or(Loss::Malformed)
    }

    pub(super) async fn receive_units(&mut self, code: &str, units: u32) -> Result<i64, Loss> {
        let units = units.to_string();
        let words = ["receive", "", "", "0", "", code, &units];
        self.script(&words).await?.int().ok_or(Loss::Malformed)
    }

    /// Reads events after a position, in order.
    pub(super) async fn events(&mut self, after: u64) -> Result<Vec<ShopEvent>, LoadError> {
        let (from, to) = (after.to_string(), (after + PAGE_EVENTS - 1).to_string());
        let rows = self.call(&["LRANGE", "events", &from, &to]).await.map_err(super::lost)?;
        let mut events = Vec::new();
        for (row, seq) in rows.many().iter().zip(after + 1..) {
            let event = row.text().and_then(|text| ShopEvent::of_words(seq, text));
            events.push(event.ok_or_else(|| super::lost(Loss::Malformed))?);
        }
        Ok(events)
    }

    pub(super) async fn stock(&mut self, code: &str) -> Result<StockLevel, Loss> {
        let name = format!("sku:{code}");
        let row = self.call(&["HMGET", &name, "available", "reserved", "committed"]).await?;
        let numbers: Option<Vec<i64>> = row.many().iter().map(Value::int).collect();
        let [available, reserved, committed] = numbers.unwrap_or_default()[..] else {
            return Err(Loss::Malformed);
        };
        // Below zero is oversold; the events show it, an unsigned level can't.
        let level = |number: i64| u64::try_from(number).unwrap_or(0);
        Ok(StockLevel {
            available: level(available),
            reserved: level(reserved),
            committed: level(committed),
            ..StockLevel::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values are read from bytes that come in any pieces; what is none is refused.
    #[test]
    fn values_are_read() {
        let bytes = b"*4\r\n:7\r\n$2\r\nab\r\n*1\r\n+OK\r\n$-1\r\n-ERR no\r\n";
        let many = vec![
            Value::Int(7),
            Value::Text("ab".into()),
            Value::Many(vec![Value::Text("OK".into())]),
            Value::Nothing,
        ];
        let first = bytes.len() - 9;
        for end in 0..first {
            assert_eq!(parse(&bytes[..end], DEPTH_MAX), Ok(None), "{end}");
        }
        assert_eq!(parse(bytes, DEPTH_MAX), Ok(Some((Value::Many(many), first))));
        let rest = parse(&bytes[first..], DEPTH_MAX);
        assert_eq!(rest, Ok(Some((Value::Error("ERR no".into()), 9))));
        for bad in ["?\r\n", ":x\r\n", "\r\n", "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n"] {
            assert_eq!(parse(bad.as_bytes(), DEPTH_MAX), Err(Loss::Malformed), "{bad:?}");
        }
    }
}
